"""Chains of convolutions written in NCHW run in NHWC, which the kernels read without staging.

A chain is what is connected by images: convolutions, poolings, their gradients, and the
elementwise operations between them. Filters stay as they are stored. Images change their order
only where they enter or leave a chain, and a chain stays as written where that would cost more
than it saves, by rule or as measured (`layout_costs.py`); a convolution whose kernel exists only
for the written layout is in no chain.
"""

from __future__ import annotations

from ...primitives.specs import TensorSpec, spec
from ..graph import Graph, Node, Value
from ..launch import Target
from ..sources import constant_source
from ..step_graph import StepGraph, consumers, emit_like, rewrite
from .layout_costs import TO_NHWC, LayoutCosts, costs_on

_TO_NCHW = (0, 3, 1, 2)

# The operands that are images.
IMAGES = {
    "conv2d": (0,),
    "conv2d_input_gradient": (0,),
    "conv2d_filter_gradient": (0, 1),
    "max_pool2d": (0,),
    "max_pool2d_gradient": (0, 1),
    "max_pool2d_gather": (0, 1),
    "average_pool2d": (0,),
    "average_pool2d_gradient": (0,),
}
_CONVOLUTIONS = ("conv2d", "conv2d_input_gradient", "conv2d_filter_gradient")


def assign_layouts(step: StepGraph, target: Target) -> tuple[StepGraph, dict[str, int]]:
    """The step with layouts chosen; counts the operations moved to NHWC and the transposes."""
    chosen = _worthwhile(step, _Finder(step, target), costs_on(target))
    if not chosen:
        return step, {"moved": 0, "transposes_added": 0}
    result = rewrite(step, _Mover(chosen).move)
    added = _transposes(result) - _transposes(step)
    return result, {"moved": len(chosen), "transposes_added": added}


def why_as_written(target: Target) -> str:
    """Why no chain is moved on this target; empty where some may be."""
    if target.device == "gpu" and target.precision == "fp32" and target.tuner is None:
        return "in strict float32 a GPU's convolutions work in NCHW inside"
    return ""


def _transposes(step: StepGraph) -> int:
    return sum(node.primitive.name == "transpose" for node in step.nodes)


class _Finder:
    """Finds the operations that could work in NHWC, in the order of the step."""

    def __init__(self, step: StepGraph, target: Target) -> None:
        self._target = target
        self.members: dict[Node, tuple[int, ...]] = {}
        """The places of the operands that are images, by node."""
        for node in step.nodes:
            places = self._image_places(node)
            if places:
                self.members[node] = places

    def _image_places(self, node: Node) -> tuple[int, ...]:
        name = node.primitive.name
        if name in IMAGES:
            written_nchw = node.attributes["layout"] == "NCHW"
            return IMAGES[name] if written_nchw and self._computable(node) else ()
        images = [place for place, each in enumerate(node.operands) if self._made_by_member(each)]
        if not images:
            return ()
        if name == "bias_add":
            return (0,) if images == [0] and node.attributes["axis"] == 1 else ()
        if name == "sum":
            axes, kept = node.attributes["axes"], node.attributes["keepdims"]
            return (0,) if axes == (0, 2, 3) and not kept else ()
        return self._elementwise_places(node)

    def _elementwise_places(self, node: Node) -> tuple[int, ...]:
        if node.primitive.scalar is None:
            return ()
        shape = node.outputs[0].spec.shape
        same = [place for place, each in enumerate(node.operands) if each.spec.shape == shape]
        others = [each for each in node.operands if each.spec.shape != shape]
        return tuple(same) if all(not each.spec.shape for each in others) else ()

    def _made_by_member(self, value: Value) -> bool:
        return value.node in self.members and value.spec.rank == 4 and _makes_images(value.node)

    def _computable(self, node: Node) -> bool:
        """Whether the device has the kernel for NHWC images; on the CPU, of convolutions the same.

        A GPU's kernels are named by the plan that its library has for a layout.
        """
        primitive, attributes = node.primitive, moved_attributes(node)
        places = IMAGES[primitive.name]
        inputs = _moved_inputs(node, places)
        as_written = tuple(each.spec for each in node.operands)
        now = self._target.kernel_for(primitive.name, as_written, node.attributes)
        then = self._target.kernel_for(primitive.name, inputs, attributes)
        if now is None or then is None:
            return False
        free = self._target.device == "gpu" or primitive.name not in _CONVOLUTIONS
        return free or now.name == then.name


def _makes_images(node: Node) -> bool:
    return node.primitive.name not in ("conv2d_filter_gradient", "sum")


def _moved_spec(written: TensorSpec) -> TensorSpec:
    return spec(_permuted(written.shape), written.dtype)


def _permuted(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(shape[axis] for axis in TO_NHWC)


def moved_attributes(node: Node) -> dict[str, object]:
    """The attributes of an operation on NCHW images, for the same on NHWC images."""
    attributes = dict(node.attributes)
    name = node.primitive.name
    if name in IMAGES:
        attributes["layout"] = "NHWC"
        if name in _CONVOLUTIONS:
            attributes.setdefault("filter_layout", "NCHW")
        if "input_shape" in attributes:
            attributes["input_shape"] = _permuted(attributes["input_shape"])
    elif name == "bias_add":
        attributes["axis"] = 3
    elif name == "sum":
        attributes["axes"] = (0, 1, 2)
    return attributes


def _moved_inputs(node: Node, places: tuple[int, ...]) -> tuple[TensorSpec, ...]:
    return tuple(
        _moved_spec(each.spec) if place in places else each.spec
        for place, each in enumerate(node.operands)
    )


def _saved(node: Node, places: tuple[int, ...], images: list[Value], costs: LayoutCosts) -> float:
    """What an operation on images gains when they are moved."""
    written = tuple(each.spec for each in node.operands), node.attributes
    moved = _moved_inputs(node, places), moved_attributes(node)
    constants = [
        place for place, each in enumerate(node.operands) if each.node.primitive is constant_source
    ]
    nbytes = sum(each.spec.nbytes for each in images)
    return costs.saved(node.primitive.name, written, moved, constants, nbytes)


def _worthwhile(
    step: StepGraph, finder: _Finder, costs: LayoutCosts
) -> dict[Node, tuple[int, ...]]:
    """The members of those chains that save more than their ends cost."""
    members, readers, fetched = finder.members, consumers(step), set(step.fetches)
    chain_of = _chains(members)
    saved: dict[Node, float] = dict.fromkeys(chain_of.values(), 0)
    entering: set[tuple[Node, Value]] = set()
    for node, places in members.items():
        chain = chain_of[node]
        images = [node.operands[place] for place in places]
        for image in images:
            if chain_of.get(image.node) is not chain or not _makes_images(image.node):
                entering.add((chain, image))
        if _makes_images(node):
            for result in node.outputs:
                outside = any(
                    _reads_outside(each, result, members) for each in readers.get(result, ())
                )
                if outside or result in fetched:
                    saved[chain] -= costs.transpose(result.spec)
            images += node.outputs
        if node.primitive.name in IMAGES:
            saved[chain] += _saved(node, places, images, costs)
    for chain, image in entering:
        saved[chain] -= costs.transpose(image.spec)
    return {node: places for node, places in members.items() if saved[chain_of[node]] > 0}


def _reads_outside(reader: Node, value: Value, members: dict[Node, tuple[int, ...]]) -> bool:
    places = [place for place, each in enumerate(reader.operands) if each is value]
    return any(place not in members.get(reader, ()) for place in places)


def _chains(members: dict[Node, tuple[int, ...]]) -> dict[Node, Node]:
    """A representative of the chain of every member: those that share images are one chain."""
    parent = {node: node for node in members}

    def root(node: Node) -> Node:
        while parent[node] is not node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    first_reader: dict[Value, Node] = {}
    for node, places in members.items():
        for place in places:
            image = node.operands[place]
            if image.node in members and _makes_images(image.node):
                parent[root(node)] = root(image.node)
            # An image from outside that two members read changes its order once for both.
            other = first_reader.setdefault(image, node)
            parent[root(node)] = root(other)
    return {node: root(node) for node in members}


class _Mover:
    """Rewrites the chosen operations; an image has two forms, each made when it is asked for."""

    def __init__(self, chosen: dict[Node, tuple[int, ...]]) -> None:
        self._chosen = chosen
        self._changed: dict[Value, Value] = {}
        """The other form of a value of the new graph."""

    def move(
        self, graph: Graph, node: Node, operands: tuple[Value, ...]
    ) -> tuple[Value, ...] | None:
        """The outputs of a chosen operation, in the order in which the rest of the step reads."""
        places = self._chosen.get(node)
        if places is None:
            return None
        origin = node.origin.touched_by("assign_layouts")
        sources = [
            self._other_form(graph, each, TO_NHWC, node) if place in places else each
            for place, each in enumerate(operands)
        ]
        attributes = moved_attributes(node)
        made = emit_like(graph, node.primitive.name, sources, attributes, origin, node.name)
        if not _makes_images(node):
            return made
        return tuple(self._other_form(graph, each, _TO_NCHW, node) for each in made)

    def _other_form(self, graph: Graph, value: Value, axes: tuple[int, ...], node: Node) -> Value:
        if value not in self._changed:
            origin = node.origin.touched_by("assign_layouts")
            changed = emit_like(graph, "transpose", (value,), {"axes": axes}, origin)[0]
            self._changed[value] = changed
            self._changed[changed] = value
        return self._changed[value]
