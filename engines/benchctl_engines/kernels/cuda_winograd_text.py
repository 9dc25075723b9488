"""Text of the Winograd kernels: transforms written out from exact algebra, then winograd.cuh."""

from __future__ import annotations

from functools import cache

from .cuda_parts import text_of
from .winograd_algebra import Matrix, emit_product, transforms, transposed

SIDE = 4
"""Results of a tile along each axis."""

POINTS = (SIDE + 2) ** 2


class _Lines:
    """Writes operations on floats as lines of CUDA, each into a new name."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def _name(self, expression: str) -> str:
        name = f"t{len(self.lines)}"
        self.lines.append(f"    float {name} = {expression};")
        return name

    def constant(self, value: float) -> str:
        return f"{value!r}f"

    def add(self, left: str, right: str) -> str:
        return self._name(f"{left} + {right}")

    def subtract(self, left: str, right: str) -> str:
        return self._name(f"{left} - {right}")

    def multiply(self, left: str, right: str) -> str:
        return self._name(f"{left} * {right}")

    def multiply_add(self, left: str, right: str, added: str) -> str:
        return self._name(f"fmaf({left}, {right}, {added})")


def _product_text(name: str, matrix: Matrix) -> str:
    """A function that multiplies one line by a matrix."""
    body = _Lines()
    values = [f"in[{place}]" for place in range(len(matrix[0]))]
    results = emit_product(matrix, values, body)
    stores = [f"    out[{i}] = {each or '0.0f'};" for i, each in enumerate(results)]
    head = f"static __device__ __forceinline__ void product_{name}(const float *in, float *out)"
    return "\n".join([head, "{", *body.lines, *stores, "}", ""])


@cache
def winograd_text() -> str:
    """All kernels of F(4x4, 3x3)."""
    matrices = transforms(SIDE)
    products = {
        "image": matrices.input,
        "result": matrices.output,
        "filter": matrices.filter,
        # The way back of the filter gradient: dU = V^T (A dY A^T), dw = G^T dU G.
        "gradient": transposed(matrices.output),
        "taps": transposed(matrices.filter),
    }
    made = [_product_text(name, matrix) for name, matrix in products.items()]
    return "\n".join([*made, text_of("winograd.cuh")])
