"""Filters in the order that a kernel of the GPU wants: a pass that reads and writes whole rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .cuda_parts import index_types, text_of

if TYPE_CHECKING:
    from ..gpu.driver import Driver

_TILE = 32
_LARGEST_GRID_Z = 65535


class FilterOrder:
    """A prepared change of order of filters (K, C, R, S) between "KCRS", "KRSC" and "RSCK"."""

    __slots__ = ("_constants", "_function", "_grid")

    def __init__(
        self, driver: Driver, dtype: str, sizes: tuple[int, int, int, int], source: str, target: str
    ) -> None:
        K, C, R, S = sizes
        extents = {"K": K, "C": C, "T": R * S}
        # The taps keep their order: three axes.
        before, after = (order.replace("RS", "T") for order in (source, target))
        read, written = _steps(before, extents), _steps(after, extents)
        a, b = before[-1], after[-1]
        if a == b:
            raise ValueError(f"{source} and {target} have the same innermost axis")
        (z,) = set(extents) - {a, b}
        types, letter = index_types(dtype, [K * C * R * S])
        function = driver.module(types + text_of("filters.cuh")).function
        self._function = function("reorder_filters", "PPiii" + letter * 4)
        lengths = extents[a], extents[b], extents[z]
        self._constants = (*lengths, read[b], read[z], written[a], written[z])
        across, along = -(-extents[a] // _TILE), -(-extents[b] // _TILE)
        self._grid = across, along, min(extents[z], _LARGEST_GRID_Z)

    def run(self, out: int, source: int) -> None:
        """Issue it."""
        self._function.launch(self._grid, (_TILE, 8, 1), (out, source, *self._constants))


def _steps(order: str, extents: dict[str, int]) -> dict[str, int]:
    """How far apart the elements of each axis lie."""
    steps, step = {}, 1
    for axis in reversed(order):
        steps[axis] = step
        step *= extents[axis]
    return steps
