"""Cases of connect.py in which the network changes under a call: cables, addresses, an hour of both."""
import json
import time

import lab
from connecting import ONE_WAY, first_picture_after, peers
from packets import AUDIO
from parties import Failed
from stage import FARTHER

# Seconds of calm before something happens, so long that what is not needed at first may have been let
# go, and of watching after it.
CALM, AFTER = 30, 8


def sound(packets, direction, since, until):
    """When packets of sound came through a link."""
    return [p.at for p in packets if p.direction == direction and p.fate == "ok" and p.payload_type in AUDIO and since <= p.at < until]


def longest_gap(times, since, until):
    """The longest wait between two packets, the edges of the span included; None for no packets."""
    if not times:
        return None
    edges = [since, *sorted(times), until]
    return round(max(b - a for a, b in zip(edges, edges[1:])), 3)


def cable(standby):
    def drive(stage):
        stage.homes("portrestricted", "portrestricted", delay=ONE_WAY, mobile=(1,))
        stage.serve()
        if not standby:
            lab.second_uplink(1, "down")
        link = stage.link()
        people = [stage.join(home, link) for home in (2, 1)]
        stage.everyone_sees(people)
        stage.sleep(CALM)
        if not standby:
            lab.second_uplink(1, "up")
        pulled = time.time()
        lab.carrier(1, "down")
        stage.sleep(AFTER)
        other, moved = people
        since, until = pulled - 1, pulled + AFTER - .5
        sent = sound(stage.packets(2), "down", since, until)
        # What still reached the router after the pull reached nobody.
        first, second = sound(stage.packets(1), "down", since, pulled), sound(stage.packets("m1"), "down", since, until)
        if len(first) < 25:
            raise Failed("the call did not go through the cable that was pulled")
        received = first + [at + FARTHER / 1e3 for at in second]
        gaps = [longest_gap(times, since, until) for times in (sent, received)]
        if None in gaps:
            raise Failed("no sound was seen on the links: is it relayed inside of TLS?")
        figures = {"gap": max(gaps), "gap_sent": gaps[0], "gap_received": gaps[1],
                   "concealed": max(p.growth("audio_concealed_ms", since, until + 1) or 0 for p in people),
                   "new_picture": max(first_picture_after(p, peers(p)[0], pulled) or 99 for p in people)}
        lost = sum(len(p.events("participant_left")) for p in people)
        if lost or moved.shown() is None:
            raise Failed("somebody lost the other")
        stage.part(*people)
        return figures
    drive.__doc__ = f"Cable pulled, a second interface {'there all the time' if standby else 'that only then comes up'}."
    return drive


def readdress(stage):
    """The address of a host changes, as from one Wi-Fi to another."""
    stage.homes("portrestricted", "portrestricted", delay=ONE_WAY)
    stage.serve()
    link = stage.link()
    people = [stage.join(home, link) for home in (2, 1)]
    stage.everyone_sees(people)
    stage.sleep(CALM)
    changed = time.time()
    lab.readdress(1, "lan")
    stage.sleep(14.5)
    waits = [first_picture_after(p, peers(p)[0], changed) for p in people]
    since, until = changed - 1, changed + 10
    gaps = [longest_gap(sound(stage.packets(home), "down", since, until), since, until) for home in (1, 2)]
    stage.part(*people)
    return {"new_picture": max(w if w is not None else 99 for w in waits), "gap": None if None in gaps else max(gaps)}


def blocked(stage):
    """A firewall begins to block UDP in the middle of a call."""
    stage.homes("portrestricted", "portrestricted", delay=ONE_WAY)
    stage.serve()
    link = stage.link()
    people = [stage.join(home, link) for home in (2, 1)]
    stage.everyone_sees(people)
    stage.sleep(CALM)
    changed = time.time()
    lab.change_nat("1", "udpblocked")
    stage.sleep(14.5)
    waits = [first_picture_after(p, peers(p)[0], changed) for p in people]
    flow = stage.truth(1)
    wrong = sum(p.shown() != "turn-tcp" for p in people)
    stage.part(*people)
    return {"new_picture": max(w if w is not None else 99 for w in waits), "wrongly_shown": wrong + (not flow or flow[1] != "turn-tcp")}


# What happens every half minute, over and over: each is undone by a later one.
CHANGES = [("cable of home 1 out", lambda: lab.carrier(1, "down")), ("new address in home 2", lambda: lab.readdress(2, "lan")),
           ("cable of home 1 in", lambda: lab.carrier(1, "up")), ("new public address of home 3", lambda: lab.readdress(3, "wan")),
           ("UDP blocked at home 4", lambda: lab.change_nat("4", "udpblocked")), ("second uplink of home 1 gone", lambda: lab.second_uplink(1, "down")),
           ("UDP open at home 4", lambda: lab.change_nat("4", "portrestricted")), ("second uplink of home 1 back", lambda: lab.second_uplink(1, "up"))]
# Seconds from one change to the next, and of each of them for which a link may be without pictures.
PERIOD, GRACE = 30, 10


def hour(minutes):
    def drive(stage):
        stage.homes("portrestricted", "portrestricted", "portrestricted", "portrestricted", delay=ONE_WAY, mobile=(1,))
        stage.serve()
        link = stage.link()
        people = [stage.join(home, link) for home in (1, 2, 3, 4)]
        stage.everyone_sees(people, 20)
        stage.sleep(10)
        began, stuck, memory, number = time.time(), 0, {p: [] for p in people}, 0
        names = {p.me(): p.home for p in people}
        while time.time() < began + minutes * 60:
            what, change = CHANGES[number % len(CHANGES)]
            number += 1
            changed = time.time()
            change()
            stage.sleep(max(0, began + number * PERIOD - time.time()))
            for person in people:
                memory[person].append((time.time() - began, person.memory()))
                for peer, home in names.items():
                    if home != person.home and not person.pictures(changed + GRACE, time.time(), peer):
                        stuck += 1
                        print(f"    {time.time() - began:5.0f} s: home {person.home} has no pictures of {home} after: {what}; shown as {person.shown(peer)}", flush=True)
            # The logs of the links are not read here: they are long.
        with open(f"{stage.folder}/memory.json", "w") as f:
            json.dump({person.label: [(round(at), round(mb, 1)) for at, mb in samples] for person, samples in memory.items()}, f)
        grown = []
        for person, samples in memory.items():
            settled = [mb for at, mb in samples if at >= min(300, minutes * 30)]
            if len(settled) >= 4:
                part = max(2, len(settled) // 6)
                grown.append((sorted(settled[-part:])[part // 2] / sorted(settled[:part])[part // 2] - 1) * 100)
        figures = {"stuck": stuck, "changes": number, "memory": round(max(m for s in memory.values() for _, m in s), 1),
                   "memory_growth": round(max(grown), 2) if grown else None,
                   "left": sum(len(p.events("participant_left")) for p in people)}
        stage.part(*people)
        return figures
    drive.__doc__ = f"Four people for {minutes} minutes, a change of path every {PERIOD} s."
    return drive
