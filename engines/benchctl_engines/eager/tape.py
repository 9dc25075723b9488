"""Backward over the tape: the shared walk, fed with eager entries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..contract import Array
from ..primitives.elementwise import add
from ..primitives.specs import ShapeError
from ..reverse_mode import pull_back
from .tensor import Entry, Leaf, Tensor, mode, tensor


@contextmanager
def recording(enabled: bool) -> Iterator[None]:
    """Set whether operations are recorded, and set it back."""
    before = mode.recording
    mode.recording = enabled
    try:
        yield
    finally:
        mode.recording = before


def no_grad() -> Any:
    """Context in which nothing is recorded: `with no_grad(): ...`."""
    return recording(False)


def backward(output: Tensor, seed: Any = None, *, keep_tape: bool = False) -> None:
    """Add the gradients of `output` to `grad` of its leaves; see `Tensor.backward`."""
    if output.entry is None:
        raise ValueError(
            "backward expected a tensor that depends on one made with requires_grad=True, "
            "received one that does not"
        )
    leaves = _Leaves()
    with recording(False):
        gradients = pull_back(
            [(output.entry, _seed_of(output, seed))],
            leaves,
            _accumulate,
            None if keep_tape else _release,
        )
        for call, gradient in gradients.items():
            leaf = call.tensor
            if leaf.grad is None:
                leaf.grad = gradient
            else:
                leaf.grad = add(leaf.grad, gradient)


def gradients(
    outputs: Tensor | Sequence[Tensor],
    inputs: Sequence[Tensor],
    seeds: Sequence[Any] | None = None,
    *,
    create_graph: bool = False,
) -> list[Tensor | None]:
    """Gradients of the (summed) outputs with respect to `inputs`, None where none depends on one.

    `create_graph` records the backward walk itself, for derivatives of higher order. The tape is
    kept then, and released otherwise.
    """
    outputs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    given = list(seeds) if seeds is not None else [None] * len(outputs)
    pairs = [
        (output.entry, _seed_of(output, seed))
        for output, seed in zip(outputs, given, strict=True)
        if output.entry is not None
    ]
    targets = {each.entry for each in inputs if each.entry is not None}
    with recording(create_graph):
        found = pull_back(
            pairs,
            targets,
            _add if create_graph else _accumulate,
            None if create_graph else _release,
        )
    return [found.get(each.entry) if each.entry is not None else None for each in inputs]


class _Leaves:
    """The set of all leaves."""

    def __contains__(self, call: object) -> bool:
        return isinstance(call, Leaf)

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __len__(self) -> int:
        return 0


def _seed_of(output: Tensor, seed: Any) -> Any:
    if seed is None:
        if output.spec.shape:
            raise ShapeError(
                f"backward expected a scalar or a seed of its shape, received {output.spec} "
                "without a seed"
            )
        key = ("one", output.spec)
        one = output.device.constants.get(key)
        if one is None:
            array: Array = np.ones((), output.spec.dtype)
            one = output.device.constants[key] = Tensor(array, output.kind)
        return one
    made = seed if isinstance(seed, Tensor) else tensor(seed, device=output.device)
    if made.spec is not output.spec:
        raise ShapeError(f"backward expected a seed like {output.spec}, received {made.spec}")
    return made


def _add(total: Tensor, contribution: Tensor, owned: bool) -> Any:
    return add(total, contribution)


def _accumulate(total: Tensor, contribution: Tensor, owned: bool) -> Any:
    if not owned:
        return add(total, contribution)
    # The sum belongs to this walk alone, so its buffer may be written again.
    np.add(total.array, contribution.array, out=total.array)
    return total


def _release(call: Any) -> None:
    if isinstance(call, Entry):
        call.release()
