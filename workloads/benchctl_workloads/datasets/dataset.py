"""`Dataset`: a pipeline as a description, begun anew for every epoch."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any

import numpy as np

from . import stages
from .elements import DatasetError, Element, Rows, Stream, rows_of
from .prefetch import prefetched

Seed = int | Sequence[int] | np.random.Generator
"""Whole numbers from 0, or a generator, which then goes on from epoch to epoch."""
Begin = Callable[[int], Stream]
"""Begins a stream for the epoch of that number."""


class Iteration(Iterator[Element]):
    """The elements of one epoch.

    It ends what works for it, such as a thread, when it is exhausted, closed, left as a context or
    no longer referred to.
    """

    __slots__ = ("_stream",)

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def __next__(self) -> Element:
        element: Element = next(self._stream)
        return element

    def close(self) -> None:
        """End early; a second time does nothing."""
        self._stream.close()

    def __enter__(self) -> Iteration:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Dataset:
    """Elements, each a dict or a tuple of NumPy arrays, and what is done with them on the way.

    Every method gives a new dataset, and nothing is computed before it is iterated. An epoch
    depends on its number and the seeds alone, not on the epochs before it and not on what works
    ahead. `count` is the number of elements of an epoch, None where it does not end.
    """

    __slots__ = ("_begin", "_rows", "_stage", "count")

    def __init__(self, begin: Begin, rows: Rows | None, count: int | None, stage: int = 0) -> None:
        self._begin = begin
        # Where there are rows, a stream is of their numbers: a batch gathers them at once.
        self._rows = rows
        self._stage = stage
        self.count = count

    @staticmethod
    def from_arrays(*arrays: Any) -> Dataset:
        """The rows of arrays [N, ...] as tuples, or of a dict of arrays as dicts.

        Nothing is copied. Raises `DatasetError` where the arrays are not of one length.
        """
        rows = rows_of(arrays)
        return Dataset(lambda epoch: stages.numbered(len(rows)), rows, len(rows))

    def shuffle(self, buffer_size: int, seed: Seed) -> Dataset:
        """In another random order each epoch, as far as a buffer of `buffer_size` allows.

        A buffer smaller than the dataset mixes neighbours only, as TensorFlow's does.
        """
        size = _whole("shuffle", "a buffer size", buffer_size, least=1)
        draw = self._seeded("shuffle", seed)
        begin = self._begin
        return self._then(
            lambda epoch: stages.shuffled(begin(epoch), size, draw(epoch)), self.count, self._rows
        )

    def map(self, function: Callable[..., Any], seed: Seed | None = None) -> Dataset:
        """What `function(element)` returns, a dict or a tuple of arrays.

        With a seed it is called as `function(element, rng)`, with one generator an epoch. It runs
        in the thread of a later `prefetch`. Raises `DatasetError` from what it raises.
        """
        begin = self._elements
        name = getattr(function, "__name__", type(function).__name__)
        if seed is None:
            return self._then(lambda epoch: stages.mapped(begin(epoch), function, name), self.count)
        draw = self._seeded("map", seed)

        def begin_seeded(epoch: int) -> Stream:
            rng = draw(epoch)
            return stages.mapped(begin(epoch), lambda element: function(element, rng), name)

        return self._then(begin_seeded, self.count)

    def batch(self, size: int, drop_remainder: bool = False) -> Dataset:
        """Elements side by side along a new first axis, `size` of them; the last may be fewer.

        A batch's memory is used again as soon as nothing refers to it. Raises `DatasetError` while
        iterating where elements are not of one shape.
        """
        size = _whole("batch", "a size", size, least=1)
        rows, begin = self._rows, self._begin
        count = self.count
        if count is not None:
            count = count // size if drop_remainder else -(-count // size)
        if rows is None:
            return self._then(
                lambda epoch: stages.batched(begin(epoch), size, drop_remainder), count
            )
        return self._then(
            lambda epoch: stages.batched_rows(begin(epoch), rows, size, drop_remainder), count
        )

    def repeat(self, count: int | None = None) -> Dataset:
        """`count` epochs as one, without end for None; each is shuffled anew."""
        begin = self._begin
        if count is None:
            return self._then(
                lambda epoch: stages.repeated(begin, itertools.count(epoch)), None, self._rows
            )
        times = _whole("repeat", "a count", count, least=1)

        def begin_repeated(epoch: int) -> Stream:
            first = (epoch - 1) * times + 1
            return stages.repeated(begin, range(first, first + times))

        total = None if self.count is None else self.count * times
        return self._then(begin_repeated, total, self._rows)

    def prefetch(self, buffer_size: int) -> Dataset:
        """Up to `buffer_size` elements made ahead by a thread; 0 for no thread.

        The thread makes all that comes before in the pipeline, and nothing that comes after.
        """
        size = _whole("prefetch", "a buffer size", buffer_size, least=0)
        if size == 0:
            return self
        begin = self._elements
        return self._then(lambda epoch: prefetched(begin(epoch), size), self.count)

    def epoch(self, number: int = 1) -> Iteration:
        """The elements of one epoch, which count from 1."""
        return Iteration(self._elements(_whole("epoch", "a number", number, least=1)))

    def __iter__(self) -> Iteration:
        """The first epoch."""
        return self.epoch()

    # Parts -----------------------------------------------------------------------------------

    def _then(self, begin: Begin, count: int | None, rows: Rows | None = None) -> Dataset:
        return Dataset(begin, rows, count, self._stage + 1)

    def _elements(self, epoch: int) -> Stream:
        """A stream of elements, also where it was one of row numbers."""
        stream = self._begin(epoch)
        return stream if self._rows is None else stages.elements_of(stream, self._rows)

    def _seeded(self, what: str, seed: Seed) -> Callable[[int], np.random.Generator]:
        """What gives the generator of an epoch; one seed serves several stages."""
        if isinstance(seed, np.random.Generator):
            return lambda epoch: seed
        numbers = [*seed] if isinstance(seed, Sequence) else [seed]
        if not all(isinstance(each, int | np.integer) and each >= 0 for each in numbers):
            raise DatasetError(f"{what} expected a seed of whole numbers from 0, received {seed}")
        stage = self._stage
        return lambda epoch: np.random.default_rng([*numbers, stage, epoch])


def _whole(method: str, what: str, value: int, least: int) -> int:
    if not isinstance(value, int | np.integer) or value < least:
        raise DatasetError(f"{method} expected {what} of {least} or more, received {value!r}")
    return int(value)
