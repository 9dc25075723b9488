"""Conditional layers: does control flow that depends on data cost more in a static graph?

Three small networks on vectors, each written with control flow and without it:

branch  a list of layers, each tanh(h * w + b) or h * v as a number of the input decides;
        without: both are computed and `where` selects
loop    h = tanh(h * w + x) over the rows x of an input; without: the loop written out
while   h = tanh(h * w + b) as often as a number of the input says; without: as often as it may be,
        and `where` keeps h from then on

The layers are small, so that what is seen is the way to them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from benchctl_engines.contract import Array, ByHand, Case, Outputs, Step

from .by_hand import conditional as by_hand
from .workload import Axis, Cost, Tolerance, Workload

_SOURCES = {
    "branch": ("x", "w", "b", "v"),
    "loop": ("x", "w", "rows"),
    "while": ("x", "w", "b"),
}
CONTROL_FLOW = "control_flow"
BRANCHLESS = "branchless"


class Conditional(Workload):
    """A branch a layer, a loop over rows, or a loop until a condition fails."""

    name = "conditional"
    summary = "branches and loops that depend on data, and the same without them"
    axes = (
        Axis("form", "branch", ("branch", "loop", "while"), description="what depends on data"),
        Axis(
            "written",
            CONTROL_FLOW,
            (CONTROL_FLOW, BRANCHLESS),
            description="with cond, scan and while_loop, or with where and unrolled",
        ),
        Axis("size", 1024, sweep=(16, 1024, 65536), description="length of the vectors"),
        Axis("steps", 16, sweep=(4, 16, 64), description="layers, rows, or iterations at most"),
        Axis("mode", "forward", ("forward", "gradient"), description="what one step computes"),
    )

    def inputs(self, case: Case, rng: np.random.Generator) -> dict[str, Array]:
        form, size, steps = case["form"], case["size"], case["steps"]
        inputs: dict[str, Array] = {"x": rng.standard_normal((size,), dtype="float32")}
        if form == "branch":
            # Half of the layers go either way, in another order every round.
            gates = np.where(rng.permutation(steps) < (steps + 1) // 2, 1.0, -1.0)
            inputs["gates"] = gates.astype("float32")
        elif form == "loop":
            inputs["rows"] = rng.standard_normal((steps, size), dtype="float32")
        else:
            half = steps // 2
            count = rng.integers(max(1, half - 1), min(steps, half + 1) + 1)
            inputs["start"] = np.zeros((), "float32")
            inputs["count"] = np.array(count, "float32")
        return inputs

    def parameters(self, case: Case, rng: np.random.Generator) -> dict[str, Array]:
        size = case["size"]
        parameters: dict[str, Array] = {"w": rng.uniform(0.5, 1.0, (size,)).astype("float32")}
        if case["form"] != "loop":
            parameters["b"] = rng.standard_normal((size,), dtype="float32") * np.float32(0.1)
        if case["form"] == "branch":
            parameters["v"] = rng.uniform(0.8, 1.1, (size,)).astype("float32")
        return parameters

    def program(
        self, ops: Any, parameters: Mapping[str, Any], inputs: Mapping[str, Any], case: Case
    ) -> Outputs:
        run = _PROGRAMS[case["form"], case["written"]]
        h, loss = run(ops, parameters, inputs, case)
        return Outputs(values={"h": h, "loss": loss}, objective=loss)

    def step(self, case: Case) -> Step:
        return "gradient" if case["mode"] == "gradient" else "forward"

    def differentiate(self, case: Case) -> tuple[str, ...]:
        return _SOURCES[case["form"]]

    def by_hand(self, case: Case) -> ByHand:
        return by_hand.step(
            case["form"], case["steps"], case["written"] == BRANCHLESS, case["mode"] == "gradient"
        )

    def tolerance(self, case: Case, output: str) -> Tolerance:
        """A chain of `steps` roundings; sums of terms of both signs may come out small."""
        terms = case["size"] if output == "loss" else 1
        return Tolerance(relative=1e-4, absolute=2e-6 * float(terms) ** 0.5)

    def cost(self, case: Case) -> Cost:
        """Of the layers that run: a branch that is not taken costs nothing."""
        form, size, steps = case["form"], case["size"], case["steps"]
        rows = steps * size if form == "loop" else 0
        parameters = {"branch": 3, "loop": 1, "while": 2}[form] * size
        flops = {"branch": 2 * steps, "loop": 4 * steps, "while": 3 * (steps // 2 + 1)}[form] * size
        moved = size + rows + parameters + size
        if case["mode"] == "gradient":
            flops *= 3
            moved += size + rows + parameters
        return Cost(flops, 4 * moved, parameters)

    def title(self, case: Case) -> str:
        words = {
            "branch": f"{case['steps']} layers that a condition chooses",
            "loop": f"a loop over {case['steps']} rows",
            "while": f"a loop of at most {case['steps']} iterations until a condition fails",
        }
        written = "control flow" if case["written"] == CONTROL_FLOW else "where and unrolled"
        return f"{words[case['form']]}, {written}, {case['mode']}, vectors of {case['size']}"


# ----- the programs, each in both forms -----------------------------------------------------------


def _layer(ops: Any, parameters: Mapping[str, Any], h: Any) -> Any:
    return ops.tanh(ops.add(ops.multiply(h, parameters["w"]), parameters["b"]))


def _branches(
    ops: Any, parameters: Mapping[str, Any], inputs: Mapping[str, Any], case: Case
) -> Any:
    h = inputs["x"]
    for place in range(case["steps"]):
        h = ops.cond(
            _open(ops, inputs["gates"], place),
            lambda h: _layer(ops, parameters, h),
            lambda h: ops.multiply(h, parameters["v"]),
            (h,),
        )
    return h, ops.sum(h)


def _selections(
    ops: Any, parameters: Mapping[str, Any], inputs: Mapping[str, Any], case: Case
) -> Any:
    h = inputs["x"]
    for place in range(case["steps"]):
        chosen = _open(ops, inputs["gates"], place)
        h = ops.where(chosen, _layer(ops, parameters, h), ops.multiply(h, parameters["v"]))
    return h, ops.sum(h)


def _open(ops: Any, gates: Any, place: int) -> Any:
    """Whether the gate at a place is above zero: a bool scalar."""
    return ops.greater(ops.reshape(ops.slice(gates, (place,), (place + 1,)), ()), 0.0)


def _recurrence(ops: Any, parameters: Mapping[str, Any], h: Any, row: Any) -> Any:
    return ops.tanh(ops.add(ops.multiply(h, parameters["w"]), row))


def _scanned(ops: Any, parameters: Mapping[str, Any], inputs: Mapping[str, Any], case: Case) -> Any:
    def body(h: Any, row: Any) -> Any:
        h = _recurrence(ops, parameters, h, row)
        return h, h

    h, states = ops.scan(body, inputs["x"], inputs["rows"])
    return h, ops.sum(states)


def _unrolled(
    ops: Any, parameters: Mapping[str, Any], inputs: Mapping[str, Any], case: Case
) -> Any:
    h, rows, loss = inputs["x"], inputs["rows"], None
    size = case["size"]
    for place in range(case["steps"]):
        row = ops.reshape(ops.slice(rows, (place, 0), (place + 1, size)), (size,))
        h = _recurrence(ops, parameters, h, row)
        total = ops.sum(h)
        loss = total if loss is None else ops.add(loss, total)
    return h, loss


def _looped(ops: Any, parameters: Mapping[str, Any], inputs: Mapping[str, Any], case: Case) -> Any:
    def goes_on(carry: Any) -> Any:
        done, _ = carry
        return ops.greater(inputs["count"], done)

    def body(carry: Any) -> Any:
        done, h = carry
        return ops.add(done, 1.0), _layer(ops, parameters, h)

    _, h = ops.while_loop(goes_on, body, (inputs["start"], inputs["x"]), limit=case["steps"])
    return h, ops.sum(h)


def _masked(ops: Any, parameters: Mapping[str, Any], inputs: Mapping[str, Any], case: Case) -> Any:
    done, h = inputs["start"], inputs["x"]
    for _ in range(case["steps"]):
        goes_on = ops.greater(inputs["count"], done)
        h = ops.where(goes_on, _layer(ops, parameters, h), h)
        done = ops.add(done, 1.0)
    return h, ops.sum(h)


_PROGRAMS = {
    ("branch", CONTROL_FLOW): _branches,
    ("branch", BRANCHLESS): _selections,
    ("loop", CONTROL_FLOW): _scanned,
    ("loop", BRANCHLESS): _unrolled,
    ("while", CONTROL_FLOW): _looped,
    ("while", BRANCHLESS): _masked,
}
