"""Cases of relay.py: calls that outgrow a mesh, with the real application and the real server."""
import os
import statistics
import time

import lab
from crowd import Crowd, now_after
from parties import Failed, wait_for

# The largest call that stays a mesh, and how long a call goes on through the relay when it has become
# small enough (seconds).
MESH_LIMIT, HOLD = 5, 30
FIVE, SIX = range(1, 6), range(1, 7)
# Links settle in this time after everybody sees everybody.
CALM = 8
# How long a change of way may take before the case gives up.
LONGEST_CHANGE = 20
# What is no more than this is no black tile: a second without a picture is what a person asks about.
BLACK = 1.0


def switch(stage):
    """5, 6, 5 participants at 2 % loss and 80 ms round trip: all go over to the relay, and back; several times."""
    crowd = Crowd(stage, 6, loss=2, coarse=True)
    people = crowd.join(*FIVE, record=True)
    crowd.together()
    stage.sleep(CALM)
    began = time.time()
    swings = [swing(stage, crowd) for _ in range(SWINGS)]
    interrupted = sum(len(p.events("link_interrupted", since=began)) for p in people)
    turns = [len(p.events("topology_changed", since=began)) for p in people]
    crowd.end()
    # Which of them takes long to find out waits until nobody is in the call.
    for it in swings:
        it["direct_packets"] = crowd.direct_packets(*it["over_settled"], SIX)
        if not all(any(to == "relay" for _, to in crowd.media(home, *it["over_settled"])) for home in FIVE):
            raise Failed("somebody sent nothing through the relay")
        it["relayed_packets"] = sum(to == "relay" for home in FIVE for _, to in crowd.media(home, *it["back_settled"]))
        it["sounds"] = worst_of(crowd.longest_sound_gap(*span) for span in it["changes"])
        it["sounds_between"] = max(crowd.longest_sound_gap(*it["between"]).values())
    say(stage, swings)
    sounds, pictures = ([max(it[what].values()) for it in swings] for what in ("sounds", "pictures"))

    def total(name):
        return sum(it[name] for it in swings)

    def middle(name):
        return round(statistics.median(it[name] for it in swings), 2)
    return {"sound_gap": round(max(sounds) * 1e3), "sound_gap_middle": round(statistics.median(sounds) * 1e3), "sound_gap_between": round(max(it["sounds_between"] for it in swings) * 1e3),
            "picture_gap": round(max(pictures) * 1e3), "picture_gap_middle": round(statistics.median(pictures) * 1e3), "picture_gap_between": round(max(it["still"] for it in swings) * 1e3),
            "black": sum(gap > BLACK for it in swings for gap in it["pictures"].values()) + interrupted, "paused": total("paused"), "over": middle("over"), "back": middle("back"),
            "sixth_sees": middle("sixth_sees"), "direct_packets": total("direct_packets"), "relayed_packets": total("relayed_packets"), "wrongly_shown": total("wrongly_shown"),
            "changes": max(turns), "lost": total("lost")}


# How often the sixth comes and goes in one call.
SWINGS = 5


def swing(stage, crowd):
    """The sixth comes and goes; what came of it, and when what of it is to be looked at afterwards."""
    people = [crowd.people[home] for home in FIVE]
    began = now_after(stage, 1)
    sixth, = crowd.join(6)
    came = sixth.event("joined")["at"]
    over = crowd.when_shown("relay", came, LONGEST_CHANGE, FIVE)
    crowd.together()
    first_seen = max(e["since_join_ms"] for e in sixth.events("first_video_frame"))
    # Links that nobody needs any more stay for a moment.
    over_settled = now_after(stage, 6), now_after(stage, 3)
    wrongly = sum(path != "relay" for path in crowd.shown().values())
    crowd.leave(6)
    left = time.time()
    back = crowd.when_shown("direct", left, HOLD + LONGEST_CHANGE, waiting=HOLD - 1)
    back_settled = now_after(stage, AROUND + 3), now_after(stage, 3)
    wrongly += sum(path != "direct" for path in crowd.shown().values())
    # What loss makes up all the time is no matter of the switch: only what is around one counts.
    changes = [(began, came + over + AROUND), (left + HOLD - 1, left + back + AROUND)]
    between = came + over + AROUND, left

    def of_others(name):
        return sum(e["peer"] != sixth.me() for p in people for e in p.events(name, since=began))
    return {"changes": changes, "between": between, "over_settled": over_settled, "back_settled": back_settled, "over": over, "back": round(back - HOLD, 2), "sixth_sees": first_seen,
            "pictures": worst_of(crowd.longest_pictures_gap(*span) for span in changes), "still": max(crowd.longest_pictures_gap(*between).values()),
            "wrongly_shown": wrongly, "paused": of_others("pictures_paused"), "lost": of_others("participant_left")}


# Seconds for which a change may still be felt.
AROUND = 5


def worst_of(gaps):
    """The longest gap of every pair in several spans."""
    worst = {}
    for span in gaps:
        for pair, gap in span.items():
            if gap is None:
                raise Failed(f"there is no recording of {pair}")
            worst[pair] = max(worst.get(pair, 0), gap)
    return worst


def say(stage, swings):
    """Keeps the gaps of every pair beside the run's figures."""
    for name in ("pictures", "sounds"):
        with open(f"{stage.folder}/{name}.txt", "w") as f:
            f.writelines(f"swing {number}, {receiver} of {sender}: {gap} s\n" for number, it in enumerate(swings, 1) for (receiver, sender), gap in sorted(it.get(name, {}).items()))


def whole(stage):
    """The same five as in `uplink`, the whole call relayed: what goes through the relay then."""
    stage.folder += "/whole"
    os.makedirs(stage.folder, exist_ok=True)
    crowd = Crowd(stage, 5, server=("--mesh-limit", "2"), rate="1M")
    crowd.join(*FIVE)
    crowd.together()
    began = time.time()
    crowd.when_shown("relay", began, LONGEST_CHANGE)
    stage.sleep(CALM)
    lab.ctl("home1", f"up {NARROW}")
    since = now_after(stage, 15)
    until = now_after(stage, SPAN)
    crowd.end()
    return crowd.relay_bytes(since, until, FIVE) / SPAN * 8 / 1e6


# The narrow uplink, and for how long is looked at the call with it.
NARROW, SPAN = "rate=600kbit queue=300ms", 20
# For how long is waited until the uplink that is wide again feeds a mesh (seconds).
LONGEST_RETURN = 90


def uplink(stage):
    """One of five on a 600 kbit/s uplink: only that one's media takes the relay."""
    crowd = Crowd(stage, 5, rate="1M")
    people = crowd.join(*FIVE)
    one, others = people[0], people[1:]
    crowd.together()
    stage.sleep(CALM)
    before = time.time()
    stage.sleep(10)
    narrowed = time.time()
    lab.ctl("home1", f"up {NARROW}")
    through = [(p, one.me()) for p in others]
    wait_for(lambda: stage.sleep(.2) or all(crowd.path(p, peer) == "relay" for p, peer in through), "the others take the narrow one through the relay", 40)
    moved = time.time() - narrowed
    since = now_after(stage, CALM)
    until = now_after(stage, SPAN)
    wrongly = sum(path != ("relay" if sender == 1 else "direct") for (_, sender), path in crowd.shown().items())
    changes = []
    for person, home, peer, other in crowd.pairs(list(FIVE[1:])):
        trips = [statistics.median(v for _, v in trip) if trip else None for trip in (round_trips(person, peer, before, narrowed), round_trips(person, peer, since, until))]
        if None not in trips:
            changes.append(abs(trips[1] - trips[0]))
    # Each of the others ought to have seen and heard the narrow one all the time.
    fewest = min(p.pictures(since, until, one.me()) or 0 for p in others) / SPAN
    concealed = max(growth_of(p, "audio_concealed_ms", one.me(), since, until) for p in others)
    back_asked, back = time.time(), None
    lab.ctl("home1", "up rate=100mbit")
    while back is None and time.time() < back_asked + LONGEST_RETURN:
        stage.sleep(.2)
        if all(crowd.path(p, peer) == "direct" for p, peer in through):
            back = round(time.time() - back_asked, 1)
    crowd.end()
    # The narrow one's media goes up to the relay alone, and everybody else's straight to everybody.
    sent = {home: [to for packet, to in crowd.media(home, since, until) if packet.direction == "up"] for home in FIVE}
    if not sent[1]:
        raise Failed("no media at the narrow home")
    sent_directly = sum(to in FIVE for to in sent[1])
    elsewhere = sum(to == "relay" for home in FIVE[1:] for to in sent[home])
    own = crowd.relay_bytes(since, until, FIVE) / SPAN * 8 / 1e6
    stage.close()
    all_of_it = whole(stage)
    return {"share": round(own / all_of_it, 3), "relayed": round(own, 3), "whole": round(all_of_it, 3), "round_trip_change": round(max(changes), 2), "moved": round(moved, 2),
            "back": back, "rate": round(fewest, 1), "concealed": concealed, "wrongly_shown": wrongly, "sent_directly": sent_directly, "relayed_packets": elsewhere}


def round_trips(person, peer, since, until):
    return [(line["at"], line["rtt_ms"]) for line in person.lines() if line["type"] == "link" and line["peer"] == peer and line.get("rtt_ms") is not None and since <= line["at"] < until]


def growth_of(person, name, peer, since, until):
    values = [line[name] for line in person.lines() if line["type"] == "link" and line["peer"] == peer and line.get(name) is not None and since <= line["at"] < until]
    return values[-1] - values[0] if values else 0


# How many join late in one run of `late`.
LATE = 5


def late(stage):
    """Six in a relayed call, a seventh joins, 80 ms round trip: until pictures are seen."""
    crowd = Crowd(stage, 7)
    crowd.join(*SIX)
    crowd.together()
    crowd.when_shown("relay", time.time(), LONGEST_CHANGE)
    stage.sleep(CALM)
    figures = {"first_picture": [], "all_pictures": [], "first_sound": []}
    for _ in range(LATE):
        seventh, = crowd.join(7)
        crowd.together()
        seen = [e["since_join_ms"] for e in seventh.events("first_video_frame")]
        sound = seventh.event("first_audio")
        figures["first_picture"].append(min(seen))
        figures["all_pictures"].append(max(seen))
        figures["first_sound"].append(sound and sound["since_join_ms"])
        stage.sleep(2)
        crowd.leave(7)
        stage.sleep(3)
    crowd.end()
    return figures


def squeezed(count):
    def drive(stage):
        # Two speak: more voices, with what each packet costs beside them, would not fit 150 kbit/s.
        crowd = Crowd(stage, count, size="640x360", rate="800k", speak=(2, 3))
        people = crowd.join(*range(1, count + 1), wait=False)
        for person in people:
            person.entered()
        crowd.together(40)
        crowd.when_shown("relay", time.time(), LONGEST_CHANGE)
        since = now_after(stage, 15)
        changed = now_after(stage, 15)
        lab.ctl("home1", "down rate=150kbit queue=300ms")
        settled = now_after(stage, 15)
        until = now_after(stage, 20)
        small, others = people[0], people[1:]
        peers = [p.me() for p in people]
        heard = speakers(small, peers, settled, until)
        concealed = max(growth_of(small, "audio_concealed_ms", peer, settled, until) for peer in heard)
        rates = []
        sizes = 0
        for p in others:
            for peer in peers:
                if peer != p.me():
                    before, after = p.picture_rate(since, changed, peer), p.picture_rate(settled, until, peer)
                    rates.append(after / before if before else 1)
                    sizes += shrunk(p, peer, changed, until)
        own = sum(bits(small, peer, settled, until) for peer in peers if peer != small.me())
        paused = len(small.events("pictures_paused", since=changed))
        crowd.end()
        down = sum(p.bytes for p in crowd.packets(1, settled, until) if p.direction == "down" and p.fate == "ok") * 8 / (until - settled) / 1e3
        return {"concealed": concealed, "speakers": len(heard), "others_rate": round(min(rates), 3), "others_shrunk": sizes, "squeezed_to": round(own / 1e3), "down": round(down), "paused": paused}
    drive.__doc__ = f"One of {count} receivers squeezed to 150 kbit/s in a relayed call."
    return drive


def speakers(person, peers, since, until):
    """Whose sound came to somebody between two times."""
    return [peer for peer in peers if peer != person.me() and growth_of(person, "audio_packets", peer, since, until) > 25 * (until - since)]


def bits(person, peer, since, until):
    """Mean bits a second of somebody's pictures."""
    values = [line["video_received_bps"] for line in person.lines() if line["type"] == "link" and line["peer"] == peer and line.get("video_received_bps") is not None and since <= line["at"] < until]
    return sum(values) / len(values) if values else 0


def shrunk(person, peer, since, until):
    """How often somebody's picture became smaller for a receiver."""
    widths = [line["received_width"] for line in person.lines() if line["type"] == "link" and line["peer"] == peer and line.get("received_width") and since - 2 <= line["at"] < until]
    return sum(b < a for a, b in zip(widths, widths[1:]))


# Seconds until a killed server is started again; longer where a small call is to show what it does without.
AWAY, LONG_AWAY = 1, 15


def killed(stage):
    """The server killed in a relayed call of six, started again after 1 s: until all is back."""
    crowd = Crowd(stage, 6)
    people = crowd.join(*SIX)
    crowd.together()
    crowd.when_shown("relay", time.time(), LONGEST_CHANGE)
    stage.sleep(CALM)
    killed_at = time.time()
    stage.servers.kill_meetings()
    stage.sleep(AWAY)
    stage.servers.start_meetings()
    listening = time.time()
    until = now_after(stage, 25)
    gaps = crowd.longest_pictures_gap(killed_at, until - 1)
    say(stage, [{"pictures": gaps}])
    without = [pair for pair, gap in gaps.items() if gap > until - killed_at - 5]
    lost = sum(len(p.events("participant_left", since=killed_at)) for p in people)
    wrong = sum(path != "relay" for path in crowd.shown().values())
    resumed = [next((e["at"] for e in p.events("reconnected", since=killed_at)), None) for p in people]
    crowd.end()
    if None in resumed:
        raise Failed("somebody did not come back to the server")
    return {"back": round(max(gaps.values()) - (listening - killed_at), 2), "picture_gap": round(max(gaps.values()) * 1e3), "resumed": round(max(resumed) - listening, 2),
            "stuck": len(without), "left": lost, "wrongly_shown": wrong}


def fallback(stage):
    """Five who still go through the relay, and the server killed for 15 s: the call becomes a mesh."""
    crowd = Crowd(stage, 6)
    crowd.join(*SIX)
    crowd.together()
    crowd.when_shown("relay", time.time(), LONGEST_CHANGE)
    stage.sleep(4)
    crowd.leave(6)
    people = list(crowd.people.values())
    stage.sleep(6)
    killed_at = time.time()
    stage.servers.kill_meetings()
    crowd.when_shown("direct", killed_at, LONG_AWAY)
    over = time.time() - killed_at
    stage.sleep(max(0, killed_at + LONG_AWAY - time.time()))
    meanwhile = [(person, peer) for person, _, peer, _ in crowd.pairs() if not person.pictures(killed_at + LONG_AWAY - 3, killed_at + LONG_AWAY, peer)]
    stage.servers.start_meetings()
    until = now_after(stage, 12)
    gaps = crowd.longest_pictures_gap(killed_at, until - 1)
    say(stage, [{"pictures": gaps}])
    stuck = sum(not person.pictures(until - 4, until, peer) for person, _, peer, _ in crowd.pairs())
    lost = sum(len(p.events("participant_left", since=killed_at)) for p in people)
    wrong = sum(path != "direct" for path in crowd.shown().values())
    crowd.end()
    return {"mesh_after": round(over, 2), "picture_gap": round(max(gaps.values()) * 1e3), "stuck": len(meanwhile) + stuck, "left": lost, "wrongly_shown": wrong}


def blocked(kind, rung):
    def drive(stage):
        crowd = Crowd(stage, 6, kinds=[kind] + ["portrestricted"] * 5)
        crowd.join(*FIVE)
        crowd.together()
        stage.sleep(CALM)
        began = time.time()
        crowd.join(6)
        crowd.together()
        over = crowd.when_shown("relay", began, LONGEST_CHANGE)
        since = now_after(stage, 5)
        until = now_after(stage, 5)
        stuck = sum(not person.pictures(since, until, peer) for person, _, peer, _ in crowd.pairs())
        # What the blocked one has of sound, and the others of its.
        quiet = sum(growth_of(person, "audio_packets", peer, since, until) < 25 * (until - since) for person, home, peer, other in crowd.pairs() if 1 in (home, other))
        crowd.end()
        direct = crowd.direct_packets(since, until, SIX)
        watch = stage.watches[1]
        watch.look()
        flow = watch.media(since, until)
        return {"over": over, "stuck": stuck, "quiet": quiet, "direct_packets": direct, "other_path": int(not flow or flow[1] != rung)}
    drive.__doc__ = f"One of six behind a {kind} router: takes part through the relay, by {rung}."
    return drive


def unreachable(stage):
    """One of six has no way to the relay at all: keeps direct links, and was warned before."""
    # Nothing but the server's TCP port 443 is left for it, and there is no TURN there. Without TURN there
    # is no STUN either: nobody has a router that translates.
    crowd = Crowd(stage, 6, kinds=["none"] * 6, server=("--no-turn",))
    lab.sh(f"ip netns exec {lab.ns('r1')} nft 'add table ip away; add chain ip away on {{ type filter hook forward priority -5; }}; "
           f"add rule ip away on ip daddr {lab.SRV} meta l4proto udp drop'")
    people = crowd.join(*FIVE)
    crowd.together()
    one = people[0]

    def warned():
        return [e for p in (one,) for e in p.events("notice") if e["about"] == "relay" and e["level"] == "warning"]
    try:
        wait_for(warned, "the one without a way to the relay is warned", 20)
        early = 1
    except Failed:
        early = 0
    others_warned = sum(e["about"] == "relay" and e["level"] == "warning" for p in people[1:] for e in p.events("notice"))
    began = time.time()
    crowd.join(6)
    crowd.together()
    rest = range(2, 7)
    over = crowd.when_shown("relay", began, LONGEST_CHANGE, list(rest))
    since = now_after(stage, 6)
    until = now_after(stage, 4)
    wrong = sum(path != ("direct" if 1 in pair else "relay") for pair, path in crowd.shown().items())
    stuck = sum(not person.pictures(since, until, peer) for person, _, peer, _ in crowd.pairs())
    crowd.end()
    sent = {home: [to for packet, to in crowd.media(home, since, until) if packet.direction == "up"] for home in rest}
    among = sum(to in rest for home in rest for to in sent[home])
    return {"warned": early, "others_warned": others_warned, "over": over, "wrongly_shown": wrong, "not_direct": sum(1 not in sent[home] for home in rest), "direct_packets": among, "stuck": stuck}


def idle(stage):
    """What the kept way to the relay costs in a mesh of three."""
    crowd = Crowd(stage, 3)
    crowd.join(1, 2, 3)
    crowd.together()
    since = now_after(stage, 10)
    until = now_after(stage, 40)
    crowd.end()
    each = [crowd.relay_bytes(since, until, [home]) / (until - since) for home in (1, 2, 3)]
    if not all(each):
        raise Failed("somebody keeps no way to the relay")
    return {"kept": round(max(each), 1)}
