#!/usr/bin/env python3
"""relay.py - calls that outgrow a mesh: does anybody notice the switch, and does the relay carry what it must?

  relay.py [--case NAME]... [--runs N] [--fresh] [--strict]
  relay.py --quick         a pass or fail check in under a minute
  relay.py --list          the cases

The real application and the real server, behind routers in a lab of its own: it needs root or a
kernel that gives users namespaces; where neither is, it says so and exits with status 77. Every run
is saved below target/bench/lab/switch/ as soon as it ends: after an interruption the same command goes
on where it stopped. A run counts until the programs or the cases change; --fresh measures again. The
table's rows go to target/bench/relay.json, beside those of the other programs that measure the relay.
A missed bound is a figure, not an error, unless it is --strict: the exit status tells whether every
case could be measured.

Environment: NONSTOP_BIN (folder of nonstop and nonstop-server; default target/release), WAN (path
of nonstop-wan).
"""
import argparse
import sys
import time

sys.dont_write_bytecode = True
import lab
import quick_relay
import relaying
from bench import HIGHER, LOWER, merge, print_table, verdict
from runs import Suite, absence

# Case: what runs, how long one run takes, how many runs.
CASES = {
    "switch": (relaying.switch, 280, 2), "uplink": (relaying.uplink, 240, 1), "late": (relaying.late, 90, 2),
    "squeezed": (relaying.squeezed(10), 110, 1), "squeezed-six": (relaying.squeezed(6), 100, 1),
    "killed": (relaying.killed, 60, 3), "fallback": (relaying.fallback, 70, 3),
    "blocked": (relaying.blocked("udpblocked", "turn-tcp"), 50, 1), "blocked-tls": (relaying.blocked("tls443", "turn-tls"), 50, 1),
    "unreachable": (relaying.unreachable, 60, 1), "idle": (relaying.idle, 65, 1),
}

# Figure: what it is called in the table, its unit, which way is better.
FIGURES = {
    "sound_gap": ("longest gap in the sound", "ms", LOWER), "picture_gap": ("longest time without a new picture", "ms", LOWER), "picture_gap_between": ("longest time without a new picture between the changes", "ms", LOWER), "black": ("black tiles", "", LOWER),
    "over": ("join of the last one until all take the relay", "s", LOWER), "back": ("back", "s", LOWER), "sixth_sees": ("join until the sixth sees everybody", "ms", LOWER),
    "sound_gap_middle": ("longest gap in the sound, of the middle one of all changes", "ms", LOWER), "sound_gap_between": ("longest gap in the sound between the changes", "ms", LOWER),
    "picture_gap_middle": ("longest time without a new picture, of the middle one of all changes", "ms", LOWER),
    "direct_packets": ("packets of media that go straight beside the relay", "", LOWER), "relayed_packets": ("packets of media through the relay beside links", "", LOWER),
    "wrongly_shown": ("tiles whose path is shown wrongly", "", LOWER), "changes": ("changes of topology", "", LOWER), "lost": ("people lost", "people", LOWER),
    "share": ("through the relay, of the whole call relayed", "", LOWER), "relayed": ("through the relay", "Mbit/s", LOWER), "whole": ("the whole call relayed", "Mbit/s", LOWER),
    "round_trip_change": ("change of the other links' round trip", "ms", LOWER), "moved": ("narrowing until the relay takes over", "s", LOWER),
    "rate": ("pictures of the narrow one", "a second", HIGHER), "concealed": ("sound made up", "ms", LOWER), "sent_directly": ("packets of the narrow one's media that go straight", "", LOWER),
    "first_picture": ("join to the first picture", "ms", LOWER), "all_pictures": ("join to pictures of everybody", "ms", LOWER), "first_sound": ("join to the first sound", "ms", LOWER),
    "speakers": ("voices that the squeezed one hears", "people", HIGHER), "others_rate": ("pictures of the others, of those before", "", HIGHER), "others_shrunk": ("pictures of the others that became smaller", "", LOWER),
    "squeezed_to": ("pictures that the squeezed one gets", "kbit/s", HIGHER), "down": ("what comes down the narrow link", "kbit/s", HIGHER), "paused": ("pictures paused for want of bandwidth", "", LOWER),
    "resumed": ("everyone resumed after", "s", LOWER), "stuck": ("tiles without pictures", "", LOWER), "left": ("people lost", "people", LOWER),
    "mesh_after": ("the end of the server until all links are direct", "s", LOWER), "quiet": ("voices missing", "", LOWER), "other_path": ("another path than the best", "", LOWER),
    "warned": ("warned before the sixth joins", "", HIGHER), "others_warned": ("warnings to others", "", LOWER), "not_direct": ("links that are not kept", "", LOWER),
    "kept": ("the way to the relay, kept", "byte/s", LOWER),
}

# What must be reached. A late joiner has half a second and two round trips.
BOUNDS = {
    "switch": {"sound_gap": 60, "picture_gap": 200, "black": 0, "direct_packets": 0, "wrongly_shown": 0, "lost": 0},
    "uplink": {"share": .5, "round_trip_change": 2, "wrongly_shown": 0, "relayed_packets": 0},
    "late": {"first_picture": 500 + 2 * 80},
    "squeezed": {"concealed": 0, "others_rate": .95, "others_shrunk": 0}, "squeezed-six": {"concealed": 0, "others_rate": .95, "others_shrunk": 0},
    "killed": {"back": 3, "stuck": 0, "left": 0}, "fallback": {"stuck": 0, "left": 0},
    "blocked": {"stuck": 0, "quiet": 0, "other_path": 0}, "blocked-tls": {"stuck": 0, "quiet": 0, "other_path": 0},
    "unreachable": {"warned": 1, "others_warned": 0, "wrongly_shown": 0, "not_direct": 0, "stuck": 0},
}
# Of these the worst of all runs counts: it is nobody's comfort that the others were better.
WORST = ("sound_gap", "picture_gap", "black", "direct_packets", "wrongly_shown", "lost", "stuck", "left")

SUITE = Suite("switch", FIGURES, BOUNDS, ("relaying", "crowd", "hearing"), WORST)


def main():
    ap = argparse.ArgumentParser(usage=__doc__, add_help=True)
    ap.add_argument("--case", action="append", choices=[*CASES], metavar="NAME", help="only this one; may be given more than once")
    ap.add_argument("--runs", type=int, help="runs of each case")
    ap.add_argument("--fresh", action="store_true", help="measure again what was saved")
    ap.add_argument("--strict", action="store_true", help="a missed bound is an error")
    ap.add_argument("--quick", action="store_true")
    ap.add_argument("--list", action="store_true")
    a = ap.parse_args()
    if a.list:
        for name, (drive, seconds, runs) in CASES.items():
            print(f"{name:12} {seconds:5} s x {runs}  {drive.__doc__.strip()}")
        return
    why, chosen = lab.refused() or absence(), a.case or list(CASES)
    if why:
        try:
            for name in () if a.quick else chosen:
                merge("relay", SUITE.rows_of(name, CASES[name][0], [], 1, why))
        except OSError as error:
            print(f"relay.json does not say so: {error}")
        lab.skip(why)
    lab.private(sys.argv)
    # What is looked at while a call goes on must not come late either.
    lab.join_group("relay")
    if a.quick:
        sys.exit(quick_relay.check(f"{SUITE.folder}/quick"))
    table, failed, started = [], [], time.time()
    for name in chosen:
        print(f"-- {name}", flush=True)
        drive, _, runs = CASES[name]
        results, why = SUITE.runs_of(name, drive, a.runs or runs, a.fresh)
        rows = SUITE.rows_of(name, drive, results, a.runs or runs, why)
        failed += [name] if why else []
        merge("relay", rows)
        table += rows
    print_table(table)
    missed = sum(verdict(row) == "missed" for row in table)
    print(f"{missed} of {sum(row['bound'] is not None for row in table)} bounds missed; {(time.time() - started) / 60:.1f} minutes")
    if failed:
        sys.exit("could not be measured: " + ", ".join(failed))
    sys.exit(bool(a.strict and missed))


if __name__ == "__main__":
    main()
