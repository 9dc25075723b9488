"""How a loop over one shape finds the elements of operands that lie in memory in their own ways."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """Where an operand's element lies: offset + sum of coordinate * stride, counted in elements."""

    strides: tuple[int, ...]
    offset: int = 0

    @property
    def scalar(self) -> bool:
        """Whether it is the same element everywhere."""
        return not any(self.strides)


def dense_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Strides of a C-contiguous array."""
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def spread(shape: tuple[int, ...], axes: tuple[int, ...]) -> Place:
    """The place of a C-contiguous operand that has only these axes of the shape."""
    own = dict(zip(axes, dense_strides([shape[axis] for axis in axes]), strict=True))
    return Place(tuple(own.get(axis, 0) for axis in range(len(shape))))


@dataclass(frozen=True, slots=True)
class Walk:
    """The sizes of a loop's axes, as few as the places allow, and the operands' places."""

    sizes: tuple[int, ...]
    places: tuple[Place, ...]

    @property
    def count(self) -> int:
        """Number of elements."""
        return math.prod(self.sizes)

    def flat(self, operand: int) -> bool:
        """Whether element i of the loop is element i of the operand."""
        place = self.places[operand]
        return place.strides == dense_strides(self.sizes) and not place.offset

    def packs(self, operand: int, width: int) -> bool:
        """Whether `width` neighbours of the innermost axis lie side by side at aligned places."""
        *outer, inner = self.places[operand].strides
        return (
            inner == 1
            and self.sizes[-1] % width == 0
            and all(stride % width == 0 for stride in (*outer, self.places[operand].offset))
        )

    def constant_in_row(self, operand: int, width: int) -> bool:
        """Whether `width` neighbours, none of them in the next row, share one element."""
        return self.places[operand].strides[-1] == 0 and self.sizes[-1] % width == 0


def merged_walk(shape: tuple[int, ...], places: Sequence[Place]) -> Walk:
    """The walk over `shape` with neighbouring axes made one wherever every place allows it."""
    sizes: list[int] = []
    strides: list[tuple[int, ...]] = []
    for axis, size in enumerate(shape):
        if size == 1:
            continue
        own = tuple(place.strides[axis] for place in places)
        if sizes and all(
            outer == inner * size for outer, inner in zip(strides[-1], own, strict=True)
        ):
            sizes[-1] *= size
            strides[-1] = own
        else:
            sizes.append(size)
            strides.append(own)
    if not sizes:
        # One element: a row of one, in which every operand starts anew.
        sizes, strides = [1], [(1,) * len(places)]
    merged = [
        Place(tuple(each[operand] for each in strides), place.offset)
        for operand, place in enumerate(places)
    ]
    return Walk(tuple(sizes), tuple(merged))
