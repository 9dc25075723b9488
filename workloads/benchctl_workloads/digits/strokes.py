"""Digits that look written by hand, without any file: strokes, bent, slanted, drawn with a pen.

A digit is a few lines and arcs in a box of 1x1, x to the right and y down. Each image bends them by
a wave, turns, shears, stretches and moves them, and draws them with a round pen of its own width
into about 20x20 pixels in the middle of 28x28, as MNIST has them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from benchctl_engines.contract import Array

SIDE = 28
CLASSES = 10
BOX_PIXELS = 18.0
"""Side of the box that the middle of the pen stays in."""

TURN_RADIANS = 0.2
SHEAR = 0.25
STRETCH = 0.12
SHIFT_PIXELS = 1.5
BEND = 0.04
PEN_PIXELS = (0.85, 1.65)
"""Radius of the pen."""

Point = tuple[float, float]
_HAND = 11
"""How many random numbers an image takes."""


def _arc(middle: Point, radii: Point, begin: float, end: float) -> list[Point]:
    """Points on an ellipse, angles in degrees from the right over the bottom."""
    count = max(2, round(abs(end - begin) / 24.0) + 1)
    angles = (math.radians(begin + (end - begin) * i / (count - 1)) for i in range(count))
    (x, y), (rx, ry) = middle, radii
    return [(x + rx * math.cos(angle), y + ry * math.sin(angle)) for angle in angles]


_LINES: tuple[tuple[Sequence[Point], ...], ...] = (
    (_arc((0.5, 0.5), (0.3, 0.5), -90, 270),),
    ([(0.36, 0.2), (0.52, 0.0), (0.52, 1.0)],),
    ([*_arc((0.5, 0.28), (0.3, 0.28), 190, 395), (0.2, 1.0), (0.84, 1.0)],),
    (_arc((0.47, 0.26), (0.28, 0.26), 200, 450), _arc((0.47, 0.76), (0.32, 0.24), 270, 510)),
    ([(0.62, 1.0), (0.62, 0.0), (0.14, 0.66), (0.9, 0.66)],),
    ([(0.8, 0.0), (0.3, 0.0), (0.26, 0.46), *_arc((0.47, 0.68), (0.33, 0.32), 235, 510)],),
    ([*_arc((0.74, 0.68), (0.52, 0.68), 270, 180), *_arc((0.5, 0.7), (0.28, 0.3), 180, 540)],),
    ([(0.18, 0.0), (0.84, 0.0), (0.42, 1.0)],),
    (_arc((0.5, 0.25), (0.24, 0.25), 90, 450), _arc((0.5, 0.75), (0.3, 0.25), -90, 270)),
    ([*_arc((0.5, 0.29), (0.28, 0.29), 0, 360), (0.77, 0.62), (0.62, 1.0)],),
)


def _segments(lines: Sequence[Sequence[Point]]) -> Array:
    """Both ends of each straight piece: [pieces, 2 ends, x y]."""
    pieces = [pair for line in lines for pair in pairwise(line)]
    return np.array(pieces, np.float64)


SEGMENTS: tuple[Array, ...] = tuple(_segments(lines) for lines in _LINES)


def draw_digits(rng: np.random.Generator, labels: Array) -> Array:
    """One image for each label from 0 to 9: uint8 [N, 28, 28], 0 is paper and 255 is ink.

    An image depends on the state of `rng` and on its place alone, not on the other labels.
    """
    hands = rng.uniform(-1.0, 1.0, (len(labels), _HAND))
    images = np.empty((len(labels), SIDE, SIDE), np.uint8)
    for digit, segments in enumerate(SEGMENTS):
        chosen = np.flatnonzero(np.asarray(labels) == digit)
        if chosen.size:
            images[chosen] = _drawn(segments, hands[chosen])
    return images


def _drawn(segments: Array, hands: Array) -> Array:
    """Images [n, 28, 28] of one digit; `hands` [n, 11] are uniform from -1 to 1."""
    turn, shear, wide, tall, right, down, pen, *waves = hands.T
    ends = _bent(segments - 0.5, waves)
    cosine, sine = np.cos(TURN_RADIANS * turn), np.sin(TURN_RADIANS * turn)
    x, y = (ends[..., axis].transpose(1, 2, 0) for axis in (0, 1))  # [pieces, 2 ends, n]
    x = (x - SHEAR * shear * y) * (1.0 + STRETCH * wide)
    y = y * (1.0 + STRETCH * tall)
    middle = (SIDE - 1) / 2.0
    pixels_x = middle + BOX_PIXELS * (cosine * x - sine * y) + SHIFT_PIXELS * right
    pixels_y = middle + BOX_PIXELS * (sine * x + cosine * y) + SHIFT_PIXELS * down
    thin, thick = PEN_PIXELS
    radius = (thin + thick) / 2.0 + (thick - thin) / 2.0 * pen
    distance = _distance(pixels_x.astype(np.float32), pixels_y.astype(np.float32))
    ink = np.clip(radius[:, None, None] + 0.5 - distance, 0.0, 1.0)
    pixels: Array = np.rint(255.0 * ink).astype(np.uint8)
    return pixels


def _bent(ends: Array, waves: Sequence[Array]) -> Array:
    """Ends [pieces, 2, x y] moved by a wave for each image: [n, pieces, 2, x y].

    The wave is a function of the place, so that strokes stay joined.
    """
    size_x, size_y, phase_x, phase_y = (wave[:, None, None] for wave in waves)
    x, y = ends[None, ..., 0], ends[None, ..., 1]
    moved_x = x + BEND * size_x * np.sin(5.0 * y + math.pi * phase_x)
    moved_y = y + BEND * size_y * np.sin(5.0 * x + math.pi * phase_y)
    return np.stack([moved_x, moved_y], axis=-1)


def _distance(x: Array, y: Array) -> Array:
    """From the middle of each pixel to the nearest piece, in pixels: [n, 28, 28].

    `x` and `y` are [pieces, 2 ends, n].
    """
    across = np.arange(SIDE, dtype=np.float32)
    nearest = np.full((x.shape[2], SIDE, SIDE), np.inf, np.float32)
    for (x0, x1), (y0, y1) in zip(x, y, strict=True):
        along_x, along_y = ((b - a)[:, None, None] for a, b in ((x0, x1), (y0, y1)))
        off_x = across[None, None, :] - x0[:, None, None]
        off_y = across[None, :, None] - y0[:, None, None]
        length = np.maximum(along_x * along_x + along_y * along_y, np.float32(1e-12))
        share = np.clip((off_x * along_x + off_y * along_y) / length, 0.0, 1.0)
        squared = (off_x - share * along_x) ** 2 + (off_y - share * along_y) ** 2
        np.minimum(nearest, squared, out=nearest)
    return np.sqrt(nearest)
