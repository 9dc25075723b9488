"""What a workload is: axes, seeded arrays, one program in the vocabulary, its cost.

Subclass `Workload`, give it a name and axes, and write `inputs`, `parameters` and `program`. The
same program then runs on every engine. See docs/writing-a-workload.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from benchctl_engines.contract import Array, ByHand, Case, Objectives, Outputs, Step

AxisValue = str | int | float


class AxisError(ValueError):
    """An axis or axis value that the workload does not have; the message lists the choices."""


@dataclass(frozen=True, slots=True)
class Axis:
    """One parameter of a workload: `-a name=value`.

    `values` lists what is allowed; empty means any value of the default's type that is positive.
    `sweep` is what a suite uses when it varies this axis.
    """

    name: str
    default: AxisValue
    values: tuple[AxisValue, ...] = ()
    sweep: tuple[AxisValue, ...] = ()
    description: str = ""

    def parse(self, text: str) -> AxisValue:
        """The value that `text` means on this axis; raises `AxisError`."""
        if self.values:
            for value in self.values:
                if str(value).lower() == text.lower():
                    return value
            choices = ", ".join(str(value) for value in self.values)
            raise AxisError(f"axis {self.name} expected one of {choices}, received {text!r}")
        if isinstance(self.default, str):
            return text
        kind = type(self.default)
        try:
            number = kind(text)
        except ValueError:
            number = kind(0)
        if number <= 0:
            word = "a positive whole number" if kind is int else "a positive number"
            raise AxisError(f"axis {self.name} expected {word}, received {text!r}")
        return number


@dataclass(frozen=True, slots=True)
class Cost:
    """The least work a step must do, for roofline figures.

    `flops` counts a multiply-add as two; `bytes_moved` is every input and output moved once, at the
    size that the CPU stores it in: float32 has four bytes, whatever the precision of an arm;
    `parameters` is a number of scalars.
    """

    flops: int
    bytes_moved: int
    parameters: int = 0


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far a float32 result may be from the float64 reference.

    An output passes when its worst element differs by at most `relative` times the largest
    magnitude in the reference, plus `absolute`.
    """

    relative: float = 1e-5
    absolute: float = 0.0


class Workload:
    """Base class of workloads; override what differs."""

    name: ClassVar[str] = ""
    axes: ClassVar[tuple[Axis, ...]] = ()
    summary: ClassVar[str] = ""
    """One line for `benchctl list`."""
    varying_shapes: ClassVar[bool] = False
    """Whether the inputs of one case may have several shapes; some engines cannot take them."""

    # What is computed ----------------------------------------------------------------------

    def inputs(self, case: Case, rng: np.random.Generator) -> dict[str, Array]:
        """The arrays that change every round, by name."""
        raise NotImplementedError

    def batches(self, case: Case, rng: np.random.Generator) -> list[dict[str, Array]]:
        """The sets of inputs that one step goes through, one after another.

        Of several the step takes each anew, and taking them is part of its time; the outputs of
        each are checked. Only a training step has always one.
        """
        return [self.inputs(case, rng)]

    def parameters(self, case: Case, rng: np.random.Generator) -> dict[str, Array]:
        """The arrays that a training step learns, by name; in the layout that the case asks for."""
        return {}

    def program(
        self, ops: Any, parameters: Mapping[str, Any], inputs: Mapping[str, Any], case: Case
    ) -> Outputs:
        """The computation, in the vocabulary `ops` alone (benchctl_engines.vocabulary)."""
        raise NotImplementedError

    def step(self, case: Case) -> Step:
        """What one step is: "forward", "gradient" or "training"."""
        return "forward"

    def differentiate(self, case: Case) -> tuple[str, ...]:
        """Inputs and parameters whose gradients a gradient step returns."""
        return ()

    def learning_rate(self, case: Case) -> float:
        """Step size of the SGD update of a training step."""
        return 0.01

    def objectives(self, case: Case) -> Objectives | None:
        """What each objective of a training step trains, where it is more than plain SGD.

        By the name of a scalar among the program's values, the names of parameters. `update` is
        then asked for their new values.
        """
        return None

    def update(
        self, ops: Any, parameters: Mapping[str, Any], gradients: Mapping[str, Any], case: Case
    ) -> Mapping[str, Any]:
        """New values of parameters by name, computed with `ops`; the others stay as they are."""
        raise NotImplementedError(
            f"the workload {self.name} states objectives and no updates; define "
            "update(ops, parameters, gradients, case)"
        )

    def by_hand(self, case: Case) -> ByHand | None:
        """The step in NumPy with gradients derived by hand, for the engine `numpy`."""
        return None

    # How results are judged ----------------------------------------------------------------

    def tolerance(self, case: Case, output: str) -> Tolerance:
        """How far `output` may be from the float64 reference."""
        return Tolerance()

    def suspects(self, case: Case, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """Named arrays that a wrong output is compared with, to say what it really equals."""
        return {}

    # How it is shown -----------------------------------------------------------------------

    def cost(self, case: Case) -> Cost:
        """Least flops and bytes of one step."""
        return Cost(0, 0, 0)

    def title(self, case: Case) -> str:
        """The case in words, for table headings."""
        return ", ".join(f"{name} {value}" for name, value in case.items())


def make_case(workload: Workload, given: Mapping[str, AxisValue]) -> dict[str, AxisValue]:
    """The case with defaults filled in, in axis order; raises `AxisError` on an unknown axis."""
    known = {axis.name for axis in workload.axes}
    for name in given:
        if name not in known:
            choices = ", ".join(axis.name for axis in workload.axes) or "none"
            raise AxisError(f"workload {workload.name} has no axis {name!r} (axes: {choices})")
    return {axis.name: given.get(axis.name, axis.default) for axis in workload.axes}
