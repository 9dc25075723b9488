"""How a convolution is cut into Winograd tiles and blocks, and where they lie in memory.

Costs are counted in multiply-adds of a matrix product at full speed, so that the direct
convolution is the yardstick. The weights were fitted to the thirteen layers of VGG16 at batch 1
and 16 on two cores of AMD EPYC processors (Zen 4 and Zen 5); only their order of size matters.
"""

from __future__ import annotations

from dataclasses import dataclass

from .host_vectors import FEWEST_ROWS, FLOAT_BYTES, LANES, LINE_FLOATS, WIDTH, whole_lines
from .winograd_grid import Domain, Filtering, Panel, Picture, Staging, gathered_floats
from .winograd_problem import Operand, Problem

# Sides of a tile of results by the taps of a filter's side: tiles of up to 8 x 8 points.
SIDES = {3: (4, 6), 5: (4,)}
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


def takes(problem: Problem) -> bool:
    """Whether Winograd tiles can compute this convolution, and should."""
    channels = problem.source.channels, problem.target.channels
    return (
        problem.dtype == "float32"
        and problem.taps in SIDES
        and all(each % LANES == 0 for each in channels)
        and min(problem.images, *channels, problem.rows, problem.columns) > 0
        and min(cost(problem, m, frozen=False) for m in SIDES[problem.taps]) < problem.multiply_adds
    )


def tile_count(problem: Problem, m: int) -> int:
    """Tiles of m x m results over all images."""
    return problem.images * -(-problem.rows // m) * -(-problem.columns // m)


def cost(problem: Problem, m: int, *, frozen: bool) -> float:
    """Cost of F(m x m, r x r); `frozen` filters are in the domain already."""
    shared = _filter_bytes(problem, m) > SHARED_FILTER_BYTES
    return _work(problem, m, frozen=frozen) * (SHARED_COST if shared else 1)


def point_count(problem: Problem, m: int) -> int:
    """Points of a tile in the domain."""
    return (m + problem.taps - 1) ** 2


def _work(problem: Problem, m: int, *, frozen: bool) -> int:
    tiles = tile_count(problem, m)
    channels = problem.source.domain_channels + problem.target.domain_channels
    per_point = tiles * problem.pairs + tiles * channels * TRANSFORM_COST
    per_point += problem.pairs * (READ_COST if frozen else MAKE_COST)
    return point_count(problem, m) * per_point


def choose_side(problem: Problem, *, frozen: bool) -> int:
    """The side of a tile of results that costs least."""
    side = min(SIDES[problem.taps], key=lambda m: cost(problem, m, frozen=frozen))
    return side if frozen else _within_memory(problem, side)


def choose_gradient_side(problem: Problem) -> int:
    """The side for a filter gradient, whose tiles come from the cache of all whatever it is."""
    side = min(SIDES[problem.taps], key=lambda m: _work(problem, m, frozen=False))
    return _within_memory(problem, side)


def _within_memory(problem: Problem, side: int) -> int:
    too_large = _filter_bytes(problem, side) > MOST_STEP_BYTES
    return min(SIDES[problem.taps]) if too_large else side


@dataclass(frozen=True, slots=True)
class TilePlan:
    """One way to compute a convolution, or the products behind its filter gradient.

    Sizes are in floats; `scratch_floats` holds everything but all filters in the domain
    (`filter_floats`), and room to make those; `table_entries` counts the addresses of all workers.
    """

    filtering: Filtering
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


def domain_floats(problem: Problem, m: int) -> int:
    """Floats of all filters in the domain of F(m x m, r x r), in whole panels."""
    C, K = problem.source.domain_channels, problem.target.domain_channels
    return point_count(problem, m) * C * padded(K)


def _filter_bytes(problem: Problem, m: int) -> int:
    return domain_floats(problem, m) * FLOAT_BYTES


def plan_convolution(problem: Problem, threads: int, *, pooled: bool, frozen: bool) -> TilePlan:
    """Tiles and memory of a convolution; `pooled`: only its 2x2 maxima are written."""
    m = choose_side(problem, frozen=frozen)
    shared = _filter_bytes(problem, m) > SHARED_FILTER_BYTES
    block = (SHARED_BLOCK_BYTES if shared else OWN_BLOCK_BYTES), 2 * FEWEST_ROWS
    return _plan(problem, m, shared, threads, block, m // 2 if pooled else m)


def plan_filter_gradient(problem: Problem, threads: int) -> TilePlan:
    """Tiles and memory of the products whose sum, out of the domain, is the filter gradient."""
    m = choose_gradient_side(problem)
    return _plan(problem, m, True, threads, (SHARED_BLOCK_BYTES, 32), m)


def _plan(
    problem: Problem,
    m: int,
    shared: bool,
    threads: int,
    block_limits: tuple[int, int],
    step: int,
) -> TilePlan:
    taps, points = problem.taps, point_count(problem, m)
    n = m + taps - 1
    high, wide = -(-problem.rows // m), -(-problem.columns // m)
    nchw = int(problem.layout == "NCHW")

    def picture(operand: Operand, side: int, step: int, shrink: int = 1) -> Picture:
        return Picture(
            nchw,
            problem.images,
            operand.channels,
            operand.height // shrink,
            operand.width // shrink,
            side,
            step,
            operand.stride,
            operand.top,
            operand.left,
            high,
            wide,
        )

    C, K = problem.source.domain_channels, problem.target.domain_channels
    source = picture(problem.source, n, m)
    target = picture(problem.target, step, step, m // step)
    tile_bytes = points * (C + padded(K)) * FLOAT_BYTES
    most, least = block_limits
    share = problem.images * high * wide
    share = share if shared else -(-share // threads)
    block = max(min(max(most // tile_bytes, least), share), 1)
    strip = min(MOST_STRIP_TILES, block, wide)

    room = _Room()
    rows = max(block, FEWEST_ROWS)
    left = _domain(room, points, rows, C)
    right = _domain(room, points, rows, padded(K))
    common = room.floats if shared else 0
    # What follows exists once for every worker.
    reading_row, reading_slab = _slab(room, source, strip)
    writing_row, writing_slab = _slab(room, target, strip)
    blank = room.take(max(C, padded(K)))
    own_filters = _panel(room, points, C, taps)
    worker_floats = room.floats - common
    return TilePlan(
        filtering=Filtering(m, taps, n, problem.side, problem.stride),
        shared=shared,
        block=block,
        source=source,
        target=target,
        left=left,
        right=right,
        reading=Staging(reading_slab, reading_row, blank, strip),
        writing=Staging(writing_slab, writing_row, blank, strip),
        panel=own_filters,
        worker_floats=worker_floats,
        scratch_floats=max(
            common + worker_floats * threads,
            gathered_floats(taps) * threads,
            collected_floats(taps, K) * threads,
        ),
        table_entries=points * threads,
        filter_floats=domain_floats(problem, m),
        threads=threads,
    )


def collected_floats(taps: int, K: int) -> int:
    """Floats of one input channel's filters out of the domain, and of taps that do not exist."""
    return (taps**2 + 1) * padded(K)


def _slab(room: _Room, picture: Picture, strip: int) -> tuple[int, int]:
    """Floats of a line of an image's strip, and where its lines begin; NHWC needs none."""
    columns = ((strip - 1) * picture.step + picture.side) * picture.stride
    row = columns * picture.channels
    return row, room.take(picture.side * picture.stride * row if picture.nchw else 0)


def _panel(room: _Room, points: int, C: int, taps: int) -> Panel:
    most = PANEL_BYTES // (points * WIDTH * FLOAT_BYTES)
    channels = min(max(most // LANES, 1) * LANES, C)
    # A line more, so that the points do not all fall on the same sets of a cache.
    point = channels * WIDTH + LINE_FLOATS
    return Panel(room.take(points * point), channels, point, room.take(gathered_floats(taps)))


def _domain(room: _Room, points: int, rows: int, channels: int) -> Domain:
    row = channels + LINE_FLOATS
    point = rows * row + LINE_FLOATS
    return Domain(room.take(points * point), row, point)
