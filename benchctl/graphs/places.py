"""Where each operation of a step belongs: forward, backward or update, and to which layer.

Nothing but the graph is asked. Layers are those of the parameters: `conv1_1_weight` and
`conv1_1_bias` belong to layer `conv1_1`, `generator/dense/weight` to `generator/dense`. What reads
no parameter belongs to the layer before it, a gradient to the layer that it is the gradient of.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from benchctl_engines.contract import GraphOperation, GraphView

Phase = Literal["forward", "backward", "update"]

_CONTRACTIONS = ("conv2d", "matmul")
_LAST_PART = re.compile(r"(.+?)(?:/[^/]+|\.[^/.]+|_[^/._]+)")


@dataclass(frozen=True, slots=True)
class Place:
    """The part of the step and the layer; the layer is empty where no parameter tells."""

    phase: Phase
    layer: str


class Flow:
    """Who makes and who reads the tensors of a graph."""

    def __init__(self, view: GraphView) -> None:
        self.tensors = {each.name: each for each in view.tensors}
        self.maker = {name: each for each in view.operations for name in each.outputs}
        self.readers: dict[str, list[GraphOperation]] = {}
        for operation in view.operations:
            for name in dict.fromkeys(operation.inputs):
                self.readers.setdefault(name, []).append(operation)
        self.returned = set(view.outputs.values())

    def before(self, operation: GraphOperation) -> list[GraphOperation]:
        """The operations whose results this one reads, each once."""
        makers = (self.maker.get(name) for name in operation.inputs)
        return list({each.name: each for each in makers if each is not None}.values())

    def after(self, operation: GraphOperation) -> list[GraphOperation]:
        """The operations that read a result of this one, each once."""
        found = (each for name in operation.outputs for each in self.readers.get(name, ()))
        return list({each.name: each for each in found}.values())


def layer_of_parameter(name: str, parameters: Collection[str]) -> str:
    """The layer that a parameter's name tells: the name without its last part.

    What an optimizer keeps for a parameter (`adam/moment_1/dense/weight`) is of its layer.
    """
    rest = name
    while "/" in rest:
        rest = rest.partition("/")[2]
        if rest in parameters:
            return layer_of_parameter(rest, parameters)
    match = _LAST_PART.fullmatch(name)
    return match.group(1) if match else name


def places_of(view: GraphView) -> dict[str, Place]:
    """The place of each operation by name."""
    return _Placing(view).places()


class _Placing:
    def __init__(self, view: GraphView) -> None:
        self.view = view
        self.flow = Flow(view)
        parameters = [each.name for each in view.tensors if each.kind == "parameter"]
        # A tensor is called `node:0`; its layer is told by the node.
        names = {each: each.rpartition(":")[0] or each for each in parameters}
        known = set(names.values())
        self.layers = {each: layer_of_parameter(names[each], known) for each in parameters}
        self.order: dict[str, int] = {}
        self.found: dict[str, str] = {}

    def places(self) -> dict[str, Place]:
        phases = self._phases()
        updated = self._updated_layers()
        forward = [each for each in self.view.operations if phases[each.name] == "forward"]
        later = [each for each in self.view.operations if phases[each.name] != "forward"]
        for operation in forward:
            self.found[operation.name] = self._forward_layer(operation)
        for operation in reversed(forward):
            # What comes before any layer belongs to the first that reads it.
            if not self.found[operation.name]:
                after = (self.found.get(each.name, "") for each in self.flow.after(operation))
                self.found[operation.name] = self._earliest(after)
        for operation in later:
            changed = updated[operation.name]
            self.found[operation.name] = self._later_layer(operation, changed, phases)
        for operation in reversed(later):
            if not self.found[operation.name]:
                after = (self.found[each.name] for each in self.flow.after(operation))
                self.found[operation.name] = self._latest(after)
        return {
            each.name: Place(phases[each.name], self.found[each.name])
            for each in self.view.operations
        }

    def _phases(self) -> dict[str, Phase]:
        only_updates = self._only_updates(through_gradients=False)
        later: set[str] = set()
        phases: dict[str, Phase] = {}
        for each in self.view.operations:
            behind = any(before.name in later for before in self.flow.before(each))
            if each.changes or (only_updates[each.name] and not each.gradient):
                phases[each.name] = "update"
            else:
                phases[each.name] = "backward" if each.gradient or behind else "forward"
            if behind or phases[each.name] != "forward":
                later.add(each.name)
        return phases

    def _only_updates(self, through_gradients: bool) -> dict[str, bool]:
        """Whether everything that comes of an operation is a change of a parameter.

        Not `through_gradients`, what a gradient reads counts as something else.
        """
        found: dict[str, bool] = {}
        for each in reversed(self.view.operations):
            after = self.flow.after(each)
            kept = any(name in self.flow.returned for name in each.outputs)
            leads = bool(after) and all(
                found[other.name] and (through_gradients or not other.gradient) for other in after
            )
            found[each.name] = bool(each.changes) or (leads and not kept)
        return found

    def _updated_layers(self) -> dict[str, frozenset[str]]:
        """Layers whose parameters change by what comes of an operation, if nothing else does."""
        only_updates = self._only_updates(through_gradients=True)
        found: dict[str, frozenset[str]] = {}
        for each in reversed(self.view.operations):
            layers = {self.layers.get(each.changes, "")} - {""}
            for other in self.flow.after(each):
                layers |= found[other.name]
            found[each.name] = frozenset(layers) if only_updates[each.name] else frozenset()
        return found

    def _own_layers(self, operation: GraphOperation) -> list[str]:
        own = [self.layers[name] for name in operation.inputs if name in self.layers]
        for layer in own:
            self.order.setdefault(layer, len(self.order))
        return own

    def _latest(self, layers: Iterable[str]) -> str:
        known = [each for each in layers if each]
        return max(known, key=lambda each: self.order.get(each, -1), default="")

    def _earliest(self, layers: Iterable[str]) -> str:
        known = [each for each in layers if each]
        return min(known, key=lambda each: self.order.get(each, -1), default="")

    def _forward_layer(self, operation: GraphOperation) -> str:
        own = self._own_layers(operation)
        if own and operation.primitive.startswith(_CONTRACTIONS):
            return self._latest(own)
        # A constant that layers share (equal biases are merged) tells less than what came before.
        return self._latest(
            [*own, *(self.found[each.name] for each in self.flow.before(operation))]
        )

    def _later_layer(
        self, operation: GraphOperation, changed: frozenset[str], phases: Mapping[str, Phase]
    ) -> str:
        own = self._own_layers(operation)
        for single in (set(own), changed):
            if len(single) == 1:
                return next(iter(single))
        if own:
            return self._latest(own)
        before = self.flow.before(operation)
        forward = [self.found[each.name] for each in before if phases[each.name] == "forward"]
        if any(forward):
            return self._latest(forward)
        return self._earliest(self.found[each.name] for each in before)
