"""Sound that tells when and by whom it was said, and what a recording says of it.

Everybody sends a tone that rises through a band of their own, eight times a second. So each moment of a
recording tells whose sound it is and which moment of it: silence shows, and so does sound that is made up
of what came before, which stands still. That is heard as a gap as well, sooner or later.
"""
import array
import glob
import math
import os
import re
import threading
import wave

RATE = 48_000
# The lowest band's beginning, each band's width, and how far one begins after another, in Hz.
LOWEST, WIDTH, APART = 600, 300, 330
# Of full scale, as the program's own tone.
AMPLITUDE = .25
# In so many seconds the whole band is gone through.
PERIOD = 1 / 8
# A recording is looked at every 5 ms, each time at 10 ms.
HOP, WINDOW = RATE // 200, RATE // 100
# Less than this, of full scale from trough to crest, is silence.
SILENCE = .1
# Over this many hops sound has to go on, by at least this much of the time.
STRIDE, LEAST = 2, .4
# A gap begins and ends within a window, and Opus needs a moment until it sounds right again: by so much,
# in seconds, the number of hops is too many. Found with packets of Opus that were left out, 20 to 80 ms in a
# row, 72 times each in three bands: the middle one is right within 15 ms, the longest 40 ms too long.
ENDS = .03
# Sides of zero by a sample's upper byte: clearly above, clearly below, or neither.
CLEARLY = int(AMPLITUDE / 4 * 128)
SIDES = [ord("+") if CLEARLY <= byte < 128 else ord("-") if 128 <= byte < 256 - CLEARLY else ord(".") for byte in range(256)]
UPWARD = re.compile(rb"-\.*\+")


def write(path, number, seconds=10):
    """Makes the sound of person `number`, from 1 on; whole seconds, which loop without a seam."""
    base = LOWEST + APART * (number - 1)
    # After a second the phase is that of the beginning, as the average frequency is a whole number.
    turns = [base * t + WIDTH / 2 * (t // PERIOD * PERIOD + (t % PERIOD) ** 2 / PERIOD) for t in (n / RATE for n in range(RATE))]
    second = array.array("h", (int(AMPLITUDE * 32767 * math.sin(2 * math.pi * turn)) for turn in turns))
    with wave.open(path, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes(second.tobytes() * seconds)


def sound_of(folder, number):
    """The file with the sound of a person, made on the first use."""
    path = f"{folder}/sound-{LOWEST}-{WIDTH}-{APART}-sawtooth-{number}.wav"
    if not os.path.exists(path):
        os.makedirs(folder, exist_ok=True)
        write(path, number)
    return path


class Ears:
    """A folder for recordings of which only the sound is kept: pictures would fill the disk."""

    def __init__(self, folder):
        self.folder, self.over = folder, threading.Event()
        os.makedirs(folder, exist_ok=True)
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()

    def watch(self):
        # The sound's file is there as soon as somebody is known, the pictures' with the first picture.
        seen = set()
        while not self.over.wait(.02):
            for path in set(glob.glob(f"{self.folder}/*.wav")) - seen:
                seen.add(path)
                try:
                    os.symlink(os.devnull, path[:-4] + ".y4m")
                except FileExistsError:
                    pass

    def close(self):
        self.over.set()
        self.thread.join()

    def heard(self, peer):
        """The file with the sound of a participant, by their id; None where nothing came."""
        return next(iter(glob.glob(f"{self.folder}/*{peer}.wav")), None)


class Recording:
    """What somebody heard of person `number`. `began` is when the file begins, in seconds since 1970."""

    def __init__(self, path, number, began):
        self.began = began
        with wave.open(path, "rb") as file:
            if (file.getnchannels(), file.getsampwidth(), file.getframerate()) != (1, 2, RATE):
                raise ValueError(f"{path} is no recording of ours")
            raw = file.readframes(file.getnframes())
        self.moments = moments(raw, LOWEST + APART * (number - 1))

    def seconds(self):
        return len(self.moments) * HOP / RATE

    def gaps(self, since=None, until=None):
        """Times in which nothing new was heard, between two times: (when it began, how long), in seconds;
        None if the recording does not reach so far."""
        hop = HOP / RATE
        first = 0 if since is None else max(0, int((since - self.began) / hop))
        last = len(self.moments) if until is None else min(len(self.moments), int((until - self.began) / hop))
        if last - first < 2 * STRIDE or (until is not None and self.began + self.seconds() < until - .5):
            return None
        gaps, run, before = [], 0, True
        for at in range(first, last - STRIDE + 1):
            ends = at == last - STRIDE
            goes_on = ends or self.goes_on(at)
            # Once by chance is no sound yet.
            if not goes_on or (run and not before and not ends):
                run, before = run + 1, goes_on
                continue
            if run * hop > ENDS:
                gaps.append((self.began + (at - run) * hop, round(run * hop - ENDS, 3)))
            run, before = 0, True
        return gaps

    def gap(self, since=None, until=None):
        """The longest of them in seconds; None where there is no telling."""
        gaps = self.gaps(since, until)
        return None if gaps is None else max((length for _, length in gaps), default=0.)

    def goes_on(self, at):
        """Whether a hop has sound, and what follows is new."""
        now = self.moments[at]
        for stride in range(STRIDE, 0, -1):
            then = self.moments[at + stride]
            if now is not None and then is not None:
                # The band's end is followed by its beginning.
                return (then - now + .5) % 1 - .5 >= LEAST * stride * HOP / RATE / PERIOD
        return False


def moments(raw, base):
    """For every hop of a recording, how far up the band it is, about 0 to 1; None where it is not this
    person's sound."""
    samples = array.array("h", raw)
    # The upper bytes tell on which side of zero a sample is, once it is clearly on one.
    sides = raw[1::2].translate(bytes(SIDES[byte] for byte in range(256)))
    crossings = []
    for found in UPWARD.finditer(sides):
        low, high = found.start(), found.end() - 1
        below, above = samples[low], samples[high]
        crossings.append(low + (high - low) * below / (below - above))
    told, first, count = [], 0, len(crossings)
    for start in range(0, len(samples) - WINDOW + 1, HOP):
        end = start + WINDOW
        while first < count and crossings[first] < start:
            first += 1
        last = first
        while last < count and crossings[last] < end:
            last += 1
        window = samples[start:end]
        if last - first < 3 or max(window) - min(window) < SILENCE * 32767:
            told.append(None)
            continue
        frequency = (last - 1 - first) * RATE / (crossings[last - 1] - crossings[first])
        part = (frequency - base) / WIDTH
        told.append(part if -.15 < part < 1.15 else None)
    return told
