"""A call of several people for the cases of relay.py: who takes part, and what came of each way between two."""
import time

import hearing
import lab
from bench import RESULTS
from packets import UDP, clock_zero, packet_of
from parties import Failed
from servers import RELAY_PORTS

# One link's delay in milliseconds: between two people a round trip takes four times that, to the relay
# twice.
ONE_WAY = 20
# Six people are much for a small computer: where no more is asked than when something came, to 2 ms, links look
# for packets only so often (milliseconds). Each waits half of it, going in and coming out.
COARSE = 2
# RTP has its payload types here in all our calls (RFC 3551, section 6: the dynamic ones).
DYNAMIC = {63, *range(96, 128)}


def words(home, size="320x180", rate="300k", speaks=True):
    """What a person says to `nonstop call`: pictures that cost little, and a sound of their own."""
    sound = f"file:{hearing.sound_of(RESULTS, home)}" if speaks else "none"
    return ("--camera", "test-card", "--max-size", size, "--max-bitrate", rate, "--microphone", sound)


class Crowd:
    """People in homes 1 to `count` of a stage, in one meeting."""

    def __init__(self, stage, count, kinds=None, loss=0, server=(), size="320x180", rate="300k", settings=None, speak=None, coarse=False):
        self.stage, self.size, self.rate, self.speak = stage, size, rate, speak
        more = settings or {}
        if loss:
            # Half of it at each end, so that it is what a packet meets from one person to another.
            more = {home: f"up=loss={loss / 2}%;down=loss={loss / 2}%" + (f";{more[home]}" if home in more else "") for home in range(1, count + 1)}
        lab.TICK = COARSE if coarse else 0
        stage.homes(*(kinds or ["portrestricted"] * count), delay=ONE_WAY - lab.TICK, settings=more)
        stage.serve("own", server)
        self.link = stage.link()
        self.people, self.ears, self.paths, self.addresses, self.heard = {}, {}, {}, {}, {}

    def join(self, *homes, record=False, wait=True):
        for home in homes:
            more = ()
            if record:
                self.ears[home] = hearing.Ears(f"{self.stage.folder}/heard-{home}-{len(self.stage.callers)}")
                more = ("--record", self.ears[home].folder)
            self.people[home] = self.stage.join(home, self.link, words=(*words(home, self.size, self.rate, self.speak is None or home in self.speak), *more), wait=wait)
        return [self.people[home] for home in homes]

    def together(self, seconds=25):
        """Waits until everybody sees everybody."""
        self.stage.everyone_sees(list(self.people.values()), seconds)

    def leave(self, *homes):
        self.stage.part(*(self.people.pop(home) for home in homes))

    def end(self):
        """Everybody leaves; whom there was can still be asked about."""
        self.stage.part(*self.people.values())
        for ears in self.ears.values():
            ears.close()

    def pairs(self, homes=None):
        """Everybody with everybody whom they receive: (receiver, their home, sender's id, sender's home)."""
        homes = homes or list(self.people)
        return [(self.people[home], home, self.people[other].me(), other) for home in homes for other in homes if home != other]

    # ---- what is shown and done

    def path(self, person, peer):
        """The path that a person's tile of somebody shows now."""
        return self.path_and_time(person, peer)[0]

    def path_and_time(self, person, peer):
        """The same, and when it was first said to be this path."""
        lines, (read, paths) = person.lines(), self.paths.get(person, (0, {}))
        for line in lines[read:]:
            path = line.get("path")
            if path and paths.get(line["peer"], (None,))[0] != path:
                paths[line["peer"]] = path, line["at"]
        self.paths[person] = len(lines), paths
        return paths.get(peer, (None, None))

    def shown(self, homes=None):
        """The paths that the tiles of these people show of each other: (receiver, sender): path."""
        return {(home, other): self.path(person, peer) for person, home, peer, other in self.pairs(homes)}

    def when_shown(self, path, since, seconds, homes=None, waiting=0):
        """Waits until every tile shows this path, looking at them from `waiting` seconds on; returns how
        long it took the last one by what they wrote, counted from `since`. Fails with those that do not."""
        self.stage.sleep(max(0, since + waiting - time.time()))
        while any(p != path for p in self.shown(homes).values()):
            if time.time() > since + seconds:
                wrong = {pair: p for pair, p in self.shown(homes).items() if p != path}
                raise Failed(f"{len(wrong)} tiles do not show {path} after {seconds} s: {list(wrong.items())[:4]}")
            self.stage.sleep(.2)
        return round(max(self.path_and_time(person, peer)[1] for person, _, peer, _ in self.pairs(homes)) - since, 2)

    def longest_pictures_gap(self, since, until, homes=None):
        """For every pair the longest time in seconds without a new picture, by the receiver's figures."""
        gaps = {}
        for person, home, peer, other in self.pairs(homes):
            # A wait that ended is told in the second after it, and perhaps once more.
            lines = [line for line in person.lines() if line["type"] == "link" and line["peer"] == peer and since + 1 <= line["at"] < until + 1]
            told = [line["longest_picture_gap_ms"] / 1e3 for line in lines if line.get("longest_picture_gap_ms") is not None]
            # What said nothing of pictures for seconds showed none.
            silent = [b["at"] - a["at"] for a, b in zip(lines, lines[1:]) if b["at"] - a["at"] > 2.5]
            gaps[home, other] = round(max([*told, *silent], default=until - since), 3)
        return gaps

    def longest_sound_gap(self, since, until, homes=None):
        """For every pair the longest time in seconds in which nothing new was heard, by recordings; to be
        asked after everybody left. None where nothing was recorded."""
        gaps = {}
        for (home, other), (path, began) in self.recorded(homes).items():
            if path and path not in self.heard:
                self.heard[path] = hearing.Recording(path, other, began)
            gaps[home, other] = self.heard[path].gap(since, until) if path else None
        return gaps

    def recorded(self, homes=None):
        """The recording of every pair and when it begins."""
        found = {}
        for person, home, peer, other in self.pairs(homes):
            first = next((e for e in person.events("first_audio", peer=peer)), None)
            path = self.ears[home].heard(peer) if home in self.ears else None
            found[home, other] = (path, first["at"]) if path and first else (None, None)
        return found

    # ---- what went over the links

    def home_of(self, address):
        if not self.addresses:
            homes = ((home, lab.home(home)) for home in self.stage.kinds)
            self.addresses = {address: home for home, h in homes for address in (h["public"], *h["addrs"])}
        return self.addresses.get(address)

    def packets(self, home, since, until):
        """What a home's link carried between two times. Logs are long: while a call goes on, reading
        them would take the time that it needs."""
        name = f"{lab.RUN}/home{home}"
        lab.ctl(f"home{home}", "flush")
        zero = clock_zero(f"{name}.csv")
        with open(f"{name}.pkt.csv") as f:
            fields = f.readline().rstrip("\n").split(",")
            for line in f:
                if line.endswith("\n") and since <= zero + float(line[:line.index(",")]) < until:
                    yield packet_of(dict(zip(fields, line[:-1].split(","))), zero)

    def media(self, home, since, until):
        """Packets of media of a home's link between two times: (packet, whom it went to or came from: a
        home, or `relay` or `turn`)."""
        for packet in self.packets(home, since, until):
            if packet.protocol == UDP and packet.payload_type in DYNAMIC:
                yield packet, self.beyond(packet)

    def beyond(self, packet):
        """Whom a packet went to or came from."""
        if packet.remote in lab.SERVERS:
            remote_port = packet.ports[1] if packet.direction == "up" else packet.ports[0]
            return "relay" if remote_port in RELAY_PORTS else "turn"
        return self.home_of(packet.remote)

    def direct_packets(self, since, until, homes):
        """How many packets of media went straight between two homes."""
        return sum(to in self.stage.kinds for home in homes for packet, to in self.media(home, since, until) if packet.direction == "up")

    def relay_bytes(self, since, until, homes):
        """Bytes that the relay took in from and sent to these homes, whatever they were."""
        return sum(packet.bytes for home in homes for packet in self.packets(home, since, until) if self.beyond(packet) == "relay")


def now_after(stage, seconds):
    """Waits; returns the time then."""
    stage.sleep(seconds)
    return time.time()
