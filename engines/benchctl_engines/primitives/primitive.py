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
    """What a pullback may read of the call that it reverses.

    `specs` are the input specs; `needs[i]` tells whether the gradient of input i is asked for.
    Inputs and outputs are there only where the primitive declares that it saves them.
    """

    __slots__ = ("_inputs", "_outputs", "attributes", "needs", "primitive", "specs")

    def __init__(
        self,
        primitive: Primitive,
        specs: tuple[TensorSpec, ...],
        attributes: Mapping[str, Any],
        needs: tuple[bool, ...],
        inputs: Mapping[int, Any],
        outputs: Mapping[int, Any],
    ) -> None:
        self.primitive = primitive
        self.specs = specs
        self.attributes = attributes
        self.needs = needs
        self._inputs = inputs
        self._outputs = outputs

    def input(self, index: int) -> Any:
        """The operand `index` of the call; raises `UndeclaredSaveError`."""
        try:
            return self._inputs[index]
        except KeyError:
            raise UndeclaredSaveError(
                f"the pullback of {self.primitive.name} reads input {index}, which is not saved"
            ) from None

    def output(self, index: int = 0) -> Any:
        """The result `index` of the call; raises `UndeclaredSaveError`."""
        try:
            return self._outputs[index]
        except KeyError:
            raise UndeclaredSaveError(
                f"the pullback of {self.primitive.name} reads output {index}, which is not saved"
            ) from None


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
            apply = getattr(operand, "apply_primitive", None)
            if apply is not None:
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
