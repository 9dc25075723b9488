"""A workload's forward program as a list of calls with shapes and dtypes known.

Shape rules, attributes and plain numbers are those of the in-house primitives; nothing is computed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..contract import Array, Case, Program
from ..primitives.operators import TensorOperators
from ..primitives.primitive import Primitive
from ..primitives.specs import TensorSpec, number_dtype, spec
from ..primitives.vocabulary_methods import InHouseVocabulary


class RecordedValue(TensorOperators):
    """A tensor of the program: calling a primitive on it records the call."""

    __slots__ = ("_recording", "name", "spec")

    def __init__(self, name: str, made: TensorSpec, recording: Recording) -> None:
        self.name = name
        self.spec = made
        self._recording = recording

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes."""
        return self.spec.shape

    @property
    def dtype(self) -> str:
        """Name of the type of the elements."""
        return self.spec.dtype

    def apply_primitive(
        self, primitive: Primitive, operands: Sequence[Any], attributes: Mapping[str, Any]
    ) -> Any:
        """Record the call and give what stands for its result."""
        return self._recording.record(primitive, operands, attributes)


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """One primitive: operands and result by name and spec.

    `more` are the results after the first, where a step differentiates and so may need them.
    """

    primitive: str
    operands: tuple[RecordedValue, ...]
    attributes: Mapping[str, Any]
    result: RecordedValue
    more: tuple[RecordedValue, ...] = ()


@dataclass(slots=True)
class Recording:
    """Calls in order. `arrays` holds parameters and constants, `values` the outputs by name.

    `initial` has the arrays of inputs that need not be given: parameters that a step changes.
    """

    calls: list[RecordedCall] = field(default_factory=list)
    arrays: dict[str, Array] = field(default_factory=dict)
    initial: dict[str, Array] = field(default_factory=dict)
    inputs: dict[str, RecordedValue] = field(default_factory=dict)
    values: dict[str, RecordedValue] = field(default_factory=dict)

    def record(
        self, primitive: Primitive, operands: Sequence[Any], attributes: Mapping[str, Any]
    ) -> Any:
        """Append a call; of several results only the first is a value, as forward needs no more."""
        known = [each.spec for each in operands if isinstance(each, RecordedValue)]
        lifted = tuple(
            each if isinstance(each, RecordedValue) else self._constant(each, known)
            for each in operands
        )
        specs = primitive.output_specs([each.spec for each in lifted], attributes)
        result = RecordedValue(f"value_{len(self.calls)}", specs[0], self)
        self.calls.append(RecordedCall(primitive.name, lifted, attributes, result))
        return result if len(specs) == 1 else (result, *[None] * (len(specs) - 1))

    def hold(self, name: str, array: Array) -> RecordedValue:
        """A value whose array is known now."""
        self.arrays[name] = array
        return RecordedValue(name, spec(array.shape, str(array.dtype)), self)

    def _constant(self, number: Any, beside: Sequence[TensorSpec]) -> RecordedValue:
        array = np.array(number)
        if not isinstance(number, np.ndarray):
            array = array.astype(number_dtype(number, beside))
        return self.hold(f"constant_{len(self.arrays)}", array)


def record_program(
    workload: Program,
    case: Case,
    parameters: Mapping[str, Array],
    inputs: Mapping[str, Array],
) -> Recording:
    """Run the program once on stand-ins; the arrays of `parameters` are kept, not copied."""
    recording = Recording()
    known = {name: recording.hold(f"parameter_{name}", each) for name, each in parameters.items()}
    for name, each in inputs.items():
        made = spec(each.shape, str(each.dtype))
        recording.inputs[name] = RecordedValue(f"input_{name}", made, recording)
    outputs = workload.program(InHouseVocabulary(), known, recording.inputs, case)
    recording.values = dict(outputs.values)
    return recording
