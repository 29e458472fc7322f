"""Cases of connect.py: how a call comes about, and what it does when its server goes."""
import time

import lab
import truth
from parties import Failed, wait_for
from truth import best

# Homes are 10 ms from the net each: a round trip between two takes 40 ms.
ONE_WAY = 10
# How many calls a run of `join` makes.
JOINS = 5


def large(clip):
    """What a person's camera sends."""
    return ("--camera", f"file:{clip}", "--microphone", "tone", "--max-bitrate", "2.5M")


def join(host, newcomer, plain=False):
    """Calls in which the newcomer joins one who is there; each figure is a list of one a call."""
    expected = best(host, newcomer)

    def drive(stage):
        stage.homes(host, newcomer, delay=ONE_WAY)
        stage.serve()
        figures = {key: [] for key in ("first_picture", "from_the_start", "connected", "first_sound")}
        for number in range(JOINS):
            link = stage.link(plain)
            there = stage.join(1, link, f"{number}-there", large(stage.clip))
            # One who only just came is still busy with coming.
            stage.sleep(.7)
            comer = stage.join(2, link, f"{number}-comer", large(stage.clip))
            stage.everyone_sees([there, comer])
            stage.sleep(1.5)
            rung = truth.worse(*(flow and flow[1] for flow in (stage.truth(1), stage.truth(2))))
            if rung != expected or comer.shown() != expected:
                raise Failed(f"call {number} went {rung} and showed {comer.shown()}, not {expected}")
            joined, picture = comer.event("joined"), comer.event("first_video_frame")
            figures["first_picture"].append(picture["since_join_ms"])
            figures["from_the_start"].append(picture["since_start_ms"] - joined["since_start_ms"] + joined["after_ms"])
            figures["connected"].append(comer.event("link_connected")["since_join_ms"])
            sound = comer.event("first_audio")
            figures["first_sound"].append(sound and sound["since_join_ms"])
            stage.part(there, comer)
        return figures
    drive.__doc__ = f"Join to the first picture, {expected}, server {'in plain' if plain else 'over TLS'}, 40 ms round trip."
    return drive


def firewall(stage):
    """Four people, one of them behind a router that blocks UDP."""
    stage.homes("udpblocked", "portrestricted", "portrestricted", "fullcone", delay=ONE_WAY)
    stage.serve()
    link = stage.link()
    people = {}
    # The blocked one comes second: it joins one and is joined by two.
    for home in (2, 1, 3, 4):
        people[home] = stage.join(home, link)
    stage.everyone_sees(list(people.values()), 20)
    stage.sleep(6)
    names = {person.me(): home for home, person in people.items()}
    until = time.time()
    wrong, relayed, direct = 0, 0, 0
    for home, person in people.items():
        for peer, other in names.items():
            if other == home:
                continue
            blocked = 1 in (home, other)
            taken = link_taken(stage, home, other, until)
            shown = person.shown(peer)
            expected = "turn-tcp" if blocked else "direct"
            wrong += shown != expected
            direct += blocked and taken == "direct"
            relayed += not blocked and taken != "direct"
    stuck = sum(not person.pictures(until - 3, until, peer) for home, person in people.items() for peer, other in names.items() if other != home)
    stage.part(*people.values())
    return {"relayed_needlessly": relayed, "wrongly_shown": wrong, "direct_wrongly": direct, "stuck": stuck}


def link_taken(stage, home, other, until):
    """Whether a home's packets to another went there directly, by what its own link carried."""
    theirs = lab.home(other)["public"], lab.home(other)["addrs"][0]
    bytes_there = sum(p.bytes for p in stage.packets(home) if until - 2 <= p.at < until and p.protocol == truth.UDP and p.remote in theirs)
    # Two seconds of sound alone are 8 kB.
    return "direct" if bytes_there > 4000 else "relayed"


def signalling(stage):
    """The server is killed in a four-person call for 60 s and comes back empty; a fifth joins."""
    stage.homes("portrestricted", "portrestricted", "fullcone", "none", "portrestricted", delay=ONE_WAY)
    stage.serve()
    link = stage.link()
    people = [stage.join(home, link) for home in (1, 2, 3, 4)]
    stage.everyone_sees(people, 20)
    stage.sleep(5)
    there, before = {p: peers(p) for p in people}, time.time()
    stage.servers.kill_meetings()
    stage.sleep(OUTAGE)
    back = time.time()
    stage.servers.start_meetings()
    listening = time.time()
    wait_for(lambda: all(p.alive() and p.events("reconnected", since=before) for p in people), "everyone resumed", 30)
    resumed = max(p.events("reconnected", since=before)[0]["at"] for p in people)
    stage.sleep(2)
    fifth = stage.join(5, link)
    joined = time.time()
    everyone = people + [fifth]
    wait_for(lambda: all(p.alive() and len({e["peer"] for e in p.events("first_video_frame")}) >= 4 for p in everyone), "the fifth sees and is seen", 15)
    # From the server's end until 5 s after its return nothing of the pictures may show it.
    until = back + 5
    freezes = sum(grown(p, "freeze_count", peer, before, until) for p in people for peer in there[p])
    slowest = min(p.picture_rate(before, back, peer) / (p.picture_rate(before - 5, before, peer) or 1) for p in people for peer in there[p])
    left = sum(len(p.events("participant_left", since=before)) for p in people)
    interrupted = sum(len(p.events("link_interrupted", since=before)) for p in people)
    figures = {"freezes": freezes, "rate_kept": round(slowest, 3), "thrown_out": left, "interrupted": interrupted,
               "resumed": round(resumed - listening, 2), "fifth": round(time.time() - joined, 2), "fifth_sees": len({e["peer"] for e in fifth.events("first_video_frame")})}
    stage.part(*everyone)
    return figures


# Seconds without a server.
OUTAGE = 60


def peers(person):
    """Those whom a participant saw."""
    return sorted({e["peer"] for e in person.events("first_video_frame")})


def grown(person, name, peer, since, until):
    values = [line[name] for line in person.lines() if line["type"] == "link" and line["peer"] == peer and line.get(name) is not None and since - 1.1 <= line["at"] < until]
    return values[-1] - values[0] if values else 0


def alone(stage):
    """A public address changes while the server is away, three people."""
    # Two of them let strangers in: without a server, and so without STUN, nobody else could be reached anew.
    stage.homes("portrestricted", "none", "fullcone", delay=ONE_WAY)
    stage.serve()
    link = stage.link()
    people = [stage.join(home, link) for home in (1, 2, 3)]
    stage.everyone_sees(people, 20)
    stage.sleep(4)
    stage.servers.kill_meetings()
    stage.sleep(3)
    changed = time.time()
    lab.readdress(1, "wan")
    stage.sleep(15)
    figures = {"new_picture": max(first_picture_after(p, peer, changed) or 99 for p in people for peer in peers(p) if p is people[0] or peer == people[0].me()),
               "stuck": sum(not p.pictures(changed + 11, changed + 14, peer) for p in people for peer in peers(p))}
    stage.part(*people)
    return figures


def first_picture_after(person, peer, change):
    """Seconds from a change until pictures come anew: the time without any around it. None if none came.

    A link's lines come once a second and count pictures and what was frozen: where nothing froze, the
    longest wait was under the least that counts as a freeze, which is then returned."""
    frozen = grown(person, "freeze_ms", peer, change - 1, change + 14)
    if not person.pictures(change + 1.5, change + 14, peer):
        return None
    return round(max(frozen / 1e3, LEAST_FREEZE), 3)


# A wait between pictures that is shorter counts as none (seconds).
LEAST_FREEZE = .2
