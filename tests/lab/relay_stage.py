"""Where the relay is measured: the server, the crowd beside it, and somebody farther away.

    PFX-load ──veth── PFX-srv ──veth── PFX-net ──wan── PFX-r1 ── PFX-h1

`nonstop-load` plays the crowd. Its packets cross nothing but the kernel; the one who is far away has a
link of the lab, with delay and rate.
"""
import json
import os
import shutil
import signal
import subprocess as sp
import time

import lab
from parties import Absent, Failed, machine_cpu, programs, wait_for
from servers import new_link

PORT = 4433
# Measured programs and those that measure go before everything else on the machine.
os.environ.setdefault("LAB_SHARES", "200000")
# LAB_REALTIME=1 on a machine that others keep busy: their work then delays no packet.
REALTIME = ["chrt", "--rr", "1"] if os.environ.get("LAB_REALTIME") else []
OPEN = "rate=100mbit queue=300ms"


class Yard:
    """One server with its crowd; everything ends with it."""

    def __init__(self, folder, far=None):
        """`far` is the one way delay in milliseconds of somebody at a distance."""
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        self.folder, self.running, self.machine = folder, [], machine_cpu()
        if not os.path.exists(f"{programs()}/nonstop-load"):
            raise Absent("nonstop-load is not built (cargo build --release -p nonstop-load)")
        lab.up(0 if far is None else 1, [] if far is None else [f"1:both={OPEN} delay={far}ms;nat=none;family=4"])
        lab.add_ns("load", False)
        lab.sh(f"ip link add eth0 netns {lab.ns('load')} type veth peer name load netns {lab.ns('srv')}")
        lab.ip("srv", "addr add 10.9.0.10/24 dev load")
        lab.ip("load", "addr add 10.9.0.20/24 dev eth0")
        for node, device in (("srv", "load"), ("load", "eth0")):
            lab.ip(node, f"link set {device} txqueuelen 4000 up")
        lab.ip("load", f"route add {lab.MEET}/32 via 10.9.0.10")
        time.sleep(.3)

    def start(self, node, name, command, ready=None, **options):
        """Starts a program; waits until its log says `ready`."""
        path = f"{self.folder}/{name}.log"
        with open(path, "a") as log:
            at = log.tell()
            if REALTIME:
                process = sp.Popen(lab.exec_command(node, [*REALTIME, *command]), stdin=sp.DEVNULL, stdout=log, stderr=log, **options)
            else:
                process = lab.start(node, command, stdout=log, stderr=log, **options)
        self.running.append(process)

        def up():
            if process.poll() is not None:
                raise Failed(f"{name} ended: see {path}")
            with open(path) as log:
                log.seek(at)
                return ready in log.read()
        if ready:
            wait_for(up, name)
        return process

    def serve(self, *words):
        """Starts our server."""
        return self.start("srv", "server", [f"{programs()}/nonstop-server", "--listen", f"{lab.MEET}:{PORT}", "--max-connections-per-address", "4000",
                                            "--max-arrivals-per-address", "4000", *words], "listening")

    def link(self):
        return new_link(f"http://{lab.MEET}:{PORT}")

    def crowd(self, words, server=None, node="load", name="crowd"):
        """Starts participants; `words` begin with the link, or name a Janus."""
        target = f"{self.folder}/{name}.json"
        command = [f"{programs()}/nonstop-load", *map(str, words), "--json", target]
        if server:
            command += ["--server-pid", str(server.pid)]
        process = self.start(node, name, command)
        process.target = target
        return process

    def counted(self, crowd, seconds):
        """Waits until a crowd is done; returns what it counted."""
        try:
            status = crowd.wait(seconds)
        except sp.TimeoutExpired:
            raise Failed(f"a crowd does not end within {seconds} s") from None
        if not os.path.exists(crowd.target):
            raise Failed(f"a crowd counted nothing: see {self.folder}")
        with open(crowd.target) as f:
            counted = json.load(f)
        counted["status"] = status
        return counted

    def sleep(self, seconds, *processes):
        """Waits, and notices who ends before their time."""
        end = time.time() + seconds
        while time.time() < end:
            if any(process.poll() is not None for process in processes):
                raise Failed(f"a program ended before its time: see {self.folder}")
            time.sleep(.05)

    def idle(self):
        """The share of the machine's CPU that was idle since the start, or since the last question."""
        idle, total = (now - then for now, then in zip(machine_cpu(), self.machine))
        self.machine = machine_cpu()
        return round(idle / total, 3) if total else None

    def stop(self, process, how=signal.SIGTERM):
        if process.poll() is None:
            process.send_signal(how)
            try:
                process.wait(5)
            except sp.TimeoutExpired:
                process.kill()
                process.wait()
        if process in self.running:
            self.running.remove(process)

    def close(self):
        for process in list(self.running):
            self.stop(process, signal.SIGKILL)
        lab.down()
