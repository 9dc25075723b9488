"""Bias, ReLU, 2x2 pooling and the order of axes, in one pass over a product that lies finished."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .cuda_parts import blocks_of, index_types, text_of

if TYPE_CHECKING:
    from ..gpu.driver import Driver

_THREADS = 256


class Finish:
    """A prepared pass from N maps [P, Q] of K channels in `source` order to `target` order.

    With `pool` the maxima of 2x2 squares are written, and out has P//2 x Q//2 positions.
    """

    __slots__ = ("_constants", "_count", "_function", "_grid")

    def __init__(
        self,
        driver: Driver,
        dtype: str,
        sizes: tuple[int, int, int, int],
        source: str,
        target: str,
        *,
        biased: bool = False,
        relu: bool = False,
        pool: bool = False,
    ) -> None:
        N, K, P, Q = sizes
        out_P, out_Q = (P // 2, Q // 2) if pool else (P, Q)
        self._count = N * K * out_P * out_Q
        types, letter = index_types(dtype, [N * K * P * Q])
        signature = f"PPP{letter}iiiiiiiiii"
        self._function = driver.module(types + text_of("im2col.cuh")).function("finish", signature)
        flags = source == "NCHW", target == "NCHW", pool, biased, relu
        self._constants = (self._count, K, P, Q, out_P, out_Q, *map(int, flags))
        self._grid = blocks_of(self._count, _THREADS)

    def run(self, out: int, source: int, bias: int = 0) -> None:
        """Issue it; `source` may be `out` where neither order nor size changes."""
        if self._count:
            arguments = (out, source, bias, *self._constants)
            self._function.launch(self._grid, (_THREADS, 1, 1), arguments)


def finish_rows(driver: Driver, dtype: str, rows: int, columns: int, *, relu: bool) -> Finish:
    """A bias [columns], and ReLU where asked, over a matrix."""
    sizes = (rows, columns, 1, 1)
    return Finish(driver, dtype, sizes, "NHWC", "NHWC", biased=True, relu=relu)
