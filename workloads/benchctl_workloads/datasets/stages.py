"""The stages of a pipeline as generators: each draws from the one above and closes it at its end.

Nothing is computed before the first element is asked for, and no stage holds an element that it
has handed on, so that its memory can serve again.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import Any

import numpy as np

from benchctl_engines.contract import Array

from .buffers import Buffers
from .elements import DatasetError, Element, Names, Rows, Stream, joined, taken_apart

_PICKS = 256
"""Random places drawn at a time: one call of a generator costs as much as dozens of numbers."""


def numbered(count: int) -> Stream:
    """The numbers of all rows in their order."""
    yield from range(count)


def elements_of(upstream: Stream, rows: Rows) -> Stream:
    """The rows of these numbers."""
    with closing(upstream):
        for number in upstream:
            yield rows.element(number)


def shuffled(upstream: Stream, size: int, rng: np.random.Generator) -> Stream:
    """In random order as far as a buffer of `size` elements allows, as TensorFlow's shuffle.

    Each element comes from a random place of the buffer, which the next one from above takes: what
    comes k-th, counted from 0, was at most at place k + size - 1. A buffer for everything gives
    every order with the same probability.
    """
    with closing(upstream):
        buffer = list(itertools.islice(upstream, size))
        picks: list[int] = []
        for element in upstream:
            if not picks:
                picks = rng.integers(len(buffer), size=_PICKS).tolist()
            place = picks.pop()
            chosen, buffer[place] = buffer[place], element
            del element
            yield chosen
            del chosen
        for place in rng.permutation(len(buffer)).tolist():
            yield buffer[place]


def repeated(begin: Callable[[int], Stream], epochs: Iterable[int]) -> Stream:
    """One epoch after another; it ends with one that is empty, or else it might never yield."""
    for epoch in epochs:
        empty = True
        with closing(begin(epoch)) as upstream:
            for element in upstream:
                empty = False
                yield element
                del element
        if empty:
            return


def mapped(upstream: Stream, function: Callable[[Element], object], name: str) -> Stream:
    """What `function` makes of each element; raises `DatasetError` from whatever it raised."""
    number = 0
    with closing(upstream):
        for element in upstream:
            try:
                made = function(element)
            except Exception as error:
                raise DatasetError(
                    f"map({name}) failed on element {number}: {type(error).__name__}: {error}"
                ) from error
            if not isinstance(made, dict | tuple):
                raise DatasetError(
                    f"map({name}) expected the function to return a dict or a tuple of arrays, "
                    f"received {type(made).__name__}"
                )
            number += 1
            del element
            yield made
            del made


def batched_rows(upstream: Stream, rows: Rows, size: int, drop_remainder: bool) -> Stream:
    """Batches of rows, gathered from their arrays at once."""
    buffers = rows.buffers(size)
    with closing(upstream):
        for numbers in _groups(upstream, size, drop_remainder):
            yield rows.gather(numbers, buffers)


def batched(upstream: Stream, size: int, drop_remainder: bool) -> Stream:
    """Batches of elements that have the names, shapes and dtypes of the first."""
    stack: _Stack | None = None
    with closing(upstream):
        for elements in _groups(upstream, size, drop_remainder):
            stack = stack or _Stack(elements[0], size)
            yield stack.stacked(elements)


def _groups(upstream: Stream, size: int, drop_remainder: bool) -> Iterator[list[Any]]:
    least = size if drop_remainder else 1
    while len(group := list(itertools.islice(upstream, size))) >= least:
        yield group


class _Stack:
    """Elements like a first one, side by side along a new first axis."""

    def __init__(self, first: object, size: int) -> None:
        self._names, arrays = taken_apart(first, "batch")
        self._words = _described(self._names, arrays)
        self._specs = [(array.shape, array.dtype) for array in arrays]
        self._buffers = [Buffers((size, *shape), dtype) for shape, dtype in self._specs]
        self._done = 0

    def stacked(self, elements: list[object]) -> Element:
        """The batch of these elements."""
        outs = [each.take(len(elements)) for each in self._buffers]
        for place, element in enumerate(elements):
            names, arrays = taken_apart(element, "batch")
            if names != self._names or [(a.shape, a.dtype) for a in arrays] != self._specs:
                raise DatasetError(
                    f"batch expected elements like the first, {self._words}, received "
                    f"{_described(names, arrays)} as element {self._done + place}; "
                    "give all of them one shape with map"
                )
            for out, array in zip(outs, arrays, strict=True):
                out[place] = array
        self._done += len(elements)
        return joined(self._names, outs)


def _described(names: Names, arrays: tuple[Array, ...]) -> str:
    words = [f"{array.dtype}{list(array.shape)}" for array in arrays]
    if names is not None:
        words = [f"{name} {word}" for name, word in zip(names, words, strict=True)]
    return f"({', '.join(words)})"
