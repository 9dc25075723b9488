"""What depends on specs alone, decided once: shape rule, kernel, workspace, what backward keeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..contract import Array
from ..devices.cpu import Device
from ..gpu.array import DeviceArray
from ..kernels.table import KernelRequest, kernel_words, prepared_kernel
from ..primitives import elementwise
from ..primitives.primitive import Primitive
from ..primitives.specs import TensorSpec, spec, stated_dtype
from .pullbacks import Pullback, compiled_pullback

NO_ATTRIBUTES: Mapping[str, Any] = {}


class Plan:
    """A primitive made ready for operands of given kinds."""

    __slots__ = (
        "attributes",
        "device",
        "differentiable",
        "full_pullback",
        "input_specs",
        "kernel",
        "kind",
        "kinds",
        "make",
        "pooled",
        "primitive",
        "pullbacks",
        "records_operands",
        "rule",
        "run",
        "saved_inputs",
        "saved_outputs",
        "saves_all_inputs",
        "saves_outputs",
        "simple",
        "specs",
        "walks",
        "workspace",
    )

    def __init__(
        self,
        primitive: Primitive,
        specs: tuple[TensorSpec, ...],
        attributes: Mapping[str, Any],
        device: Device,
    ) -> None:
        self.primitive = primitive
        self.attributes = attributes
        self.device = device
        self.input_specs = specs
        self.specs = primitive.output_specs(specs, attributes)
        self.kinds = tuple(device.kind(each) for each in self.specs)
        self.kind = self.kinds[0]
        request = KernelRequest(
            specs,
            self.specs,
            attributes,
            device.threads,
            device.driver,
            device.precision,
            device.left_out,
            tuner=device.tuner,
        )
        row, prepared = prepared_kernel(primitive.name, device.name, request)
        self.run = prepared.run
        self.kernel = kernel_words(primitive.name, row, prepared)
        device.kernel_names[self.kernel] = None
        self.workspace = (
            spec((prepared.workspace_bytes,), "uint8") if prepared.workspace_bytes else None
        )
        pure = primitive.effect == "pure"
        self.simple = pure and len(self.specs) == 1 and self.workspace is None
        large = any(each.nbytes >= device.pooled_bytes for each in self.specs)
        self.pooled = device.pooled and large
        self.make = prepared.make if self.simple and not large else None
        self.differentiable = pure and self.specs[0].floating
        self.rule: Any = primitive.rule
        self.pullbacks: dict[tuple[bool, ...], Pullback] = {}
        self.full_pullback: Pullback | None = None
        # Remembered backward walks that start at such a call; see walks.py.
        self.walks: list[Any] = []
        self.saved_inputs = tuple(i in primitive.saves_inputs for i in range(len(specs)))
        self.saved_outputs = tuple(i in primitive.saves_outputs for i in range(len(self.specs)))
        self.saves_all_inputs = all(self.saved_inputs)
        self.saves_outputs = any(self.saved_outputs)
        self.records_operands = self.saves_all_inputs and not self.saves_outputs

    def pullback(self, sources: Sequence[Any]) -> Pullback:
        """The generated pullback for the inputs that have a source."""
        needs = tuple([source is not None for source in sources])
        found = self.pullbacks.get(needs)
        if found is None:
            found = compiled_pullback(self, needs, plan_of(self.device))
            self.pullbacks[needs] = found
            if all(needs):
                self.full_pullback = found
        return found


def plan_of(device: Device) -> Callable[..., Plan]:
    """The plans of a device, made where missing."""

    def plan_of(
        primitive: Primitive, specs: tuple[TensorSpec, ...], attributes: Mapping[str, Any]
    ) -> Plan:
        key = (primitive, *(device.kind(each) for each in specs), *attributes.items())
        plan: Plan | None = device.plans.get(key)
        if plan is None:
            plan = device.plans[key] = Plan(primitive, specs, dict(attributes), device)
        return plan

    return plan_of


def accumulated(total: Array, contribution: Array, owned: bool, device: Device) -> Array:
    """total + contribution, into `total` where that is a sum of our own."""
    made = array_spec(total)
    plan = plan_of(device)(elementwise.add, (made, made), NO_ATTRIBUTES)
    out = total if owned else device.empty(made)
    plan.run(out, total, contribution)
    return out


def array_spec(array: Any) -> TensorSpec:
    """The spec of an array; raises `ShapeError` for one of a dtype that a program may not state."""
    if isinstance(array, DeviceArray):
        return array.spec
    return spec(array.shape, stated_dtype(array.dtype.name))
