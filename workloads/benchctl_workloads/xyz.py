"""The gradient of a small product: c = sum(x * y * z), the lecture's opening example."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from benchctl_engines.contract import Array, ByHand, Case, Outputs, Step

from .by_hand import xyz as by_hand
from .workload import Axis, AxisError, AxisValue, Cost, Tolerance, Workload

_NAMES = ("x", "y", "z")
_BY_HAND: Mapping[str, ByHand] = {
    "product": by_hand.product_gradient,
    "multiply_add": by_hand.multiply_add_gradient,
    "as_on_the_slide": by_hand.as_on_the_slide,
}
_FORMULAS = {
    "product": "sum(x*y*z)",
    "multiply_add": "sum(x*y + z)",
    "as_on_the_slide": "sum(x*y*z) with the gradients of the slide",
}


def parse_size(text: str) -> tuple[int, int] | None:
    """(rows, columns) of a size such as "3x4"; None where `text` is no size."""
    rows, cross, columns = text.strip().lower().partition("x")
    if not cross or not all(part.isascii() and part.isdigit() for part in (rows, columns)):
        return None
    size = int(rows), int(columns)
    return size if min(size) > 0 else None


class SizeAxis(Axis):
    """Rows x columns of the three arrays."""

    __slots__ = ()

    def parse(self, text: str) -> AxisValue:
        size = parse_size(text)
        if size is None:
            raise AxisError(
                f"axis {self.name} expected ROWSxCOLUMNS such as {self.default}, received {text!r}"
            )
        return f"{size[0]}x{size[1]}"


class LegacySeedAxis(Axis):
    """`none`, or the seed of NumPy's legacy generator."""

    __slots__ = ()

    def parse(self, text: str) -> AxisValue:
        if text.lower() == "none":
            return "none"
        if text.isascii() and text.isdigit() and int(text) < 2**32:
            return str(int(text))
        raise AxisError(
            f"axis {self.name} expected none or a whole number from 0 to {2**32 - 1}, "
            f"received {text!r}"
        )


class Xyz(Workload):
    """c = sum(x*y*z) and its gradients, or sum(x*y + z), or the slide's mixture of both."""

    name = "xyz"
    summary = "gradient of sum(x*y*z), 3x4 to 4096x4096"
    axes = (
        Axis(
            "expression",
            "product",
            ("product", "multiply_add", "as_on_the_slide"),
            description="what is summed; as_on_the_slide has wrong gradients by hand, to be caught",
        ),
        SizeAxis(
            "size",
            "3x4",
            sweep=(
                "3x4",
                "10x10",
                "32x32",
                "100x100",
                "316x316",
                "1000x1000",
                "2048x2048",
                "4096x4096",
            ),
            description="rows x columns of x, y and z",
        ),
        Axis("dtype", "float32", ("float32", "float64"), description="type of the numbers"),
        LegacySeedAxis(
            "legacy_seed", "none", description="draw the inputs with RandomState, as in the lecture"
        ),
    )

    def inputs(self, case: Case, rng: np.random.Generator) -> dict[str, Array]:
        shape = _shape(case)
        legacy_seed = str(case["legacy_seed"])
        if legacy_seed != "none":
            legacy = np.random.RandomState(int(legacy_seed))
            return {name: legacy.randn(*shape).astype(case["dtype"]) for name in _NAMES}
        return {name: rng.standard_normal(shape, dtype=case["dtype"]) for name in _NAMES}

    def program(
        self, ops: Any, parameters: Mapping[str, Any], inputs: Mapping[str, Any], case: Case
    ) -> Outputs:
        a = ops.multiply(inputs["x"], inputs["y"])
        if case["expression"] == "multiply_add":
            b = ops.add(a, inputs["z"])
        else:
            b = ops.multiply(a, inputs["z"])
        c = ops.sum(b)
        return Outputs(values={"c": c}, objective=c)

    def step(self, case: Case) -> Step:
        return "gradient"

    def differentiate(self, case: Case) -> tuple[str, ...]:
        return _NAMES

    def by_hand(self, case: Case) -> ByHand:
        return _BY_HAND[case["expression"]]

    def reference(
        self, case: Case, parameters: Mapping[str, Array], inputs: Mapping[str, Array]
    ) -> dict[str, Array]:
        """What a right engine returns, in the dtype of the inputs."""
        x, y, z = (inputs[name] for name in _NAMES)
        if case["expression"] == "multiply_add":
            c = np.vdot(x, y) + np.sum(z)
            return {"c": np.asarray(c), "grad_x": y, "grad_y": x, "grad_z": np.ones_like(z)}
        c = np.einsum("ij,ij,ij->", x, y, z)
        return {"c": np.asarray(c), "grad_x": y * z, "grad_y": x * z, "grad_z": x * y}

    def tolerance(self, case: Case, output: str) -> Tolerance:
        """A gradient is rounded once; the sum n times, at the size its partial sums reach."""
        epsilon = float(np.finfo(case["dtype"]).eps)
        if output != "c":
            return Tolerance(relative=8 * epsilon)
        rows, columns = _shape(case)
        n = rows * columns
        return Tolerance(relative=8 * epsilon, absolute=8 * epsilon * (n**0.5 * np.log2(n + 1)))

    def suspects(self, case: Case, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """The results of both formulas: a wrong output is often a right one in another place."""
        suspects = {}
        for expression in ("product", "multiply_add"):
            formula = _FORMULAS[expression].removeprefix("sum(").removesuffix(")")
            results = self.reference({**case, "expression": expression}, {}, inputs)
            for output, value in results.items():
                suspects[f"{output} of {formula}"] = value
        return suspects

    def cost(self, case: Case) -> Cost:
        rows, columns = _shape(case)
        n = rows * columns
        flops_an_element = 3 if case["expression"] == "multiply_add" else 5
        moved = 6 * n + 1  # x, y, z in; three gradients and c out
        itemsize = np.dtype(case["dtype"]).itemsize
        return Cost(flops=flops_an_element * n - 1, bytes_moved=moved * itemsize)

    def title(self, case: Case) -> str:
        text = f"{case['expression']}, {case['size']} {case['dtype']}, "
        return text + f"gradient of {_FORMULAS[case['expression']]}"


def _shape(case: Case) -> tuple[int, int]:
    size = parse_size(case["size"])
    if size is None:
        raise AxisError(f"axis size expected ROWSxCOLUMNS such as 3x4, received {case['size']!r}")
    return size
