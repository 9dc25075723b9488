"""The grid of tiles over an image, and where tiles lie in memory: arguments of the loops."""

from __future__ import annotations

from typing import NamedTuple

from .host_vectors import LANES, WIDTH


class Filtering(NamedTuple):
    """F(m x m, r x r): `results` is m, `taps` is r, `points` the side m + r - 1 of a tile.

    The filters as given have `side` rows and columns, of which every `stride`-th belongs to a
    phase.
    """

    results: int
    taps: int
    points: int
    side: int
    stride: int


def gathered_floats(taps: int) -> int:
    """Floats of filters of LANES by WIDTH channels, taps * taps each."""
    return taps * taps * LANES * WIDTH


class Picture(NamedTuple):
    """One image operand as a grid of tiles.

    Tile (i, j) covers `side` rows and columns from i*step and j*step on, of each phase. Row u of
    phase a is row stride*u + a - top of the image; what lies outside the image reads as zero and
    is not written. `channels` are those of the image.
    """

    nchw: int
    images: int
    channels: int
    height: int
    width: int
    side: int
    step: int
    stride: int
    top: int
    left: int
    tiles_high: int
    tiles_wide: int


class Domain(NamedTuple):
    """Where a domain array lies: floats from the start of the scratch memory."""

    start: int
    row: int
    point: int


class Staging(NamedTuple):
    """A worker's own scratch: floats from the start of the scratch memory, and tables.

    `slab` holds a strip of an image in NCHW, channels last; `blank` a position of zeros for
    reading or of no interest for writing.
    """

    slab: int
    slab_row: int
    blank: int
    strip: int


class Panel(NamedTuple):
    """A worker's own filters in the domain: a panel for `channels` input channels at a time.

    `start` and `gathered`, where filters are brought together first, are floats from the start
    of the scratch memory.
    """

    start: int
    channels: int
    point: int
    gathered: int
