#!/usr/bin/env python3
"""stranger.py - asks a relay for what it should not give, and prints its answers.

  stranger.py ADDRESS PORT QUESTIONS

QUESTIONS is a JSON list of {"user", "password", "peers"}: each asks for an allocation over UDP (RFC
8656, section 7.2) with these credentials, then for a permission for each peer (section 9.2). Printed
is a JSON list of {"allocation", "peers"}: 0 for what was given, else the error code, null for no answer.
Written from the RFC for the lab alone, so that it shares no mistake with what it asks.
"""
import hashlib
import hmac
import ipaddress
import json
import os
import socket
import struct
import sys

COOKIE = 0x2112A442
ALLOCATE, REFRESH, CREATE_PERMISSION = 0x003, 0x004, 0x008
USERNAME, MESSAGE_INTEGRITY, ERROR_CODE, LIFETIME, XOR_PEER_ADDRESS, REALM, NONCE, REQUESTED_TRANSPORT = 0x06, 0x08, 0x09, 0x0D, 0x12, 0x14, 0x15, 0x19
ERROR_CLASS = 0x0110


def attribute(kind, value):
    return struct.pack("!HH", kind, len(value)) + value + bytes(-len(value) % 4)


def peer_address(text):
    address = ipaddress.ip_address(text)
    mask = struct.pack("!I", COOKIE)
    raw = bytes(a ^ b for a, b in zip(address.packed, mask * 4))
    if address.version == 6:
        raise ValueError("peers of IPv4 only")
    return attribute(XOR_PEER_ADDRESS, struct.pack("!BBH", 0, 1, 9 ^ (COOKIE >> 16)) + raw)


class Client:
    def __init__(self, address, port, user, password):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.connect((address, port))
        self.user, self.password, self.realm, self.nonce = user, password, None, None

    def ask(self, method, attributes):
        """The error code of the answer, 0 for success, None for none."""
        for _ in range(2):
            answer = self.once(method, attributes)
            if answer is None:
                return None
            kind, found = answer
            if not kind & ERROR_CLASS == ERROR_CLASS:
                return 0
            code = found[ERROR_CODE][2] * 100 + found[ERROR_CODE][3]
            fresh = found.get(NONCE)
            # The first answer to a stranger names the realm and a nonce; an old nonce is renewed.
            if not (code == 438 or code == 401 and self.nonce is None) or fresh is None:
                return code
            self.realm, self.nonce = found.get(REALM, self.realm), fresh
        return code

    def once(self, method, attributes):
        if self.nonce is not None:
            attributes += attribute(USERNAME, self.user.encode()) + attribute(REALM, self.realm) + attribute(NONCE, self.nonce)
        transaction = os.urandom(12)
        length = len(attributes) + (24 if self.nonce is not None else 0)
        message = struct.pack("!HHI", method, length, COOKIE) + transaction + attributes
        if self.nonce is not None:
            key = hashlib.md5(f"{self.user}:{self.realm.decode()}:{self.password}".encode()).digest()
            message += attribute(MESSAGE_INTEGRITY, hmac.new(key, message, hashlib.sha1).digest())
        for wait in (.5, 1, 2):
            self.socket.settimeout(wait)
            self.socket.send(message)
            try:
                answer = self.socket.recv(2000)
            except OSError:
                continue
            if answer[8:20] == transaction:
                return struct.unpack("!H", answer[:2])[0], read_attributes(answer[20:])
        return None


def read_attributes(data):
    found = {}
    while len(data) >= 4:
        kind, length = struct.unpack("!HH", data[:4])
        found.setdefault(kind, data[4:4 + length])
        data = data[4 + length + -length % 4:]
    return found


def main():
    answers = []
    for question in json.loads(sys.argv[3]):
        client = Client(sys.argv[1], int(sys.argv[2]), question["user"], question["password"])
        given = client.ask(ALLOCATE, attribute(REQUESTED_TRANSPORT, bytes([17, 0, 0, 0])))
        peers = {peer: client.ask(CREATE_PERMISSION, peer_address(peer)) for peer in question["peers"]} if given == 0 else {}
        if given == 0:
            client.ask(REFRESH, attribute(LIFETIME, bytes(4)))
        answers.append({"allocation": given, "peers": peers})
    print(json.dumps(answers))


if __name__ == "__main__":
    main()
