"""Any convolution on the GPU as unfolded columns and a matrix product: the last row of all.

Columns are [positions, C*R*S] in the order of the stored filters, so that these are a matrix as
they lie. Positions are taken in chunks of whole images that keep the columns within bounds. NCHW
images take their results, or give their gradients, through one pass that changes the order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from ..gpu.driver import MatmulRequest
from .convolution_geometry import (
    ConvolutionGeometry,
    filter_gradient_geometry,
    filters_channels_last,
    forward_geometry,
    input_gradient_geometry,
)
from .cuda_finish import Finish
from .cuda_parts import Room, blocks_of, index_types, text_of
from .cuda_product import Product
from .cuda_rows import gpu_row
from .cuda_source import driver_of
from .table import KernelRequest, Prepared, always

if TYPE_CHECKING:
    from ..gpu.array import DeviceArray
    from ..gpu.driver import Driver

CHUNK_BYTES = 256 << 20
"""What the columns of a chunk may take; one image may take more."""

OPERAND_ALIGNMENT = 16
"""Products read and write so many bytes at a time: an operand starts at a multiple."""

_THREADS = 256


@dataclass(frozen=True, slots=True)
class _Images:
    """A chunk: `count` images from `first` on."""

    first: int
    count: int


class _Unfolding:
    """The sizes of a convolution by columns and the steps that its three forms share."""

    def __init__(self, request: KernelRequest, geometry: ConvolutionGeometry) -> None:
        self.driver: Driver = driver_of(request)
        self.geometry = geometry
        self.precision = request.precision
        self.nchw = geometry.layout == "NCHW"
        self.channels_last = filters_channels_last(request)
        self.itemsize = request.outputs[0].itemsize
        image_bytes = geometry.pixels * geometry.depth * self.itemsize
        most = max(CHUNK_BYTES // max(image_bytes, 1), 1)
        chunks = -(-geometry.N // most)
        bounds = [geometry.N * i // max(chunks, 1) for i in range(chunks + 1)]
        self.chunks = [_Images(a, b - a) for a, b in pairwise(bounds)]
        self.most_images = max((chunk.count for chunk in self.chunks), default=0)
        offsets = (self.result_offset(chunk.first) for chunk in self.chunks)
        # Whether what lies at the output positions is a matrix that a product can be given.
        self.in_place = not self.nchw and not any(each % OPERAND_ALIGNMENT for each in offsets)

    def rows(self, images: int) -> int:
        """Positions of so many images."""
        return images * self.geometry.pixels

    def columns_bytes(self) -> int:
        """The columns of the largest chunk."""
        return self.rows(self.most_images) * self.geometry.depth * self.itemsize

    def result_bytes(self) -> int:
        """What the largest chunk gives, or is given, at its output positions."""
        return self.rows(self.most_images) * self.geometry.K * self.itemsize

    def image_offset(self, images: int) -> int:
        """Bytes of so many images of the input."""
        return images * self.geometry.C * self.geometry.H * self.geometry.W * self.itemsize

    def result_offset(self, images: int) -> int:
        """Bytes of so many results."""
        return self.rows(images) * self.geometry.K * self.itemsize

    def fold(self, name: str, images: int) -> Callable[[int, int], None]:
        """im2col(columns, x), or col2im(x, columns), of so many images."""
        geometry = self.geometry
        inputs = images * geometry.C * geometry.H * geometry.W
        unfolded = self.rows(images) * geometry.depth
        types, letter = index_types(geometry.dtype, [inputs, unfolded])
        module = self.driver.module(types + text_of("im2col.cuh"))
        function = module.function(name, f"PP{letter}" + "i" * 13)
        count = unfolded if name == "im2col" else inputs
        sizes = geometry.C, geometry.H, geometry.W, geometry.R, geometry.S, geometry.P, geometry.Q
        window = geometry.stride_h, geometry.stride_w, geometry.top, geometry.left
        constants = (count, *sizes, *window, int(self.nchw), int(self.channels_last))
        grid = blocks_of(count, _THREADS)

        def run(out: int, source: int) -> None:
            if count:
                function.launch(grid, (_THREADS, 1, 1), (out, source, *constants))

        return run

    def product(self, sizes: tuple[int, int, int], **options: Any) -> Product:
        """A product of m, n and k."""
        m, n, k = sizes
        dtype, precision = self.geometry.dtype, self.precision
        matmul = MatmulRequest(m=m, n=n, k=k, dtype=dtype, precision=precision, **options)
        return Product(self.driver, matmul)

    def reorder(self, images: int, source: str, target: str, **options: bool) -> Finish:
        """The pass over so many results."""
        geometry = self.geometry
        maps = images, geometry.K, geometry.P, geometry.Q
        return Finish(self.driver, geometry.dtype, maps, source, target, **options)


def _prepare_forward(request: KernelRequest) -> Prepared:
    geometry = forward_geometry(request)
    unfolding = _Unfolding(request, geometry)
    attributes, biased = request.attributes, len(request.inputs) == 3
    pool, relu = bool(attributes.get("pool", False)), bool(attributes.get("relu", False))
    direct = unfolding.in_place and not pool
    room = Room()
    columns_at = room.take(unfolding.columns_bytes())
    made_at = room.take(0 if direct else unfolding.result_bytes())

    @cache
    def steps(images: int) -> tuple[Any, Product, Finish | None]:
        product = unfolding.product(
            (unfolding.rows(images), geometry.K, geometry.depth),
            transpose_b=not unfolding.channels_last,
            bias=biased and direct,
            relu=relu and direct,
        )
        finish = None
        if not direct:
            flags = {"biased": biased, "relu": relu, "pool": pool}
            finish = unfolding.reorder(images, "NHWC", geometry.layout, **flags)
        return unfolding.fold("im2col", images), product, finish

    work = [(chunk, *steps(chunk.count)) for chunk in unfolding.chunks]
    own_at = room.take(max((product.workspace_bytes for _, _, product, _ in work), default=0))
    out_spec = request.outputs[0]
    out_image_bytes = out_spec.nbytes // max(geometry.N, 1)

    def columns_forward(out: DeviceArray, x: DeviceArray, w: DeviceArray, *rest: Any) -> None:
        *bias, base = (each.pointer for each in rest)
        columns, own = base + columns_at, base + own_at
        for chunk, unfold, product, finish in work:
            unfold(columns, x.pointer + unfolding.image_offset(chunk.first))
            target = out.pointer + chunk.first * out_image_bytes
            if finish is None:
                product.run(own, target, columns, w.pointer, *bias)
            else:
                product.run(own, base + made_at, columns, w.pointer)
                finish.run(target, base + made_at, *bias)

    return Prepared(columns_forward, max(room.nbytes, 1), detail=_detail(work))


def _detail(work: list[Any]) -> str:
    products = [each for step in work for each in step if isinstance(each, Product)]
    return products[0].name if products else ""


@gpu_row("conv2d", "im2col_gemm", can=always)
def prepare_forward(request: KernelRequest) -> Prepared:
    """y = columns(x) @ w."""
    return _prepare_forward(request)


@gpu_row("conv2d_epilogue", "im2col_gemm", can=always)
def prepare_epilogue(request: KernelRequest) -> Prepared:
    """y = columns(x) @ w + b, then ReLU and the maxima of 2x2 squares where asked."""
    return _prepare_forward(request)


@gpu_row("conv2d_input_gradient", "col2im_gemm", can=always)
def prepare_input_gradient(request: KernelRequest) -> Prepared:
    """dx gathers from the columns g @ w.T."""
    geometry = input_gradient_geometry(request)
    unfolding = _Unfolding(request, geometry)
    room = Room()
    columns_at = room.take(unfolding.columns_bytes())
    turned_at = room.take(0 if unfolding.in_place else unfolding.result_bytes())

    @cache
    def steps(images: int) -> tuple[Finish | None, Product, Any]:
        product = unfolding.product(
            (unfolding.rows(images), geometry.depth, geometry.K),
            transpose_b=unfolding.channels_last,
        )
        turn = None
        if not unfolding.in_place:
            turn = unfolding.reorder(images, geometry.layout, "NHWC")
        return turn, product, unfolding.fold("col2im", images)

    work = [(chunk, *steps(chunk.count)) for chunk in unfolding.chunks]
    own_at = room.take(max((product.workspace_bytes for _, _, product, _ in work), default=0))

    def columns_input_gradient(
        out: DeviceArray, g: DeviceArray, w: DeviceArray, workspace: DeviceArray
    ) -> None:
        base = workspace.pointer
        columns, own = base + columns_at, base + own_at
        for chunk, turn, product, fold in work:
            gradients = g.pointer + unfolding.result_offset(chunk.first)
            if turn is not None:
                turn.run(base + turned_at, gradients)
                gradients = base + turned_at
            product.run(own, columns, gradients, w.pointer)
            fold(out.pointer + unfolding.image_offset(chunk.first), columns)

    return Prepared(columns_input_gradient, max(room.nbytes, 1), detail=_detail(work))


@gpu_row("conv2d_filter_gradient", "im2col_gemm", can=always)
def prepare_filter_gradient(request: KernelRequest) -> Prepared:
    """dw = columns(x).T @ g, chunk after chunk into the same sums."""
    geometry = filter_gradient_geometry(request)
    unfolding = _Unfolding(request, geometry)
    driver, nbytes = unfolding.driver, request.outputs[0].nbytes
    swapped = not unfolding.channels_last
    room = Room()
    columns_at = room.take(unfolding.columns_bytes())
    turned_at = room.take(0 if unfolding.in_place else unfolding.result_bytes())

    @cache
    def steps(images: int, accumulate: bool) -> tuple[Any, Finish | None, Product]:
        sides = (geometry.K, geometry.depth) if swapped else (geometry.depth, geometry.K)
        product = unfolding.product(
            (*sides, unfolding.rows(images)), transpose_a=True, accumulate_scale=float(accumulate)
        )
        turn = None
        if not unfolding.in_place:
            turn = unfolding.reorder(images, geometry.layout, "NHWC")
        return unfolding.fold("im2col", images), turn, product

    work = [(chunk, *steps(chunk.count, chunk.first > 0)) for chunk in unfolding.chunks]
    own_at = room.take(max((product.workspace_bytes for *_, product in work), default=0))

    def columns_filter_gradient(
        out: DeviceArray, x: DeviceArray, g: DeviceArray, workspace: DeviceArray
    ) -> None:
        base = workspace.pointer
        columns, own = base + columns_at, base + own_at
        if not work:
            driver.fill(out.pointer, nbytes, 0)
        for chunk, unfold, turn, product in work:
            unfold(columns, x.pointer + unfolding.image_offset(chunk.first))
            gradients = g.pointer + unfolding.result_offset(chunk.first)
            if turn is not None:
                turn.run(base + turned_at, gradients)
                gradients = base + turned_at
            left, right = (gradients, columns) if swapped else (columns, gradients)
            added = (out.pointer,) if chunk.first else ()
            product.run(own, out.pointer, left, right, *added)

    return Prepared(columns_filter_gradient, max(room.nbytes, 1), detail=_detail(work))
