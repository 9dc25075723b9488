"""3x3 convolutions of stride 1 and their gradients by Winograd's minimal filtering, on the GPU.

Tiles of the image go into the transform domain, 36 matrix products as one batch do the sums over
channels, and a last kernel brings the results back with bias, ReLU and 2x2 pooling. The gradient
of the input is the same with rotated filters; that of the filters is summed inside the domain:
dU[p] = V[p]^T @ dM[p] with dM = A dY A^T, then dw = G^T dU G (Lavin and Gray 2016).

Tiles are taken in chunks whose domain arrays stay in the last-level cache. All sums have a fixed
order. The products are strict float32 whatever the request allows: F(4x4) magnifies rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..gpu.driver import MatmulRequest
from .convolution_geometry import (
    ConvolutionGeometry,
    filter_gradient_geometry,
    filters_channels_last,
    forward_geometry,
    input_gradient_geometry,
)
from .cuda_parts import Room, blocks_of
from .cuda_product import Product
from .cuda_rows import gpu_row
from .cuda_source import driver_of
from .cuda_winograd_plan import (
    FLOAT_BYTES,
    TAPS,
    Chunk,
    Grid,
    can_compute,
    filter_bytes,
    grid_of,
    is_worthwhile,
    split_sum,
    split_tiles,
)
from .cuda_winograd_text import POINTS, SIDE, winograd_text
from .table import KernelRequest, Prepared, When

if TYPE_CHECKING:
    from ..gpu.array import DeviceArray
    from ..gpu.driver import Driver, Function

GeometryOf = Callable[[KernelRequest], ConvolutionGeometry]

_THREADS = 128
_FILTERS = 1
"""The operand that holds the filters."""


def _transposed(request: KernelRequest) -> ConvolutionGeometry:
    """The convolution that carries the gradient of `request` back to the input."""
    return input_gradient_geometry(request).transposed()


def _can(geometry_of: GeometryOf) -> When:
    def predicate(request: KernelRequest) -> bool:
        # Only stride 1 can be turned round into a convolution.
        return request.attributes["stride"] == (1, 1) and can_compute(geometry_of(request))

    return predicate


def _should(geometry_of: GeometryOf) -> When:
    def predicate(request: KernelRequest) -> bool:
        return request.precision != "tf32" and is_worthwhile(geometry_of(request))

    return predicate


@dataclass(frozen=True, slots=True)
class _Launch:
    """A kernel with its grid and all arguments but the addresses."""

    function: Function
    count: int
    constants: tuple[int, ...]

    def __call__(self, *pointers: int) -> None:
        grid = blocks_of(self.count, _THREADS)
        self.function.launch(grid, (_THREADS, 1, 1), (*pointers, *self.constants))


def _function(driver: Driver, name: str, addresses: int, numbers: int) -> Function:
    module = driver.module(winograd_text())
    return module.function(name, "P" * addresses + "i" * numbers)


def _filter_steps(channels_last: bool, pairs: int) -> tuple[int, int]:
    """How far apart filters and their taps lie: [R, S, C, K] or [K, C, R, S]."""
    return (1, pairs) if channels_last else (TAPS, 1)


def _image_in(
    driver: Driver,
    name: str,
    chunk: Chunk,
    grid: Grid,
    picture: tuple[int, int, int],
    corner: tuple[int, int],
    nchw: bool,
) -> _Launch:
    """Carries tiles of `picture` (channels, height, width) into the domain."""
    channels, height, width = picture
    count = chunk.room * channels
    place = chunk.first, chunk.count, chunk.group, grid.per_image, grid.wide
    constants = (count, count, channels, *place, height, width, *corner, int(nchw))
    return _Launch(_function(driver, name, 2, 13), count, constants)


@dataclass(frozen=True, slots=True)
class _ConvolutionStep:
    """The work of a chunk of tiles."""

    carry_in: _Launch
    product: Product
    carry_out: _Launch


class _Convolution:
    """out = convolution(image, w) + bias, then ReLU and pooling where asked.

    `geometry` is that of the convolution that is done; `rotated` filters swap their channels.
    """

    def __init__(
        self, request: KernelRequest, geometry: ConvolutionGeometry, *, rotated: bool
    ) -> None:
        self._driver = driver = driver_of(request)
        self._geometry = geometry
        attributes = request.attributes
        self._pool = bool(attributes.get("pool", False))
        self._relu = bool(attributes.get("relu", False))
        self._biased = len(request.inputs) == 3
        channels_last = filters_channels_last(request)
        pairs = geometry.C * geometry.K
        # Whether a filter of the domain is [channels out, channels in].
        self._out_first = channels_last == rotated
        steps = (*_filter_steps(channels_last, pairs), int(rotated))
        self._filters_in = _Launch(_function(driver, "filter_in", 2, 4), pairs, (pairs, *steps))

        chunks = split_tiles(geometry, driver.facts.l2_bytes)
        self._steps = [self._step(chunk) for chunk in chunks]
        tiles = max(chunk.count for chunk in chunks)
        room = Room()
        self._seen = room.take(POINTS * tiles * geometry.C * FLOAT_BYTES)
        self._made = room.take(POINTS * tiles * geometry.K * FLOAT_BYTES)
        self._own = room.take(max(each.product.workspace_bytes for each in self._steps))
        self._bound_workspace_bytes = room.nbytes
        self._filters = room.take(filter_bytes(geometry))
        self._workspace_bytes = room.nbytes
        self._detail = f"F({SIDE}x{SIDE}, 3x3), {self._steps[0].product.name}"

    def _step(self, chunk: Chunk) -> _ConvolutionStep:
        geometry, driver, grid = self._geometry, self._driver, grid_of(self._geometry)
        nchw = geometry.layout == "NCHW"
        picture = geometry.C, geometry.H, geometry.W
        corner = geometry.top, geometry.left
        carry_in = _image_in(driver, "image_in", chunk, grid, picture, corner, nchw)

        # Channels last: M[tiles, K] = V[tiles, C] @ U. First: M[K, tiles] = U @ V[C, tiles].
        m, n = (geometry.K, chunk.count) if nchw else (chunk.count, geometry.K)
        matmul = MatmulRequest(
            m=m,
            n=n,
            k=geometry.C,
            dtype="float32",
            transpose_a=nchw and not self._out_first,
            transpose_b=not nchw and self._out_first,
            batch=POINTS,
        )

        count = chunk.count * geometry.K
        name = "pooled_out" if self._pool else "result_out"
        P, Q = (geometry.P // 2, geometry.Q // 2) if self._pool else (geometry.P, geometry.Q)
        place = chunk.first, chunk.count, grid.per_image, grid.wide
        # Whole tiles along a line: each row of a tile can be one write.
        whole = nchw and geometry.Q % SIDE == 0
        flags = nchw, self._biased, self._relu, whole
        constants = (count, count, geometry.K, *place, P, Q, *map(int, flags))
        carry_out = _Launch(_function(driver, name, 3, 13), count, constants)
        return _ConvolutionStep(carry_in, Product(driver, matmul), carry_out)

    def prepared(self) -> Prepared:
        """With filters that are given anew at every call."""

        def winograd(out: DeviceArray, image: DeviceArray, w: DeviceArray, *rest: Any) -> None:
            *bias, workspace = rest
            domain = workspace.pointer + self._filters
            self._filters_in(domain, w.pointer)
            self._convolve(out, image, domain, bias, workspace)

        return Prepared(winograd, self._workspace_bytes, bind=self._bind, detail=self._detail)

    def _bind(self, arrays: Mapping[int, DeviceArray]) -> Prepared:
        if _FILTERS not in arrays:
            return self.prepared()
        nbytes = filter_bytes(self._geometry)
        domain = self._driver.allocate(nbytes)
        self._filters_in(domain.pointer, arrays[_FILTERS].pointer)

        def winograd_bound(
            out: DeviceArray, image: DeviceArray, w: DeviceArray, *rest: Any
        ) -> None:
            *bias, workspace = rest
            self._convolve(out, image, domain.pointer, bias, workspace)

        return Prepared(
            winograd_bound,
            self._bound_workspace_bytes,
            bound_bytes=nbytes,
            detail=self._detail,
        )

    def _convolve(
        self,
        out: DeviceArray,
        image: DeviceArray,
        filters: int,
        bias: list[DeviceArray],
        workspace: DeviceArray,
    ) -> None:
        base = workspace.pointer
        seen, made, own = base + self._seen, base + self._made, base + self._own
        added = bias[0].pointer if bias else 0
        operands = (filters, seen) if self._geometry.layout == "NCHW" else (seen, filters)
        for step in self._steps:
            step.carry_in(seen, image.pointer)
            step.product.run(own, made, *operands)
            step.carry_out(out.pointer, made, added)


@gpu_row("conv2d", "winograd", can=_can(forward_geometry), should=_should(forward_geometry))
def prepare_forward(request: KernelRequest) -> Prepared:
    """y = conv(x, w)."""
    return _Convolution(request, forward_geometry(request), rotated=False).prepared()


@gpu_row(
    "conv2d_epilogue", "winograd", can=_can(forward_geometry), should=_should(forward_geometry)
)
def prepare_epilogue(request: KernelRequest) -> Prepared:
    """y = conv(x, w) + b, then ReLU and the maxima of 2x2 squares where asked."""
    return _Convolution(request, forward_geometry(request), rotated=False).prepared()


@gpu_row("conv2d_input_gradient", "winograd", can=_can(_transposed), should=_should(_transposed))
def prepare_input_gradient(request: KernelRequest) -> Prepared:
    """dx = conv(g, rotated w)."""
    return _Convolution(request, _transposed(request), rotated=True).prepared()


@dataclass(frozen=True, slots=True)
class _GradientStep:
    """The sums over a chunk of tiles; all but the first `accumulate`."""

    image_in: _Launch
    gradient_in: _Launch
    product: Product
    accumulate: bool


def _gradient_step(
    driver: Driver, geometry: ConvolutionGeometry, chunk: Chunk, swapped: bool
) -> _GradientStep:
    grid, nchw = grid_of(geometry), geometry.layout == "NCHW"
    picture, corner = (geometry.C, geometry.H, geometry.W), (geometry.top, geometry.left)
    image_in = _image_in(driver, "image_in", chunk, grid, picture, corner, nchw)
    result = geometry.K, geometry.P, geometry.Q
    gradient_in = _image_in(driver, "gradient_in", chunk, grid, result, (0, 0), nchw)
    m, n = (geometry.K, geometry.C) if swapped else (geometry.C, geometry.K)
    accumulate = chunk.first > 0
    matmul = MatmulRequest(
        m=m,
        n=n,
        k=chunk.group,
        dtype="float32",
        transpose_a=not nchw,
        transpose_b=nchw,
        batch=POINTS * chunk.groups,
        accumulate_scale=float(accumulate),
    )
    return _GradientStep(image_in, gradient_in, Product(driver, matmul), accumulate)


@gpu_row(
    "conv2d_filter_gradient",
    "winograd",
    can=_can(filter_gradient_geometry),
    should=_should(filter_gradient_geometry),
)
def prepare_filter_gradient(request: KernelRequest) -> Prepared:
    """dw = correlation(x, g), summed in the transform domain."""
    geometry, driver = filter_gradient_geometry(request), driver_of(request)
    swapped = not filters_channels_last(request)
    pairs = geometry.C * geometry.K
    facts = driver.facts
    chunks = split_sum(geometry, facts.l2_bytes, facts.multiprocessors)
    steps = [_gradient_step(driver, geometry, chunk, swapped) for chunk in chunks]
    groups, tiles = chunks[0].groups, max(chunk.room for chunk in chunks)
    taps = (pairs, groups, *_filter_steps(not swapped, pairs))
    filters_out = _Launch(_function(driver, "filter_out", 2, 4), pairs, taps)
    room = Room()
    seen_at = room.take(POINTS * tiles * geometry.C * FLOAT_BYTES)
    sent_at = room.take(POINTS * tiles * geometry.K * FLOAT_BYTES)
    sums_at = room.take(POINTS * groups * pairs * FLOAT_BYTES)
    own_at = room.take(max(each.product.workspace_bytes for each in steps))

    def winograd_filter_gradient(
        out: DeviceArray, x: DeviceArray, g: DeviceArray, workspace: DeviceArray
    ) -> None:
        base = workspace.pointer
        seen, sent, sums = base + seen_at, base + sent_at, base + sums_at
        operands = (sent, seen) if swapped else (seen, sent)
        for step in steps:
            step.image_in(seen, x.pointer)
            step.gradient_in(sent, g.pointer)
            added = (sums,) if step.accumulate else ()
            step.product.run(base + own_at, sums, *operands, *added)
        filters_out(out.pointer, sums)

    detail = f"F({SIDE}x{SIDE}, 3x3), {steps[0].product.name}"
    return Prepared(winograd_filter_gradient, room.nbytes, detail=detail)
