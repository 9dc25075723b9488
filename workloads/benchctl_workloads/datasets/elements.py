"""What flows through a pipeline: dicts or tuples of arrays, and the rows that they come from."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchctl_engines.contract import Array

from .buffers import Buffers

Element = Any
"""A dict or a tuple of NumPy arrays."""
Names = tuple[str, ...] | None
"""The names of a dict's arrays in their order; None for a tuple."""
Stream = Generator[Any, None, None]
"""Elements, or row numbers, one after another; closing it closes what it draws from."""


class DatasetError(ValueError):
    """A pipeline that cannot be, or a step of it that failed; the message says where."""


def joined(names: Names, arrays: Sequence[Array]) -> Element:
    """The element of these arrays."""
    return tuple(arrays) if names is None else dict(zip(names, arrays, strict=True))


def taken_apart(element: object, what: str) -> tuple[Names, tuple[Array, ...]]:
    """Names and arrays of an element; `what` begins the `DatasetError` on anything else."""
    if isinstance(element, Mapping):
        return tuple(element), tuple(np.asarray(each) for each in element.values())
    if isinstance(element, tuple):
        return None, tuple(np.asarray(each) for each in element)
    raise DatasetError(
        f"{what} expected a dict or a tuple of arrays, received {type(element).__name__}"
    )


@dataclass(frozen=True, slots=True)
class Rows:
    """Arrays of one length, whose rows are the elements; they are only read."""

    names: Names
    arrays: tuple[Array, ...]

    def __len__(self) -> int:
        return len(self.arrays[0])

    def element(self, number: int) -> Element:
        """One row of each array, without a copy."""
        return joined(self.names, [array[number, ...] for array in self.arrays])

    def buffers(self, size: int) -> list[Buffers]:
        """Memory for batches of up to `size` rows, an entry for each array."""
        return [Buffers((size, *array.shape[1:]), array.dtype) for array in self.arrays]

    def gather(self, numbers: Sequence[int], buffers: Sequence[Buffers]) -> Element:
        """The batch of these rows: [len(numbers), ...] of each array."""
        places = np.array(numbers, np.intp)
        batch = []
        for array, each in zip(self.arrays, buffers, strict=True):
            out = each.take(len(places))
            # No number is out of range; NumPy would copy twice to be able to raise.
            np.take(array, places, axis=0, out=out, mode="clip")
            batch.append(out)
        return joined(self.names, batch)


def rows_of(arrays: Sequence[Any]) -> Rows:
    """What `Dataset.from_arrays` was given; raises `DatasetError`."""
    if len(arrays) == 1 and isinstance(arrays[0], Mapping):
        names, found = taken_apart(arrays[0], "from_arrays")
    else:
        names, found = taken_apart(tuple(arrays), "from_arrays")
    if not found:
        raise DatasetError("from_arrays expected at least one array, received none")
    lengths = [len(array) if array.ndim else None for array in found]
    if None in lengths or len(set(lengths)) > 1:
        shapes = ", ".join(str(list(array.shape)) for array in found)
        raise DatasetError(
            f"from_arrays expected arrays with the same number of rows, received shapes {shapes}"
        )
    views = [array.view() for array in found]
    for view in views:
        # A function that changed its element in place would change the data of the next epoch.
        view.flags.writeable = False
    return Rows(names, tuple(views))
