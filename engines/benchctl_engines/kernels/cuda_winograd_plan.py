"""How a 3x3 convolution is cut into Winograd tiles on the GPU, and whether it should be.

Costs are in multiply-adds at the device's full rate; the weights come from data sheets (H100: 67
TFLOP/s of float32 against 3.35 TB/s), not from measurements on a card: those are not made yet.
"""

from __future__ import annotations

from dataclasses import dataclass

from .convolution_geometry import ConvolutionGeometry
from .cuda_parts import LARGEST_INT32
from .cuda_winograd_text import POINTS, SIDE

FLOAT_BYTES = 4
TAPS = 9
# Multiply-adds that the device does while it reads or writes one float of its memory.
FLOAT_COST = 40
# The same for domain arrays, which stay in the last-level cache between two kernels.
CACHED_COST = FLOAT_COST // 2
LEAST_CHUNK_BYTES = 16 << 20
# Fewer channels than this fill no tile of a matrix product.
FEWEST_CHANNELS = 32
# A sum over fewer tiles than this is not split between more blocks.
FEWEST_GROUP_TILES = 256
# The side of the square of a product that one block of threads computes, about.
BLOCK_SIDE = 64
# Chunks are whole multiples of so many tiles, all but the last: whole warps, whole blocks.
CHUNK_STEP = 64


@dataclass(frozen=True, slots=True)
class Grid:
    """All tiles of a convolution: rows of them, images after images."""

    images: int
    high: int
    wide: int

    @property
    def per_image(self) -> int:
        """Tiles of one image."""
        return self.high * self.wide

    @property
    def count(self) -> int:
        """Tiles of all images."""
        return self.images * self.per_image


@dataclass(frozen=True, slots=True)
class Chunk:
    """`count` tiles from `first` on, in `groups` of equal size for sums over tiles."""

    first: int
    count: int
    groups: int = 1

    @property
    def group(self) -> int:
        """Tiles of a group; the last ones are filled up with zeros."""
        return -(-self.count // self.groups)

    @property
    def room(self) -> int:
        """Tiles of all groups, filled up."""
        return self.group * self.groups


def grid_of(geometry: ConvolutionGeometry) -> Grid:
    """The tiles that cover all results."""
    return Grid(geometry.N, -(-geometry.P // SIDE), -(-geometry.Q // SIDE))


def filter_bytes(geometry: ConvolutionGeometry) -> int:
    """All filters in the domain."""
    return POINTS * geometry.C * geometry.K * FLOAT_BYTES


def split_tiles(geometry: ConvolutionGeometry, cache_bytes: int, groups: int = 1) -> list[Chunk]:
    """Chunks whose domain arrays stay in a cache of so many bytes.

    They are not smaller than the filters, which are read, or summed, once for every chunk.
    """
    total = grid_of(geometry).count
    room = max(cache_bytes * 3 // 4, LEAST_CHUNK_BYTES, filter_bytes(geometry) * groups)
    tile_bytes = POINTS * (geometry.C + geometry.K) * FLOAT_BYTES
    least = -(-total // max(room // tile_bytes, 1))
    size = -(-total // least)
    size = -(-size // CHUNK_STEP) * CHUNK_STEP
    return [Chunk(first, min(size, total - first), groups) for first in range(0, total, size)]


def split_sum(geometry: ConvolutionGeometry, cache_bytes: int, multiprocessors: int) -> list[Chunk]:
    """Chunks of a filter gradient, in groups enough to occupy all multiprocessors."""
    tiles = split_tiles(geometry, cache_bytes)[0].count
    squares = -(-geometry.C // BLOCK_SIDE) * -(-geometry.K // BLOCK_SIDE)
    wanted = -(-2 * multiprocessors // (POINTS * squares))
    groups = max(min(wanted, tiles // FEWEST_GROUP_TILES), 1)
    return split_tiles(geometry, cache_bytes, groups)


def can_compute(geometry: ConvolutionGeometry) -> bool:
    """Whether F(4x4, 3x3) can compute this convolution."""
    sizes = geometry.N, geometry.C, geometry.K, geometry.P, geometry.Q
    return (
        geometry.dtype == "float32"
        and (geometry.R, geometry.S) == (3, 3)
        and geometry.unit_stride
        and min(sizes) > 0
        and _fits(geometry)
    )


def _fits(geometry: ConvolutionGeometry) -> bool:
    """Whether the 32-bit numbers of the kernels suffice."""
    largest = max(
        geometry.C * geometry.H * geometry.W,
        geometry.K * geometry.P * geometry.Q,
        geometry.C * geometry.K * TAPS * SIDE,
        CHUNK_STEP * max(geometry.C, geometry.K) * 2,
        grid_of(geometry).count,
    )
    return largest < LARGEST_INT32 // 2


def is_worthwhile(geometry: ConvolutionGeometry) -> bool:
    """Whether fewer multiplications should pay for carrying tiles to the domain and back."""
    if min(geometry.C, geometry.K) < FEWEST_CHANNELS:
        return False
    direct = geometry.N * geometry.pixels * geometry.K * geometry.depth
    return _cost(geometry) < direct


def _cost(geometry: ConvolutionGeometry) -> int:
    tiles = grid_of(geometry).count
    channels, pairs = geometry.C + geometry.K, geometry.C * geometry.K
    # Written and read once each; the filters as well, as if they were given anew every time.
    domain = 2 * POINTS * tiles * channels * CACHED_COST
    images = tiles * SIDE**2 * channels * FLOAT_COST
    filters = (2 * POINTS + TAPS) * pairs * FLOAT_COST
    return POINTS * tiles * pairs + domain + images + filters
