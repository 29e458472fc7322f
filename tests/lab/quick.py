"""The quick check: one call, a narrow link that narrows, recovers and is cut. Pass or fail.

Bounds are wide enough for two busy cores; what they tell is whether the control works at all. The
benchmark tells how well.
"""
from packets import AUDIO
from parties import Failed, Nonstop
from scene import Scene

import lab

WIDE, NARROW = 2.0, .5
DROP, RISE, CUT, END = 20, 35, 52, 66
CUT_SECONDS = 3


def check(folder, clip):
    """Prints what held and what did not; returns the exit status."""
    scene = Scene(Nonstop, folder, clip)
    failed = []

    def expect(what, held, value):
        print(f"{'ok  ' if held else 'FAIL'} {what}: {value}", flush=True)
        if not held:
            failed.append(what)
    try:
        scene.homes(f"rate={WIDE}mbit queue=300ms", "", delay=25)
        sender, (receiver,) = scene.call()
        scene.until(DROP)
        dropped = scene.link(1, "up", f"rate={NARROW}mbit")
        scene.until(RISE)
        rose = scene.link(1, "up", f"rate={WIDE}mbit")
        scene.until(CUT)
        back = scene.cut(1, CUT_SECONDS) + CUT_SECONDS
        scene.until(END)
        log, idle = scene.finish()
        up = log.only()

        def mbps(since, until):
            return round(up.only(since=since, until=until).offered_bits() / (until - since) / 1e6, 2)

        def audio(since, until):
            return sum(p.fate == "ok" for p in up.only(since=since, until=until, payload_types=AUDIO).packets) / (until - since)
        connected = sender.connected()
        expect("the link connects directly", connected is not None and sender.path() == "direct", sender.path())
        before, squeezed = mbps(dropped - 8, dropped), mbps(rose - 8, rose)
        expect("pictures fill more than the narrow link before it narrows", before > 1.2 * NARROW, f"{before} Mbit/s")
        expect("sending falls below the narrow link", squeezed <= 1.05 * NARROW, f"{squeezed} Mbit/s of {NARROW}")
        sound = audio(rose - 8, rose)
        expect("sound goes on through the narrow link", sound >= 35, f"{sound:.0f} packets a second of 50")
        after = mbps(rose + 9, rose + 17)
        expect("sending rises again", after >= 1.3 * NARROW, f"{after} Mbit/s")
        frames, sound = receiver.frames(back + 5, back + 11), audio(back + 4, back + 11)
        expect("pictures come again after a cut", bool(frames), f"{frames} frames in 6 s")
        expect("sound comes again after a cut", sound >= 35, f"{sound:.0f} packets a second of 50")
        print(f"     {idle:.0%} of the CPU was idle")
    except (Failed, lab.LabError) as error:
        print(f"FAIL {error}")
        failed.append("the call")
    finally:
        scene.close()
    print("FAILED: " + ", ".join(failed) if failed else "all held")
    return int(bool(failed))
