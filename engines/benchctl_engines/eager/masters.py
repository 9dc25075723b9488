"""Parameters of a training step at half precision: kept in float32, seen by the program as halves.

An update is often smaller than the last bit of a half, and would be lost in one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ..contract import Precision
from ..primitives.elementwise import cast
from ..primitives.half_storage import STORED_AS, stored_dtype
from .tape import no_grad
from .tensor import Tensor


class SeenParameters(Mapping[str, Tensor]):
    """Each parameter rounded where a step first reads it; gradients flow on to the parameter."""

    def __init__(self, masters: Mapping[str, Tensor], precision: Precision) -> None:
        self._masters = masters
        self._precision = precision
        self._rounded: dict[str, Tensor] = {}

    def begin_step(self) -> None:
        """Forget what the last step saw."""
        self._rounded.clear()

    def __getitem__(self, name: str) -> Tensor:
        found = self._rounded.get(name)
        if found is None:
            master = self._masters[name]
            dtype = stored_dtype(master.dtype, self._precision)
            found = master if dtype == master.dtype else cast(master, dtype=dtype)
            self._rounded[name] = found
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._masters)

    def __len__(self) -> int:
        return len(self._masters)

    def widened(self, name: str, value: Tensor) -> Tensor:
        """A new value of a parameter as it is kept: the old one where it is what was seen of it."""
        master = self._masters[name]
        if value is self._rounded.get(name):
            return master
        if value.dtype == master.dtype:
            return value
        with no_grad():
            return _widened(value)


def seen_parameters(masters: Mapping[str, Tensor], precision: Precision) -> Mapping[str, Tensor]:
    """What a program at this precision sees of parameters that a step changes."""
    return SeenParameters(masters, precision) if precision in STORED_AS else masters


def unscaled(gradients: Sequence[Tensor | None], scale: float) -> list[Tensor | None]:
    """Gradients without the scale that they came with, in float32 as parameters are kept."""
    with no_grad():
        return [None if each is None else _widened(each) * (1.0 / scale) for each in gradients]


def _widened(tensor: Tensor) -> Tensor:
    wide: Tensor = tensor if tensor.dtype == "float32" else cast(tensor, dtype="float32")
    return wide
