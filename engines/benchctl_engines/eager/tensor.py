"""The eager tensor, and the one function that runs a primitive.

An operation runs when it is called. What depends on shapes alone (the shape rule, which kernel,
how much workspace) is decided at the first call with such operands and kept in the device's plans.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

import numpy as np

from ..contract import Array
from ..devices.cpu import POOLED_BYTES, Device, aligned_bytes
from ..kernels.table import KernelRequest, select
from ..primitives import elementwise
from ..primitives.operators import TensorOperators
from ..primitives.primitive import OperandError, Primitive, Saved
from ..primitives.specs import ShapeError, TensorSpec, spec

_EMPTY: dict[str, Any] = {}
_next_sequence = count(1).__next__
_empty = np.empty


class _GradientMode:
    """Whether operations are recorded on the tape; changed by no_grad and by backward."""

    __slots__ = ("recording",)

    def __init__(self) -> None:
        self.recording = True


mode = _GradientMode()
DEFAULT_DEVICE = Device("cpu")


class Leaf:
    """The tape's end at a tensor that the user made and asked gradients for."""

    __slots__ = ("sequence", "tensor")
    sources: tuple[Any, ...] = ()

    def __init__(self, tensor: Tensor) -> None:
        self.sequence = _next_sequence()
        self.tensor = tensor


class Entry:
    """One recorded call. It holds what the primitive declares to save, and nothing else.

    Outputs are kept as arrays: keeping the tensor would tie entry and tensor into a cycle.
    """

    __slots__ = (
        "_inputs",
        "_outputs",
        "attributes",
        "device",
        "primitive",
        "sequence",
        "sources",
        "specs",
    )

    def __init__(
        self,
        primitive: Primitive,
        attributes: Mapping[str, Any],
        operands: Sequence[Tensor],
        specs: tuple[TensorSpec, ...],
        arrays: Sequence[Array],
        device: Device,
    ) -> None:
        self.sequence = _next_sequence()
        self.primitive = primitive
        self.attributes = attributes
        self.specs = specs
        self.device = device
        self.sources: tuple[Any, ...] = tuple([operand.entry for operand in operands])
        self._inputs: Any = [(i, operands[i]) for i in primitive.saves_inputs]
        self._outputs: Any = [(i, arrays[i]) for i in primitive.saves_outputs]

    def pull(self, gradient: Any) -> Sequence[Any]:
        """The pullback's gradients; raises where the tape was already released."""
        if self._inputs is None:
            raise RuntimeError(
                "backward expected a tape that was not used yet, received one that an earlier "
                "backward released; pass keep_tape=True to that call to run it twice"
            )
        outputs = {}
        for index, array in self._outputs:
            # Output 0 continues the tape, so that a second derivative can flow through it.
            entry = self if index == 0 and mode.recording else None
            outputs[index] = Tensor(array, _spec_of(array), self.device, entry)
        needs = tuple([source is not None for source in self.sources])
        saved = Saved(
            self.primitive, self.specs, self.attributes, needs, dict(self._inputs), outputs
        )
        rule = self.primitive.rule
        if rule is None:
            raise NotImplementedError(f"{self.primitive.name} has no gradient")
        result: Sequence[Any] = rule(gradient, saved)
        return result

    def release(self) -> None:
        """Let go of what was saved; the pool can use the memory at once."""
        self._inputs = None
        self._outputs = None


class Plan:
    """A primitive made ready for operands of given specs on one device."""

    __slots__ = ("differentiable", "kernel_name", "pooled", "run", "single", "specs", "workspace")

    def __init__(
        self,
        primitive: Primitive,
        specs: tuple[TensorSpec, ...],
        attributes: Mapping[str, Any],
        device: Device,
    ) -> None:
        self.specs = primitive.output_specs(specs, attributes)
        request = KernelRequest(specs, self.specs, attributes, device.threads)
        kernel = select(primitive.name, device.name, request)
        prepared = kernel.prepare(request)
        self.run = prepared.run
        self.kernel_name = f"{primitive.name}:{kernel.name}"
        device.kernel_names[self.kernel_name] = None
        self.workspace = (
            spec((prepared.workspace_bytes,), "uint8") if prepared.workspace_bytes else None
        )
        self.single = self.specs[0] if len(self.specs) == 1 and not self.workspace else None
        self.pooled = device.pooled and any(each.nbytes >= POOLED_BYTES for each in self.specs)
        self.differentiable = primitive.rule is not None and self.specs[0].floating


class Tensor(TensorOperators):
    """An array with a place on the tape.

    `grad` is the tensor that `backward` accumulated, on leaves made with requires_grad.
    """

    __slots__ = ("__weakref__", "array", "device", "entry", "grad", "spec")

    def __init__(
        self, array: Array, spec: TensorSpec, device: Device, entry: Entry | Leaf | None = None
    ) -> None:
        self.array = array
        self.spec = spec
        self.device = device
        self.entry = entry
        self.grad: Tensor | None = None

    @staticmethod
    def apply_primitive(
        primitive: Primitive, operands: Sequence[Any], attributes: Mapping[str, Any]
    ) -> Any:
        """Run a primitive now, and record it where a gradient may be asked for."""
        return apply(primitive, operands, attributes)

    # The hottest operators skip the look for an engine: this is one.
    def __add__(self, other: Any) -> Any:
        return apply(elementwise.add, (self, other), _EMPTY)

    def __mul__(self, other: Any) -> Any:
        return apply(elementwise.multiply, (self, other), _EMPTY)

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
        """The tensor's own array; it is not copied."""
        return self.array

    def item(self) -> Any:
        """The value of a tensor with one element, as a Python number."""
        return self.array.item()

    def detach(self) -> Tensor:
        """The same array without its tape."""
        return Tensor(self.array, self.spec, self.device)

    def backward(self, seed: Any = None, *, keep_tape: bool = False) -> None:
        """Add the gradients of this tensor to `grad` of the leaves that it depends on.

        `seed` is the gradient of this tensor (its shape); 1 for a scalar. The tape is released
        unless `keep_tape`.
        """
        from .tape import backward

        backward(self, seed, keep_tape=keep_tape)

    def __float__(self) -> float:
        return float(self.array)

    def __bool__(self) -> bool:
        return bool(self.array)

    def __len__(self) -> int:
        if not self.spec.shape:
            raise TypeError("len() expected a tensor with at least one axis, received a scalar")
        return self.spec.shape[0]

    def __repr__(self) -> str:
        text = np.array2string(self.array, separator=", ", prefix="tensor(")
        gradient = ", requires_grad=True" if self.requires_grad else ""
        return f"tensor({text}, dtype={self.spec.dtype}{gradient})"


def apply(primitive: Primitive, operands: Sequence[Any], attributes: Mapping[str, Any]) -> Any:
    """Run `primitive` on operands of which at least one is an eager tensor."""
    try:
        device: Device = operands[0].device
        specs = tuple([operand.spec for operand in operands])
        key = (primitive, specs, *attributes.items()) if attributes else (primitive, specs)
        plan: Plan = device.plans[key]
        arrays = [operand.array for operand in operands]
    except (AttributeError, KeyError):
        operands, device, plan = _prepare(primitive, operands, attributes)
        specs = tuple([operand.spec for operand in operands])
        arrays = [operand.array for operand in operands]
    if device.hooks:
        return _apply_with_hooks(primitive, operands, attributes, specs, plan, arrays, device)
    return _launch(primitive, operands, attributes, specs, plan, arrays, device)


def _launch(
    primitive: Primitive,
    operands: Sequence[Tensor],
    attributes: Mapping[str, Any],
    specs: tuple[TensorSpec, ...],
    plan: Plan,
    arrays: list[Array],
    device: Device,
) -> Any:
    single = plan.single
    if primitive.effect == "update":
        plan.run(arrays[0], *arrays)
        return operands[0]
    if single is not None:
        if plan.pooled:
            out = device.pool.take(single)
        else:
            out = _empty(single.shape, single.dtype)
        plan.run(out, *arrays)
        if mode.recording and plan.differentiable:
            for operand in operands:
                if operand.entry is not None:
                    entry = Entry(primitive, attributes, operands, specs, (out,), device)
                    return Tensor(out, single, device, entry)
        return Tensor(out, single, device)
    return _launch_general(primitive, operands, attributes, specs, plan, arrays, device)


def _launch_general(
    primitive: Primitive,
    operands: Sequence[Tensor],
    attributes: Mapping[str, Any],
    specs: tuple[TensorSpec, ...],
    plan: Plan,
    arrays: list[Array],
    device: Device,
) -> Any:
    """Several outputs or a workspace."""
    outs = [device.empty(each) for each in plan.specs]
    if plan.workspace is not None:
        plan.run(*outs, *arrays, _workspace(plan.workspace, device))
    else:
        plan.run(*outs, *arrays)
    entry = None
    if mode.recording and plan.differentiable and any(each.entry for each in operands):
        entry = Entry(primitive, attributes, operands, specs, outs, device)
    first = Tensor(outs[0], plan.specs[0], device, entry)
    if len(outs) == 1:
        return first
    rest = zip(outs[1:], plan.specs[1:], strict=True)
    return (first, *(Tensor(array, each, device) for array, each in rest))


def _workspace(needed: TensorSpec, device: Device) -> Array:
    return device.pool.take(needed) if device.pooled else aligned_bytes(needed.nbytes)


def _apply_with_hooks(
    primitive: Primitive,
    operands: Sequence[Tensor],
    attributes: Mapping[str, Any],
    specs: tuple[TensorSpec, ...],
    plan: Plan,
    arrays: list[Array],
    device: Device,
) -> Any:
    for hook in device.hooks:
        hook.before(primitive, specs)
    result = _launch(primitive, operands, attributes, specs, plan, arrays, device)
    for hook in reversed(device.hooks):
        hook.after(primitive, specs, result)
    return result


def _prepare(
    primitive: Primitive, operands: Sequence[Any], attributes: Mapping[str, Any]
) -> tuple[tuple[Tensor, ...], Device, Plan]:
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
                f"received {operand!r}, made at {operand.node.origin}; run the graph first and "
                "use its result, or make a constant of the tensor's array"
            )
    lifted = tuple(
        operand if isinstance(operand, Tensor) else lift(operand, tensors, device)
        for operand in operands
    )
    specs = tuple(operand.spec for operand in lifted)
    key = (primitive, specs, *attributes.items()) if attributes else (primitive, specs)
    plan = device.plans.get(key)
    if plan is None:
        plan = device.plans[key] = Plan(primitive, specs, attributes, device)
    return lifted, device, plan


def lifted_dtype(value: Any, specs: Sequence[TensorSpec]) -> str:
    """The dtype that a plain number adopts beside tensors of these specs."""
    if isinstance(value, bool | np.bool_):
        return "bool"
    floating = [each.dtype for each in specs if each.floating]
    if floating:
        return floating[0]
    numeric = [each.dtype for each in specs if each.dtype != "bool"]
    if isinstance(value, int | np.integer) and numeric:
        return numeric[0]
    return "float32"


def lift(value: Any, tensors: Sequence[Tensor], device: Device) -> Tensor:
    """A number beside tensors, as a scalar of their dtype; raises `OperandError` on anything else.

    Scalars are kept, so that a number in a loop is converted once.
    """
    if isinstance(value, np.ndarray):
        return Tensor(np.ascontiguousarray(value), _spec_of(value), device)
    if not isinstance(value, int | float | np.number | np.bool_):
        raise OperandError(
            f"expected a tensor, an array or a number, received {type(value).__name__}"
        )
    dtype = lifted_dtype(value, [each.spec for each in tensors])
    key = (value, dtype)
    constant = device.constants.get(key)
    if constant is None:
        array = np.array(value, dtype)
        constant = device.constants[key] = Tensor(array, spec((), dtype), device)
    return constant  # type: ignore[no-any-return]


def _spec_of(array: Array) -> TensorSpec:
    return spec(array.shape, str(array.dtype))


def tensor(
    data: Any,
    *,
    requires_grad: bool = False,
    dtype: str | None = None,
    device: Device | None = None,
) -> Tensor:
    """A tensor of `data` (an array, number or nested list).

    An array of the right dtype that is contiguous is used as it is, not copied. Python floats
    become float32.
    """
    array = np.asarray(data)
    if dtype is None and not isinstance(data, np.ndarray | np.generic):
        dtype = {"f": "float32", "i": "int64"}.get(array.dtype.kind)
    array = np.asarray(array, dtype, order="C")
    made = Tensor(array, _spec_of(array), device or DEFAULT_DEVICE)
    if requires_grad:
        if not made.spec.floating:
            raise ShapeError(f"requires_grad expected float32 or float64, received {made.spec}")
        made.entry = Leaf(made)
    return made
