"""The eager tensor, and the one function that runs a primitive.

An operation runs when it is called. What depends on shapes alone (the shape rule, which kernel,
how much workspace) is decided at the first call with such operands and kept in the device's plans.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..contract import Array
from ..devices.cpu import Device, Kind
from ..primitives import elementwise, operations
from ..primitives.half_storage import held
from ..primitives.operators import TensorOperators
from ..primitives.primitive import OperandError, Primitive
from ..primitives.reductions import sum_primitive
from ..primitives.specs import (
    HALVES,
    ShapeError,
    TensorSpec,
    array_dtype,
    number_dtype,
    spec,
)
from ..source_sites import user_site
from .entries import Entry, Leaf, note_assignment, recorded_entry
from .mode import mode
from .plans import Plan, array_spec, plan_of

_KEPT_CONSTANTS = 256
_empty = np.empty


DEFAULT_DEVICE = Device("cpu")


class Tensor(TensorOperators):
    """An array with a place on the tape.

    `grad` is the tensor that `backward` accumulated, on leaves made with requires_grad.
    """

    __slots__ = ("__weakref__", "array", "entry", "kind")

    def __init__(self, array: Array, kind: Kind, entry: Entry | Leaf | None = None) -> None:
        self.array = array
        self.kind = kind
        self.entry = entry

    @staticmethod
    def apply_primitive(
        primitive: Primitive, operands: Sequence[Any], attributes: Mapping[str, Any]
    ) -> Any:
        """Run a primitive now, and record it where a gradient may be asked for."""
        return apply(primitive, operands, attributes)

    # The hottest operators skip the look for an engine: this is one.
    def __add__(self, other: Any) -> Any:
        return add(self, other)

    def __sub__(self, other: Any) -> Any:
        return subtract(self, other)

    def __mul__(self, other: Any) -> Any:
        return multiply(self, other)

    @property
    def spec(self) -> TensorSpec:
        """Shape and dtype."""
        return self.kind.spec

    @property
    def device(self) -> Device:
        """Where the array lives."""
        return self.kind.device

    @property
    def grad(self) -> Tensor | None:
        """What `backward` has accumulated, on a tensor made with requires_grad; None elsewhere."""
        return self.entry.grad if isinstance(self.entry, Leaf) else None

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if not isinstance(self.entry, Leaf):
            raise AttributeError(
                "grad expected a tensor made with requires_grad=True, received one without; "
                "gradients(output, [tensor]) gives the gradient of a result"
            )
        self.entry.grad = value

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes."""
        return self.spec.shape

    @property
    def dtype(self) -> str:
        """Name of the dtype."""
        return self.spec.dtype

    @property
    def requires_grad(self) -> bool:
        """Whether gradients flow to or through this tensor."""
        return self.entry is not None

    def numpy(self) -> Array:
        """The tensor's own array, not copied; of a tensor on a GPU a copy on the host."""
        return self.kind.device.to_host(self.array)

    def item(self) -> Any:
        """The value of a tensor with one element, as a Python number."""
        return self.numpy().item()

    def detach(self) -> Tensor:
        """The same array without its tape."""
        return Tensor(self.array, self.kind)

    def backward(self, seed: Any = None, *, keep_tape: bool = False) -> None:
        """Add the gradients of this tensor to `grad` of the leaves that it depends on.

        `seed` is the gradient of this tensor (its shape); 1 for a scalar. The tape is released
        unless `keep_tape`.
        """
        from .tape import backward

        backward(self, seed, keep_tape=keep_tape)

    def __float__(self) -> float:
        return float(self.numpy())

    def __bool__(self) -> bool:
        return bool(self.numpy())

    def __len__(self) -> int:
        if not self.spec.shape:
            raise TypeError("len() expected a tensor with at least one axis, received a scalar")
        return self.spec.shape[0]

    def __repr__(self) -> str:
        text = np.array2string(self.numpy(), separator=", ", prefix="tensor(")
        gradient = ", requires_grad=True" if self.requires_grad else ""
        return f"tensor({text}, dtype={self.spec.dtype}{gradient})"


def apply(primitive: Primitive, operands: Sequence[Any], attributes: Mapping[str, Any]) -> Any:
    """Run `primitive` on operands of which at least one is an eager tensor."""
    try:
        kinds = [operand.kind for operand in operands]
        plan: Plan = kinds[0].device.plans[(primitive, *kinds, *attributes.items())]
    except (AttributeError, KeyError):
        operands, plan = _prepare(primitive, operands, attributes)
    if plan.device.hooks:
        return _run_with_hooks(plan, operands)
    return _run(plan, operands)


def quick_binary(primitive: Primitive) -> Callable[[Any, Any], Any]:
    """The primitive as a function of two operands with nothing between small ones and NumPy."""

    def call(a: Any, b: Any) -> Any:
        try:
            kind = a.kind
            plan: Plan = kind.quick[primitive, b.kind]
        except (AttributeError, KeyError):
            return _first_binary(primitive, a, b)
        if kind.hooks:
            return primitive(a, b)
        out = plan.make(a.array, b.array)  # type: ignore[misc]
        first, second = a.entry, b.entry
        if (first is None and second is None) or not mode.recording:
            return Tensor(out, plan.kind)
        if plan.records_operands:
            entry = Entry(plan, (a.array, b.array), (first, second), ())
        else:
            entry = recorded_entry(plan, (a.array, b.array), (first, second), (out,))
        return Tensor(out, plan.kind, entry)

    return call


def _first_binary(primitive: Primitive, a: Any, b: Any) -> Any:
    result = primitive(a, b)
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        # There is none for operands of which one was rounded to the other.
        plan = a.device.plans.get((primitive, a.kind, b.kind))
        if plan is not None and plan.make is not None and plan.differentiable:
            a.kind.quick[primitive, b.kind] = plan
    return result


add = quick_binary(elementwise.add)
subtract = quick_binary(elementwise.subtract)
multiply = quick_binary(elementwise.multiply)
divide = quick_binary(elementwise.divide)


def sum(x: Any, axes: tuple[int, ...] | None = None, keepdims: bool = False) -> Any:
    """Sum over `axes`, all of them for None."""
    if axes is None and not keepdims:
        try:
            kind = x.kind
            plan: Plan = kind.quick[sum_primitive]
        except (AttributeError, KeyError):
            return _first_sum(x)
        if not kind.hooks:
            out = plan.make(x.array)  # type: ignore[misc]
            source = x.entry
            if source is None or not mode.recording:
                return Tensor(out, plan.kind)
            return Tensor(out, plan.kind, Entry(plan, _NOTHING_SAVED, (source,), ()))
    return operations.sum(x, axes, keepdims)


_NOTHING_SAVED = (None,)


def _first_sum(x: Any) -> Any:
    result = operations.sum(x)
    if isinstance(x, Tensor):
        attributes = {"axes": tuple(range(x.spec.rank)), "keepdims": False}
        plan = x.device.plans[(sum_primitive, x.kind, *attributes.items())]
        if plan.make is not None:
            x.kind.quick[sum_primitive] = plan
    return result


def _run(plan: Plan, operands: Sequence[Tensor]) -> Any:
    arrays = [operand.array for operand in operands]
    if not plan.simple:
        return _run_general(plan, operands, arrays)
    single = plan.specs[0]
    out = plan.device.pool.take(single) if plan.pooled else _empty(single.shape, single.dtype)
    plan.run(out, *arrays)
    return Tensor(out, plan.kind, _entry(plan, operands, arrays, (out,)))


def _entry(
    plan: Plan, operands: Sequence[Tensor], arrays: Sequence[Array], outs: Sequence[Array]
) -> Entry | None:
    """The tape's record of a call, None where no gradient can be asked for."""
    if mode.recording and plan.differentiable:
        sources = tuple([operand.entry for operand in operands])
        for source in sources:
            if source is not None:
                return recorded_entry(plan, arrays, sources, outs)
    return None


def _run_general(plan: Plan, operands: Sequence[Tensor], arrays: list[Array]) -> Any:
    """Updates, several outputs, a workspace."""
    workspace = () if plan.workspace is None else (plan.device.scratch(plan.workspace),)
    if plan.primitive.effect == "update":
        note_assignment(operands[0])
        plan.run(arrays[0], *arrays, *workspace)
        return operands[0]
    outs = [plan.device.empty(each) for each in plan.specs]
    plan.run(*outs, *arrays, *workspace)
    first = Tensor(outs[0], plan.kind, _entry(plan, operands, arrays, outs))
    if len(outs) == 1:
        return first
    rest = zip(outs[1:], plan.kinds[1:], strict=True)
    return (first, *(Tensor(array, kind) for array, kind in rest))


def _run_with_hooks(plan: Plan, operands: Sequence[Tensor]) -> Any:
    hooks = plan.device.hooks
    for hook in hooks:
        hook.before(plan.primitive, plan.input_specs)
    result = _run(plan, operands)
    for hook in reversed(hooks):
        hook.after(plan.primitive, plan.input_specs, result)
    return result


def _prepare(
    primitive: Primitive, operands: Sequence[Any], attributes: Mapping[str, Any]
) -> tuple[tuple[Tensor, ...], Plan]:
    """The slow path: lift numbers, check operands, choose a kernel."""
    tensors = [operand for operand in operands if isinstance(operand, Tensor)]
    device = tensors[0].device
    for operand in operands:
        if isinstance(operand, Tensor):
            if operand.device is not device:
                raise OperandError(
                    f"{primitive.name} expected tensors of one device, received tensors of "
                    f"{device} and {operand.device}"
                )
        elif hasattr(operand, "apply_primitive"):
            raise OperandError(
                f"{primitive.name} cannot mix an eager tensor with a value of the static engine: "
                f"received {operand!r}, made at {operand.node.origin}, used at {user_site()}; "
                "run the graph first and use its result, or make a constant of the tensor's array"
            )
    lifted = tuple(
        operand if isinstance(operand, Tensor) else lift(operand, tensors, device)
        for operand in operands
    )
    if device.driver is not None and primitive.effect == "pure":
        lifted = _rounded_beside_halves(lifted)
    specs = tuple(operand.spec for operand in lifted)
    return lifted, plan_of(device)(primitive, specs, attributes)


def _rounded_beside_halves(operands: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Operands of float32 that meet a half, such as random numbers, become halves.

    Halves are stored on a GPU alone: elsewhere there is nothing to look for.
    """
    half = next((each.spec.dtype for each in operands if each.spec.half), "")
    if not half:
        return operands
    return tuple(
        elementwise.cast(each, dtype=half) if each.spec.dtype == "float32" else each
        for each in operands
    )


def lift(value: Any, tensors: Sequence[Tensor], device: Device) -> Tensor:
    """A number beside tensors, as a scalar of their dtype; raises `OperandError` on anything else.

    Scalars are kept, so that a number in a loop is converted once.
    """
    if isinstance(value, np.ndarray):
        if device.driver is not None:
            dtype = array_dtype(value, [each.spec for each in tensors])
            if dtype in HALVES:
                return half_tensor(value, dtype, device)
        return tensor(value, device=device)
    if not isinstance(value, int | float | np.number | np.bool_):
        raise OperandError(
            f"expected a tensor, an array or a number, received {type(value).__name__}"
        )
    dtype = number_dtype(value, [each.spec for each in tensors])
    key = (repr(value), dtype)  # -0.0 equals 0.0 and is another number
    constant = device.constants.get(key)
    if constant is None:
        if len(device.constants) >= _KEPT_CONSTANTS:
            device.constants.clear()
        array = device.from_host(held(value, dtype), dtype)
        constant = device.constants[key] = Tensor(array, device.kind(spec((), dtype)))
    made: Tensor = constant
    return made


def half_tensor(array: Array, dtype: str, device: Device, requires_grad: bool = False) -> Tensor:
    """A tensor of float32 numbers, rounded to a half dtype where the device stores them."""
    made = Tensor(device.from_host(array, dtype), device.kind(spec(array.shape, dtype)))
    if requires_grad:
        made.entry = Leaf(made)
    return made


def tensor(
    data: Any,
    *,
    requires_grad: bool = False,
    dtype: str | None = None,
    device: Device | None = None,
) -> Tensor:
    """A tensor of `data` (an array, number or nested list).

    An array of the right dtype that is contiguous is used as it is, not copied, unless the device
    has a memory of its own. Python floats become float32.
    """
    array = np.asarray(data)
    if dtype is None and not isinstance(data, np.ndarray | np.generic):
        dtype = {"f": "float32", "i": "int64"}.get(array.dtype.kind)
    array = np.asarray(array, dtype, order="C")
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    place = device or DEFAULT_DEVICE
    made = Tensor(place.from_host(array), place.kind(array_spec(array)))
    if requires_grad:
        if not made.spec.floating:
            raise ShapeError(f"requires_grad expected float32 or float64, received {made.spec}")
        made.entry = Leaf(made)
    return made
