#!/usr/bin/env python3
"""relay_load.py - large calls through the relay of nonstop-server, with synthetic participants.

  relay_load.py [--case NAME]... [--runs N] [--seconds S]
  relay_load.py --quick       ten people for seconds: pass or fail
  relay_load.py --list        the cases

The participants are `nonstop-load`: recorded pictures in three layers and speech, pages of nine tiles,
real connections with feedback and repair. Losses are sequence numbers that never came; the delay of a
packet is from its sender's hands to the arrival at the receiver's socket, by the kernel's stamp. It
makes a lab of its own, so it needs root or a kernel that gives users namespaces; where neither is, it
says so and exits with status 77. Rows go to target/bench/relay.json.

Environment: NONSTOP_BIN (folder of nonstop-server and nonstop-load; default target/release), WAN (path
of nonstop-wan), LAB_REALTIME=1 (the server and the crowd go before everything else on a busy machine).
"""
import argparse
import os
import random
import signal
import socket
import statistics
import struct
import sys
import time

sys.dont_write_bytecode = True
import bench
import lab
from bench import LOWER
from parties import Absent, Failed
from relay_stage import PORT, Yard

FOLDER = f"{bench.RESULTS}/relay"
RELAY_PORT = PORT + 1
# One way, in milliseconds: a round trip of 80 ms.
DISTANCE = 40
SQUEEZED = "rate=150kbit queue=400ms"


def call(people, cameras, seconds, *more, page=9):
    return ["--people", people, "--cameras", cameras, "--microphones", max(cameras, 1), "--page", page, "--for", f"{seconds}s", *more]


def common(counted, yard):
    everything = counted["all"]
    if counted["connected"] < len(counted["people"]):
        raise Failed(f"{counted['connected']} of {len(counted['people'])} connected: see {yard.folder}")
    return {"lost": everything["pictures"]["lost"] + everything["sound"]["lost"], "p99": everything["delay"]["p99_ms"], "p50": everything["delay"]["p50_ms"],
            "freezes": everything["pictures"]["freezes"], "received": (everything["pictures"]["bps"] + everything["sound"]["bps"]) / 1e6,
            "repaired": everything["pictures"]["repaired"], "idle": yard.idle()}


def many(people, cameras, tile="426x240"):
    def drive(folder, seconds):
        yard = Yard(folder)
        try:
            server = yard.serve()
            words = call(people, cameras, seconds, "--join-over", f"{people / 20:.1f}s", "--settle", "10s", "--tile", tile)
            counted = yard.counted(yard.crowd([yard.link(), *words], server), seconds + 120)
            return {**common(counted, yard), "memory": counted["memory_a_participant"] / 1e6, "cpu": counted["cpu_seconds_a_gigabit"],
                    "core": counted["server_cpu_s"] / counted["seconds"] * 100, "switch": counted["all"]["pictures"]["switch_longest_ms"]}
        finally:
            yard.close()
    return drive


def squeezed(folder, seconds):
    """Ten people; the way to one of them narrows to 150 kb/s while all are counted."""
    yard = Yard(folder, far=20)
    try:
        server, link = yard.serve(), yard.link()
        # One speaks at a time: each voice takes 60 kb/s with its headers.
        crowd = yard.crowd([link, *call(9, 9, seconds + 20, "--settle", "12s", "--voices", 1)], server)
        one = yard.crowd([link, *call(1, 1, seconds, "--settle", "24s", "--voices", 0)], node="h1", name="far")
        yard.sleep(14, crowd, one)
        lab.ctl("home1", f"down {SQUEEZED}")
        there, others = yard.counted(one, seconds + 90), yard.counted(crowd, seconds + 90)
        figures = common(others, yard)
        me = there["people"][0]
        expected = max(1, me["sound"]["packets"] + me["sound"]["lost"])
        return {"others_changed": sum(p["changes"] for p in others["people"]), "others_lost": figures["lost"], "others_frozen": figures["freezes"],
                "own_sound_lost": me["sound"]["lost"] / expected * 100, "own_sound_lost_before": me["sound_lost_before"], "own_pictures": me["pictures"]["pictures"] / there["seconds"],
                "own_rate": (me["pictures"]["bps"] + me["sound"]["bps"]) / 1e3, "own_changes": me["changes"], "idle": figures["idle"]}
    finally:
        yard.close()


def late(folder, seconds):
    """Somebody 80 ms away joins a call of nine that goes on."""
    yard = Yard(folder, far=DISTANCE)
    try:
        server, link = yard.serve(), yard.link()
        crowd = yard.crowd([link, *call(9, 9, 60, "--settle", "2s")], server)
        yard.sleep(8, crowd)
        firsts = []
        for number in range(5):
            one = yard.crowd([link, *call(1, 0, 3, "--settle", "1s", "--join-over", "0s")], node="h1", name=f"late{number}")
            person = yard.counted(one, 60)["people"][0]
            if person["first_picture_ms"] is None:
                raise Failed(f"the one who came late saw nothing: see {folder}")
            firsts.append((person["first_picture_ms"], person["first_picture_from_start_ms"]))
        yard.stop(crowd)
        return {"first_picture": statistics.median(first for first, _ in firsts), "first_picture_worst": max(first for first, _ in firsts),
                "from_the_start": statistics.median(start for _, start in firsts), "idle": yard.idle()}
    finally:
        yard.close()


def restarted(folder, seconds):
    """SIGKILL to the server of a call of ten, and a new one at once."""
    yard = Yard(folder)
    try:
        server, link = yard.serve(), yard.link()
        crowd = yard.crowd([link, *call(10, 10, seconds, "--settle", "4s")])
        yard.sleep(12, crowd)
        yard.stop(server, signal.SIGKILL)
        yard.serve()
        counted = yard.counted(crowd, seconds + 90)
        outages = [person["outages_ms"] for person in counted["people"]]
        if any(len(found) != 1 for found in outages):
            raise Failed(f"not everybody came back once: {outages}")
        return {"outage": max(found[0] for found in outages) / 1e3, "idle": yard.idle()}
    finally:
        yard.close()


def under_attack(attack, misuse=None):
    """Ten people whom somebody bothers; what the ten lose meanwhile."""
    def drive(folder, seconds):
        yard = Yard(folder)
        try:
            server, link = yard.serve(), yard.link()
            crowd = yard.crowd([link, *call(10, 10, seconds, "--settle", "10s", "--among-themselves")], server)
            yard.sleep(8, crowd)
            other = None
            if misuse:
                other = yard.crowd([link, *call(1, 1, seconds + 4, "--settle", "0s", "--join-over", "0s", "--misuse", misuse)], name="attacker")
            if attack:
                other = yard.start("load", "attacker", [sys.executable, "-B", os.path.abspath(__file__), "--attack", attack, "--seconds", str(seconds + 2)])
            counted = yard.counted(crowd, seconds + 90)
            figures = common(counted, yard)
            if server.poll() is not None:
                raise Failed("the server ended")
            yard.stop(other)
            return {"lost": figures["lost"], "freezes": figures["freezes"], "p99": figures["p99"], "idle": figures["idle"],
                    "core": counted["server_cpu_s"] / counted["seconds"] * 100}
        finally:
            yard.close()
    return drive


def stun(user):
    """A binding request (RFC 8489) for somebody, its integrity made up."""
    name = user.encode() + bytes(-len(user) % 4)
    body = struct.pack("!HH", 6, len(user)) + name + struct.pack("!HH", 8, 20) + random.randbytes(20)
    return struct.pack("!HHI", 1, len(body), 0x2112A442) + random.randbytes(12) + body


def hello():
    """The beginning of a DTLS 1.2 ClientHello (RFC 6347), and no more."""
    body = bytes([254, 253]) + random.randbytes(32) + bytes([0, 0]) + struct.pack("!HH", 2, 0xC02B) + bytes([1, 0])
    handshake = bytes([1]) + len(body).to_bytes(3, "big") + bytes([0, 0]) + bytes(3) + len(body).to_bytes(3, "big") + body
    return bytes([22, 254, 253]) + bytes(8) + struct.pack("!H", len(handshake)) + handshake


def malformed():
    """Something that begins as RTP, RTCP, STUN or DTLS, and goes on as nothing."""
    kind = random.randrange(5)
    size = random.randrange(0, 1300)
    heads = (bytes([128, 102]), bytes([128, 200]), struct.pack("!HHI", 1, size & ~3, 0x2112A442), bytes([22, 254, 253]), b"")
    if kind == 2 and random.random() < .5:
        return stun("somebody:else")
    return heads[kind] + random.randbytes(size)


def attack(kind, seconds):
    """Runs in the crowd's namespace."""
    target, end = (lab.MEET, RELAY_PORT), time.time() + seconds
    if kind == "malformed":
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        while time.time() < end:
            for _ in range(20):
                sender.sendto(malformed(), target)
            time.sleep(.005)
    else:
        # Ten thousand of them, each from a port of its own and each left half done.
        each = seconds / 10_000
        for _ in range(10_000):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.sendto(stun(f"{random.randbytes(4).hex()}:{random.randbytes(4).hex()}"), target)
                sender.sendto(hello(), target)
            time.sleep(each * .5)


# Case: what runs, how long one counts.
CASES = {
    "fifty": (many(50, 50), 30), "two-hundred": (many(200, 10, "320x180"), 30), "squeezed": (squeezed, 25), "late": (late, 0), "restarted": (restarted, 25),
    "malformed": (under_attack("malformed"), 15), "half-open": (under_attack("half-open"), 15), "flood": (under_attack(None, "flood"), 15),
    "keyframes": (under_attack(None, "keyframes"), 15),
}
# Figure: what it is called in the table, its unit.
FIGURES = {
    "lost": ("lost packets", ""), "p99": ("forwarding delay, 99th percentile", "ms"), "p50": ("forwarding delay, median", "ms"), "freezes": ("freezes", ""),
    "received": ("payload received", "Mbit/s"), "repaired": ("packets repaired", ""), "memory": ("memory a participant", "MB"), "cpu": ("CPU seconds a forwarded Gbit", "s"),
    "core": ("CPU of the server", "% of a core"), "switch": ("longest interval around a change of layers", "ms"),
    "others_changed": ("changes of the others' layers", ""), "others_lost": ("packets the others lost", ""), "others_frozen": ("freezes of the others", ""),
    "own_sound_lost": ("own sound lost", "%"), "own_pictures": ("own pictures a second", ""), "own_rate": ("own payload received", "kbit/s"), "own_changes": ("changes of own layers", ""),
    "own_sound_lost_before": ("packets of own sound lost as it narrowed", ""),
    "first_picture": ("welcome to the first whole picture", "ms"), "first_picture_worst": ("the same, the worst of five", "ms"),
    "from_the_start": ("the same with connecting to the server", "ms"), "outage": ("longest outage", "s"),
}
BOUNDS = {
    "fifty": {"lost": 0, "p99": 10, "memory": .5}, "two-hundred": {"lost": 0, "p99": 10, "memory": .5},
    "squeezed": {"others_changed": 0, "others_lost": 0, "others_frozen": 0, "own_sound_lost": 0}, "late": {"first_picture": 500 + 4 * DISTANCE},
    "restarted": {"outage": 3}, **{name: {"lost": 0, "freezes": 0} for name in ("malformed", "half-open", "flood", "keyframes")},
}


def rows(name, runs, why):
    if not runs:
        return [{"case": f"lab: {name}", "figure": FIGURES[figure][0], "value": None, "unit": FIGURES[figure][1], "bound": bound, "better": LOWER, "runs": 0, "peer": None, "why": why}
                for figure, bound in BOUNDS[name].items()]
    found = []
    for figure in runs[0]:
        if figure == "idle":
            continue
        what, unit = FIGURES[figure]
        better = "higher" if figure in ("received", "own_pictures", "own_rate") else LOWER
        row = {"case": f"lab: {name}", "figure": what, "value": bench.median(runs, figure), "unit": unit, "bound": BOUNDS[name].get(figure), "better": better,
               "runs": len(runs), "peer": None, "idle": bench.median(runs, "idle")}
        found.append(row if row["value"] is not None else {**row, "why": "not seen in most runs"})
    return found


def quick():
    """Ten people for a few seconds; bounds are wide enough for two busy cores."""
    counted = None
    yard = Yard(f"{FOLDER}/quick")
    try:
        server = yard.serve()
        counted = yard.counted(yard.crowd([yard.link(), *call(10, 10, 8, "--settle", "3s", "--flip", "3s", page=4)], server), 90)
    finally:
        yard.close()
    everything, failed = counted["all"], []
    for what, held, value in (
            ("all are connected", counted["connected"] == 10, counted["connected"]),
            ("everybody sees pictures", all(p["pictures"]["pictures"] > 50 for p in counted["people"]), min(p["pictures"]["pictures"] for p in counted["people"])),
            ("everybody hears somebody", all(p["sound"]["packets"] > 50 for p in counted["people"]), min(p["sound"]["packets"] for p in counted["people"])),
            ("hardly anything is lost", everything["pictures"]["lost"] + everything["sound"]["lost"] <= everything["pictures"]["packets"] / 200, everything["pictures"]["lost"]),
            ("a page that is turned shows pictures", (everything["pictures"]["first_longest_ms"] or 1e9) < 3000, everything["pictures"]["first_longest_ms"])):
        print(f"{'ok  ' if held else 'FAIL'} {what}: {value}", flush=True)
        if not held:
            failed.append(what)
    print("FAILED: " + ", ".join(failed) if failed else "all held")
    return int(bool(failed))


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--case", action="append", choices=CASES)
    options.add_argument("--runs", type=int, default=1)
    options.add_argument("--seconds", type=int)
    options.add_argument("--quick", action="store_true")
    options.add_argument("--list", action="store_true")
    options.add_argument("--attack", choices=("malformed", "half-open"), help=argparse.SUPPRESS)
    options = options.parse_args()
    if options.list:
        print("\n".join(CASES))
        return 0
    if options.attack:
        attack(options.attack, options.seconds)
        return 0
    lab.private(sys.argv)
    if options.quick:
        return quick()
    table, failed = [], False
    for name in options.case or CASES:
        drive, seconds = CASES[name]
        runs, why = [], None
        for run in range(options.runs):
            try:
                runs.append(drive(f"{FOLDER}/{name}.{run}", options.seconds or seconds))
                print(f"{name}: " + ", ".join(f"{figure} {value:.4g}" for figure, value in runs[-1].items() if value is not None), flush=True)
            except (Failed, Absent, lab.LabError, OSError) as error:
                why, failed = str(error).strip().splitlines()[0], True
                print(f"{name}: {why}", flush=True)
        found = rows(name, runs, why)
        bench.merge("relay", found)
        table += found
    bench.print_table(table)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
