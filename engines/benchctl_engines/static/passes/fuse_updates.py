"""`w -= rate * gradient` in one operation; where the gradient is a matrix product, the product is
accumulated into w panel by panel and never exists as a whole.

Legal where the gradient is read by nobody else and not fetched, and where what the fused operation
reads is no variable that this step changes: the unfused step reads that before any change.
"""

from __future__ import annotations

from collections.abc import Callable

from ..graph import Graph, Node, Value
from ..launch import Target
from ..sources import constant_source, variable_source
from ..step_graph import StepGraph, consumers, emit_like, rewrite


def fuse_updates(
    step: StepGraph, target: Target, join: bool = False
) -> tuple[StepGraph, dict[str, int]]:
    """The step with fused updates; counts them, and the bytes of gradients no longer made.

    With `join` a difference that an elementwise operation makes is assigned as a whole, so that the
    loop which makes it can write the variable itself.
    """
    readers = consumers(step)
    fetched = set(step.fetches)
    counts = {"scaled": 0, "products": 0, "bytes_not_materialised": 0}
    moved: dict[Value, Value] = {}

    def private(value: Value) -> bool:
        return value not in fetched and len(readers.get(value, ())) == 1

    def computable(name: str, sources: tuple[Value, ...], attributes: dict[str, object]) -> bool:
        return target.kernel_for(name, [each.spec for each in sources], attributes) is not None

    def fuse(graph: Graph, node: Node, operands: tuple[Value, ...]) -> tuple[Value, ...] | None:
        moved.update(zip(node.operands, operands, strict=True))
        if node.primitive.name != "assign_sub":
            return None
        if join and _is_made_elementwise(node.operands[1], private):
            origin = node.origin.touched_by("fuse_updates")
            difference = emit_like(graph, "subtract", operands, {}, origin)
            counts["joined"] = counts.get("joined", 0) + 1
            return emit_like(graph, "assign", (operands[0], *difference), {}, origin)
        found = _scaled(node.operands[1]) if private(node.operands[1]) else None
        if found is None or _is_state(found[0]):
            return None
        gradient, scale = found
        origin = node.origin.touched_by("fuse_updates")
        product = gradient.node
        stateless = not any(_is_state(each) for each in product.operands)
        if product.primitive.name == "matmul" and private(gradient) and stateless:
            sources = (operands[0], *(moved[each] for each in product.operands))
            attributes = {**product.attributes, "scale": scale}
            if computable("matmul_update", sources, attributes):
                counts["products"] += 1
                counts["bytes_not_materialised"] += 2 * gradient.spec.nbytes
                return emit_like(graph, "matmul_update", sources, attributes, origin)
        sources = (operands[0], moved[gradient])
        if not computable("assign_sub_scaled", sources, {"scale": scale}):
            return None
        counts["scaled"] += 1
        counts["bytes_not_materialised"] += gradient.spec.nbytes
        return emit_like(graph, "assign_sub_scaled", sources, {"scale": scale}, origin)

    return rewrite(step, fuse), counts


def _is_state(value: Value) -> bool:
    return value.node.primitive is variable_source or value.node.primitive.effect == "update"


def _scaled(delta: Value) -> tuple[Value, float] | None:
    """(gradient, scale) of a product of a gradient and a constant scalar."""
    if delta.node.primitive.name != "multiply":
        return None
    for scale, gradient in (delta.node.operands, delta.node.operands[::-1]):
        constant = scale.node.primitive is constant_source and scale.spec.size == 1
        if constant and gradient.spec is delta.spec:
            return gradient, float(scale.node.payload.reshape(())[()])
    return None


def _is_made_elementwise(delta: Value, private: Callable[[Value], bool]) -> bool:
    """Whether a difference comes out of a loop, and not of a gradient that comes from elsewhere."""
    if delta.node.primitive.scalar is None or not private(delta):
        return False
    found = _scaled(delta)
    if found is None:
        return True
    gradient, _ = found
    return gradient.node.primitive.scalar is not None and not _is_state(gradient)
