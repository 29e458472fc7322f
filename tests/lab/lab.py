#!/usr/bin/env python3
"""lab.py - home networks, routers and a server in Linux network namespaces.

  PFX-h1 --lan-- PFX-r1 --wan--\\
  PFX-h2 --lan-- PFX-r2 --wan--- PFX-net --veth-- PFX-srv
  ...                          /
  (a home with mobile=1 has a second uplink: eth1 -- PFX-m1 --wan-- PFX-net)

`--wan--` is one `nonstop-wan` process (delay, jitter, loss, rate and queue in user space).
Nothing leaves the machine: no namespace has a route to the outside.

  lab.py up [-n HOMES] [-H 'I:key=value;...']... [--delay MS] [--hosts N] [--ipv6]
  lab.py down | status | ls | links
  lab.py shell [COMMAND...]             the rest without root: a shell in a private lab
  lab.py exec NODE -- COMMAND...        NODE: h1, h1b (2nd host), r1, m1, net, srv
  lab.py set I up|down|both 'rate=1mbit ...'     change the link of home I
  lab.py set mI up|down|both '...'               change its mobile link
  lab.py link I NAME                    give home I the link or trace links/NAME.csv
  lab.py nat I TYPE [hairpin]           change the NAT type while running
  lab.py cut I SECONDS                  blackhole the link of home I, both ways
  lab.py carrier I down|up              LAN cable out / in (the host's eth0 sees it)
  lab.py second I down|up               the host's eth1 (mobile=1)
  lab.py readdress I lan|wan            new LAN address of the host / new public address
  lab.py switch I eth0|eth1             move the host's default route (mobile=1)
  lab.py cpu NODE                       CPU seconds used by the programs on a node
  lab.py natcheck I                     what the NAT of home I does, seen from outside
  lab.py proxy                          HTTP CONNECT proxy on srv, port 3128

home keys (-H '2:up=rate=2mbit queue=300ms delay=20ms;down=rate=20mbit delay=20ms;nat=symmetric'):
  up=, down=, both=     settings of the link per direction      nat=TYPE
  mobile=1, mup=, mdown=, mboth=, mnat=TYPE                     hosts=N, hairpin=1
  family=4|6|both (default)  what the hosts speak; 6 needs --ipv6
  own=1                      the host has a public address of its own (one host, nat=none)
NAT types: none fullcone restricted portrestricted(default) symmetric
           udpblocked tcp443 tls443 proxyonly   (the last four: portrestricted plus that filter)
Addresses: home I LAN 192.168.I.0/24 (host .10, .11 ...), public 203.0.113.I;
  mobile LAN 172.20.I.0/24, public 198.51.100.I; own=1: 203.0.113.(200+I);
  srv 192.0.2.10 and 192.0.2.11, and 10.0.0.10 for meetings without TLS;
  --ipv6 adds 2001:db8:I::10 and srv 2001:db8:ffff::10 and ::11, fd00:ffff::10.
Environment: LAB (prefix, default "lab"; several labs can coexist), WAN (path of nonstop-wan).
Exit status 77: this system does not allow a lab.
"""
import argparse
import glob
import json
import os
import signal
import subprocess as sp
import sys
import time
import zlib

sys.dont_write_bytecode = True
import nat
from privacy import HERE, ROOT, WAN, private, refusal, refused, skip

LAB = os.environ.get("LAB", "lab")
RUN = f"/run/lab-{LAB}"
SRV, SRV2, GW = "192.0.2.10", "192.0.2.11", "203.0.113.254"
SRV6, SRV6_2 = "2001:db8:ffff::10", "2001:db8:ffff::11"
# What the server is called on every node, where root made the lab.
NAME = "meet.lab.test"
# Everything that leads to the server.
SERVERS = {SRV, SRV2, SRV6, SRV6_2, "fd00:ffff::10", "10.0.0.10"}
# http is accepted on private addresses only.
MEET = "10.0.0.10"
# Links sleep for so many milliseconds before they look for packets again: cheaper where there are many.
TICK = 0
# What they lose differs from link to link, and with this.
SEED = 1
# Where groups of processes get their share of the CPU (cgroup v1).
SHARES = "/sys/fs/cgroup/cpu"


class LabError(Exception):
    """Something that should have worked did not."""


def sh(cmd, check=True, inp=None):
    r = sp.run(cmd, shell=True, capture_output=True, text=True, input=inp)
    if check and r.returncode:
        raise LabError(f"{cmd}\n{r.stdout}{r.stderr}")
    return r.stdout


def ns(node):
    return f"{LAB}-{node}"


def ip(node, args, check=True):
    return sh(f"ip -n {ns(node)} {args}", check)


def nodes():
    return [x.split()[0] for x in sh("ip netns list").splitlines() if x.startswith(LAB + "-")]


def state():
    with open(f"{RUN}/state.json") as f:
        return json.load(f)


def save(st):
    with open(f"{RUN}/state.json", "w") as f:
        json.dump(st, f, indent=1)


def home(i):
    return state()["homes"][str(i)]


def add_ns(node, ipv6):
    # Name look-ups stay inside the lab too: `ip netns exec` binds this over /etc/resolv.conf.
    try:
        os.makedirs(f"/etc/netns/{ns(node)}", exist_ok=True)
        with open(f"/etc/netns/{ns(node)}/resolv.conf", "w") as f:
            f.write(f"nameserver {SRV}\noptions timeout:1 attempts:1\n")
        with open(f"/etc/netns/{ns(node)}/hosts", "w") as f:
            f.write(f"127.0.0.1 localhost\n{SRV} {NAME}\n" + (f"{SRV6} {NAME}\n" if ipv6 else ""))
    except OSError:
        pass  # without root: look-ups find no route and fail at once
    sh(f"ip netns add {ns(node)}")
    ip(node, "link set lo up")
    forward = int(node[0] in "rmn")
    for setting in (f"net.ipv4.ip_forward={forward}", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0",
                    "net.ipv4.conf.all.accept_local=1", f"net.ipv6.conf.all.disable_ipv6={int(not ipv6)}",
                    f"net.ipv6.conf.default.disable_ipv6={int(not ipv6)}", f"net.ipv6.conf.all.forwarding={forward}",
                    "net.ipv4.ping_group_range='0 0'", "net.ipv4.tcp_congestion_control=cubic"):
        sh(f"ip netns exec {ns(node)} sysctl -qw {setting}", False)


def link(name, router, netdev, public, up, down, packet_log, routes):
    """Starts one link and addresses its two ends."""
    cmd = [WAN, "run", "--a", f"{ns(router)}/wan0", "--b", f"{ns('net')}/{netdev}", "--ctl", f"{RUN}/{name}.sock",
           "--stats", f"{RUN}/{name}.csv", "--rt", "50", "--tick", str(TICK), "--seed", str(zlib.crc32(f"{name} {SEED}".encode())), "--up", up, "--down", down]
    if packet_log:
        cmd += ["--pktlog", f"{RUN}/{name}.pkt.csv"]
    # A network is not late because those who use it are busy: outside of groups, as few of those let it be.
    cmd = ["sh", "-c", f'echo $$ 2>/dev/null >{SHARES}/cgroup.procs; exec "$@"', "sh", *cmd]
    with open(f"{RUN}/{name}.log", "w") as log:
        p = sp.Popen(cmd, stdout=log, stderr=log, stdin=sp.DEVNULL, start_new_session=True)
    with open(f"{RUN}/{name}.pid", "w") as f:
        f.write(str(p.pid))
    for _ in range(250):
        with open(f"{RUN}/{name}.log") as f:
            said = f.read()
        if "ready" in said:
            break
        if p.poll() is not None:
            raise LabError(f"link {name}: {said}")
        time.sleep(.02)
    else:
        raise LabError(f"link {name} did not start: {said}")
    for node, device in ((router, "wan0"), ("net", netdev)):
        # Room for bursts, as nonstop-wan asks for where it may.
        ip(node, f"link set {device} txqueuelen 4000")
    ip(router, f"addr add {public} peer {GW} dev wan0")
    ip(router, f"route add default via {GW} dev wan0")
    ip("net", f"addr add {GW} peer {public} dev {netdev}")
    for route in routes:
        ip("net", f"route replace {route} dev {netdev}")


def set_nat(router, kind, lan, public, hosts, hairpin):
    if kind not in nat.TYPES:
        raise LabError(f"unknown NAT type {kind!r}")
    sh(f"ip netns exec {ns(router)} nft -f -", inp=nat.rules(kind, lan, public, hosts, hairpin, SRV))
    sh(f"ip netns exec {ns(router)} conntrack -F", False)


def up(n=2, specs=(), delay="10ms", hosts=1, ipv6=False, packet_log=()):
    """Makes a lab of `n` homes; `packet_log` numbers the homes whose packets are logged."""
    down()
    os.makedirs(RUN, exist_ok=True)
    homes = {i: {"up": "", "down": "", "both": f"delay={delay}", "nat": "portrestricted", "hosts": str(hosts), "hairpin": "0",
                 "family": "both", "own": "0", "mobile": "0", "mup": "", "mdown": "", "mboth": "delay=30ms", "mnat": "symmetric"} for i in range(1, n + 1)}
    for spec in specs:
        i, _, rest = spec.partition(":")
        for key, _, value in (x.strip().partition("=") for x in rest.split(";") if x.strip()):
            for h in homes if i == "*" else [int(i)]:
                if key not in homes[h]:
                    raise LabError(f"unknown home key {key!r}")
                homes[h][key] = value
    add_ns("net", ipv6)
    add_ns("srv", ipv6)
    sh(f"ip link add eth0 netns {ns('srv')} type veth peer name srv netns {ns('net')}")
    for own, router in ((f"{SRV}/24", "192.0.2.1/24"), (f"{SRV2}/24", None), (f"{MEET}/24", "10.0.0.1/24")):
        ip("srv", f"addr add {own} dev eth0")
        if router:
            ip("net", f"addr add {router} dev srv")
    ip("net", "link set srv up")
    ip("srv", "link set eth0 up")
    ip("srv", "route add default via 192.0.2.1")
    if ipv6:
        for prefix in ("2001:db8:ffff", "fd00:ffff"):
            ip("srv", f"addr add {prefix}::10/64 dev eth0 nodad")
            ip("net", f"addr add {prefix}::1/64 dev srv nodad")
        ip("srv", f"addr add {SRV6_2}/64 dev eth0 nodad")
        ip("srv", "route add default via 2001:db8:ffff::1")
    for i, h in homes.items():
        build_home(i, h, ipv6, i in packet_log)
    save({"homes": {str(i): h for i, h in homes.items()}})
    return f"lab {LAB!r}: {len(homes)} homes, server {SRV} {SRV2} {MEET}"


def build_home(i, h, ipv6, packet_log):
    hosts = [f"h{i}" + ("" if k == 0 else chr(ord("a") + k)) for k in range(int(h["hosts"]))]
    addrs = [f"192.168.{i}.{10 + k}" for k in range(len(hosts))]
    reached = h["lan"] = f"192.168.{i}.0/24"
    if h["own"] == "1":
        addrs, reached = [f"203.0.113.{200 + i}"], f"203.0.113.{200 + i}/32"
    h.update(names=hosts, addrs=addrs, public=f"203.0.113.{i}")
    router = f"r{i}"
    add_ns(router, ipv6)
    ip(router, "link add br0 type bridge")
    ip(router, "link set br0 up")
    v4, v6 = h["family"] != "6", ipv6 and h["family"] != "4"
    if v4:
        ip(router, f"addr add 192.168.{i}.1/24 dev br0")
    if v6:
        ip(router, f"addr add 2001:db8:{i}::1/64 dev br0 nodad")
    for k, host in enumerate(hosts):
        add_ns(host, v6)
        sh(f"ip link add eth0 netns {ns(host)} type veth peer name lan{k} netns {ns(router)}")
        ip(router, f"link set lan{k} master br0 up")
        ip(host, "link set eth0 up")
        if v4:
            ip(host, f"addr add {addrs[k]}/{reached.split('/')[1]} dev eth0")
            ip(host, f"route add default via 192.168.{i}.1 dev eth0 onlink")
        if v6:
            ip(host, f"addr add 2001:db8:{i}::{10 + k}/64 dev eth0 nodad")
            ip(host, f"route add default via 2001:db8:{i}::1")
    if h["own"] == "1":
        ip(router, f"route add {reached} dev br0")
    # Without translation the hosts are reached at their own addresses.
    link(f"home{i}", router, f"home{i}", h["public"], f"{h['both']} {h['up']}", f"{h['both']} {h['down']}", packet_log, [reached])
    if v6:
        ip(router, f"addr add 2001:db8:fffe::{i}/128 dev wan0 nodad")
        ip(router, "-6 route replace default dev wan0")
        ip("net", f"-6 route replace 2001:db8:{i}::/64 dev home{i}")
    set_nat(router, h["nat"], h["lan"], h["public"], h["addrs"], h["hairpin"] == "1")
    if h["mobile"] == "1":
        mobile = f"m{i}"
        add_ns(mobile, ipv6)
        sh(f"ip link add eth1 netns {ns(hosts[0])} type veth peer name br0 netns {ns(mobile)}")
        ip(mobile, f"addr add 172.20.{i}.1/24 dev br0")
        ip(mobile, "link set br0 up")
        ip(hosts[0], f"addr add 172.20.{i}.10/24 dev eth1")
        ip(hosts[0], "link set eth1 up")
        ip(hosts[0], f"route add default via 172.20.{i}.1 metric 200")
        # As the usual network managers do: a way without a carrier is no way.
        sh(f"ip netns exec {ns(hosts[0])} sysctl -qw net.ipv4.conf.all.ignore_routes_with_linkdown=1", False)
        # Answers leave by the interface that owns their source address.
        ip(hosts[0], f"rule add from 172.20.{i}.10 table 200")
        ip(hosts[0], f"route add default via 172.20.{i}.1 table 200")
        link(f"mobile{i}", mobile, f"mob{i}", f"198.51.100.{i}", f"{h['mboth']} {h['mup']}", f"{h['mboth']} {h['mdown']}", packet_log, [])
        set_nat(mobile, h["mnat"], f"172.20.{i}.0/24", f"198.51.100.{i}", [f"172.20.{i}.10"], False)


def down():
    """Removes what an earlier lab of this name left."""
    for name in nodes():
        for pid in sh(f"ip netns pids {name}", False).split():
            try:
                os.kill(int(pid), signal.SIGKILL)
            except OSError:
                pass
    for file in os.listdir(RUN) if os.path.isdir(RUN) else []:
        if file.endswith(".pid"):
            stop_link(file[:-4])
        try:
            os.unlink(f"{RUN}/{file}")  # a link that ends removes its own socket
        except FileNotFoundError:
            pass
    for name in nodes():
        sh(f"ip netns del {name}; rm -rf /etc/netns/{name}", False)
    for group in glob.glob(f"{SHARES}/{LAB}-*"):
        for _ in range(50):
            try:
                os.rmdir(group)
                break
            except OSError:
                time.sleep(.02)


def stop_link(name):
    """Ends one link, so that its logs are complete."""
    try:
        with open(f"{RUN}/{name}.pid") as f:
            pid = int(f.read())
        # Built anew since: the name then ends in "(deleted)".
        if not os.path.realpath(f"/proc/{pid}/exe").startswith(os.path.realpath(WAN)):
            return
        os.kill(pid, signal.SIGTERM)
        for _ in range(200):
            with open(f"/proc/{pid}/stat") as f:
                if f.read().rsplit(")", 1)[1].split()[0] == "Z":
                    return
            time.sleep(.01)
    except (OSError, ValueError):
        pass


def ctl(name, line):
    r = sp.run([WAN, "ctl", f"{RUN}/{name}.sock", line], capture_output=True, text=True)
    if r.returncode:
        raise LabError(f"{name}: {line}: {r.stdout}{r.stderr}")
    return r.stdout.strip()


def carrier(i, what):
    """Plugs the LAN cable of home `i` in or out; the host sees it at once."""
    ip(f"r{i}", f"link set lan0 {what}")


def second_uplink(i, what):
    """Takes the second uplink of a home away (`down`) or gives it back (`up`), with its routes."""
    ip(f"h{i}", f"link set eth1 {what}")
    if what == "up":
        ip(f"h{i}", f"route replace default via 172.20.{i}.1 metric 200")
        ip(f"h{i}", f"route replace default via 172.20.{i}.1 table 200")


def give_link(i, name):
    """Gives home `i` the named link or trace; returns what the link answered."""
    path = name if os.path.exists(name) else f"{HERE}/links/{name}.csv"
    return ctl(f"home{i}", f"schedule {os.path.abspath(path)}")


def join_group(node, pid=0):
    """Gives a process (this one, unless another is named) a large share of the CPU, so that other
    jobs on the machine disturb a measurement less. Only root may, on cgroup v1; others go without."""
    group = f"{SHARES}/{ns(node)}"
    try:
        os.makedirs(group)
    except FileExistsError:
        pass
    except OSError:
        return
    try:
        for file, value in (("cpu.shares", os.environ.get("LAB_SHARES", "3072")), ("cgroup.procs", str(pid))):
            with open(f"{group}/{file}", "w") as f:
                f.write(value)
    except OSError:
        pass


def exec_command(node, cmd):
    return ["ip", "netns", "exec", ns(node), *cmd]


def start(node, cmd, **options):
    """Starts a program on a node and returns the process."""
    process = sp.Popen(exec_command(node, cmd), stdin=sp.DEVNULL, **options)
    join_group(node, process.pid)
    return process


def cpu(node):
    """CPU seconds of all processes on a node, with those of their children that ended."""
    total = 0
    for pid in sh(f"ip netns pids {ns(node)}", False).split():
        try:
            with open(f"/proc/{pid}/stat") as f:
                total += sum(map(int, f.read().rsplit(")", 1)[1].split()[11:15]))
        except OSError:
            pass  # it ended meanwhile
    return total / os.sysconf("SC_CLK_TCK")


def readdress(i, what):
    st = state()
    h = st["homes"][str(i)]
    if what == "lan":
        old, new = h["addrs"][0], f"192.168.{i}.{(int(h['addrs'][0].rsplit('.')[-1]) - 10 + 90) % 180 + 10}"
        ip(f"h{i}", f"addr del {old}/24 dev eth0")
        ip(f"h{i}", f"addr add {new}/24 dev eth0")
        ip(f"h{i}", f"route replace default via 192.168.{i}.1")
        h["addrs"][0] = new
    else:
        old = h["public"]
        new = f"203.0.113.{i + 100 if int(old.rsplit('.')[-1]) < 100 else i}"
        ip(f"r{i}", f"addr del {old} peer {GW} dev wan0")
        ip("net", f"addr del {GW} peer {old} dev home{i}")
        ip(f"r{i}", f"addr add {new} peer {GW} dev wan0")
        ip(f"r{i}", f"route replace default via {GW} dev wan0")
        ip("net", f"addr add {GW} peer {new} dev home{i}")
        ip("net", f"route replace {h['lan']} dev home{i}")
        h["public"] = new
    set_nat(f"r{i}", h["nat"], h["lan"], h["public"], h["addrs"], h["hairpin"] == "1")
    save(st)
    return f"{old} -> {new}"


def switch(i, dev):
    other = {"eth0": "eth1", "eth1": "eth0"}[dev]
    gw = {"eth0": f"192.168.{i}.1", "eth1": f"172.20.{i}.1"}[dev]
    ip(f"h{i}", f"link set {dev} up")
    if dev == "eth1":
        ip(f"h{i}", f"route replace default via {gw} table 200")
    ip(f"h{i}", f"route replace default via {gw} dev {dev}")
    ip(f"h{i}", f"link set {other} down")


def natcheck(i):
    server = sp.Popen(exec_command("srv", [sys.executable, "-c", nat.PROBE_SERVER]), stdout=sp.PIPE, text=True)
    server.stdout.readline()
    try:
        return sh(f"ip netns exec {ns(f'h{i}')} {sys.executable} -", inp=nat.PROBE_CLIENT).strip()
    finally:
        server.kill()
        server.wait()


def change_nat(i, kind, *rest):
    st = state()
    h = st["homes"][i]
    h.update(nat=kind, hairpin=str(int("hairpin" in rest)))
    set_nat(f"r{i}", kind, h["lan"], h["public"], h["addrs"], h["hairpin"] == "1")
    save(st)


def status():
    for i, h in state()["homes"].items():
        yield f"home {i}: {' '.join(h['addrs'])} public {h['public']} nat {h['nat']}\n" + ctl(f"home{i}", "stats")


def links():
    for file in sorted(os.listdir(f"{HERE}/links")):
        with open(f"{HERE}/links/{file}") as f:
            yield f"{file[:-4]:16} {f.readline().lstrip('# ').strip()}"


def run_proxy():
    p = sp.Popen(exec_command("srv", [sys.executable, "-c", nat.PROXY]), stdin=sp.DEVNULL, stdout=sp.DEVNULL, stderr=sp.DEVNULL, start_new_session=True)
    return str(p.pid)


def shell(argv):
    private([os.path.abspath(__file__), "shell", *argv])
    sys.exit(sp.call(argv or [os.environ.get("SHELL", "/bin/sh")]))


def main():
    if sys.argv[1:2] == ["shell"]:
        return shell(sys.argv[2:])
    if sys.argv[1:2] == ["exec"] and len(sys.argv) > 3:
        cmd = sys.argv[3:]
        cmd = exec_command(sys.argv[2], cmd[1:] if cmd[0] == "--" else cmd)
        join_group(sys.argv[2])
        os.execvp(cmd[0], cmd)
    ap = argparse.ArgumentParser(usage=__doc__, add_help=False)
    ap.add_argument("cmd", nargs="?", default="help")
    ap.add_argument("-n", type=int, default=2)
    ap.add_argument("-H", "--home", action="append", default=[])
    ap.add_argument("--delay", default="10ms")
    ap.add_argument("--hosts", type=int, default=1)
    ap.add_argument("--ipv6", action="store_true")
    a, rest = ap.parse_known_args()
    logged = range(1, a.n + 1) if os.environ.get("LAB_PKTLOG") else ()
    commands = {
        "up": lambda: up(a.n, a.home, a.delay, a.hosts, a.ipv6, logged),
        "down": down,
        "ls": lambda: "\n".join(nodes()),
        "links": lambda: "\n".join(links()),
        "status": lambda: "\n".join(status()),
        "set": lambda i, *words: ctl(f"mobile{i[1:]}" if i[0] == "m" else f"home{i}", " ".join(words)),
        "link": give_link,
        "nat": change_nat,
        "cut": lambda i, seconds: ctl(f"home{i}", f"both cut={seconds}s"),
        "carrier": carrier,
        "second": second_uplink,
        "readdress": lambda i, what: readdress(int(i), what),
        "switch": lambda i, device: switch(int(i), device),
        "cpu": lambda node: f"{cpu(node):.3f}",
        "natcheck": natcheck,
        "proxy": run_proxy,
    }
    if a.cmd not in commands:
        print(__doc__)
        return
    why = refusal() if a.cmd == "up" else None
    if a.cmd == "up" and not why and os.geteuid() != 0:
        why = "only root may make one outside a private lab: use `lab.py shell`"
    if why:
        skip(why)
    try:
        said = commands[a.cmd](*rest)
    except (LabError, OSError) as error:
        sys.exit(f"lab: {error}")
    except TypeError:
        sys.exit(f"lab: {a.cmd} takes other words: lab.py prints them")
    if said:
        print(said)


if __name__ == "__main__":
    main()
