"""Fewer axes that describe the same reduction or the same transposition."""

from __future__ import annotations

import math


def collapse(shape: tuple[int, ...], axes: tuple[int, ...]) -> list[tuple[bool, int]]:
    """(whether it is summed, size) of each run of neighbouring axes; sizes of 1 are left out."""
    runs: list[tuple[bool, int]] = []
    for axis, size in enumerate(shape):
        summed = axis in axes
        if size == 1:
            continue
        if runs and runs[-1][0] == summed:
            runs[-1] = (summed, runs[-1][1] * size)
        else:
            runs.append((summed, size))
    return runs


def merge_axes(
    shape: tuple[int, ...], axes: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The same transposition with as few axes as possible.

    Axes of size 1 are dropped; axes that stay neighbours in the same order become one.
    """
    kept = [axis for axis in axes if shape[axis] != 1]
    groups: list[list[int]] = []
    # axes that precede each other once the axes of size 1 are gone
    rank_of = {axis: rank for rank, axis in enumerate(sorted(kept))}
    for axis in kept:
        if groups and rank_of[axis] == rank_of[groups[-1][-1]] + 1:
            groups[-1].append(axis)
        else:
            groups.append([axis])
    order = sorted(groups)
    sizes = tuple(math.prod(shape[axis] for axis in group) for group in order)
    return sizes, tuple(order.index(group) for group in groups)


def transposed_matrices(
    shape: tuple[int, ...], axes: tuple[int, ...]
) -> tuple[int, int, int] | None:
    """(A, M, N) where the transposition turns each [M, N] of [A, M, N] into [N, M], else None."""
    sizes, order = merge_axes(shape, axes)
    if order == (1, 0):
        return (1, sizes[0], sizes[1])
    if order == (0, 2, 1):
        return (sizes[0], sizes[1], sizes[2])
    return None
