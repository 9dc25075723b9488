"""What an operation is: its name, shape rule, what backward keeps, and its pullback.

A primitive owns no kernel and no engine. Calling one looks at its operands: an eager tensor runs
the operation, a static value records it. The pullback is written with primitives, so the same rule
serves both engines and any order of derivative.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from .scalar_rules import ScalarRule
from .specs import TensorSpec

Infer = Callable[..., TensorSpec | tuple[TensorSpec, ...]]
Pullback = Callable[[Any, "Saved"], tuple[Any, ...]]
Effect = Literal["pure", "update"]


class OperandError(TypeError):
    """Operands that no engine or not the same engine made."""


class UndeclaredSaveError(LookupError):
    """A pullback read a value that its primitive does not declare in `saves`."""


class Saved:
    """What a pullback may read of the call that it reverses: both engines' records derive from it.

    `specs` are the input specs; `needs[i]` tells whether the gradient of input i is asked for.
    `inputs` and `outputs` have a place for each, filled only where the primitive declares that it
    saves them.
    """

    __slots__ = ("attributes", "inputs", "outputs", "primitive", "sequence", "sources", "specs")

    primitive: Primitive
    attributes: Mapping[str, Any]
    specs: Sequence[TensorSpec]
    inputs: Sequence[Any]
    outputs: Sequence[Any]
    sources: Sequence[Any]
    sequence: int

    @property
    def needs(self) -> tuple[bool, ...]:
        """For each input, whether its gradient is asked for."""
        return tuple([source is not None for source in self.sources])

    def input(self, index: int) -> Any:
        """The operand `index` of the call; raises `UndeclaredSaveError`."""
        if index not in self.primitive.saves_inputs:
            raise UndeclaredSaveError(
                f"the pullback of {self.primitive.name} reads input {index}, which is not saved"
            )
        return self.inputs[index]

    def output(self, index: int = 0) -> Any:
        """The result `index` of the call; raises `UndeclaredSaveError`."""
        if index not in self.primitive.saves_outputs:
            raise UndeclaredSaveError(
                f"the pullback of {self.primitive.name} reads output {index}, which is not saved"
            )
        return self.outputs[index]


class Primitive:
    """One operation. See docs/architecture.md for how engines use it.

    `saves_inputs` and `saves_outputs` are what the pullback may read. `inplace` lists pairs
    (output, input) that may share a buffer. `effect` is "pure" or "update" (output 0 is input 0
    changed in place). Only output 0 carries a gradient.
    """

    __slots__ = (
        "effect",
        "infer",
        "inplace",
        "name",
        "rule",
        "saves_inputs",
        "saves_outputs",
        "scalar",
    )

    def __init__(
        self,
        name: str,
        infer: Infer,
        *,
        saves_inputs: tuple[int, ...] = (),
        saves_outputs: tuple[int, ...] = (),
        inplace: tuple[tuple[int, int], ...] = (),
        effect: Effect = "pure",
        scalar: ScalarRule | None = None,
    ) -> None:
        self.name = name
        self.infer = infer
        self.saves_inputs = saves_inputs
        self.saves_outputs = saves_outputs
        self.inplace = inplace
        self.effect: Effect = effect
        self.scalar = scalar
        self.rule: Pullback | None = None
        PRIMITIVES[name] = self

    def pullback(self, rule: Pullback) -> Pullback:
        """Decorator: `rule(gradient, saved)` gives one gradient or None per input."""
        self.rule = rule
        return rule

    def output_specs(
        self, specs: Sequence[TensorSpec], attributes: Mapping[str, Any]
    ) -> tuple[TensorSpec, ...]:
        """Specs of all outputs; raises `ShapeError`."""
        result = self.infer(*specs, **attributes)
        return result if isinstance(result, tuple) else (result,)

    def __call__(self, *operands: Any, **attributes: Any) -> Any:
        """Run or record the operation, as the operands decide; raises `OperandError`."""
        for operand in operands:
            try:
                apply = operand.apply_primitive
            except AttributeError:
                continue
            return apply(self, operands, attributes)
        received = ", ".join(type(operand).__name__ for operand in operands)
        raise OperandError(
            f"{self.name} expected at least one tensor of an engine, received {received}; "
            "make one with tensor(...) (eager) or constant(...) (static)"
        )

    def __repr__(self) -> str:
        return f"Primitive({self.name})"


PRIMITIVES: dict[str, Primitive] = {}
"""Every primitive by name."""


def same_as_first(first: TensorSpec, *others: TensorSpec, **attributes: Any) -> TensorSpec:
    """Shape rule of operations whose result looks like their first operand."""
    return first
