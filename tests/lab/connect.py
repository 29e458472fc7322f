#!/usr/bin/env python3
"""connect.py - does a call come about from any network, on the best path, and does it stay?

  connect.py [--case NAME]... [--full] [--runs N] [--fresh] [--peer chromium] [--parallel N] [--minutes M]
  connect.py --quick       a pass or fail check in under a minute
  connect.py --list        the cases

Without --case it runs all but the whole matrix and the hour, about half an hour long; --full runs
these too, three hours in all. It makes a lab of its own, so it needs root or a kernel that
gives users namespaces; where neither is, it says so and exits with status 77. Every run is saved
below target/bench/lab/connect/ as soon as it ends: after an interruption the same command goes on
where it stopped. A run counts until the programs or the cases change; --fresh measures again. The
table's rows go to target/bench/connect.json. A missed bound is a figure, not an error, unless it is
--strict: the exit status tells whether every case could be measured.

Environment: NONSTOP_BIN (folder of nonstop and nonstop-server; default target/release), WAN (path
of nonstop-wan), CLIP (a y4m file to send instead of the one that clip.py makes).
"""
import argparse
import sys
import time

sys.dont_write_bytecode = True
import beside
import connecting
import lab
import matrix
import quick_connect
import relays
import roaming
from bench import HIGHER, LOWER, merge, print_table, the_clip, verdict
from runs import Suite, absence
from stage import Stage

# How many calls of each pair the matrix makes, and how many runs of the other cases count.
MATRIX_CALLS, RUNS = 20, 5

# Case: what runs, how long one run takes, how many runs.
CASES = {
    "join-direct": (connecting.join("portrestricted", "portrestricted"), 40, 4),
    "join-udp": (connecting.join("symmetric", "symmetric"), 40, 4),
    "join-tcp": (connecting.join("portrestricted", "udpblocked"), 40, 4),
    "join-tls": (connecting.join("portrestricted", "tls443"), 40, 4),
    "plain-direct": (connecting.join("portrestricted", "portrestricted", True), 40, 4),
    "plain-udp": (connecting.join("symmetric", "symmetric", True), 40, 4),
    "plain-tcp": (connecting.join("portrestricted", "udpblocked", True), 40, 4),
    "cable": (roaming.cable(True), 35, RUNS), "cable-cold": (roaming.cable(False), 35, RUNS),
    "readdress": (roaming.readdress, 40, RUNS), "blocked": (roaming.blocked, 60, RUNS),
    "signalling": (connecting.signalling, 110, 1), "alone": (connecting.alone, 45, RUNS),
    "firewall": (connecting.firewall, 30, 3), "hidden": (relays.hidden, 30, 1), "name": (relays.name, 60, 1), "coturn": (relays.coturn, 70, 1), "clients": (relays.clients, 60, 1),
    "chromium": (relays.chromium, 60, 1), "abuse": (relays.abuse, 40, 1),
}

# What Chromium can do too, by case.
BESIDE = {"join-direct": beside.join("portrestricted", "portrestricted"), "join-udp": beside.join("symmetric", "symmetric"),
          "join-tcp": beside.join("portrestricted", "udpblocked"), "join-tls": beside.join("portrestricted", "tls443")}

# Figure: what it is called in the table, its unit, which way is better.
FIGURES = {
    "first_picture": ("join to the first decoded picture", "ms", LOWER), "from_the_start": ("the same with connecting to the server", "ms", LOWER),
    "connected": ("join to the connection", "ms", LOWER), "first_sound": ("join to the first sound", "ms", LOWER),
    "gap": ("gap in the sound", "s", LOWER), "gap_sent": ("gap in what was sent", "s", LOWER), "gap_received": ("gap in what came", "s", LOWER),
    "concealed": ("sound made up", "ms", LOWER), "new_picture": ("change to the first new picture", "s", LOWER),
    "freezes": ("freezes", "", LOWER), "rate_kept": ("pictures a second, of those before", "", HIGHER), "thrown_out": ("thrown out", "people", LOWER),
    "interrupted": ("links interrupted", "", LOWER), "resumed": ("everyone resumed after", "s", LOWER), "fifth": ("a fifth sees everybody and is seen after", "s", LOWER),
    "fifth_sees": ("people whom the fifth sees", "people", HIGHER), "relayed_needlessly": ("links relayed needlessly", "", LOWER),
    "wrongly_shown": ("links whose path is shown wrongly", "", LOWER), "direct_wrongly": ("relayed links that went directly", "", LOWER),
    "stuck": ("links without pictures", "", LOWER), "changes": ("changes of path", "", HIGHER), "memory": ("most memory of a participant", "MB", LOWER),
    "memory_growth": ("growth of memory after the first minutes", "%", LOWER), "left": ("people lost", "people", LOWER),
    **relays.FIGURES,
}

# What must be reached.
BOUNDS = {
    "join-direct": {"first_picture": 450}, "join-udp": {"first_picture": 500}, "join-tcp": {"first_picture": 550}, "join-tls": {"first_picture": 600},
    "plain-direct": {"first_picture": 450}, "plain-udp": {"first_picture": 500}, "plain-tcp": {"first_picture": 550},
    "cable": {"gap": .3}, "cable-cold": {"gap": 1}, "readdress": {"new_picture": 2}, "alone": {"stuck": 0}, "blocked": {"wrongly_shown": 0},
    "signalling": {"freezes": 0, "rate_kept": .95, "thrown_out": 0, "interrupted": 0, "resumed": 5, "fifth_sees": 4},
    "firewall": {"relayed_needlessly": 0, "wrongly_shown": 0, "direct_wrongly": 0, "stuck": 0},
    "hour": {"memory_growth": 10, "stuck": 0, "left": 0},
    **relays.BOUNDS,
}


SUITE = Suite("connect", FIGURES, BOUNDS, ("connecting", "beside", "roaming", "relays"))
FOLDER = SUITE.folder


def run_matrix(calls, parallel, fresh, pairs=None):
    stage = Stage(f"{FOLDER}/matrix/stage")
    try:
        done, idle = matrix.run(stage, f"{FOLDER}/matrix", calls, pairs, parallel, fresh)
    finally:
        stage.close()
    matrix.print_matrix(done)
    return matrix.rows(done, calls, idle)


def main():
    ap = argparse.ArgumentParser(usage=__doc__, add_help=True)
    names = ["matrix", "matrix-quick", *CASES, "hour"]
    ap.add_argument("--case", action="append", choices=names, metavar="NAME", help="only this one; may be given more than once")
    ap.add_argument("--runs", type=int, help="runs of each case, calls of each pair of the matrix")
    ap.add_argument("--fresh", action="store_true", help="measure again what was saved")
    ap.add_argument("--peer", choices=["chromium"], help="measure it beside, in the same session")
    ap.add_argument("--strict", action="store_true", help="a missed bound is an error")
    ap.add_argument("--parallel", type=int, default=3, help="calls of the matrix side by side")
    ap.add_argument("--minutes", type=int, default=60, help="length of the hour")
    ap.add_argument("--full", action="store_true", help="the whole matrix and the hour too")
    ap.add_argument("--quick", action="store_true")
    ap.add_argument("--list", action="store_true")
    a = ap.parse_args()
    cases = {**CASES, "hour": (roaming.hour(a.minutes), a.minutes * 60 + 40, 1)}
    if a.list:
        print(f"matrix          4 s a call  every kind of router against every other, both ways, {MATRIX_CALLS} calls each")
        print("matrix-quick    4 s a call  the same for a selection, one call each")
        for name, (drive, seconds, runs) in cases.items():
            print(f"{name:12} {seconds:5} s x {runs}  {drive.__doc__.strip()}")
        return
    why = lab.refused() or absence()
    left_out = ["matrix-quick"] if a.full else ["matrix", "hour"]
    chosen = a.case or [name for name in names if name not in left_out]
    if why:
        try:
            for name in () if a.quick else chosen:
                if name in cases:
                    merge("connect", SUITE.rows_of(name, cases[name][0], [], 1, why))
        except OSError as error:
            print(f"connect.json does not say so: {error}")
        lab.skip(why)
    lab.private(sys.argv)
    if a.quick:
        sys.exit(quick_connect.check(f"{FOLDER}/quick"))
    SUITE.clip = the_clip()
    table, failed, started = [], [], time.time()
    for name in chosen:
        print(f"-- {name}", flush=True)
        if name.startswith("matrix"):
            pairs, calls = (matrix.QUICK, a.runs or 1) if name == "matrix-quick" else (None, a.runs or MATRIX_CALLS)
            rows = run_matrix(calls, a.parallel, a.fresh, pairs)
        else:
            drive, _, runs = cases[name]
            results, why = SUITE.runs_of(name, drive, a.runs or runs, a.fresh)
            peer = SUITE.runs_of(f"{name}-chromium", BESIDE[name], min(a.runs or runs, 2), a.fresh)[0] if a.peer and name in BESIDE else []
            rows = SUITE.rows_of(name, drive, results, a.runs or runs, why, peer)
            failed += [name] if why else []
        merge("connect", rows)
        table += rows
    print_table(table)
    missed = sum(verdict(row) == "missed" for row in table)
    print(f"{missed} of {sum(row['bound'] is not None for row in table)} bounds missed; {(time.time() - started) / 60:.1f} minutes")
    if failed:
        sys.exit("could not be measured: " + ", ".join(failed))
    sys.exit(bool(a.strict and missed))


if __name__ == "__main__":
    main()
