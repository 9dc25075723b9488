"""A step as a plain description of its graph: what `benchctl graph` draws."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from ..contract import GraphBuffer, GraphOperation, GraphTensor, GraphView, TensorKind
from .graph import Node, Value
from .passes.assign_layouts import IMAGES
from .passes.plan_memory import MemoryPlan
from .program import Program
from .sources import constant_source, placeholder_source, step_source, variable_source
from .step_graph import StepGraph, updated_variable

_IMAGES = {**IMAGES, "conv2d_epilogue": (0,)}
_LAYOUTS = ("NCHW", "NHWC")
_NO_IMAGES_MADE = ("conv2d_filter_gradient",)
_EPILOGUES = (("relu", "relu"), ("pool", "max_pool2d"))
_ALWAYS = {
    "matmul_update": ("matmul", "multiply", "assign_sub"),
    "assign_sub_scaled": ("multiply", "assign_sub"),
}


def describe_recorded(
    step: StepGraph, outputs: Sequence[str], parameters: Collection[str]
) -> GraphView:
    """The step before any pass.

    `outputs` names the first fetches; `parameters` are the names by which a constant is known as
    a parameter of a forward step.
    """
    return _view(step, outputs, parameters, {}, None)


def describe_compiled(
    program: Program, outputs: Sequence[str], parameters: Collection[str]
) -> GraphView:
    """The step that runs: its launches in order, with their kernels and their memory."""
    kernels = {node: each.kernel for each in program.launches for node in each.nodes}
    return _view(program.step, outputs, parameters, kernels, program.plan)


def _view(
    step: StepGraph,
    outputs: Sequence[str],
    parameters: Collection[str],
    kernels: Mapping[Node, str],
    plan: MemoryPlan | None,
) -> GraphView:
    layouts = image_layouts(step)
    places: Mapping[Value, int] = {} if plan is None else plan.values
    scratch: Mapping[Node, int] = {} if plan is None else plan.workspaces
    return GraphView(
        tensors=tuple(
            GraphTensor(
                value.name,
                _kind(node, parameters),
                value.spec.shape,
                value.spec.dtype,
                value.spec.nbytes,
                layouts.get(value, ""),
                _number(value),
                places.get(value, -1),
            )
            for node in step.nodes
            for value in node.outputs
        ),
        operations=tuple(
            _operation(node, kernels.get(node, ""), scratch.get(node, -1))
            for node in step.operations
        ),
        outputs={name: value.name for name, value in zip(outputs, step.fetches, strict=False)},
        buffers=() if plan is None else _buffers(step, plan),
        arena_bytes=0 if plan is None else plan.arena_bytes,
    )


def _kind(node: Node, parameters: Collection[str]) -> TensorKind:
    if node.primitive is placeholder_source:
        return "input"
    if node.primitive is variable_source:
        return "parameter"
    if node.primitive is constant_source:
        return "parameter" if node.name in parameters else "constant"
    return "counter" if node.primitive is step_source else "result"


def _number(value: Value) -> str:
    if value.node.primitive is not constant_source or value.spec.size != 1:
        return ""
    return f"{float(value.node.payload.reshape(())):g}"


def _operation(node: Node, kernel: str, workspace: int) -> GraphOperation:
    changed = updated_variable(node)
    return GraphOperation(
        name=node.name,
        primitive=node.primitive.name,
        inputs=tuple(each.name for each in node.operands),
        outputs=tuple(each.name for each in node.outputs),
        parts=parts_of(node),
        kernel=kernel,
        origin=str(node.origin),
        gradient="gradients" in node.origin.passes,
        changes="" if changed is None else changed.outputs[0].name,
        workspace=workspace,
    )


def parts_of(node: Node) -> tuple[str, ...]:
    """The operations that a node does, in order: itself unless a pass made it of several."""
    name = node.primitive.name
    if name == "fused_loop":
        loop = node.attributes["loop"]
        return (*(each.primitive for each in loop.instructions), *("sum" for _ in loop.sums))
    if name.endswith("_epilogue"):
        ends = (part for switch, part in _EPILOGUES if node.attributes.get(switch))
        return (name.removesuffix("_epilogue"), "bias_add", *ends)
    return _ALWAYS.get(name, (name,))


def _buffers(step: StepGraph, plan: MemoryPlan) -> tuple[GraphBuffer, ...]:
    """Buffers with lifetimes counted in operations instead of in nodes."""
    number = {node: place for place, node in enumerate(step.operations)}
    return tuple(
        GraphBuffer(
            each.offset, each.nbytes, number[step.nodes[each.birth]], number[step.nodes[each.death]]
        )
        for each in plan.buffers
    )


def image_layouts(step: StepGraph) -> dict[Value, str]:
    """The layout of every value that is an image, as far as what makes or reads it tells."""
    found: dict[Value, str] = {}
    for node in step.nodes:
        name, layout = node.primitive.name, node.attributes.get("layout")
        if name in _IMAGES and isinstance(layout, str):
            for place in _IMAGES[name]:
                found.setdefault(node.operands[place], layout)
            if name not in _NO_IMAGES_MADE:
                found.update((each, layout) for each in node.outputs)
        elif name == "transpose" and node.operands[0] in found:
            letters = found[node.operands[0]]
            order = "".join(letters[axis] for axis in node.attributes["axes"])
            if order in _LAYOUTS:
                found[node.outputs[0]] = order
        else:
            known = {each.spec.shape: found[each] for each in node.operands if each in found}
            found.update(
                (each, known[each.spec.shape]) for each in node.outputs if each.spec.shape in known
            )
    for node in reversed(step.nodes):
        if node.primitive.name == "transpose" and node.outputs[0] in found:
            by_axis = dict(zip(node.attributes["axes"], found[node.outputs[0]], strict=True))
            order = "".join(by_axis[axis] for axis in range(len(by_axis)))
            if order in _LAYOUTS:
                found.setdefault(node.operands[0], order)
    return found
