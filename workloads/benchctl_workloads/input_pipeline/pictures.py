"""Pictures as they are stored, and how they become a batch: decoded, shrunk, scaled.

Stored is what PNG's filter "Sub" makes of grey bytes (RFC 2083, section 6.3): each is its
difference from the left neighbour, modulo 256. Decoding adds them up again, byte after byte. The
two decoders give the same bits: NumPy's loops release the interpreter's lock, Python's hold it.
"""

from __future__ import annotations

from itertools import accumulate

import numpy as np

from benchctl_engines.contract import Array

from ..digits.strokes import CLASSES, SIDE, draw_digits

PIXELS = SIDE * SIDE


def stored_pictures(rng: np.random.Generator, count: int, side: int) -> tuple[Array, Array]:
    """Digits as they are stored, uint8 [count, side, side], and their labels, int64 [count].

    `side` is a multiple of 28: each pixel of a digit is a square.
    """
    labels = rng.integers(0, CLASSES, count)
    square = side // SIDE
    digits = draw_digits(rng, labels)
    return filtered(digits.repeat(square, axis=1).repeat(square, axis=2)), labels


def filtered(pixels: Array) -> Array:
    """Each byte minus its left neighbour, modulo 256: uint8 [N, H, W]."""
    differences = pixels.copy()
    differences[:, :, 1:] -= pixels[:, :, :-1]
    return differences


def square_sums_numpy(stored: Array) -> Array:
    """Decode and sum over squares: uint8 [N, side, side] to int64 [N, 784]."""
    N, side, _ = stored.shape
    square = side // SIDE
    pixels = np.add.accumulate(stored, axis=2, dtype=np.uint8)
    rows = pixels.reshape(N, SIDE, square, SIDE, square).sum(axis=4, dtype=np.int64)
    sums: Array = rows.sum(axis=2)
    return sums.reshape(N, PIXELS)


def square_sums_python(stored: Array) -> Array:
    """The same, in the interpreter alone."""
    N, side, _ = stored.shape
    square = side // SIDE
    columns = range(0, side, square)
    found = []
    for picture in stored.tolist():
        sums = [0] * PIXELS
        for y, row in enumerate(picture):
            pixels = [value & 255 for value in accumulate(row)]
            begin = y // square * SIDE
            for x, column in enumerate(columns, start=begin):
                sums[x] += sum(pixels[column : column + square])
        found.append(sums)
    return np.array(found, np.int64).reshape(N, PIXELS)


def features_of(sums: Array, square: int) -> Array:
    """Means over squares as float32 [N, 784] from -1 (paper) to 1 (ink)."""
    features = sums.astype(np.float32)
    features *= np.float32(2.0 / (255.0 * square * square))
    features -= np.float32(1.0)
    return features


def turned_to_negatives(features: Array, rng: np.random.Generator) -> Array:
    """Ink and paper changed places in half of the pictures [N, 784], as they are drawn."""
    signs = 1.0 - 2.0 * rng.integers(0, 2, (len(features), 1))
    turned: Array = features * signs.astype(np.float32)
    return turned
