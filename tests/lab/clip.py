#!/usr/bin/env python3
"""clip.py FILE [SECONDS] - a moving picture that loads an encoder as a camera would (y4m, 1280x720, 30 fps).

A textured room drifts behind a textured figure that sways and turns, under fresh sensor noise in
every picture. It is the same on every machine, needs nothing but Python, and loops without a
seam, so that no artificial scene change disturbs the encoder.

Whole planes are computed as one big integer each, one byte a pixel: additions and shifts of such
numbers are quick, and bytes never carry into their neighbours as long as each stays below 256.
"""
import math
import os
import random
import sys

WIDTH, HEIGHT, RATE = 1280, 720, 30
# The noise of a small sensor in a room: 0 to 3 of 255, summed from two dice.
NOISE = (0x01, 0x01)
SEED = 8867


def as_int(plane):
    return int.from_bytes(plane, "little")


def repeated(byte, length):
    return as_int(bytes([byte]) * length)


def shrink(value, bits, length):
    """Divides every byte by 2**bits."""
    return (value >> bits) & repeated(0xFF >> bits, length)


def blocks(dice, width, height, cell):
    """Random squares of `cell` pixels."""
    rows = []
    for _ in range(height // cell):
        row = b"".join(bytes([value]) * cell for value in dice.randbytes(width // cell))
        rows += [row] * cell
    return as_int(b"".join(rows))


def turned(value, distance, length):
    """Moves a plane by `distance` bytes, what leaves at the end comes in at the beginning."""
    bits = 8 * length
    distance = 8 * distance % bits
    return ((value << distance) | (value >> (bits - distance))) & ((1 << bits) - 1)


def soft(value, step, row, length):
    """Averages four neighbours across and down: edges as a lens draws them."""
    for distance in (step, step * row):
        value = shrink(value, 1, length) + shrink(turned(value, distance, length), 1, length)
    return value


def texture(dice, width, height):
    """Detail of every size, as walls, cloth and hair have; values from 16 to about 230."""
    length = width * height
    total = repeated(16, length)
    for cell, bits in ((64, 1), (16, 2), (4, 4), (2, 5)):
        layer = blocks(dice, width, height, cell)
        for step in (1, 2, cell // 2 or 1):
            layer = soft(layer, step, width, length)
        total += shrink(layer, bits, length)
    # 16 + 127 + 63 + 15 + 7 is below 256: nothing carries.
    return total.to_bytes(length, "little")


def picture(number, count, room, figure, width, height):
    """One plane without noise: `number` of `count` of the loop, rows taken from two textures."""
    turn = 2 * math.pi * number / count
    pan = int(width * number / count)
    sway = int(width / 16 * math.sin(turn)) + int(width / 60 * math.sin(3 * turn))
    middle, radius_x, radius_y = height * 0.62, width * 0.2, height * 0.6
    rows = []
    for y in range(height):
        at = (y + int(height / 24 * math.sin(turn))) % height * 2 * width + pan
        row = room[at:at + width]
        inside = 1 - ((y - middle) / radius_y) ** 2
        if inside > 0:
            half = int(radius_x * math.sqrt(inside))
            left = width // 2 + sway + int(width / 80 * math.sin(2 * turn + y / height * 5)) - half
            # A face turns and stretches: rows move by different amounts, which no vector describes.
            bend = int(width / 24 * math.sin(2 * turn + y * 4 / height))
            start = (y + int(height / 36 * math.sin(2 * turn))) % height * 2 * width + width // 4 + bend
            row = row[:left] + figure[start:start + 2 * half] + row[left + 2 * half:]
        rows.append(row)
    return as_int(b"".join(rows))


def doubled(plane, width):
    """Every row twice, side by side, so that a slice that goes over its end goes on at its start."""
    return b"".join(plane[at:at + width] * 2 for at in range(0, len(plane), width))


def write(path, seconds=5):
    dice = random.Random(SEED)
    sizes = [(WIDTH, HEIGHT), (WIDTH // 2, HEIGHT // 2), (WIDTH // 2, HEIGHT // 2)]
    layers = []
    for width, height in sizes:
        layers.append([doubled(texture(dice, width, height), width) for _ in range(2)])
    count = int(seconds * RATE)
    with open(path + ".part", "wb") as out:
        out.write(f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F{RATE}:1 Ip A1:1 C420jpeg\n".encode())
        for number in range(count):
            out.write(b"FRAME\n")
            for index, (width, height) in enumerate(sizes):
                room, figure = layers[index]
                plane = picture(number, count, room, figure, width, height)
                length = width * height
                if index == 0:
                    for mask in NOISE:
                        plane += as_int(dice.randbytes(length)) & repeated(mask, length)
                else:
                    # Colours are pale: half of the swing, around the middle.
                    plane = shrink(plane, 2, length) + repeated(96, length)
                out.write(plane.to_bytes(length, "little"))
    os.replace(path + ".part", path)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    write(sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 5)
