"""The ground truth of a measurement: what a link's packet log says, and figures from it.

Times are seconds since 1970, so that they can be compared with what the endpoints say.
"""
import csv
from collections import namedtuple

TCP, UDP = 6, 17
# Opus, and Opus that carries earlier sound (RFC 2198), in our calls and in browsers alike.
AUDIO = {111, 63}

# `remote` is the address beyond the link, `head` what a datagram or a segment begins with.
Packet = namedtuple("Packet", "at direction bytes wait_ms fate protocol ports payload_type sequence ssrc remote head")


def clock_zero(stats):
    """Seconds since 1970 when the clock of a link's logs was zero."""
    with open(stats) as f:
        first = next(csv.DictReader(f))
    return float(first["unix_s"]) - float(first["time_s"])


def packet_of(row, zero):
    return Packet(zero + float(row["time_s"]), row["dir"], int(row["len"]), int(row["qdelay_us"]) / 1e3, row["fate"], int(row["proto"]),
                  (int(row["sport"]), int(row["dport"])), int(row["pt"]) if row["pt"] else None, int(row["seq"]) if row["seq"] else None,
                  row["ssrc"], row["dst" if row["dir"] == "up" else "src"], row["head"])


class Tail:
    """The packet log of a link that still runs: each time it is asked, what came since."""

    def __init__(self, log, stats):
        self.stats, self.zero = stats, None
        self.file = open(log)
        self.fields, self.part = None, ""

    def read(self):
        """The packets since the last time. The link has to be told to flush its log first."""
        if self.zero is None:
            self.zero = clock_zero(self.stats)
        lines = (self.part + self.file.read()).split("\n")
        self.part = lines.pop()
        if self.fields is None and lines:
            self.fields = lines.pop(0).split(",")
        return [packet_of(dict(zip(self.fields, line.split(","))), self.zero) for line in lines]


class Log:
    """The packets of one link, in the order in which they met their fate."""

    def __init__(self, packets):
        self.packets = packets

    @classmethod
    def read(cls, log, stats):
        """Reads a packet log; the statistics beside it tell when its clock was zero."""
        zero = clock_zero(stats)
        with open(log) as f:
            packets = [packet_of(row, zero) for row in csv.DictReader(f)]
        return cls(packets)

    def only(self, direction="up", protocol=UDP, since=None, until=None, payload_types=None):
        """The packets of one direction and protocol, of a span of time, of one kind."""
        return Log([p for p in self.packets
                    if p.direction == direction and (protocol is None or p.protocol == protocol)
                    and (since is None or p.at >= since) and (until is None or p.at < until)
                    and (payload_types is None or p.payload_type in payload_types)])

    # -- amounts

    def delivered_bits(self):
        return sum(p.bytes for p in self.packets if p.fate == "ok") * 8

    def offered_bits(self):
        return sum(p.bytes for p in self.packets) * 8

    def lost(self):
        """The share of packets that did not get through."""
        return sum(p.fate != "ok" for p in self.packets) / len(self.packets) if self.packets else None

    def wait(self, share):
        """The queue delay in milliseconds that this share of the packets stayed within."""
        waits = sorted(p.wait_ms for p in self.packets if p.fate in ("ok", "loss"))
        return round(waits[min(len(waits) - 1, int(len(waits) * share))], 1) if waits else None

    def flows(self):
        """Delivered bits of each pair of ports, the largest first."""
        flows = {}
        for p in self.packets:
            if p.fate == "ok":
                flows[p.ports] = flows.get(p.ports, 0) + p.bytes * 8
        return sorted(flows.values(), reverse=True)

    # -- over time

    def rates(self, start, end, window=1.0, step=.1, fates=("ok",)):
        """(time, bits a second) over a window that ends at that time."""
        count = int((end - start) / step) + 1
        bins = [0] * count
        for p in self.packets:
            index = int((p.at - start) / step)
            if p.fate in fates and 0 <= index < count:
                bins[index] += p.bytes * 8
        width = max(1, round(window / step))
        rates = []
        for index in range(count):
            lower = max(0, index - width + 1)
            rates.append((start + (index + 1) * step, sum(bins[lower:index + 1]) / min(window, (index + 1) * step)))
        return rates

    def reached(self, start, end, since, level, window=1.0):
        """Seconds from `since` until `level` bits a second were delivered in a window; None if never."""
        for at, rate in self.rates(start, end, window):
            if at >= since and rate >= level:
                return round(at - since, 2)
        return None

    def under_capacity(self, since, until, capacity, window=.6, step=.2):
        """Seconds until a whole window of what was offered fitted into the capacity."""
        at = since
        while at + window <= until:
            if sum(p.bytes for p in self.packets if at <= p.at < at + window) * 8 <= capacity * window:
                return round(at + window - since, 2)
            at += step
        return None

    def queue_below(self, since, until, limit_ms, hold=2.0, step=.1):
        """Seconds until the queue stayed below the limit for `hold` seconds."""
        at = since
        while at + hold <= until:
            waits = [p.wait_ms for p in self.packets if at <= p.at < at + hold]
            full = any(p.fate == "queue" for p in self.packets if at <= p.at < at + hold)
            if not full and max(waits, default=0) <= limit_ms:
                return round(at - since, 2)
            at += step
        return None


def jain(values):
    """Jain's fairness index: 1 where all are equal."""
    return round(sum(values) ** 2 / (len(values) * sum(v * v for v in values)), 4) if values and any(values) else None
