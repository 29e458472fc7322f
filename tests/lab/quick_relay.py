"""The quick check of the relay: two people with a direct link, a third whose coming makes the call too large for a mesh.

Bounds are wide enough for two busy cores; what they tell is whether it works at all. The benchmark
tells how well.
"""
import time

import lab
from crowd import Crowd, now_after
from parties import Failed
from stage import Stage

# Seconds for pictures to come, for everybody to go over to the relay, and for the links to be closed.
SETUP, CHANGE, CLOSING = 20, 20, 5
# The longest that a picture may stand still, in seconds.
STILL = 2


def check(folder):
    """Prints what held and what did not; returns the exit status."""
    stage = Stage(folder)
    failed = []

    def expect(what, held, value):
        print(f"{'ok  ' if held else 'FAIL'} {what}: {value}", flush=True)
        if not held:
            failed.append(what)
    try:
        crowd = Crowd(stage, 3, server=("--mesh-limit", "2"))
        crowd.join(1, 2)
        crowd.together(SETUP)
        began = now_after(stage, 3)
        expect("two people are a mesh", set(crowd.shown().values()) == {"direct"}, sorted(crowd.shown().values()))
        crowd.join(3)
        crowd.together(SETUP)
        over = crowd.when_shown("relay", began, CHANGE)
        since = now_after(stage, CLOSING)
        until = now_after(stage, 3)
        expect("a third makes everybody take the relay", True, f"{over} s after joining")
        pictures = [person.pictures(since, until, peer) for person, _, peer, _ in crowd.pairs()]
        expect("pictures of everybody come through it", all(pictures), pictures)
        gap = max(crowd.longest_pictures_gap(began, until, [1, 2]).values())
        expect("the two who were there saw each other all the time", gap <= STILL, f"at most {gap * 1e3:.0f} ms without a new picture")
        interrupted = sum(len(p.events("link_interrupted")) for p in crowd.people.values())
        expect("nobody was lost on the way", not interrupted, f"{interrupted} interrupted")
        print(f"     {stage.idle():.0%} of the CPU was idle")
        crowd.end()
        voices = [sum(p.payload_type == 111 and p.direction == "down" for p, to in crowd.media(home, since, until) if to == "relay") / (until - since) for home in crowd.people]
        expect("so does the sound of both others", min(voices) >= 60, f"{min(voices):.0f} packets a second of 100")
        straight = crowd.direct_packets(since, until, crowd.people)
        expect("nothing goes straight any more", not straight, f"{straight} packets")
    except (Failed, lab.LabError) as error:
        print(f"FAIL {error}")
        failed.append("the call")
    finally:
        stage.close()
    print("FAILED: " + ", ".join(failed) if failed else "all held")
    return int(bool(failed))
