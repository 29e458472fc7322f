"""Who takes part in a call of the lab: our own program, and Chromium beside it.

Both kinds answer the same questions: when connected, what was frozen, what sound was lost, what
was aimed at. What they say of the network is never used: that comes from the links.
"""
import glob
import json
import os
import shutil
import signal
import subprocess as sp
import time

import lab

MEETINGS = f"http://{lab.MEET}:4433"
SIGNALLING = ("192.0.2.10", 8080)
CHROMIUM = f"{lab.HERE}/chromium"
MAX_BITRATE = 2_500_000
# How long a party may take to enter a meeting, on a busy machine.
LONGEST_ENTRY = 40


def programs():
    """The folder of `nonstop` and `nonstop-server`."""
    given = os.environ.get("NONSTOP_BIN")
    if given:
        return os.path.dirname(given) if os.path.isfile(given) else given
    return f"{os.environ.get('CARGO_TARGET_DIR', lab.ROOT + '/target')}/release"


class Absent(Exception):
    """What a measurement needs is not here."""


class Failed(Exception):
    """A party did not do what it was asked to."""


def wait_for(condition, what, seconds=LONGEST_ENTRY):
    end = time.time() + seconds
    while time.time() < end:
        value = condition()
        if value:
            return value
        time.sleep(.02)
    raise Failed(f"{what}: not within {seconds} s")


def threads_cpu(pid, name, seen):
    """CPU seconds of a process's threads whose names begin so. `seen` remembers each thread: what
    one used still counts when it has ended."""
    for path in glob.glob(f"/proc/{pid}/task/*/stat"):
        try:
            with open(path) as f:
                text = f.read()
        except OSError:
            continue  # it ended meanwhile
        if text[text.index("(") + 1:].startswith(name):
            fields = text.rsplit(")", 1)[1].split()
            seen[path] = int(fields[11]) + int(fields[12])
    return sum(seen.values()) / os.sysconf("SC_CLK_TCK")


def machine_cpu():
    """CPU seconds of the machine so far: idle, and all."""
    with open("/proc/stat") as f:
        fields = [int(x) for x in f.readline().split()[1:9]]
    return (fields[3] + fields[4]) / os.sysconf("SC_CLK_TCK"), sum(fields) / os.sysconf("SC_CLK_TCK")


class Nonstop:
    """`nonstop call` on a node."""

    name = "nonstop"

    @staticmethod
    def needed():
        for program in ("nonstop", "nonstop-server"):
            if not os.access(f"{programs()}/{program}", os.X_OK):
                raise Absent(f"{programs()}/{program} is not built (cargo build --release, or NONSTOP_BIN=FOLDER)")

    @staticmethod
    def serve(folder):
        with open(f"{folder}/server.log", "w") as log:
            server = lab.start("srv", [f"{programs()}/nonstop-server", "--listen", f"{lab.MEET}:4433"], stdout=log, stderr=log)

        def listening():
            if server.poll() is not None:
                raise Failed(f"nonstop-server ended: see {folder}/server.log")
            with open(f"{folder}/server.log") as f:
                return "listening" in f.read()
        wait_for(listening, "nonstop-server")
        return server

    @staticmethod
    def room():
        return sp.run([f"{programs()}/nonstop", "new", "--server", MEETINGS], capture_output=True, text=True, check=True).stdout.strip()

    def __init__(self, folder, node, label, room, sends, clip):
        camera, microphone = (f"file:{clip}", "tone") if sends else ("none", "none")
        self.begin(folder, node, label, [room, "--camera", camera, "--microphone", microphone, "--max-bitrate", f"{MAX_BITRATE / 1e6}M"])

    def begin(self, folder, node, label, words, env=None):
        """Starts `nonstop call` with these words, and notes when."""
        self.node, self.label = node, label
        self.stats, self.log = f"{folder}/{label}.jsonl", f"{folder}/{label}.log"
        command = [f"{programs()}/nonstop", "call", *words, "--name", label, "--stats", self.stats, "--speaker", "none"]
        for path in (self.stats, self.log):
            if os.path.exists(path):
                os.unlink(path)
        with open(self.log, "w") as log:
            self.process = lab.start(node, command, stdout=log, stderr=log, env=env)
        # Times in the statistics count from the start of the program, not of the one that starts it.
        while self.process.poll() is None:
            try:
                if os.readlink(f"/proc/{self.process.pid}/exe").endswith("/nonstop"):
                    break
            except OSError:
                pass
        self.started = time.time()
        self.encoders = {}
        self.said, self.said_until = [], 0

    def entered(self):
        wait_for(lambda: self.alive() and self.event("joined"), f"{self.label} joined")

    def alive(self):
        if self.process.poll() is not None:
            raise Failed(f"{self.label} ended with status {self.process.returncode}: see {self.log}")
        self.encode_cpu()
        return True

    def lines(self):
        """Everything it said so far; `at` is the time of a line in seconds since 1970."""
        if os.path.exists(self.stats):
            with open(self.stats, "rb") as f:
                f.seek(self.said_until)
                for text in f:
                    if text.endswith(b"\n"):
                        self.said_until += len(text)
                        line = json.loads(text)
                        line["at"] = self.started + line["time_ms"] / 1e3
                        self.said.append(line)
        return self.said

    def event(self, name):
        return next((line for line in self.lines() if line.get("event") == name), None)

    def connected(self):
        """When the connection stood; None if it never did."""
        event = self.event("link_connected")
        return event and event["at"]

    def path(self):
        event = self.event("link_connected")
        return event and event["path"]

    def figure(self, name, since=None, until=None):
        """(time, value) of a figure of a link, where it was known."""
        return [(line["at"], line[name]) for line in self.lines() if line["type"] == "link" and line.get(name) is not None
                and (since is None or line["at"] >= since) and (until is None or line["at"] < until)]

    def growth(self, name, since=None, until=None):
        """How much a count grew; what it was at the start counts if no time is given."""
        values = [value for _, value in self.figure(name, since, until)]
        return (values[-1] - (values[0] if since else 0)) if values else None

    def freezes(self):
        return self.growth("freeze_count")

    def frozen_seconds(self, since, until):
        grown = self.growth("freeze_ms", since, until)
        return None if grown is None else grown / 1e3

    def frames(self, since, until):
        return self.growth("frames_decoded", since, until)

    def first_frame_after(self, back, length):
        """Seconds from the return of a path that was cut for `length` until the next picture: the
        gap between two pictures, less the cut. The last picture before the cut is up to one
        interval and one trip older than the cut, so this is a little more than the truth."""
        frozen = self.frozen_seconds(back - length - 3, back + 12)
        return None if not frozen or frozen < length else round(frozen - length, 3)

    def audio_lost(self):
        """Packets of sound that did not come themselves; what the next packet brought is among them."""
        missed = [self.growth(figure) for figure in ("audio_lost", "audio_recovered")]
        return None if None in missed else sum(missed)

    def target(self, since, until):
        values = [v for _, v in self.figure("target_bps", since, until)]
        return sum(values) / len(values) if values else None

    def sizes(self, since, until):
        widths, heights = self.figure("sent_width", since, until), self.figure("sent_height", since, until)
        sizes = [f"{w}x{h}" for (_, w), (_, h) in zip(widths, heights)]
        return {size: round(sizes.count(size) / len(sizes), 2) for size in sorted(set(sizes))}

    def encode_cpu(self):
        """CPU seconds of the encoders since the start; asked twice a second while a scene runs."""
        return threads_cpu(self.process.pid, "encode", self.encoders)

    def stop(self):
        """Leaves; a party that crashed or does not leave fails the run."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            status = self.process.wait(10)
        except sp.TimeoutExpired:
            self.process.kill()
            raise Failed(f"{self.label} did not leave") from None
        with open(self.log) as f:
            if status or "panicked" in f.read():
                raise Failed(f"{self.label} ended with status {status}: see {self.log}")

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Chromium:
    """A headless Chromium on a node, driven by chromium/party.mjs."""

    name = "chromium"
    rooms = 0
    address = SIGNALLING

    @staticmethod
    def needed():
        for program in ("chromium", "node"):
            if not shutil.which(program):
                raise Absent(f"{program} is not installed")
        if not os.path.isdir(f"{CHROMIUM}/node_modules/playwright-core"):
            raise Absent("its packages are not installed (npm install in tests/lab/chromium)")

    @classmethod
    def serve(cls, folder, address=SIGNALLING):
        cls.address = address
        with open(f"{folder}/server.log", "w") as log:
            server = lab.start("srv", ["node", f"{CHROMIUM}/server.mjs", address[0], str(address[1])], stdout=log, stderr=log)

        def listening():
            with open(f"{folder}/server.log") as f:
                return "listening" in f.read()
        wait_for(listening, "signalling")
        return server

    @classmethod
    def room(cls):
        cls.rooms += 1
        return f"room{cls.rooms}"

    def __init__(self, folder, node, label, room, sends, clip, more=None):
        self.node, self.label = node, label
        self.out, self.log = f"{folder}/{label}.json", f"{folder}/{label}.log"
        if os.path.exists(self.out):
            os.unlink(self.out)
        options = {"id": label, "room": room, "send": sends, "audio": sends, "clip": clip, "out": self.out, "maxBitrate": MAX_BITRATE,
                   "url": "http://{}:{}".format(*self.address), "chromium": shutil.which("chromium"), "more": more or {}}
        with open(self.log, "w") as log:
            self.process = lab.start(node, ["node", f"{CHROMIUM}/party.mjs", json.dumps(options)], stdout=log, stderr=log)
        self.dump = None

    def said(self, word):
        with open(self.log) as f:
            return word in f.read()

    def entered(self):
        wait_for(lambda: self.alive() and self.said("joined"), f"{self.label} joined", 60)

    def alive(self):
        if self.process.poll() is not None:
            raise Failed(f"{self.label} ended with status {self.process.returncode}: see {self.log}")
        return True

    def event(self, name):
        return next((e["t"] / 1e3 for e in self.dump["events"] if e["name"] == name), None)

    def connected(self):
        return self.event("state:connected")

    def path(self):
        return next((s["path"] for s in reversed(self.dump["samples"]) if "path" in s), None)

    def figure(self, kind, name, since=None, until=None):
        return [(s["t"] / 1e3, s[kind][name]) for s in self.dump["samples"] if name in s.get(kind, {})
                and (since is None or s["t"] / 1e3 >= since) and (until is None or s["t"] / 1e3 < until)]

    def freezes(self):
        values = self.figure("in", "freezeCount")
        return values[-1][1] if values else None

    def frames(self, since, until):
        values = self.figure("in", "framesDecoded", since, until)
        return values[-1][1] - values[0][1] if values else None

    def first_frame_after(self, back, length):
        values = self.figure("in", "framesDecoded", back - length + 1)
        grown = (at for (at, new), (_, old) in zip(values[1:], values) if new > old)
        return next((round(at - back, 3) for at in grown), None)

    def audio_lost(self):
        values = self.figure("audio", "packetsLost")
        return values[-1][1] if values else None

    def target(self, since, until):
        values = [v for _, v in self.figure("out", "targetBitrate", since, until)]
        return sum(values) / len(values) if values else None

    def sizes(self, since, until):
        widths, heights = self.figure("out", "frameWidth", since, until), self.figure("out", "frameHeight", since, until)
        sizes = [f"{w}x{h}" for (_, w), (_, h) in zip(widths, heights)]
        return {size: round(sizes.count(size) / len(sizes), 2) for size in sorted(set(sizes))}

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(20)
        except sp.TimeoutExpired:
            self.kill()
        if not os.path.exists(self.out):
            raise Failed(f"{self.label} left nothing behind: see {self.log}")
        with open(self.out) as f:
            self.dump = json.load(f)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
