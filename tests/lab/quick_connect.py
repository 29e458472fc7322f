"""The quick check of connecting: three people whom nothing but a relay joins, and a cable that is pulled.

Bounds are wide enough for two busy cores; what they tell is whether it works at all. The benchmark
tells how well.
"""
import time

import lab
import truth
from connecting import ONE_WAY
from parties import Failed
from stage import Stage

# Homes 1, 2 and 3; home 2 has a second uplink.
KINDS = ("symmetric", "portrestricted", "udpblocked")
# Seconds for pictures to come, for paths to settle, and for all pictures to go on after a pull; a pull
# ends nothing at first that was under way, so what counts begins a little later.
SETUP, SETTLING, RECOVERY, UNDER_WAY = 15, 6, 20, 2


def check(folder):
    """Prints what held and what did not; returns the exit status."""
    stage = Stage(folder)
    failed = []

    def expect(what, held, value):
        print(f"{'ok  ' if held else 'FAIL'} {what}: {value}", flush=True)
        if not held:
            failed.append(what)
    try:
        stage.homes(*KINDS, delay=ONE_WAY, mobile=(2,))
        stage.serve("own")
        link = stage.link()
        people = {home: stage.join(home, link) for home in stage.kinds}
        stage.everyone_sees(list(people.values()), SETUP)
        names = {person.me(): home for home, person in people.items()}
        expected = {(home, peer): truth.best(stage.kinds[home], stage.kinds[names[peer]]) for home in people for peer in names if names[peer] != home}

        def shown():
            return {(home, peer): people[home].shown(peer) for home, peer in expected}
        end = time.time() + SETTLING
        while shown() != expected and time.time() < end:
            stage.sleep(.2)
        expect("every link takes the best path there is, and shows it", shown() == expected, sorted(set(shown().values())))
        stage.sleep(1.2)
        flows = {home: stage.truth(home) for home in people}
        expect("behind a router that blocks UDP everything goes through TCP", flows[3] and flows[3][1] == "turn-tcp", flows[3])
        expect("nobody behind a symmetric translator goes directly", flows[1] and flows[1][1] == "turn-udp", flows[1])
        pulled = time.time()
        lab.carrier(2, "down")
        stage.sleep(UNDER_WAY)
        counts = [0]
        while not all(counts) and time.time() < pulled + RECOVERY:
            stage.sleep(.5)
            counts = [people[home].pictures(pulled + UNDER_WAY, time.time(), peer) for home, peer in expected]
        expect("pictures go on everywhere after a cable was pulled", all(counts), f"{counts} until {time.time() - pulled:.0f} s after it")
        expect("nobody was lost", not any(person.events("participant_left") for person in people.values()), "all there")
        print(f"     {stage.idle():.0%} of the CPU was idle")
        stage.part(*people.values())
    except (Failed, lab.LabError) as error:
        print(f"FAIL {error}")
        failed.append("the call")
    finally:
        stage.close()
    print("FAILED: " + ", ".join(failed) if failed else "all held")
    return int(bool(failed))
