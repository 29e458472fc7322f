#!/usr/bin/env python3
"""rate.py - the rate benchmark with real processes, real encoders and real packets.

  rate.py [--case NAME]... [--runs N] [--peer chromium] [--fresh]
  rate.py --quick          a pass or fail check in about a minute
  rate.py --list           the cases

Without --case it runs all but the named links. It makes a lab of its own, so it needs root or a
kernel that gives users namespaces; where neither is, it says so and exits with status 77. Every
run is saved below target/bench/lab/ as soon as it ends: after an interruption the same command
goes on where it stopped. A run counts until the program or a case changes; --fresh measures again.
The table's rows go to target/bench/rate.json. A missed bound is a figure, not an error: the exit
status tells whether every case could be measured.

Environment: NONSTOP_BIN (folder of nonstop and nonstop-server; default target/release), WAN (path
of nonstop-wan), CLIP (a y4m file to send instead of the one that clip.py makes).
"""
import argparse
import json
import os
import sys
import time
import traceback

sys.dont_write_bytecode = True
import cases
import lab
import quick
from bench import BUSY, RESULTS, checksum, median, merge, print_table, program, the_clip, verdict
from parties import Absent, Chromium, Failed, Nonstop
from scene import Scene

KINDS = {"nonstop": Nonstop, "chromium": Chromium}


def fingerprint(kind):
    """Changes when what is measured changes, or how."""
    how = f"{checksum('cases', 'scene', 'packets', 'parties', 'clip'):08x}"
    if kind != "nonstop":
        return f"{kind} {how}"
    return f"{program('nonstop')} {how}"


def saved(name, kind, run):
    """The figures of a run that was done before with this program, or None."""
    try:
        with open(f"{RESULTS}/{name}/{kind}.{run}/figures.json") as f:
            result = json.load(f)
    except (OSError, ValueError):
        return None
    return result["figures"] if result["program"] == fingerprint(kind) and "figures" in result else None


def measure(name, kind, run, clip_file):
    """Does one run of one case and saves it; returns its figures, or why there are none."""
    drive, _, _ = cases.CASES[name]
    folder = f"{RESULTS}/{name}/{kind}.{run}"
    started = time.time()
    scene = Scene(KINDS[kind], folder, clip_file)
    try:
        figures, why = drive(scene), None
    except (Failed, lab.LabError, OSError) as error:
        figures, why = None, str(error).strip().splitlines()[0]
    except Exception as error:  # a case that cannot be evaluated must not end the others
        traceback.print_exc()
        figures, why = None, f"{type(error).__name__}: {error}"
    finally:
        scene.close()
    result = {"program": fingerprint(kind), "seconds": round(time.time() - started, 1)}
    result.update({"figures": figures} if figures else {"why": why})
    with open(f"{folder}/figures.json", "w") as f:
        json.dump(result, f, indent=1)
    return figures, why


def runs_of(name, kind, count, fresh, clip_file):
    """The figures of all runs, measured where they are not there yet, and why some are not."""
    results, why = [], None
    for run in range(1, count + 1):
        figures = None if fresh else saved(name, kind, run)
        note = "saved before"
        if figures is None:
            figures, why_not = measure(name, kind, run, clip_file)
            why = why_not or why
            note = f"failed: {why_not}" if why_not else f"{figures['idle']:.0%} of the CPU idle" + (", too busy to trust timings" if figures["idle"] < BUSY else "")
        print(f"  {name} {kind} {run}: {note}", flush=True)
        if figures:
            results.append(figures)
    return results, why


def absence(kind):
    """Why a kind of party cannot take part, or None."""
    try:
        kind.needed()
    except Absent as absent:
        return str(absent)
    return None


def rows_of(name, own, peer, why):
    drive, _, _ = cases.CASES[name]
    title = "lab: " + drive.__doc__.strip().rstrip(".")
    known = [key for key in cases.FIGURES if any(key in r for r in own)] or list(cases.BOUNDS.get(name) or cases.PEER_BOUNDS.get(name) or ["queue_p95"])
    rows = []
    for key in known:
        words, unit, better = cases.FIGURES[key]
        other = median(peer, key) if peer else None
        bound = cases.BOUNDS.get(name, {}).get(key)
        part = cases.PEER_BOUNDS.get(name, {}).get(key)
        if part and other is not None:
            bound = round(part * other, 4)
        row = {"case": title, "figure": words, "value": median(own, key), "unit": unit, "bound": bound, "better": better, "runs": len(own), "peer": other}
        if row["value"] is None:
            row["why"] = why or "not reached in most runs"
        if own and any("idle" in r for r in own):
            row["idle"] = median(own, "idle")
        rows.append(row)
    return rows


def main():
    ap = argparse.ArgumentParser(usage=__doc__, add_help=True)
    ap.add_argument("--case", action="append", choices=list(cases.CASES), metavar="NAME", help="only this one; may be given more than once")
    ap.add_argument("--runs", type=int, default=1)
    ap.add_argument("--peer", choices=["chromium"], help="measure it beside, in the same session")
    ap.add_argument("--fresh", action="store_true", help="measure again what was saved")
    ap.add_argument("--quick", action="store_true")
    ap.add_argument("--list", action="store_true")
    a = ap.parse_args()
    if a.list:
        for name, (drive, seconds, peer) in cases.CASES.items():
            print(f"{name:10} {seconds:4} s  {drive.__doc__.strip()}{'' if peer else '  (ours alone)'}")
        return
    names = a.case or [name for name in cases.CASES if name not in cases.NAMED_LINKS]
    why = lab.refused() or absence(Nonstop)
    if why:
        try:
            for name in () if a.quick else names:
                merge("rate", rows_of(name, [], [], why))
        except OSError as error:
            print(f"rate.json does not say so: {error}")
        lab.skip(why)
    lab.private(sys.argv)
    clip_file = the_clip()
    if a.quick:
        sys.exit(quick.check(f"{RESULTS}/quick", clip_file))
    no_peer = absence(Chromium) if a.peer else "not asked for"
    if a.peer and no_peer:
        print(f"without Chromium beside: {no_peer}")
    seconds = sum((cases.CASES[n][1] + 8) * a.runs * (1 + bool(not no_peer and cases.CASES[n][2])) for n in names)
    print(f"{len(names)} cases, at most {seconds / 60:.0f} minutes", flush=True)
    started, table, failed = time.time(), [], []
    for name in names:
        own, why = runs_of(name, "nonstop", a.runs, a.fresh, clip_file)
        beside = not no_peer and cases.CASES[name][2]
        peer, _ = runs_of(name, "chromium", a.runs, a.fresh, clip_file) if beside else ([], None)
        rows = rows_of(name, own, peer, why)
        failed += [name] if why else []
        merge("rate", rows)
        table += rows
    print_table(table)
    missed = sum(verdict(row) == "missed" for row in table)
    print(f"{missed} of {sum(row['bound'] is not None for row in table)} bounds missed; {(time.time() - started) / 60:.1f} minutes")
    if failed:
        sys.exit("could not be measured: " + ", ".join(failed))


if __name__ == "__main__":
    main()
