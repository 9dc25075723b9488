"""Matrix product."""

from __future__ import annotations

from typing import Any

from .primitive import Primitive, Saved
from .specs import ShapeError, TensorSpec, same_dtype, spec


def matmul_shape(
    a: TensorSpec, b: TensorSpec, transpose_a: bool, transpose_b: bool
) -> tuple[int, int]:
    """(N, M) of the product; raises `ShapeError`."""
    if a.rank != 2 or b.rank != 2:
        raise ShapeError(f"matmul expected rank-2 tensors, received {a.shape} and {b.shape}")
    N, K = a.shape[::-1] if transpose_a else a.shape
    L, M = b.shape[::-1] if transpose_b else b.shape
    if K != L:
        raise ShapeError(
            f"matmul expected (N, K) and (K, M), received {(N, K)} and {(L, M)}"
            + (" after transposing" if transpose_a or transpose_b else "")
        )
    return N, M


def _matmul_infer(
    a: TensorSpec, b: TensorSpec, *, transpose_a: bool, transpose_b: bool
) -> TensorSpec:
    dtype = same_dtype("matmul", a, b)
    if not a.floating:
        raise ShapeError(f"matmul expected float32 or float64, received {a}")
    return spec(matmul_shape(a, b, transpose_a, transpose_b), dtype)


matmul = Primitive("matmul", _matmul_infer, saves_inputs=(0, 1))


@matmul.pullback
def matmul_pullback(g: Any, saved: Saved) -> tuple[Any, ...]:
    a, b = saved.input(0), saved.input(1)
    ta, tb = saved.attributes["transpose_a"], saved.attributes["transpose_b"]
    da = db = None
    if saved.needs[0]:
        # dA = G B^T, or its transpose B G^T where A came transposed.
        da = _product(b, g, tb, True) if ta else _product(g, b, False, not tb)
    if saved.needs[1]:
        db = _product(g, a, True, ta) if tb else _product(a, g, not ta, False)
    return da, db


def _product(a: Any, b: Any, transpose_a: bool, transpose_b: bool) -> Any:
    return matmul(a, b, transpose_a=transpose_a, transpose_b=transpose_b)


def _epilogue_infer(
    a: TensorSpec,
    b: TensorSpec,
    bias: TensorSpec,
    *,
    transpose_a: bool,
    transpose_b: bool,
    relu: bool,
) -> TensorSpec:
    result = _matmul_infer(a, b, transpose_a=transpose_a, transpose_b=transpose_b)
    if bias.shape != result.shape[1:]:
        raise ShapeError(f"matmul_epilogue expected a bias of {result.shape[1:]}, received {bias}")
    return result


def _update_infer(
    w: TensorSpec,
    a: TensorSpec,
    b: TensorSpec,
    *,
    transpose_a: bool,
    transpose_b: bool,
    scale: float,
) -> TensorSpec:
    if _matmul_infer(a, b, transpose_a=transpose_a, transpose_b=transpose_b) is not w:
        raise ShapeError(f"matmul_update expected the product to look like {w}")
    return w


# Made by passes only, after differentiation: no pullback.
matmul_epilogue = Primitive("matmul_epilogue", _epilogue_infer)
matmul_update = Primitive("matmul_update", _update_infer, inplace=((0, 0),), effect="update")
