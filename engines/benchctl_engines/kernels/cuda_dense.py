"""Matrix products on the GPU, all through the library's plans; bias and ReLU are its epilogue.

Skinny products, of few rows or columns, go the same way: the plan is chosen for the shape.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..gpu.driver import MatmulRequest
from .cuda_product import Product
from .cuda_rows import PLANS_TRIED, gpu_row
from .cuda_source import driver_of
from .table import KernelRequest, Prepared, always

if TYPE_CHECKING:
    from ..gpu.array import DeviceArray


def _product(request: KernelRequest, first: int, **options: Any) -> Product:
    """The product of the operands `first` and the next, as the attributes transpose them."""
    a = request.inputs[first]
    m, n = request.outputs[0].shape
    transpose_a = bool(request.attributes["transpose_a"])
    matmul = MatmulRequest(
        m=m,
        n=n,
        k=a.shape[0] if transpose_a else a.shape[1],
        dtype=a.dtype,
        transpose_a=transpose_a,
        transpose_b=bool(request.attributes["transpose_b"]),
        precision=request.precision,
        plan=request.plan,
        **options,
    )
    return Product(driver_of(request), matmul)


def _address(workspace: tuple[DeviceArray, ...]) -> int:
    return workspace[0].pointer if workspace else 0


@gpu_row("matmul", "gemm", can=always, plans=PLANS_TRIED)
def prepare_matmul(request: KernelRequest) -> Prepared:
    """out[N, M] = op(a) @ op(b)."""
    product = _product(request, 0)

    def matmul(out: DeviceArray, a: DeviceArray, b: DeviceArray, *workspace: DeviceArray) -> None:
        product.run(_address(workspace), out.pointer, a.pointer, b.pointer)

    return Prepared(matmul, product.workspace_bytes, detail=product.name)


@gpu_row("matmul_epilogue", "gemm", can=always, plans=PLANS_TRIED)
def prepare_matmul_epilogue(request: KernelRequest) -> Prepared:
    """out[N, M] = op(a) @ op(b) + bias[M], then ReLU where asked."""
    product = _product(request, 0, bias=True, relu=bool(request.attributes["relu"]))

    def matmul_epilogue(
        out: DeviceArray, a: DeviceArray, b: DeviceArray, bias: DeviceArray, *workspace: DeviceArray
    ) -> None:
        pointers = out.pointer, a.pointer, b.pointer, bias.pointer
        product.run(_address(workspace), *pointers)

    return Prepared(matmul_epilogue, product.workspace_bytes, detail=product.name)


@gpu_row("matmul_update", "gemm", can=always, plans=PLANS_TRIED)
def prepare_matmul_update(request: KernelRequest) -> Prepared:
    """out = w - scale * op(a) @ op(b), in one product that starts from w."""
    product = _product(request, 1, scale=-float(request.attributes["scale"]), accumulate_scale=1.0)

    def matmul_update(
        out: DeviceArray, w: DeviceArray, a: DeviceArray, b: DeviceArray, *workspace: DeviceArray
    ) -> None:
        product.run(_address(workspace), out.pointer, a.pointer, b.pointer, w.pointer)

    return Prepared(matmul_update, product.workspace_bytes, detail=product.name)
