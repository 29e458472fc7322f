"""The loop of a benchmark whose cases are functions of a stage: runs that are saved, and their rows."""
import json
import statistics
import time
import traceback

import lab
from bench import BUSY, LOWER, RESULTS, checksum, program
from parties import Absent, Failed, Nonstop
from stage import Stage


class Suite:
    """One benchmark. `figures` names and orders what its cases return: words for the table, unit and
    which way is better. `bounds` says by case what must be reached, in the median of the runs, or
    in every one for the figures in `worst`. `modules` are the files of ours whose change makes saved
    runs worthless."""

    def __init__(self, name, figures, bounds, modules, worst=()):
        self.name, self.figures, self.bounds, self.modules, self.worst = name, figures, bounds, modules, worst
        self.folder = f"{RESULTS}/{name}"
        self.clip = None

    def fingerprint(self, case):
        """Changes when what is measured changes, or how."""
        how = checksum(*self.modules, "runs", "stage", "truth", "servers", "packets", "lab", "nat")
        own = "chromium" if case.endswith("-chromium") else program("nonstop")
        return f"{own} {program('nonstop-server')} {how:08x}"

    def saved(self, case, run):
        """The figures of a run that was done before with these programs, or None."""
        try:
            with open(f"{self.folder}/{case}/{run}/figures.json") as f:
                result = json.load(f)
        except (OSError, ValueError):
            return None
        return result.get("figures") if result["program"] == self.fingerprint(case) else None

    def measure(self, case, drive, run):
        """Does one run of one case and saves it; returns its figures, or why there are none."""
        folder, began = f"{self.folder}/{case}/{run}", time.time()
        stage = Stage(folder)
        stage.clip, lab.SEED = self.clip, run
        try:
            figures, why = drive(stage), None
            figures["idle"] = stage.idle()
        except Absent:
            raise
        except (Failed, lab.LabError, OSError) as error:
            figures, why = None, str(error).strip().splitlines()[0]
        except Exception as error:  # a case that cannot be evaluated must not end the others
            traceback.print_exc()
            figures, why = None, f"{type(error).__name__}: {error}"
        finally:
            stage.close()
        result = {"program": self.fingerprint(case), "seconds": round(time.time() - began, 1)}
        result.update({"figures": figures} if figures else {"why": why})
        with open(f"{folder}/figures.json", "w") as f:
            json.dump(result, f, indent=1)
        return figures, why

    def runs_of(self, case, drive, count, fresh):
        """The figures of all runs, measured where they are not there yet, and why some are not."""
        results, why = [], None
        for run in range(1, count + 1):
            figures, note = None if fresh else self.saved(case, run), "saved before"
            if figures is None:
                try:
                    figures, why_not = self.measure(case, drive, run)
                except Absent as absent:
                    print(f"  {case}: {absent}", flush=True)
                    return [], str(absent)
                why = why_not or why
                note = f"failed: {why_not}" if why_not else f"{figures['idle']:.0%} of the CPU idle" + (", too busy to trust timings" if figures["idle"] < BUSY else "")
            words = {} if not figures else {k: v for k, v in figures.items() if k != "idle"}
            print(f"  {case} {run}: {note} {words}", flush=True)
            if figures:
                results.append(figures)
        return results, why

    def rows_of(self, case, drive, results, count, why, peer=()):
        title, bounds = "lab: " + drive.__doc__.strip().rstrip("."), self.bounds.get(case, {})
        known = [key for key in self.figures if any(key in r for r in results)] or list(bounds)
        rows = []
        for key in known:
            words, unit, better = self.figures[key]
            values, others = values_of(results, key), values_of(peer, key)
            # A failed run is no part of a median to be proud of: where half of them failed there is none.
            of_all = (max if better == LOWER else min) if key in self.worst else statistics.median
            value = round(of_all(values), 4) if values and len(results) * 2 > count else None
            row = {"case": title, "figure": words, "value": value, "unit": unit, "bound": bounds.get(key), "better": better, "runs": len(values),
                   "peer": round(statistics.median(others), 4) if others else None}
            if value is None:
                row["why"] = why or "not reached in most runs"
            idle = [r["idle"] for r in results if r.get("idle") is not None]
            if idle:
                row["idle"] = round(statistics.median(idle), 3)
            rows.append(row)
        if len(results) < count and results:
            rows.append({"case": title, "figure": "runs that failed", "value": count - len(results), "unit": "", "bound": 0, "better": LOWER, "runs": count, "peer": None})
        return rows


def values_of(results, key):
    """Every value of a figure; a run may have made several."""
    return [v for r in results for v in (r[key] if isinstance(r.get(key), list) else [r.get(key)]) if v is not None]


def absence():
    """Why our own program cannot take part, or None."""
    try:
        Nonstop.needed()
    except Absent as absent:
        return str(absent)
    return None
