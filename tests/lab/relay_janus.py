#!/usr/bin/env python3
"""relay_janus.py - our relay beside Janus 1.1: CPU, delay, loss and memory with the same streams.

  relay_janus.py [--subscribers 30] [--publishers 4] [--seconds 20] [--rounds 2] [--layer 1]

`nonstop-load` publishes and receives recorded streams through nonstop-server and through the video room
of Janus (Debian: apt-get install janus), in turns. Publishers send pictures of one layer and sound;
each subscriber receives all of them. Both servers have transport-wide feedback on and record nothing;
ours estimates, allots layers and repairs while it forwards, as in any call. CPU seconds are those of the
server's process, user and system, for each Gbit of payload that reached a subscriber. It makes a lab of
its own, so it needs root or a kernel that gives users namespaces. Rows go to target/bench/relay.json.
"""
import argparse
import os
import shutil
import statistics
import sys

sys.dont_write_bytecode = True
import bench
import lab
from parties import Absent, Failed
from relay_stage import Yard

FOLDER = f"{bench.RESULTS}/relay/janus"
SIZES = ("320x180", "640x360", "1280x720")
# CPU a Gbit, of what Janus takes.
SHARE = .45
JANUS_PORT = 8188

CONFIG = """general: {{
  configs_folder = "{folder}"
  plugins_folder = "{library}/plugins"
  transports_folder = "{library}/transports"
  events_folder = "{library}/events"
  loggers_folder = "{library}/loggers"
  debug_level = 4
  log_to_stdout = true
  session_timeout = 120
}}
certificates: {{ }}
media: {{ rtp_port_range = "20000-40000" }}
nat: {{ nice_debug = false ice_lite = false full_trickle = false ice_enforce_list = "load" }}
plugins: {{ disable = "{plugins}" }}
transports: {{ disable = "libjanus_http.so,libjanus_pfunix.so,libjanus_rabbitmq.so,libjanus_mqtt.so,libjanus_nanomsg.so" }}
events: {{ broadcast = false }}
"""
WEBSOCKETS = """general: {{ json = "compact" ws = true ws_port = {port} ws_interface = "load" wss = false }}
admin: {{ admin_ws = false admin_wss = false }}
cors: {{ }}
certificates: {{ }}
"""


def library():
    for path in ("/usr/lib/x86_64-linux-gnu/janus", "/usr/lib/aarch64-linux-gnu/janus", "/usr/lib/janus", "/opt/janus/lib/janus"):
        if os.path.isdir(f"{path}/plugins"):
            return path
    raise Absent("the plugins of Janus were not found")


def start_janus(yard):
    if not shutil.which("janus"):
        raise Absent("Janus is not installed (package janus)")
    folder = f"{yard.folder}/janus"
    os.makedirs(folder)
    others = [name for name in os.listdir(f"{library()}/plugins") if name.endswith(".so") and "videoroom" not in name]
    for name, text in (("janus.jcfg", CONFIG.format(folder=folder, library=library(), plugins=",".join(others))),
                       ("janus.transport.websockets.jcfg", WEBSOCKETS.format(port=JANUS_PORT)),
                       ("janus.plugin.videoroom.jcfg", "general: { }\n")):
        with open(f"{folder}/{name}", "w") as f:
            f.write(text)
    return yard.start("srv", "janus", ["janus", "-F", folder, "-o"], "Websockets server started")


def measure(who, number, options):
    """One round with one server; returns what the crowd counted."""
    yard = Yard(f"{FOLDER}/{who}.{number}")
    people = options.publishers + options.subscribers
    words = ["--people", people, "--cameras", options.publishers, "--microphones", options.publishers, "--watchers", options.subscribers, "--page", options.publishers,
             "--only-layer", options.layer, "--tile", SIZES[options.layer], "--voices", 2, "--for", f"{options.seconds}s", "--join-over", "4s"]
    try:
        if who == "janus":
            server = start_janus(yard)
            words = ["--janus", f"ws://10.9.0.10:{JANUS_PORT}", *words]
        else:
            server = yard.serve()
            words = [yard.link(), *words]
        counted = yard.counted(yard.crowd(words, server), options.seconds + 90)
        counted["idle"] = yard.idle()
        if counted["connected"] < people or not counted["all"]["pictures"]["packets"]:
            raise Failed(f"{counted['connected']} of {people} connected to {who}: see {yard.folder}")
        return counted
    finally:
        yard.close()


def figures(counted):
    everything = counted["all"]
    return {"cpu": counted["cpu_seconds_a_gigabit"], "p50": everything["delay"]["p50_ms"], "p99": everything["delay"]["p99_ms"],
            "lost": everything["pictures"]["lost"] + everything["sound"]["lost"], "memory": counted["memory_a_participant"] / 1e6,
            "rate": (everything["pictures"]["bps"] + everything["sound"]["bps"]) / 1e6, "freezes": everything["pictures"]["freezes"], "idle": counted["idle"]}


def rows(case, ours, theirs):
    def middle(runs, name):
        return round(statistics.median(run[name] for run in runs), 4) if runs else None
    common = {"case": case, "runs": len(ours), "idle": middle(ours, "idle")}
    found = []
    for name, what, unit, bound in (("cpu", "CPU seconds a forwarded Gbit", "s", theirs and round(SHARE * middle(theirs, "cpu"), 4)), ("lost", "lost packets", "", 0),
                                    ("p50", "forwarding delay, median", "ms", None), ("p99", "forwarding delay, 99th percentile", "ms", None),
                                    ("memory", "memory a participant", "MB", .5), ("rate", "forwarded payload", "Mbit/s", None)):
        found.append({**common, "figure": what, "value": middle(ours, name), "unit": unit, "bound": bound or (0 if name == "lost" else None),
                      "better": "higher" if name == "rate" else "lower", "peer": middle(theirs, name)})
    ratio = round(middle(ours, "cpu") / middle(theirs, "cpu"), 3) if theirs else None
    found.append({**common, "figure": "the same CPU, of what Janus takes", "value": ratio, "unit": "", "bound": SHARE, "better": "lower", "peer": 1 if theirs else None,
                  **({} if theirs else {"why": "Janus is not installed"})})
    return found


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--subscribers", type=int, default=30)
    options.add_argument("--publishers", type=int, default=4)
    options.add_argument("--seconds", type=int, default=20)
    options.add_argument("--rounds", type=int, default=2)
    options.add_argument("--layer", type=int, default=1, help="which of the recording's layers is sent, from 0")
    options = options.parse_args()
    lab.private(sys.argv)
    runs = {"ours": [], "janus": []}
    for number in range(options.rounds):
        for who in runs:
            try:
                found = figures(measure(who, number, options))
            except Absent as error:
                print(f"{who}: {error}", flush=True)
                continue
            runs[who].append(found)
            print(f"{who:6} " + ", ".join(f"{name} {value:.3g}" for name, value in found.items()), flush=True)
    case = f"lab: {options.publishers} publish {SIZES[options.layer]}, {options.subscribers} subscribe, beside Janus"
    table = rows(case, runs["ours"], runs["janus"])
    bench.print_table(table)
    bench.merge("relay", table)


if __name__ == "__main__":
    try:
        main()
    except (Failed, lab.LabError) as error:
        sys.exit(f"relay_janus.py: {error}")
