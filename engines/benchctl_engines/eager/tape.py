"""Backward over the tape: the shared walk, fed with eager entries."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ..devices.cpu import Device, Kind
from ..primitives.elementwise import add
from ..primitives.half_storage import held
from ..primitives.specs import ShapeError
from ..reverse_mode import pull_back
from .entries import Entry, Leaf
from .mode import mode
from .plans import accumulated
from .tensor import Tensor, lift, tensor
from .walks import remembered_gradients


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
    device: Device,
) -> dict[Any, Any]:
    """The shared walk under these modes; tensors where it is recorded, arrays otherwise."""
    before = mode.recording, mode.releasing, mode.plain
    mode.recording, mode.releasing = recording, releasing
    mode.plain = not recording and not device.hooks
    try:
        return pull_back(seeds, targets, add_pair)
    finally:
        mode.recording, mode.releasing, mode.plain = before


def backward(output: Tensor, seed: Any = None, *, keep_tape: bool = False) -> None:
    """Add the gradients of `output` to `grad` of its leaves; see `Tensor.backward`."""
    if output.entry is None:
        raise ValueError(
            "backward expected a tensor that depends on one made with requires_grad=True, "
            "received one that does not"
        )
    # Leaves end the walk and keep their gradients without being asked for.
    start = seed_of(output, seed).array
    seeds = [(output.entry, start)]
    found = _walk(seeds, (), adder_of(output.device), False, not keep_tape, output.device)
    arrays = own_arrays(list(found.values()), output.device, start)
    with no_grad():
        for call, array in zip(found, arrays, strict=True):
            leaf = call.tensor
            if leaf is None:
                continue
            gradient = Tensor(array, leaf.kind)
            leaf.grad = gradient if leaf.grad is None else add(leaf.grad, gradient)


def own_arrays(arrays: list[Any], device: Device, *others: Any) -> list[Any]:
    """The arrays, copied where one is another's or one of `others`: users may change theirs.

    x + y hands one array to both, and the gradient of x itself is the seed.
    """
    seen = {id(each) for each in others}
    result = []
    for array in arrays:
        result.append(device.copied(array) if array is not None and id(array) in seen else array)
        seen.add(id(array))
    return result


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
    if seeds is None and not create_graph and outputs.__class__ is Tensor:
        return _gradients_of_one(outputs, inputs)
    if isinstance(outputs, Tensor):
        outputs = (outputs,)
    given = seeds if seeds is not None else (None,) * len(outputs)
    pairs = [
        (output.entry, seed_of(output, seed))
        for output, seed in zip(outputs, given, strict=True)
        if output.entry is not None
    ]
    targets = {each.entry for each in inputs}
    if create_graph:
        found = _walk(pairs, targets, _add, True, False, outputs[0].device)
        tensors = [found.get(each.entry) for each in inputs]
        arrays = own_arrays(
            [None if each is None else each.array for each in tensors],
            outputs[0].device,
            *(seed.array for _, seed in pairs),
        )
        return [
            None if each is None else Tensor(array, each.kind, each.entry)
            for each, array in zip(tensors, arrays, strict=True)
        ]
    raw = [(entry, seed.array) for entry, seed in pairs]
    device = outputs[0].device
    found = _walk(raw, targets, adder_of(device), False, True, device)
    return _wrapped(found, inputs, device, *(seed for _, seed in raw))


def _gradients_of_one(output: Tensor, inputs: Sequence[Tensor]) -> list[Tensor | None]:
    """The common case, a loss and its leaves, with nothing looked at twice."""
    targets: Collection[Any] = ()
    for each in inputs:
        if each.entry.__class__ is not Leaf:
            # Leaves end the walk and keep their gradients without being asked for.
            targets = {other.entry for other in inputs}
            break
    if output.entry is None:
        return [None] * len(inputs)
    device = output.kind.device
    entry = output.entry
    seed = seed_of(output, None).array
    add_pair = device.adder or adder_of(device)
    if not targets and not device.hooks and entry.__class__ is Entry:
        remembered = remembered_gradients(entry, seed, add_pair)
        if remembered is not None:
            walk, found = remembered
            if walk.fresh:
                try:
                    return [Tensor(found[each.entry], each.kind) for each in inputs]
                except KeyError:
                    pass
            return _wrapped(found, inputs, device, seed)
    found = _walk(((entry, seed),), targets, add_pair, False, True, device)
    return _wrapped(found, inputs, device, seed)


def _wrapped(
    found: dict[Any, Any], inputs: Sequence[Tensor], device: Device, *seeds: Any
) -> list[Tensor | None]:
    """Tensors of the gradients of `inputs`, None where there is none."""
    arrays = own_arrays([found.get(each.entry) for each in inputs], device, *seeds)
    return [
        None if array is None else Tensor(array, each.kind)
        for array, each in zip(arrays, inputs, strict=True)
    ]


def adder_of(device: Device) -> Callable[[Any, Any, bool], Any]:
    """The device's sum of two gradients, into the first where the walk owns it."""
    found: Callable[[Any, Any, bool], Any] | None = device.adder
    if found is None:

        def add_arrays(total: Any, contribution: Any, owned: bool) -> Any:
            return accumulated(total, contribution, owned, device)

        found = device.adder = add_arrays
    return found


def seed_of(output: Tensor, seed: Any) -> Any:
    if seed is None:
        if output.kind.spec.shape:
            raise ShapeError(
                f"backward expected a scalar or a seed of its shape, received {output.spec} "
                "without a seed"
            )
        kind = output.kind
        if kind.one is None:
            kind.one = _one(kind)
        return kind.one
    if not isinstance(seed, Tensor):
        device = output.device
        # Numbers are kept, so that one that comes with every step is copied once.
        kept = output.spec.half or isinstance(seed, float)
        seed = lift(seed, [output], device) if kept else tensor(seed, device=device)
    if seed.spec is not output.spec:
        raise ShapeError(f"backward expected a seed like {output.spec}, received {seed.spec}")
    return seed


def _one(kind: Kind) -> Tensor:
    dtype = kind.spec.dtype
    return Tensor(kind.device.from_host(held(1.0, dtype), dtype), kind)


def _add(total: Tensor, contribution: Tensor, owned: bool) -> Any:
    return add(total, contribution)
