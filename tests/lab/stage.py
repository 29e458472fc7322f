"""Where the cases of connect.py play: homes behind named routers, the server, and our own program in them."""
import os
import shutil
import signal
import time

import lab
import truth
from parties import Failed, Nonstop, machine_cpu, wait_for
from servers import PLAIN, Servers, new_link, seen_from

# Wide enough that nothing but distance and routers counts.
OPEN = "rate=100mbit queue=300ms aqm=droptail"
# How much farther a second uplink is from the net, in milliseconds: a call prefers the first.
FARTHER = 10
# Pictures that cost little: these cases count packets, not pixels.
SMALL = ("--camera", "test-card", "--max-size", "320x180", "--max-bitrate", "300k", "--microphone", "tone")


class Caller(Nonstop):
    """`nonstop call` in a home of a stage."""

    def __init__(self, stage, home, label, link, words=SMALL):
        kind = stage.kinds[home]
        self.home = home
        words = [seen_from(link, stage.speaks(home)), *words]
        self.begin(stage.folder, f"h{home}", label, words, stage.servers.environment(kind))

    def alive(self):
        if self.process.poll() is not None:
            raise Failed(f"{self.label} ended with status {self.process.returncode}: see {self.log}")
        return True

    def me(self):
        joined = self.event("joined")
        return joined and joined["me"]

    def events(self, *names, peer=None, since=0):
        return [line for line in self.lines() if line.get("event") in names and line["at"] >= since
                and (peer is None or line.get("peer") == peer)]

    def shown(self, peer=None, at=None):
        """The path that a link's tile shows, at a time or now."""
        path = None
        for line in self.lines():
            if (at is None or line["at"] <= at) and (peer is None or line.get("peer") == peer) and line.get("path"):
                path = line["path"]
        return path

    def pictures(self, since, until, peer=None):
        """Frames decoded between two times; None where it says nothing of them."""
        counts = [line["frames_decoded"] for line in self.lines() if line["type"] == "link" and line.get("frames_decoded") is not None
                  and (peer is None or line["peer"] == peer) and since <= line["at"] <= until]
        return counts[-1] - counts[0] if len(counts) > 1 else None

    def picture_rate(self, since, until, peer):
        """Frames decoded a second between two times; 0 where it says nothing of them."""
        counts = [(line["at"], line["frames_decoded"]) for line in self.lines() if line["type"] == "link" and line.get("frames_decoded") is not None
                  and line["peer"] == peer and since <= line["at"] <= until]
        return (counts[-1][1] - counts[0][1]) / (counts[-1][0] - counts[0][0]) if len(counts) > 1 else 0

    def memory(self):
        """Resident memory in MB."""
        with open(f"/proc/{self.process.pid}/status") as f:
            return next(int(line.split()[1]) / 1024 for line in f if line.startswith("VmRSS"))

    def leave(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)


class Stage:
    """One lab with its server; everything ends with it."""

    def __init__(self, folder):
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        self.folder = folder
        self.kinds, self.watches, self.callers, self.others = {}, {}, [], []
        self.servers, self.machine = None, machine_cpu()

    def homes(self, *kinds, delay=10, settings=None, mobile=()):
        """Homes 1, 2, ... behind routers of these kinds, `delay` milliseconds from the net each."""
        self.kinds = dict(enumerate(kinds, 1))
        specs = []
        for home, kind in self.kinds.items():
            if kind == "ipv6only":
                words = "nat=portrestricted;family=6"
            else:
                words = f"nat={kind};family=4" + (";own=1" if kind == "none" else "")
            more = (settings or {}).get(home, "")
            specs.append(f"{home}:both={OPEN} delay={delay}ms;{words}" + (f";mobile=1;mboth={OPEN} delay={delay + FARTHER}ms;mnat=portrestricted" if home in mobile else "")
                         + (f";{more}" if more else ""))
        lab.up(len(kinds), specs, ipv6="ipv6only" in kinds, packet_log=range(1, len(kinds) + 1))
        for home in self.kinds:
            self.watches[home] = truth.watch(home)
        for home in mobile:
            self.watches[f"m{home}"] = truth.watch(home, "mobile")
        # Waits of the first kind of address would cost a second each; a lab has time to settle.
        time.sleep(.3)

    def serve(self, relay=None, words=()):
        """Starts the servers, told these words more; LAB_RELAY=coturn takes coturn where a case does
        not say what it needs."""
        self.servers = Servers(self.folder, relay or os.environ.get("LAB_RELAY", "own"), "ipv6only" in self.kinds.values(), words)

    def speaks(self, home):
        return "6" if self.kinds[home] == "ipv6only" else "4"

    def link(self, plain=False, named=False):
        """A link to a new meeting: over TLS at the server's address, by its name, or in plain."""
        return new_link(f"http://{PLAIN}" if plain else f"https://{lab.NAME if named else lab.SRV}")

    def join(self, home, link, label=None, words=SMALL, wait=True):
        caller = Caller(self, home, label or f"{len(self.callers):02}-h{home}", link, words)
        self.callers.append(caller)
        if wait:
            caller.entered()
        return caller

    def everyone_sees(self, callers, seconds=15):
        """Waits until each has a picture of each other."""
        def seen():
            return all(c.alive() and len({e["peer"] for e in c.events("first_video_frame")}) >= len(callers) - 1 for c in callers)
        wait_for(seen, "everybody sees everybody", seconds)

    def sleep(self, seconds):
        """Waits, and notices who ends before their time."""
        end = time.time() + seconds
        while (left := end - time.time()) > 0:
            for caller in self.callers:
                caller.alive()
            time.sleep(min(left, .2))

    def truth(self, home, seconds=1.0):
        """(flow, rung) of what a home's link carried in the last seconds; None for nothing."""
        until = time.time()
        watch = self.watches[home]
        watch.look()
        return watch.media(until - seconds, until)

    def packets(self, home):
        """Everything that a link logged so far."""
        watch = self.watches[home]
        watch.look()
        return watch.packets

    def idle(self):
        """The share of the machine's CPU that was idle since the start, or since the last question."""
        idle, total = (now - then for now, then in zip(machine_cpu(), self.machine))
        self.machine = machine_cpu()
        return round(idle / total, 3) if total else None

    def part(self, *callers):
        """These leave, all at once; one that crashed or stays fails the run."""
        for caller in callers:
            caller.leave()
        for caller in callers:
            caller.stop()
            self.callers.remove(caller)

    def close(self):
        for caller in self.callers:
            caller.kill()
        for process in self.others:
            if process.poll() is None:
                process.kill()
                process.wait()
        if self.servers:
            self.servers.close()
        lab.down()
