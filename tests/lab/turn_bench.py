#!/usr/bin/env python3
"""turn_bench.py - packets relayed a CPU second: the TURN server of nonstop-server beside coturn.

  turn_bench.py [--server target/release/nonstop-server] [--seconds 5] [--rounds 3] [--only UDP]

Needs coturn (Debian: apt-get install coturn), no root and no lab: everything is on loopback. Both
servers get the same clients, peers and packets, one after the other, in turns. A client sends
1000 bytes through its channel and its peer as many back; what arrives on either side counts as
relayed, and the CPU time is that of the server's process, user and system, as the scheduler
counts it. `video` sends six packets at once 30 times a second, as cameras do; `even` sends them one
by one. Rows go to target/bench/connect.json.
"""
import argparse
import base64
import glob
import hashlib
import hmac
import multiprocessing as mp
import os
import random
import select
import shutil
import socket
import statistics
import struct
import subprocess as sp
import sys
import tempfile
import time

sys.dont_write_bytecode = True
import bench
from parties import programs

HOST, SECRET, COOKIE = "127.0.0.1", "north", 0x2112A442
PACKET, FRAMES, BURST = 1000, 30, 6
# Clients for about this many packets a second, both ways together.
LOADS = {"7k": 20, "20k": 56}


def attribute(kind, value):
    return struct.pack("!HH", kind, len(value)) + value + bytes(-len(value) % 4)


def attributes(message):
    found, at = {}, 20
    while at + 4 <= len(message):
        kind, length = struct.unpack_from("!HH", message, at)
        found.setdefault(kind, message[at + 4:at + 4 + length])
        at += 4 + length + -length % 4
    return found


class Client:
    """An allocation with one channel to a peer of its own."""

    def __init__(self, port, transport, name):
        kind = socket.SOCK_DGRAM if transport == "UDP" else socket.SOCK_STREAM
        self.stream = transport != "UDP"
        self.socket = socket.socket(socket.AF_INET, kind)
        self.socket.settimeout(5)
        if self.stream:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.connect((HOST, port))
        self.peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for one in (self.socket, self.peer):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.peer.bind((HOST, 0))
        user = f"{int(time.time()) + 3600}:{name}".encode()
        password = base64.b64encode(hmac.new(SECRET.encode(), user, hashlib.sha1).digest())
        transport = attribute(0x0019, bytes([17, 0, 0, 0]))
        refused = attributes(self.ask(3, transport))
        realm, nonce = refused[0x14], refused[0x15]
        self.key = hashlib.md5(user + b":" + realm + b":" + password).digest()
        self.login = attribute(6, user) + attribute(0x14, realm) + attribute(0x15, nonce)
        family, port, address = struct.unpack("!xBHI", attributes(self.ask(3, transport))[0x16])
        relayed = (socket.inet_ntoa(struct.pack("!I", address ^ COOKIE)), port ^ COOKIE >> 16)
        address, port = self.peer.getsockname()
        address = struct.unpack("!I", socket.inet_aton(address))[0] ^ COOKIE
        peer = attribute(0x12, struct.pack("!xBHI", 1, port ^ COOKIE >> 16, address))
        self.ask(9, attribute(0x0C, struct.pack("!HH", 0x4000, 0)) + peer)
        self.peer.connect(relayed)
        self.frame = struct.pack("!HH", 0x4000, PACKET) + bytes(PACKET)

    def ask(self, method, body):
        if getattr(self, "key", None):
            body += self.login
            head = struct.pack("!HHI", method, len(body) + 24, COOKIE) + random.randbytes(12)
            body += attribute(8, hmac.new(self.key, head + body, hashlib.sha1).digest())
        else:
            head = struct.pack("!HHI", method, len(body), COOKIE) + random.randbytes(12)
        self.socket.send(head + body)
        answer = self.socket.recv(4096)
        kind = struct.unpack_from("!H", answer)[0]
        code = attributes(answer).get(9)
        if kind & 0x110 == 0x110 and code[2] * 100 + code[3] != 401 or kind & 0x110 == 0x110 and hasattr(self, "key"):
            raise RuntimeError(f"method {method} was refused: {code}")
        return answer


def receive(clients, ready, over, counted):
    """Takes all that arrives, and counts it."""
    poll = select.epoll()
    ends = {}
    for client in clients:
        for end, size in ((client.socket, 4 + PACKET), (client.peer, PACKET)):
            end.setblocking(False)
            poll.register(end, select.EPOLLIN)
            ends[end.fileno()] = (end, size)
    ready.set()
    total = 0
    space = bytearray(1 << 18)
    while True:
        events = poll.poll(0.2)
        if not events and over.is_set():
            break
        for number, _ in events:
            end, size = ends[number]
            try:
                while True:
                    read = end.recv_into(space)
                    total += read / size
                    if read == 0:
                        raise RuntimeError("the server closed a connection")
            except BlockingIOError:
                pass
    counted.value = total


def transmit(clients, pattern, seconds):
    """Sends on time; returns how many packets."""
    payload = clients[0].frame[4:]
    burst = BURST if pattern == "video" else 1
    period = burst / (FRAMES * BURST)
    # Everybody at a time of their own.
    due = sorted((i * period / len(clients), i) for i in range(len(clients)))
    begin, sent = time.monotonic(), 0
    rounds = int(seconds / period)
    for number in range(rounds):
        for offset, i in due:
            wait = begin + number * period + offset - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            client = clients[i]
            try:
                if client.stream:
                    client.socket.send(client.frame * burst)
                else:
                    for _ in range(burst):
                        client.socket.send(client.frame)
            except BlockingIOError:
                pass
            for _ in range(burst):
                client.peer.send(payload)
            sent += 2 * burst
    return sent, time.monotonic() - begin


def cpu_seconds(pid):
    total = 0
    for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
        with open(path) as f:
            total += int(f.read().split()[0])
    return total / 1e9


class Server:
    def __init__(self, name, program):
        self.port = random.randrange(20000, 30000)
        if name == "ours":
            command = [program, "--listen", f"{HOST}:{self.port}", "--turn-secret", SECRET, "--turn-peer", HOST, "--turn-max-kbps", "1000000"]
        else:
            command = [program, "-n", "-L", HOST, "-E", HOST, "-p", str(self.port), "--use-auth-secret", f"--static-auth-secret={SECRET}", "--realm=bench", "--allow-loopback-peers", "--no-cli", "--no-tls", "--no-dtls", "--log-file=stdout", "--pidfile=/tmp/turn_bench.pid"]
        self.log = tempfile.TemporaryFile()
        self.process = sp.Popen(command, stdout=self.log, stderr=sp.STDOUT)
        for _ in range(300):
            try:
                socket.create_connection((HOST, self.port), 1).close()
                # UDP may be later than TCP.
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                    probe.settimeout(0.5)
                    probe.connect((HOST, self.port))
                    probe.send(struct.pack("!HHI", 1, 0, COOKIE) + bytes(12))
                    probe.recv(1000)
                return
            except OSError:
                time.sleep(0.1)
        self.stop()
        self.log.seek(0)
        raise RuntimeError(f"{program} does not listen: {self.log.read().decode()}")

    def stop(self):
        self.process.kill()
        self.process.wait()


def measure(name, program, transport, pattern, count, seconds):
    """Packets a CPU second, the share lost, and packets a second."""
    server = Server(name, program)
    try:
        clients = [Client(server.port, transport, f"c{i}") for i in range(count)]
        ready, over, counted = mp.Event(), mp.Event(), mp.Value("d", 0)
        receiver = mp.Process(target=receive, args=(clients, ready, over, counted))
        receiver.start()
        ready.wait()
        before = cpu_seconds(server.process.pid)
        sent, took = transmit(clients, pattern, seconds)
        over.set()
        receiver.join()
        spent = cpu_seconds(server.process.pid) - before
        return counted.value / spent, max(0, 1 - counted.value / sent), counted.value / took
    finally:
        server.stop()


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--server", default=f"{programs()}/nonstop-server")
    options.add_argument("--seconds", type=float, default=5)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--only", default="", help="run only the cases whose name contains this")
    options = options.parse_args()
    coturn = shutil.which("turnserver")
    rows = []
    for transport in ("UDP", "TCP"):
        for pattern in ("even", "video"):
            for load, count in LOADS.items():
                case = f"TURN {transport}, {pattern}, {load} packets a second"
                if options.only not in case:
                    continue
                runs = {"ours": [], "coturn": []}
                for _ in range(options.rounds):
                    for name, program in (("ours", options.server), ("coturn", coturn)):
                        if program:
                            runs[name].append(measure(name, program, transport, pattern, count, options.seconds))
                middle = lambda name, part: statistics.median(run[part] for run in runs[name]) if runs[name] else None
                ours, theirs = middle("ours", 0), middle("coturn", 0)
                common = {"case": case, "runs": options.rounds}
                rows.append(common | {"figure": "packets relayed a CPU second", "value": round(ours), "unit": "", "bound": theirs and round(theirs), "better": "higher", "peer": theirs and round(theirs)})
                rows.append(common | {"figure": "packets lost", "value": round(100 * middle("ours", 1), 3), "unit": "%", "bound": 0.1, "better": "lower", "peer": runs["coturn"] and round(100 * middle("coturn", 1), 3) or None})
                beside = f"coturn {theirs:,.0f}, ratio {ours / theirs:.2f}" if theirs else "no coturn here"
                print(f"{case}: ours {ours:,.0f}, {beside}; {middle('ours', 2):,.0f} a second; lost {100 * middle('ours', 1):.2f} %, coturn {100 * (middle('coturn', 1) or 0):.2f} %", flush=True)
    return rows


if __name__ == "__main__":
    rows = main()
    if rows:
        bench.merge("connect", rows)
