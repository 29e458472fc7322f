#!/usr/bin/env python3
"""suite.py - the whole lab: its own equipment, calls that must come about and live, and the named links.

  suite.py          about twelve minutes; exit status 0 when everything held, 77 where no lab can be

The benchmarks with their bounds are rate.py and connect.py.
"""
import os
import subprocess as sp
import sys

sys.dont_write_bytecode = True
import cases
import lab

OPEN = "mapping: endpoint-independent | filtering: endpoint-independent"
# What each type of router looks like from outside.
ROUTERS = {
    "none": ("udp: open", OPEN, "tcp 443: True | tcp 8080: True"),
    "fullcone": ("udp: open", OPEN),
    "restricted": ("udp: open", "mapping: endpoint-independent | filtering: address-dependent"),
    "portrestricted": ("udp: open", "mapping: endpoint-independent | filtering: address-and-port-dependent"),
    "symmetric": ("udp: open", "mapping: endpoint-dependent (symmetric)"),
    "udpblocked": ("udp: blocked", "tcp 443: True | tcp 8080: True"),
    "tcp443": ("udp: blocked", "tcp 443: True | tcp 8080: False"),
    "tls443": ("udp: blocked", "tcp 443: True | tcp 8080: False"),
    "proxyonly": ("udp: blocked", "tcp 443: False | tcp 8080: False"),
}


def reaches(node, address):
    return "1 received" in lab.sh(f"ip netns exec {lab.ns(node)} ping -qc 1 -W 2 {address}", False)


def equipment(expect):
    """Routers, both versions of IP, a cut, new addresses and a second uplink."""
    lab.up(2, ["1:nat=portrestricted", "2:nat=none;mobile=1"], ipv6=True)
    try:
        for kind, looks in ROUTERS.items():
            lab.change_nat("1", kind)
            seen = lab.natcheck(1)
            expect(f"a {kind} router looks like one", all(part in seen for part in looks), seen)
        lab.change_nat("1", "portrestricted")
        expect("IPv4 goes from home to home", reaches("h1", "192.168.2.10"), "ping")
        expect("IPv6 goes from home to home without translation", reaches("h1", "2001:db8:2::10"), "ping")
        expect("the router of home 1 lets no new IPv6 flow in", not tcp_opens("srv", "2001:db8:1::10"), "a port")
        lab.ctl("home1", "both cut=30s")
        expect("a cut link carries nothing", not reaches("h1", lab.SRV), "ping")
        lab.readdress(2, "lan")
        lab.readdress(2, "wan")
        expect("a host with new addresses is reached", reaches("srv", lab.home(2)["addrs"][0]), "ping")
        lab.switch(2, "eth1")
        expect("a host goes on over its second uplink", reaches("h2", lab.SRV), "ping")
    finally:
        lab.down()


def tcp_opens(node, address):
    """Whether a port that is listened on at home 1 is reached from a node."""
    listen = "import socket; s = socket.socket(socket.AF_INET6); s.bind(('::', 7000)); s.listen(); print('ready', flush=True); s.accept()"
    server = sp.Popen(lab.exec_command("h1", [sys.executable, "-c", listen]), stdout=sp.PIPE, text=True)
    server.stdout.readline()
    connect = f"import socket; socket.create_connection(('{address}', 7000), 1.5)"
    try:
        return sp.run(lab.exec_command(node, [sys.executable, "-c", connect]), capture_output=True).returncode == 0
    finally:
        server.kill()
        server.wait()


def main():
    lab.private(sys.argv)
    failed = []

    def expect(what, held, value):
        print(f"{'ok  ' if held else 'FAIL'} {what}" + ("" if held else f": {value}"), flush=True)
        if not held:
            failed.append(what)
    equipment(expect)
    rate = [sys.executable, f"{lab.HERE}/rate.py"]
    connect = [sys.executable, f"{lab.HERE}/connect.py"]
    links = [word for name in cases.NAMED_LINKS for word in ("--case", name)]
    for what, command in (("the link does to packets what it was told", [sys.executable, f"{lab.HERE}/wan/selftest.py"]),
                          ("a call lives through a narrow link and a cut", [*rate, "--quick"]),
                          ("relays join people, and a pulled cable ends nothing", [*connect, "--quick"]),
                          ("calls through every kind of router", [*connect, "--fresh", "--strict", "--parallel", "2", "--case", "matrix-quick"]),
                          ("calls over the named links", [*rate, "--fresh", *links])):
        print(f"-- {what}", flush=True)
        status = sp.call(command, env={**os.environ, "WAN": lab.WAN})
        expect(what, status == 0, f"status {status}")
    print("FAILED: " + ", ".join(failed) if failed else "all held")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
