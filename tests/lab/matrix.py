"""Every kind of router against every other: does a call come about, on the best path, and is it shown?

Homes are taken from a pool of two of each kind; as many calls run side by side as the machine can
bear. Each call is saved as a line when it ends, and counts until the programs or these files change.
"""
import json
import os
import queue
import statistics
import threading
import time

import lab
from bench import checksum, program
from parties import Failed
from truth import KINDS, best, worse

# A call that has no pictures by then has not come about.
LONGEST_SETUP = 12
# After the first pictures: how long the path may need to become the best, and must then hold.
LONGEST_SETTLING, HOLD = 6, 1.2
# For a quick look: each kind once as newcomer and once as host, and what the ladder turns on.
QUICK = [("portrestricted", "portrestricted"), ("symmetric", "portrestricted"), ("symmetric", "fullcone"), ("udpblocked", "none"),
         ("symmetric", "udpblocked"), ("tcp443", "proxyonly"), ("proxyonly", "symmetric"), ("ipv6only", "ipv6only"),
         ("ipv6only", "portrestricted"), ("none", "tcp443"), ("fullcone", "ipv6only"), ("none", "none")]


def fingerprint():
    how = checksum("matrix", "truth", "stage", "servers", "nat", "lab")
    return f"{program('nonstop')} {program('nonstop-server')} {how:08x}"


def call(stage, first, second, label, named=False):
    """One call between two homes; who is there first is named first. Returns what came of it."""
    kinds = (stage.kinds[first], stage.kinds[second])
    expected = best(*kinds)
    result = {"pair": kinds, "expected": expected, "connected": False, "shown": [None, None], "truth": None, "log": label}
    callers = []
    try:
        link = stage.link(named=named)
        callers.append(stage.join(first, link, f"{label}-first"))
        callers.append(stage.join(second, link, f"{label}-second"))
        stage.everyone_sees(callers, LONGEST_SETUP)
        seen = time.time()
        newcomer = callers[1]
        result.update(connected=True, since_join_ms=newcomer.event("first_video_frame")["since_join_ms"])
        good_since = None
        while time.time() < seen + LONGEST_SETTLING:
            time.sleep(.2)
            shown = [caller.shown() for caller in callers]
            if shown != [expected, expected]:
                good_since = None
            elif good_since is None:
                good_since = time.time()
            elif time.time() >= good_since + HOLD:
                break
        # What went during the last second, and what was shown at its end.
        flows = [stage.truth(home, 1.0) for home in (first, second)]
        result["shown"] = [caller.shown() for caller in callers]
        result["truth"] = worse(*(flow[1] if flow else None for flow in flows))
        result["flows"] = [flow and f"{flow[0].protocol} {flow[0].remote} {flow[0].remote_port}" for flow in flows]
        result["settled_s"] = round(good_since - seen, 2) if good_since else None
    except (Failed, lab.LabError, OSError) as error:
        result["why"] = str(error).strip().splitlines()[0]
    try:
        stage.part(*callers)
    except Failed as error:
        result.update(connected=False, why=str(error))
        for caller in callers:
            caller.kill()
            if caller in stage.callers:
                stage.callers.remove(caller)
    for home in (first, second):
        stage.watches[home].forget(time.time() - 2)
    result["good"] = result["connected"] and result["truth"] == expected
    result["honest"] = result["connected"] and result["shown"] == [result["truth"]] * 2
    if result["good"] and result["honest"]:
        for caller in callers:
            os.unlink(caller.stats)
            os.unlink(caller.log)
    return result


class Results:
    """The calls that were done with these programs."""

    def __init__(self, folder, fresh):
        self.path, self.print = f"{folder}/calls.jsonl", fingerprint()
        self.calls = []
        self.lock = threading.Lock()
        os.makedirs(folder, exist_ok=True)
        if os.path.exists(self.path) and not fresh:
            with open(self.path) as f:
                lines = [json.loads(line) for line in f if line.endswith("\n")]
            self.calls = [line for line in lines if line["program"] == self.print]
        with open(self.path, "w") as f:
            for line in self.calls:
                f.write(json.dumps(line) + "\n")

    def add(self, call):
        with self.lock, open(self.path, "a") as f:
            call["program"] = self.print
            self.calls.append(call)
            f.write(json.dumps(call) + "\n")

    def of(self, pair):
        return [call for call in self.calls if tuple(call["pair"]) == pair]


def run(stage, folder, runs, pairs=None, parallel=3, fresh=False, relay=None, say=print):
    """Does what is missing of `runs` calls of each pair; returns all calls of these pairs."""
    pairs = pairs or [(a, b) for a in KINDS for b in KINDS]
    results = Results(folder, fresh)
    missing = [pair for number in range(runs) for pair in pairs if len(results.of(pair)) <= number]
    if missing:
        kinds = [kind for kind in KINDS if any(kind in pair for pair in pairs)]
        stage.homes(*kinds, *kinds)
        stage.serve(relay)
        play(stage, missing, results, parallel, say)
    return [call for pair in pairs for call in results.of(pair)[:runs]], stage.idle()


def play(stage, jobs, results, parallel, say):
    pool = {}
    for home, kind in stage.kinds.items():
        pool.setdefault(kind, []).append(home)
    change = threading.Condition()
    done, failures = queue.Queue(), []

    def take():
        """The next call whose homes are both free; None when there are no more."""
        with change:
            while jobs:
                for index, (a, b) in enumerate(jobs):
                    if len(pool[a]) > (a == b) and pool[b]:
                        del jobs[index]
                        return pool[a].pop(), pool[b].pop()
                change.wait()
            return None

    def work():
        try:
            while (homes := take()) is not None:
                number = done.qsize()
                done.put(homes)
                kinds = [stage.kinds[home] for home in homes]
                result = call(stage, *homes, f"{number:04}-{'-'.join(kinds)}")
                results.add(result)
                good = result["good"] and result["honest"]
                say(f"  {' x '.join(kinds):32} {'ok  ' if good else 'FAIL'} expected {result['expected']}, went {result['truth']}, "
                    f"shown {'/'.join(map(str, result['shown']))}, {result.get('since_join_ms')} ms" + (f": {result['why']}" if "why" in result else ""))
                with change:
                    for home in homes:
                        pool[stage.kinds[home]].append(home)
                    change.notify_all()
        except Exception as error:  # told to whoever waits for all
            failures.append(error)
            with change:
                jobs.clear()
                change.notify_all()
    workers = [threading.Thread(target=work, name=f"call {k}") for k in range(parallel)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if failures:
        raise failures[0]


def rows(calls, runs, idle):
    """The rows of the table: the whole, and each pair."""
    def row(case, figure, value, unit, bound, count, better="higher"):
        return {"case": case, "figure": figure, "value": value, "unit": unit, "bound": bound, "better": better, "runs": count, "peer": None, "idle": idle}
    total = len(calls)
    case = "lab: matrix of routers"
    table = [row(case, "calls connected", sum(c["connected"] for c in calls), "calls", total, total),
             row(case, "on the best path of their pair", sum(c["good"] for c in calls), "calls", total, total),
             row(case, "path shown by both is the path taken", sum(c["honest"] for c in calls), "calls", total, total)]
    for path in ("direct", "turn-udp", "turn-tcp"):
        times = [c["since_join_ms"] for c in calls if c["good"] and c["expected"] == path]
        if times:
            table.append(row(case, f"join to the first picture, {path}", statistics.median(times), "ms", None, len(times), "lower"))
    for pair in sorted({tuple(c["pair"]) for c in calls}, key=lambda p: (KINDS.index(p[0]), KINDS.index(p[1]))):
        own = [c for c in calls if tuple(c["pair"]) == pair]
        table.append(row(f"lab: matrix: {pair[0]}, then {pair[1]}", f"good calls ({best(*pair)})", sum(c["good"] and c["honest"] for c in own), "calls", len(own), len(own)))
    return table


def print_matrix(calls):
    """Good calls of each pair; who is there first is the line, who joins the column."""
    def cell(a, b):
        own = [c for c in calls if tuple(c["pair"]) == (a, b)]
        return f"{sum(c['good'] and c['honest'] for c in own)}/{len(own)} {best(a, b).split('-')[-1]}" if own else "-"
    lines = [["there first", *KINDS]] + [[a, *(cell(a, b) for b in KINDS)] for a in KINDS]
    for line in lines:
        print("  ".join(word.ljust(14) for word in line).rstrip())
