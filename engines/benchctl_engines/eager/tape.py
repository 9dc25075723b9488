"""Backward over the tape: the shared walk, fed with eager entries."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..contract import Array
from ..devices.cpu import Device
from ..primitives.elementwise import add
from ..primitives.specs import ShapeError
from ..reverse_mode import pull_back
from .tensor import Tensor, accumulated, mode, tensor


@contextmanager
def no_grad() -> Iterator[None]:
    """Context in which nothing is recorded: `with no_grad(): ...`."""
    before = mode.recording
    mode.recording = False
    try:
        yield
    finally:
        mode.recording = before


def _walk(
    seeds: Sequence[tuple[Any, Any]],
    targets: Collection[Any],
    add_pair: Callable[[Any, Any, bool], Any],
    recording: bool,
    releasing: bool,
) -> dict[Any, Any]:
    """The shared walk under these modes; tensors where it is recorded, arrays otherwise."""
    before = mode.recording, mode.releasing
    mode.recording, mode.releasing = recording, releasing
    try:
        return pull_back(seeds, targets, add_pair)
    finally:
        mode.recording, mode.releasing = before


def backward(output: Tensor, seed: Any = None, *, keep_tape: bool = False) -> None:
    """Add the gradients of `output` to `grad` of its leaves; see `Tensor.backward`."""
    if output.entry is None:
        raise ValueError(
            "backward expected a tensor that depends on one made with requires_grad=True, "
            "received one that does not"
        )
    # Leaves end the walk and keep their gradients without being asked for.
    seeds = [(output.entry, _seed_of(output, seed).array)]
    found = _walk(seeds, (), _adder(output.device), False, not keep_tape)
    with no_grad():
        for call, array in found.items():
            leaf = call.tensor
            gradient = Tensor(array, leaf.kind)
            leaf.grad = gradient if leaf.grad is None else add(leaf.grad, gradient)


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
    if isinstance(outputs, Tensor):
        outputs = (outputs,)
    given = seeds if seeds is not None else (None,) * len(outputs)
    pairs = [
        (output.entry, _seed_of(output, seed))
        for output, seed in zip(outputs, given, strict=True)
        if output.entry is not None
    ]
    targets = {each.entry for each in inputs}
    if create_graph:
        found = _walk(pairs, targets, _add, True, False)
        return [found.get(each.entry) for each in inputs]
    raw = [(entry, seed.array) for entry, seed in pairs]
    found = _walk(raw, targets, _adder(outputs[0].device), False, True)
    return [
        Tensor(found[each.entry], each.kind) if each.entry in found else None for each in inputs
    ]


def _adder(device: Device) -> Callable[[Any, Any, bool], Any]:
    """The device's sum of two gradients, into the first where the walk owns it."""
    made = device.constants.get("adder")
    if made is None:

        def made(total: Any, contribution: Any, owned: bool) -> Any:
            return accumulated(total, contribution, owned, device)

        device.constants["adder"] = made
    found: Callable[[Any, Any, bool], Any] = made
    return found


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
