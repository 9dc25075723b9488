"""What it costs to get at activations within VGG16 beside its logits.

Every activation that is fetched must exist as it was written: an engine can no longer let a pooling
take its place within the convolution, and has to hand it over.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from benchctl_engines.contract import Array, ByHand, Case, Outputs

from .by_hand.intermediates import IntermediatesStep
from .classifier import classify
from .vgg16 import Vgg16, classifier_of, convolutions_of, features
from .workload import Axis, Cost, Tolerance, Workload

INNER = "conv3_3"
"""In the middle, and before a pooling."""

_VGG16 = Vgg16()
_FIXED = {"mode": "inference", "head": "fc"}


class Intermediates(Workload):
    """VGG16's forward pass that gives activations too."""

    name = "intermediates"
    summary = "VGG16 with activations from within"
    axes = (
        Axis(
            "fetch",
            "inner",
            ("none", "inner", "every"),
            sweep=("none", "inner"),
            description=f"activations given beside the logits; inner is {INNER}",
        ),
        *(axis for axis in Vgg16.axes if axis.name not in _FIXED),
    )

    def inputs(self, case: Case, rng: np.random.Generator) -> dict[str, Array]:
        return _VGG16.inputs(_network(case), rng)

    def parameters(self, case: Case, rng: np.random.Generator) -> dict[str, Array]:
        return _VGG16.parameters(_network(case), rng)

    def program(
        self, ops: Any, parameters: Mapping[str, Any], inputs: Mapping[str, Any], case: Case
    ) -> Outputs:
        network = _network(case)
        seen: dict[str, Any] = {}
        maps = features(ops, parameters, inputs["images"], network, seen)
        fetched = {name: seen[name] for name in fetched_names(case)}
        del seen  # what is not fetched may go as soon as it has been used
        shapes, batch = classifier_of(network), case["batch"]
        logits = classify(ops, parameters, maps, batch, shapes, case["layout"], network["head"])
        return Outputs(values={**fetched, "logits": logits})

    def by_hand(self, case: Case) -> ByHand:
        network = _network(case)
        return IntermediatesStep(
            convolutions_of(network), classifier_of(network), case["layout"], fetched_names(case)
        )

    def tolerance(self, case: Case, output: str) -> Tolerance:
        """Of the largest activation, what that of the logits is."""
        return Tolerance(relative=5e-5)

    def cost(self, case: Case) -> Cost:
        network = _network(case)
        whole, given = _VGG16.cost(network), fetched_names(case)
        scalars = sum(
            shape.K * shape.side**2 for shape in convolutions_of(network) if shape.name in given
        )
        moved = whole.bytes_moved + 4 * case["batch"] * scalars
        return Cost(whole.flops, moved, whole.parameters)

    def title(self, case: Case) -> str:
        words = {"none": "logits alone", "inner": f"{INNER} too", "every": "every activation too"}
        return f"{words[case['fetch']]}, {_VGG16.title(_network(case))}"


def fetched_names(case: Case) -> tuple[str, ...]:
    """The convolutions whose activations are given."""
    every = tuple(shape.name for shape in convolutions_of(case))
    return {"none": (), "inner": (INNER,), "every": every}[case["fetch"]]


def _network(case: Case) -> dict[str, Any]:
    """The case of VGG16 that the activations come from."""
    return {**case, **_FIXED}
