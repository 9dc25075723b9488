"""A pullback as a list of primitive calls, found by running its rule once on stand-ins.

Which calls a rule makes depends on specs, attributes and needs alone, so the list serves every
later call with the same; an engine can turn it into code that never looks at the rule again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .half_storage import held
from .primitive import Primitive, Saved
from .specs import TensorSpec, spec


@dataclass(frozen=True, slots=True)
class TracedCall:
    """One call: operands are names of earlier values or numbers as 0-d arrays."""

    primitive: Primitive
    operands: tuple[Any, ...]
    operand_specs: tuple[TensorSpec, ...]
    attributes: Mapping[str, Any]
    results: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PullbackTrace:
    """The calls of a rule and, per input, the name of its gradient or None.

    Names: `g` the gradient pulled back, `i<n>` and `o<n>` saved inputs and outputs, `t<n>` results.
    """

    calls: tuple[TracedCall, ...]
    gradients: tuple[str | None, ...]


class _StandIn:
    """An operand that records what is done to it."""

    __slots__ = ("name", "spec", "trace")

    def __init__(self, name: str, spec: TensorSpec, trace: list[TracedCall]) -> None:
        self.name = name
        self.spec = spec
        self.trace = trace

    @staticmethod
    def apply_primitive(
        primitive: Primitive, operands: Sequence[Any], attributes: Mapping[str, Any]
    ) -> Any:
        """Record the call."""
        known = [each for each in operands if isinstance(each, _StandIn)]
        trace = known[0].trace
        floating = next((each.spec.dtype for each in known if each.spec.floating), "float32")
        names: list[Any] = []
        specs: list[TensorSpec] = []
        for each in operands:
            if isinstance(each, _StandIn):
                names.append(each.name)
                specs.append(each.spec)
            else:
                names.append(held(each, floating))
                specs.append(spec((), floating))
        outputs = primitive.output_specs(specs, attributes)
        results = tuple(f"t{len(trace)}_{index}" for index in range(len(outputs)))
        trace.append(TracedCall(primitive, tuple(names), tuple(specs), attributes, results))
        made = tuple(
            _StandIn(name, each, trace) for name, each in zip(results, outputs, strict=True)
        )
        return made[0] if len(made) == 1 else made


def trace_pullback(
    primitive: Primitive,
    specs: Sequence[TensorSpec],
    output_specs: Sequence[TensorSpec],
    attributes: Mapping[str, Any],
    needs: Sequence[bool],
) -> PullbackTrace:
    """The calls that the pullback of `primitive` makes for these specs and needs."""
    if primitive.rule is None:
        raise NotImplementedError(f"{primitive.name} has no gradient")
    trace: list[TracedCall] = []
    saved = Saved()
    saved.primitive = primitive
    saved.specs = specs
    saved.attributes = attributes
    saved.sources = [True if needed else None for needed in needs]
    saved.inputs = [_StandIn(f"i{n}", each, trace) for n, each in enumerate(specs)]
    saved.outputs = [_StandIn(f"o{n}", each, trace) for n, each in enumerate(output_specs)]
    found = primitive.rule(_StandIn("g", output_specs[0], trace), saved)
    names = tuple(
        each.name if each is not None and needed else None
        for each, needed in zip(found, needs, strict=True)
    )
    return PullbackTrace(tuple(trace), names)
