"""What the benchmarks of the lab share: results that outlive an interruption, rows, and their table."""
import glob
import json
import os
import statistics
import zlib

import clip
import lab
from parties import programs

BENCH = f"{lab.ROOT}/target/bench"
RESULTS = f"{BENCH}/lab"
# Less of the CPU than this was idle: timings of the run mean little.
BUSY = .15
LOWER, HIGHER = "lower", "higher"


def the_clip():
    """The pictures that are sent, made on the first use."""
    given = os.environ.get("CLIP")
    if given:
        return os.path.abspath(given)
    # A new generator makes a new clip.
    path = f"{RESULTS}/clip-{checksum('clip'):08x}.y4m"
    if not os.path.exists(path):
        print(f"making {os.path.relpath(path, lab.ROOT)}", flush=True)
        os.makedirs(RESULTS, exist_ok=True)
        for old in glob.glob(f"{RESULTS}/clip-*.y4m"):
            os.unlink(old)
        clip.write(path)
    return path


def checksum(*modules):
    """Changes when one of our own files does."""
    total = 0
    for module in modules:
        with open(f"{lab.HERE}/{module}.py", "rb") as f:
            total = zlib.crc32(f.read(), total)
    return total


def program(name):
    """Changes when a program was built anew."""
    stat = os.stat(f"{programs()}/{name}")
    return f"{stat.st_size}-{int(stat.st_mtime)}"


def median(results, key):
    values = [r[key] for r in results if r.get(key) is not None]
    # Never reached in some run: there is no median to be proud of.
    if not values or len(values) * 2 <= len(results):
        return None
    return round(statistics.median(values), 4)


def merge(suite, rows):
    """Puts rows into target/bench/SUITE.json in place of older ones of the same cases."""
    path = f"{BENCH}/{suite}.json"
    try:
        with open(path) as f:
            kept = [row for row in json.load(f) if row["case"] not in {r["case"] for r in rows}]
    except (OSError, ValueError):
        kept = []
    os.makedirs(BENCH, exist_ok=True)
    with open(path + ".part", "w") as f:
        json.dump(kept + rows, f, indent=1)
    os.replace(path + ".part", path)


def verdict(row):
    if row["bound"] is None:
        return ""
    if row["value"] is None:
        return "missed"
    held = row["value"] <= row["bound"] if row["better"] == LOWER else row["value"] >= row["bound"]
    return "" if held else "missed"


def print_table(rows):
    def text(value):
        return "" if value is None else f"{value:g}"
    lines = [["case", "figure", "value", "bound", "peer", "idle", ""]]
    last = None
    for row in rows:
        case = row["case"].removeprefix("lab: ")
        value = f"{text(row['value'])} {row['unit']}".strip() if row["value"] is not None else f"none ({row['why'][:40]})"
        lines.append([case if case != last else "", row["figure"], value, text(row["bound"]), text(row["peer"]), text(row.get("idle")), verdict(row)])
        last = case
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())
