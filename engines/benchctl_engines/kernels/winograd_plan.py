"""How a 3x3 convolution is cut into Winograd tiles and blocks, and where they lie in memory.

Costs are counted in multiply-adds of a matrix product at full speed, so that the direct
convolution is the yardstick. The weights were fitted to the thirteen layers of VGG16 at batch 1
and 16 on two cores of AMD EPYC processors (Zen 4 and Zen 5); only their order of size matters.
"""

from __future__ import annotations

from dataclasses import dataclass

from .convolution_geometry import ConvolutionGeometry
from .host_vectors import FEWEST_ROWS, FLOAT_BYTES, LANES, LINE_FLOATS, WIDTH, whole_lines
from .winograd_grid import GATHERED, Domain, Panel, Picture, Staging

SIDES = (4, 6)
TAPS = 9
# Carrying one float of a tile into the domain or out of it.
TRANSFORM_COST = 24
# Reading a filter in the domain from memory once, or making it from the filters as given.
READ_COST = 4
MAKE_COST = 8
# Filters of a panel that are brought into the domain at a time, for a worker's own cache.
PANEL_BYTES = 512 << 10
# Filters above this size leave no room in the caches for tiles of every worker's own.
SHARED_FILTER_BYTES = 10 << 20
# Then tiles come from the cache that all share, which costs this much more.
SHARED_COST = 1.15
# The tiles of a block, in both domains: for a worker's own cache, and for the cache of all.
OWN_BLOCK_BYTES = 768 << 10
SHARED_BLOCK_BYTES = 20 << 20
# Larger filters or sums cost more memory than F(6x6) saves time: in a step of training they are
# needed while all activations are.
MOST_STEP_BYTES = 48 << 20
MOST_STRIP_TILES = 16


def takes(geometry: ConvolutionGeometry) -> bool:
    """Whether Winograd tiles can compute this convolution, and should."""
    return (
        geometry.dtype == "float32"
        and (geometry.R, geometry.S) == (3, 3)
        and geometry.unit_stride
        and geometry.C % LANES == 0
        and geometry.K % LANES == 0
        and min(geometry.N, geometry.C, geometry.K, geometry.P, geometry.Q) > 0
        and min(cost(geometry, m, frozen=False) for m in SIDES) < direct_cost(geometry)
    )


def direct_cost(geometry: ConvolutionGeometry) -> int:
    """Multiply-adds of the sum as it is written."""
    return geometry.N * geometry.pixels * geometry.K * geometry.depth


def tile_count(geometry: ConvolutionGeometry, m: int) -> int:
    """Tiles of m x m results over all images."""
    return geometry.N * -(-geometry.P // m) * -(-geometry.Q // m)


def cost(geometry: ConvolutionGeometry, m: int, *, frozen: bool) -> float:
    """Cost of F(m x m, 3x3); `frozen` filters are in the domain already."""
    shared = _filter_bytes(geometry, m) > SHARED_FILTER_BYTES
    return _work(geometry, m, frozen=frozen) * (SHARED_COST if shared else 1)


def _work(geometry: ConvolutionGeometry, m: int, *, frozen: bool) -> int:
    points, tiles = (m + 2) ** 2, tile_count(geometry, m)
    channels, pairs = geometry.C + geometry.K, geometry.C * geometry.K
    per_point = tiles * pairs + tiles * channels * TRANSFORM_COST
    per_point += pairs * (READ_COST if frozen else MAKE_COST)
    return points * per_point


def choose_side(geometry: ConvolutionGeometry, *, frozen: bool) -> int:
    """The side of a tile of results that costs least."""
    side = min(SIDES, key=lambda m: cost(geometry, m, frozen=frozen))
    return side if frozen else _within_memory(geometry, side)


def choose_gradient_side(geometry: ConvolutionGeometry) -> int:
    """The side for a filter gradient, whose tiles come from the cache of all whatever it is."""
    side = min(SIDES, key=lambda m: _work(geometry, m, frozen=False))
    return _within_memory(geometry, side)


def _within_memory(geometry: ConvolutionGeometry, side: int) -> int:
    return min(SIDES) if _filter_bytes(geometry, side) > MOST_STEP_BYTES else side


@dataclass(frozen=True, slots=True)
class TilePlan:
    """One way to compute a convolution, or the products behind its filter gradient.

    Sizes are in floats; `scratch_floats` holds everything but all filters in the domain
    (`filter_floats`), and room to make those; `table_entries` counts the addresses of all workers.
    """

    m: int
    shared: bool
    block: int
    source: Picture
    target: Picture
    left: Domain
    right: Domain
    reading: Staging
    writing: Staging
    panel: Panel
    worker_floats: int
    scratch_floats: int
    table_entries: int
    filter_floats: int
    threads: int

    @property
    def panels(self) -> bool:
        """Whether filters as given go into the domain a panel at a time: each is used once."""
        return self.shared and self.block >= self.source.images * (
            self.source.tiles_high * self.source.tiles_wide
        )


class _Room:
    """Hands out floats of the scratch memory, each piece on a cache line of its own."""

    def __init__(self) -> None:
        self.floats = 0

    def take(self, floats: int) -> int:
        start = self.floats
        self.floats += whole_lines(floats)
        return start


def padded(channels: int) -> int:
    """Channels rounded up to whole panels."""
    return -(-channels // WIDTH) * WIDTH


def domain_floats(geometry: ConvolutionGeometry, m: int) -> int:
    """Floats of all filters in the domain of F(m x m, 3x3), in whole panels."""
    return (m + 2) ** 2 * geometry.C * padded(geometry.K)


def _filter_bytes(geometry: ConvolutionGeometry, m: int) -> int:
    return domain_floats(geometry, m) * FLOAT_BYTES


def plan_convolution(
    geometry: ConvolutionGeometry, threads: int, *, pooled: bool, frozen: bool
) -> TilePlan:
    """Tiles and memory of a convolution; `pooled`: only its 2x2 maxima are written."""
    m = choose_side(geometry, frozen=frozen)
    filter_floats = domain_floats(geometry, m)
    shared = _filter_bytes(geometry, m) > SHARED_FILTER_BYTES
    block = (SHARED_BLOCK_BYTES if shared else OWN_BLOCK_BYTES), 2 * FEWEST_ROWS
    return _plan(geometry, m, shared, threads, block, filter_floats, m // 2 if pooled else m)


def plan_filter_gradient(geometry: ConvolutionGeometry, threads: int) -> TilePlan:
    """Tiles and memory of the products whose sum, out of the domain, is the filter gradient."""
    m = choose_gradient_side(geometry)
    filter_floats, block = domain_floats(geometry, m), (SHARED_BLOCK_BYTES, 32)
    return _plan(geometry, m, True, threads, block, filter_floats, m)


def _plan(
    geometry: ConvolutionGeometry,
    m: int,
    shared: bool,
    threads: int,
    block_limits: tuple[int, int],
    filter_floats: int,
    step: int,
) -> TilePlan:
    n, points = m + 2, (m + 2) ** 2
    C, K = geometry.C, geometry.K
    high, wide = -(-geometry.P // m), -(-geometry.Q // m)
    nchw = int(geometry.layout == "NCHW")
    source = Picture(
        nchw, geometry.N, C, geometry.H, geometry.W, n, m, geometry.top, geometry.left, high, wide
    )
    shrink = m // step
    target = Picture(
        nchw,
        geometry.N,
        K,
        geometry.P // shrink,
        geometry.Q // shrink,
        step,
        step,
        0,
        0,
        high,
        wide,
    )
    tile_bytes = points * (C + padded(K)) * FLOAT_BYTES
    most, least = block_limits
    share = geometry.N * high * wide if shared else -(-geometry.N * high * wide // threads)
    block = max(min(max(most // tile_bytes, least), share), 1)
    strip = min(MOST_STRIP_TILES, block, wide)

    room = _Room()
    rows = max(block, FEWEST_ROWS)
    left = _domain(room, points, rows, C)
    right = _domain(room, points, rows, padded(K))
    common = room.floats if shared else 0
    # What follows exists once for every worker.
    slab_row, result_row = (strip * m + 2) * C, strip * step * K
    reading_slab = room.take(n * slab_row if nchw else 0)
    writing_slab = room.take(step * result_row if nchw else 0)
    blank = room.take(max(C, padded(K)))
    own_filters = _panel(room, points, C)
    worker_floats = room.floats - common
    return TilePlan(
        m=m,
        shared=shared,
        block=block,
        source=source,
        target=target,
        left=left,
        right=right,
        reading=Staging(reading_slab, slab_row, blank, strip),
        writing=Staging(writing_slab, result_row, blank, strip),
        panel=own_filters,
        worker_floats=worker_floats,
        scratch_floats=max(
            common + worker_floats * threads, GATHERED * threads, TAPS * padded(K) * threads
        ),
        table_entries=points * threads,
        filter_floats=filter_floats,
        threads=threads,
    )


def _panel(room: _Room, points: int, C: int) -> Panel:
    most = PANEL_BYTES // (points * WIDTH * FLOAT_BYTES)
    channels = min(max(most // LANES, 1) * LANES, C)
    # A line more, so that the points do not all fall on the same sets of a cache.
    point = channels * WIDTH + LINE_FLOATS
    return Panel(room.take(points * point), channels, point, room.take(GATHERED))


def _domain(room: _Room, points: int, rows: int, channels: int) -> Domain:
    row = channels + LINE_FLOATS
    point = rows * row + LINE_FLOATS
    return Domain(room.take(points * point), row, point)
