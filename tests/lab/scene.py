"""One run of one case: a lab, calls in it, what is done to the links, and what came of it."""
import os
import random
import shutil
import sys
import time

import lab
from packets import Log
from parties import Failed, machine_cpu, wait_for

# Everything that a link can have, as it is when nothing was asked for.
OPEN = "rate=100mbit queue=300ms aqm=droptail"


class Scene:
    """Times are seconds since `t0`, the moment just before the first sender joins."""

    def __init__(self, kind, folder, clip):
        self.kind, self.folder, self.clip = kind, folder, clip
        self.processes, self.rivals, self.parties, self.t0 = [], [], [], None
        self.machine = None
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)

    # ---- setting up

    def homes(self, *settings, delay=25):
        """A lab with these uplinks and, after a `|`, downlinks; the packets of home 1 are logged. `delay` is the
        one-way delay of each home's link in milliseconds, or a list of them: a round trip takes
        twice the sum of two homes."""
        delays = delay if isinstance(delay, list) else [delay] * len(settings)
        specs = []
        for i, (words, ms) in enumerate(zip(settings, delays), 1):
            up, _, down = words.partition("|")
            specs.append(f"{i}:both={OPEN} delay={ms}ms;up={up};down={down};nat=none")
        lab.up(len(settings), specs, packet_log=(1,))
        self.processes.append(self.kind.serve(self.folder))

    def call(self, sender="h1", *receivers, both=False, room=None):
        """Starts a call: `receivers` first, then the sender, which sends to all of them. Returns
        the sender and the list of receivers."""
        room = room or self.kind.room()
        names = receivers or ("h2",)
        label = f"{len(self.parties):02}"
        others = [self.join(room, node, f"{label}-receiver-{node}", both) for node in names]
        for party in others:
            party.entered()
        if self.t0 is None:
            self.t0, self.machine = time.time(), machine_cpu()
        return self.join(room, sender, f"{label}-sender", True), others

    def join(self, room, node, label, sends):
        party = self.kind(self.folder, node, label, room, sends, self.clip)
        self.parties.append(party)
        return party

    # ---- while it runs

    def until(self, seconds):
        """Waits, and notices who ends before their time."""
        while (left := self.t0 + seconds - time.time()) > 0:
            for party in self.parties:
                party.alive()
            if any(rival.poll() for rival in self.rivals):
                raise Failed(f"a TCP flow ended early: see {self.folder}")
            time.sleep(min(left, .5))

    def link(self, home, direction, words):
        """Changes a link; returns when it did, on the clock of the packet log."""
        return self.log_time(home, lab.ctl(f"home{home}", f"{direction} {words}"))

    def trace(self, home, name):
        """Starts a link's schedule; returns when it began."""
        return self.log_time(home, lab.give_link(home, name))

    def cut(self, home, seconds):
        return self.link(home, "both", f"cut={seconds}s")

    def log_time(self, home, answer):
        with open(f"{lab.RUN}/home{home}.csv") as f:
            fields = f.read().split("\n")[1].split(",")
        return float(fields[1]) - float(fields[0]) + float(answer.split("t=")[1])

    def tcp(self, seconds):
        """One long TCP flow (cubic) from home 1 to the server."""
        port = 5300 + len(self.processes)
        with open(f"{self.folder}/iperf.log", "a") as log:
            self.processes.append(lab.start("srv", ["iperf3", "-s", "-1", "-p", str(port)], stdout=log, stderr=log))
            time.sleep(.4)
            client = lab.start("h1", ["iperf3", "-c", lab.SRV, "-p", str(port), "-C", "cubic", "-t", str(seconds), "-i", "0"], stdout=log, stderr=log)
            self.processes.append(client)
            self.rivals.append(client)

    def short_tcp(self, flows, seconds):
        """Short TCP flows as in RFC 8868, section 6: files of 100 kB to 1 MB, exponential pauses
        of 10 s on average; the same sizes and pauses in every run."""
        with open(f"{self.folder}/short.log", "w") as log:
            self.processes.append(lab.start("srv", [sys.executable, "-c", SINK], stdout=log, stderr=log))
            wait_for(lambda: "ready" in open(f"{self.folder}/short.log").read(), "the sink of short flows")
            dice = random.Random(1)
            for flow in range(flows):
                # Two begin at once, the others some time later, as the RFC has it.
                first = 0 if flow < 2 else dice.expovariate(.1)
                source = [sys.executable, "-c", SOURCE, str(flow), str(first), str(seconds)]
                self.rivals.append(lab.start("h1", source, stdout=log, stderr=log))
                self.processes.append(self.rivals[-1])

    # ---- afterwards

    def finish(self):
        """Everybody leaves. Returns the log of home 1's link and the share of CPU that was idle."""
        idle, total = (now - then for now, then in zip(machine_cpu(), self.machine))
        for party in self.parties:
            party.stop()
        lab.stop_link("home1")
        for name in ("home1.pkt.csv", "home1.csv"):
            shutil.copy(f"{lab.RUN}/{name}", self.folder)
        return Log.read(f"{self.folder}/home1.pkt.csv", f"{self.folder}/home1.csv"), round(idle / total, 3)

    def close(self):
        for party in self.parties:
            party.kill()
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()
        lab.down()


# Takes in whatever comes.
SINK = r'''
import socketserver
class Take(socketserver.BaseRequestHandler):
    def handle(self):
        while self.request.recv(65536): pass
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
with Server(("192.0.2.10", 5400), Take) as server:
    print("ready", flush=True)
    server.serve_forever()
'''

# Sends files with pauses until its time is over.
SOURCE = r'''
import random, socket, sys, time
flow, first, seconds = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
dice, end = random.Random(1000 + flow), time.time() + seconds
# What is not allowed shows at once, not when this flow begins.
socket.socket().setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")
time.sleep(first)
while time.time() < end:
    s = socket.create_connection(("192.0.2.10", 5400))
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")
    s.sendall(bytes(dice.randint(100_000, 1_000_000)))
    s.close()
    time.sleep(dice.expovariate(.1))
'''
