"""The grid of tiles over an image, and where tiles lie in memory: arguments of the loops."""

from __future__ import annotations

from typing import NamedTuple

from .host_vectors import LANES, WIDTH

# Floats of filters of LANES by WIDTH channels, all nine taps.
GATHERED = 9 * LANES * WIDTH


class Picture(NamedTuple):
    """One image operand as a grid of tiles.

    Tile (i, j) covers `side` rows from i*step - top and `side` columns from j*step - left; what
    lies outside the image reads as zero and is not written.
    """

    nchw: int
    images: int
    channels: int
    height: int
    width: int
    side: int
    step: int
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
