"""The cases of the rate benchmark: what is done, and the figures that follow.

One function a case. It drives a scene and returns its figures by name; `FIGURES` says in which
unit, and what must be reached. Every case sends 1280x720 at 30 fps and at most 2.5 Mbit/s of video
with a tone from home 1 to home 2 unless it says otherwise; the bottleneck is home 1's uplink.
"""
import statistics

import lab
from packets import AUDIO, TCP, jain

MBIT = 1e6
STEPS_51 = [(0, 1.0), (40, 2.5), (60, 0.6), (80, 1.0), (100, None)]


def rounded(value, digits=3):
    return None if value is None else round(value, digits)


def share(log, since, until, capacity, direction="up"):
    """The share of a capacity that was used."""
    return rounded(log.only(direction, since=since, until=until).delivered_bits() / ((until - since) * capacity))


def rate(log, since, until, direction="up", **kind):
    """Delivered Mbit/s."""
    return rounded(log.only(direction, since=since, until=until, **kind).delivered_bits() / (until - since) / MBIT)


def queue(log, since, until, direction="up"):
    return log.only(direction, since=since, until=until).wait(.95)


def lost(log, since, until, direction="up"):
    return rounded(log.only(direction, since=since, until=until).lost(), 4)


def audio_not_delivered(log, since, until, direction="up"):
    return sum(p.fate != "ok" for p in log.only(direction, since=since, until=until, payload_types=AUDIO).packets)


def audio_wait(log, since, until):
    return log.only(since=since, until=until, payload_types=AUDIO).wait(1)


# ---- one flow

def open_link(scene):
    """Open link, 40 ms round trip."""
    scene.homes("", "", delay=10)
    sender, _ = scene.call()
    scene.until(20)
    log, idle = scene.finish()
    t0, end, connected = scene.t0, scene.t0 + 20, sender.connected()
    return {"reached": log.only().reached(t0, end, connected, .9 * 2 * MBIT, window=.5), "sent": rate(log, t0 + 10, end), "idle": idle}


def constant(scene):
    """1 Mbit/s, 100 ms round trip, 300 ms queue."""
    scene.homes("rate=1mbit", "")
    sender, (receiver,) = scene.call()
    scene.until(60)
    log, idle = scene.finish()
    t0, end = scene.t0, scene.t0 + 60
    return {"utilisation": share(log, t0 + 15, end, MBIT), "queue_p95": queue(log, t0 + 15, end), "loss": lost(log, t0 + 15, end),
            "reached": log.only().reached(t0, end, sender.connected(), .9 * MBIT),
            "queue_p95_first": queue(log, t0, t0 + 15), "loss_first": lost(log, t0, t0 + 15), "freezes": receiver.freezes(), "idle": idle}


def rfc51(scene):
    """RFC 8867 5.1: variable capacity, one flow."""
    scene.homes("rate=1mbit", "")
    sender, (receiver,) = scene.call()
    began = scene.trace(1, "rfc8867-5.1")
    scene.until(100)
    log, idle = scene.finish()
    t0, connected = scene.t0, sender.connected()
    at = {seconds: began + seconds for seconds, _ in STEPS_51}
    end = min(at[100], t0 + 100)
    capacity = sum((min(at[b], end) - (at[a] if a else connected)) * mbit * MBIT for (a, mbit), (b, _) in zip(STEPS_51, STEPS_51[1:]))
    up, drop = log.only(since=t0, until=end), log.only(since=at[60], until=at[80])
    return {"utilisation": rounded(log.only(since=connected, until=end).delivered_bits() / capacity), "freezes": receiver.freezes(),
            "queue_p95": queue(log, connected, end),
            "rise_2_5": up.reached(t0, end, at[40], .9 * 2.5 * MBIT), "rise_1": up.reached(t0, end, at[80], .9 * MBIT),
            "drop_fits": drop.under_capacity(at[60], at[80], .6 * MBIT), "drop_queue": drop.queue_below(at[60], at[80], 100),
            "drop_loss": lost(log, at[60], at[80]), "drop_audio_wait": audio_wait(log, at[60], at[80]),
            "drop_audio_dropped": audio_not_delivered(log, at[60], at[80]), "idle": idle}


def random_loss(percent):
    def drive(scene):
        scene.homes(f"rate=4mbit loss={percent}%", "", delay=10)
        _, (receiver,) = scene.call()
        scene.until(45)
        log, idle = scene.finish()
        t0, end = scene.t0, scene.t0 + 45
        offered = log.only(since=t0 + 15, until=end).offered_bits() / 30 / MBIT
        return {"sent": rate(log, t0 + 15, end), "offered": rounded(offered), "freezes": receiver.freezes(),
                "queue_p95": queue(log, t0 + 15, end), "idle": idle}
    drive.__doc__ = f"Random loss {percent} %, 4 Mbit/s, 40 ms round trip."
    return drive


def cut(scene):
    """Link cut for 5 s, 4 Mbit/s, 40 ms round trip."""
    scene.homes("rate=4mbit", "", delay=10)
    _, (receiver,) = scene.call()
    scene.until(20)
    back = scene.cut(1, 5) + 5
    scene.until(45)
    log, idle = scene.finish()
    up = log.only()
    before = up.only(since=back - 13, until=back - 5).delivered_bits() / 8
    video = (p.at - back for p in up.packets if p.at > back and p.fate == "ok" and p.bytes > 500)
    return {"first_frame": receiver.first_frame_after(back, 5), "first_packet": rounded(next(video, None), 2),
            "recovered": up.reached(scene.t0, scene.t0 + 45, back, .9 * before), "freezes": receiver.freezes(), "idle": idle}


# ---- several flows

def equal(starts):
    def drive(scene):
        scene.homes("rate=2mbit", "")
        for start in starts:
            if start:
                scene.until(start)
            scene.call()
        scene.until(100)
        log, idle = scene.finish()
        t0, end = scene.t0, scene.t0 + 100
        since = t0 + max(starts) + 25
        flows = log.only(since=since, until=end).flows()[:len(starts)]
        return {"jain": jain(flows), "queue_p95": queue(log, since, end), "utilisation": share(log, since, end, 2 * MBIT),
                "flows_mbps": [rounded(bits / (end - since) / MBIT, 2) for bits in flows], "idle": idle}
    drive.__doc__ = f"{ {2: 'Two', 4: 'Four'}[len(starts)]} equal flows, 2 Mbit/s, 100 ms round trip."
    return drive


def tcp(scene):
    """Against one TCP cubic flow, 2 Mbit/s, 100 ms round trip, 300 ms queue."""
    scene.homes("rate=2mbit", "")
    _, (receiver,) = scene.call()
    scene.until(20)
    scene.tcp(60)
    scene.until(80)
    log, idle = scene.finish()
    return {**against_tcp(log, scene.t0 + 30, scene.t0 + 78), "audio_lost": beyond_the_network(log, receiver, scene.t0), "idle": idle}


def against_tcp(log, since, until):
    media = log.only(since=since, until=until).delivered_bits()
    rival = log.only(protocol=TCP, since=since, until=until).delivered_bits()
    return {"share": rounded(media / (media + rival)) if media + rival else None, "media_mbps": rounded(media / (until - since) / MBIT),
            "queue_p95": queue(log, since, until)}


def beyond_the_network(log, receiver, t0):
    """Audio packets that the receiver missed though the link delivered them."""
    missed = receiver.audio_lost()
    return None if missed is None else max(0, missed - audio_not_delivered(log, t0, None))


def rfc52(scene):
    """RFC 8867 5.2: variable capacity, two flows."""
    scene.homes("rate=4mbit", "")
    for _ in range(2):
        scene.call()
    began = scene.trace(1, "rfc8867-5.2")
    scene.until(125)
    log, idle = scene.finish()
    end = scene.t0 + 125
    capacity = sum(25 * mbit for mbit in (4, 2, 3.5, 1, 2)) * MBIT
    # Each phase's first 10 s are for getting there.
    phases = [log.only(since=began + start + 10, until=began + start + 25).flows()[:2] for start in (25, 50, 75, 100)]
    return {"utilisation": rounded(log.only(since=scene.t0, until=end).delivered_bits() / capacity), "queue_p95": queue(log, scene.t0, end),
            "jain": rounded(min(jain(flows) or 0 for flows in phases)), "loss": lost(log, scene.t0, end), "idle": idle}


def rfc53(scene):
    """RFC 8867 5.3: congested feedback link, media both ways."""
    scene.homes("rate=2mbit|rate=2mbit", "")
    scene.call(both=True)
    scene.trace(1, "rfc8867-5.3")
    scene.until(100)
    log, idle = scene.finish()
    t0, end = scene.t0, scene.t0 + 100
    up = (20 * 2 + 20 * 1 + 20 * .5 + 40 * 2) * MBIT
    down = (35 * 2 + 35 * .8 + 30 * 2) * MBIT
    return {"utilisation": rounded(log.only(since=t0, until=end).delivered_bits() / up),
            "utilisation_back": rounded(log.only("down", since=t0, until=end).delivered_bits() / down),
            "queue_p95": queue(log, t0, end), "queue_p95_back": queue(log, t0, end, "down"), "idle": idle}


def rfc55(scene):
    """RFC 8867 5.5: five flows whose round trips differ, 4 Mbit/s."""
    # One-way delays of 10, 25, 50, 100 and 150 ms, of which home 1 has 5.
    scene.homes("rate=4mbit", "", "", "", "", "", delay=[5, 5, 20, 45, 95, 145])
    for flow in range(5):
        if flow:
            scene.until(10 * flow)
        scene.call("h1", f"h{flow + 2}")
    scene.until(120)
    log, idle = scene.finish()
    since, end = scene.t0 + 70, scene.t0 + 120
    flows = log.only(since=since, until=end).flows()[:5]
    return {"utilisation": share(log, since, end, 4 * MBIT), "queue_p95": queue(log, since, end), "jain": jain(flows),
            "flows_mbps": [rounded(bits / 50 / MBIT, 2) for bits in flows], "idle": idle}


def rfc56(scene):
    """RFC 8867 5.6: against a long TCP flow that comes and goes, 2 Mbit/s."""
    scene.homes("rate=2mbit", "")
    _, (receiver,) = scene.call()
    scene.until(30)
    scene.tcp(60)
    scene.until(120)
    log, idle = scene.finish()
    t0 = scene.t0
    return {**against_tcp(log, t0 + 40, t0 + 90), "utilisation": share(log, t0 + 15, t0 + 30, 2 * MBIT), "utilisation_after": share(log, t0 + 100, t0 + 120, 2 * MBIT),
            "audio_lost": beyond_the_network(log, receiver, t0), "idle": idle}


def rfc57(scene):
    """RFC 8867 5.7: two flows against ten short TCP flows, 2 Mbit/s."""
    scene.homes("rate=2mbit", "")
    for _ in range(2):
        scene.call()
    scene.until(10)
    scene.short_tcp(10, 105)
    scene.until(120)
    log, idle = scene.finish()
    since, end = scene.t0 + 20, scene.t0 + 115
    everything = log.only(protocol=None, since=since, until=end).delivered_bits()
    return {**against_tcp(log, since, end), "utilisation": rounded(everything / (end - since) / (2 * MBIT)),
            "jain": jain(log.only(since=since, until=end).flows()[:2]), "idle": idle}


# ---- several links of one participant (ours alone: Chromium has no such thing to compare)

def squeezed(scene):
    """One of four links squeezed to 300 kbit/s."""
    scene.homes("", "", "", "", "", delay=10)
    sender, receivers = scene.call("h1", "h2", "h3", "h4", "h5")
    scene.until(30)
    scene.link(2, "down", "rate=300kbit queue=300ms")
    scene.until(60)
    log, idle = scene.finish()
    squeezed_at, t0 = scene.t0 + 30, scene.t0
    targets, rungs = {}, {}
    for line in sender.lines():
        if line["type"] == "link" and line.get("target_bps") is not None and (t0 + 15 <= line["at"] < t0 + 30 or t0 + 32 <= line["at"] < t0 + 60):
            after = line["at"] >= squeezed_at
            targets.setdefault(line["peer"], ([], []))[after].append(line["target_bps"])
            rungs.setdefault(line["peer"], ([], []))[after].append((line["sent_width"], line["sent_height"]))
    means = {peer: [sum(v) / len(v) for v in both] for peer, both in targets.items() if all(both)}
    # The squeezed link is the one whose target fell most.
    others = sorted(means, key=lambda peer: means[peer][1] / means[peer][0])[1:]
    changes = [abs(means[peer][1] / means[peer][0] - 1) for peer in others]
    return {"target_change": rounded(max(changes)) if len(changes) == 3 else None,
            "rung_changes": sum(statistics.mode(rungs[peer][1]) != statistics.mode(rungs[peer][0]) for peer in others) if len(others) == 3 else None,
            "squeezed_mbps": rounded(min(mean[1] for mean in means.values()) / MBIT) if means else None, "idle": idle}


def narrow_uplink(scene):
    """Four links through one 600 kbit/s uplink, 100 ms round trip."""
    scene.homes("rate=600kbit", "", "", "", "")
    scene.call("h1", "h2", "h3", "h4", "h5")
    scene.until(60)
    log, idle = scene.finish()
    since, end = scene.t0 + 10, scene.t0 + 60
    flows = log.only(since=since, until=end).flows()[:4]
    return {"audio_dropped": audio_not_delivered(log, since, end), "queue_p95": queue(log, since, end),
            "utilisation": share(log, since, end, .6 * MBIT), "jain": jain(flows), "idle": idle}


def five_people(scene):
    """Five people with equal links against two people: CPU of the sender's encoders."""
    scene.homes("", "", "", "", "", delay=10)
    room = scene.kind.room()
    sender, _ = scene.call("h1", "h2", room=room)
    cpu = []
    for start, newcomers in ((20, ()), (60, ("h3", "h4", "h5"))):
        for node in newcomers:
            scene.join(room, node, f"receiver-{node}", False).entered()
        scene.until(start)
        before = sender.encode_cpu()
        scene.until(start + 20)
        cpu.append((sender.encode_cpu() - before) / 20)
    _, idle = scene.finish()
    return {"encoder_ratio": rounded(cpu[1] / cpu[0], 2) if cpu[0] else None, "encoders_two": rounded(cpu[0]), "encoders_five": rounded(cpu[1]), "idle": idle}


def two_way(scene):
    """Two-way 1280x720 at 30 fps and Opus: CPU a party."""
    scene.homes("", "", delay=10)
    sender, (other,) = scene.call(both=True)
    scene.until(15)
    before = [lab.cpu(node) for node in ("h1", "h2")]
    scene.until(45)
    after = [lab.cpu(node) for node in ("h1", "h2")]
    log, idle = scene.finish()
    since, end = scene.t0 + 15, scene.t0 + 45
    return {"cpu": rounded(sum(b - a for a, b in zip(before, after)) / 60), "sent": rate(log, since, end), "sent_back": rate(log, since, end, "down"), "idle": idle}


# ---- named links

def named(name):
    def drive(scene):
        scene.homes("", "", delay=5)
        _, (receiver,) = scene.call(both=True)
        scene.trace(1, name)
        scene.until(60)
        log, idle = scene.finish()
        t0, end = scene.t0, scene.t0 + 60
        return {"sent": rate(log, t0, end), "queue_p95": queue(log, t0, end), "freezes": receiver.freezes(), "audio_dropped": audio_not_delivered(log, t0, end),
                "audio_lost": beyond_the_network(log, receiver, t0), "idle": idle}
    drive.__doc__ = f"Named link {name}, media both ways."
    return drive


# Case: what runs, how long it takes, whether Chromium can do it too.
CASES = {
    "open": (open_link, 20, True), "constant": (constant, 60, True), "rfc51": (rfc51, 100, True),
    "loss5": (random_loss(5), 45, True), "loss10": (random_loss(10), 45, True),
    "two": (equal([0, 20]), 100, True), "four": (equal([0, 20, 25, 30]), 100, True),
    "tcp": (tcp, 80, True), "cut": (cut, 45, True),
    "rfc52": (rfc52, 125, True), "rfc53": (rfc53, 100, True), "rfc55": (rfc55, 120, True), "rfc56": (rfc56, 120, True), "rfc57": (rfc57, 120, True),
    "squeezed": (squeezed, 60, False), "uplink": (narrow_uplink, 60, False), "five": (five_people, 80, False), "cpu": (two_way, 45, True),
    "office": (named("office"), 60, True), "home-wifi": (named("home-wifi"), 60, True),
    "lte": (named("lte"), 60, True), "hotel": (named("hotel"), 60, True),
}

# They show how a call fares, and have no bounds: the suite runs them, the benchmark when asked.
NAMED_LINKS = ["office", "home-wifi", "lte", "hotel"]

LOWER, HIGHER = "lower", "higher"
# Figure: what it is called in the table, its unit, which way is better.
FIGURES = {
    "reached": ("90 % reached", "s", LOWER), "sent": ("sent", "Mbit/s", HIGHER), "sent_back": ("sent back", "Mbit/s", HIGHER),
    "offered": ("offered", "Mbit/s", HIGHER), "utilisation": ("utilisation", "", HIGHER), "utilisation_back": ("utilisation of the way back", "", HIGHER),
    "utilisation_after": ("utilisation after the TCP flow", "", HIGHER), "queue_p95": ("queue, 95th percentile", "ms", LOWER),
    "queue_p95_back": ("queue of the way back, 95th percentile", "ms", LOWER), "queue_p95_first": ("queue of the first 15 s, 95th percentile", "ms", LOWER),
    "loss": ("loss", "", LOWER), "loss_first": ("loss in the first 15 s", "", LOWER), "freezes": ("freezes", "", LOWER),
    "rise_2_5": ("rise 1 to 2.5: 90 % reached", "s", LOWER), "rise_1": ("rise 0.6 to 1: 90 % reached", "s", LOWER),
    "drop_fits": ("drop 2.5 to 0.6: sending under capacity", "s", LOWER), "drop_queue": ("drop: queue under 100 ms", "s", LOWER),
    "drop_loss": ("drop: loss in the segment", "", LOWER), "drop_audio_wait": ("drop: longest wait of an audio packet", "ms", LOWER),
    "drop_audio_dropped": ("drop: audio packets dropped", "packets", LOWER), "jain": ("Jain's index", "", HIGHER), "share": ("share against TCP", "", HIGHER),
    "media_mbps": ("media against TCP", "Mbit/s", HIGHER), "audio_lost": ("audio lost beyond the network's own", "packets", LOWER),
    "audio_dropped": ("audio packets dropped", "packets", LOWER), "first_frame": ("return to the first new picture", "s", LOWER),
    "first_packet": ("return to the first packet of a picture", "s", LOWER), "recovered": ("return to 90 % of the rate before", "s", LOWER),
    "target_change": ("largest change of the other targets", "", LOWER), "rung_changes": ("other links whose usual size changed", "", LOWER),
    "squeezed_mbps": ("target of the squeezed link", "Mbit/s", HIGHER), "encoder_ratio": ("CPU of the encoders, five over two", "", LOWER),
    "encoders_two": ("encoders with two people", "cores", LOWER), "encoders_five": ("encoders with five people", "cores", LOWER),
    "cpu": ("CPU a party", "cores", LOWER),
}

# What must be reached.
BOUNDS = {
    "open": {"reached": .6, "sent": 2.4}, "constant": {"utilisation": .95, "queue_p95": 45, "loss": 0, "reached": 2},
    "rfc51": {"utilisation": .9, "freezes": 0, "rise_2_5": 4, "rise_1": 4, "drop_fits": .8, "drop_queue": 1.5, "drop_loss": .01, "drop_audio_wait": 250},
    "loss5": {"sent": 2.4, "freezes": 0}, "loss10": {"sent": 2.0, "freezes": 0},
    "two": {"jain": .98, "queue_p95": 50}, "four": {"jain": .98, "queue_p95": 50}, "tcp": {"share": .25, "audio_lost": 0}, "cut": {"first_frame": .5},
    "squeezed": {"target_change": .05, "rung_changes": 0}, "uplink": {"audio_dropped": 0, "queue_p95": 150}, "five": {"encoder_ratio": 1.3},
}
# A bound that is a part of what Chromium needed in the same run.
PEER_BOUNDS = {"cpu": {"cpu": .6}}
