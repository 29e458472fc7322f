"""The path that media took, seen from outside the programs: by whom, and over what, most bytes went.

Read from the packet logs of the links, at the outer side of each home's router: remote addresses,
protocols, and what a connection began with. TLS, STUN and HTTP begin differently, so that a relay
behind port 443 is told from another, and from the signalling beside it.
"""
from collections import namedtuple

import lab
from packets import TCP, UDP
from servers import RELAY_PORTS

# The rungs of the ladder, the best first; after them the relay of large calls, by UDP.
LADDER = ("direct", "turn-udp", "turn-tcp", "turn-tls", "relay")
# How segments begin that tell what a connection is for (hexadecimal).
HTTP_CONNECT, HTTP_GET, TLS = "434f4e4e", "47455420", "1603"
# STUN requests begin with their type; a relay is asked with these (RFC 8656, section 18).
STUN_TYPES = ("0001", "0003")

# A flow as its home's link sees it.
Flow = namedtuple("Flow", "protocol own_port remote remote_port")


class Watch:
    """Follows the link of one home while calls come and go."""

    def __init__(self, tail, flush):
        self.tail, self.flush = tail, flush
        self.began = {}
        self.packets = []

    def look(self):
        """Takes in what the link logged since the last look."""
        self.flush()
        for packet in self.tail.read():
            flow = flow_of(packet)
            if flow.protocol == TCP and packet.direction == "up" and packet.head:
                heads = self.began.setdefault(flow, [])
                # What an HTTP proxy is asked comes before what the connection is for.
                if not heads or heads == [HTTP_CONNECT]:
                    heads.append(packet.head)
            self.packets.append(packet)

    def forget(self, before):
        """Lets go of packets from before a time, and keeps what connections began with."""
        self.packets = [p for p in self.packets if p.at >= before]

    def media(self, since, until):
        """The flow that carried most, and its rung; None where nothing but signalling went."""
        volume = {}
        for packet in self.packets:
            if since <= packet.at < until and packet.fate == "ok" and packet.protocol in (UDP, TCP):
                flow = flow_of(packet)
                volume[flow] = volume.get(flow, 0) + packet.bytes
        for flow in sorted(volume, key=volume.get, reverse=True):
            rung = self.rung(flow)
            # 25 packets of sound a second are not silence, and no signalling.
            if rung and volume[flow] >= 2500 * (until - since):
                return flow, rung
        return None

    def rung(self, flow):
        """What a flow says of the path; None for what is none."""
        if flow.protocol == UDP:
            if flow.remote in lab.SERVERS:
                return "relay" if flow.remote_port in RELAY_PORTS else "turn-udp"
            return "direct"
        head = (self.began.get(flow) or [""])[-1]
        if head.startswith(TLS):
            return "turn-tls"
        return "turn-tcp" if head.startswith(STUN_TYPES) else None


def flow_of(packet):
    own, remote = packet.ports if packet.direction == "up" else packet.ports[::-1]
    return Flow(packet.protocol, own, packet.remote, remote)


def watch(home, kind="home"):
    """Follows the link of a home of the running lab."""
    from packets import Tail
    name = f"{kind}{home}"
    return Watch(Tail(f"{lab.RUN}/{name}.pkt.csv", f"{lab.RUN}/{name}.csv"), lambda: lab.ctl(name, "flush"))


def worse(*rungs):
    """The rung of a path whose two ends are on these: one end that is relayed makes it relayed."""
    return None if None in rungs else max(rungs, key=LADDER.index)


# ---- what can be

# The routers of the matrix. `filters` tells what of UDP comes in from strangers.
KINDS = ("none", "fullcone", "portrestricted", "symmetric", "udpblocked", "tcp443", "proxyonly", "ipv6only")
# What leads to the relay where UDP does not. Plain TURN over TCP shares port 443 with HTTPS, and the
# proxy of the lab lets everything through that asks with CONNECT: nobody needs TLS inside of it.
WITHOUT_UDP = {"udpblocked": "turn-tcp", "tcp443": "turn-tcp", "proxyonly": "turn-tcp", "tls443": "turn-tls"}


def best(a, b):
    """The best path that homes behind these routers can have.

    From RFC 4787: mapping is independent of the endpoint everywhere but behind `symmetric`, so an
    address learned from a STUN server holds for others; what comes in is filtered by nothing
    (`none`, `fullcone`) or by address and port. Checks from both sides at once open two such
    filters for each other as long as each side knows where the other's packets come from.
    """
    pair = {a, b}
    for kind in WITHOUT_UDP:
        if kind in pair:
            # The relayed end decides, whatever the other could do.
            return worse(*(WITHOUT_UDP.get(end, "direct") for end in pair))
    if pair == {"ipv6only"}:
        # No translation; both firewalls keep state and let answers in.
        return "direct"
    if "ipv6only" in pair:
        # The others speak IPv4: only the relay speaks both.
        return "turn-udp"
    if "symmetric" in pair and pair <= {"symmetric", "portrestricted"}:
        # A new port for each peer, which a filter by port on the other side does not know.
        return "turn-udp"
    return "direct"
