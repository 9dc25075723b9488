"""A bias, and a relu after it, become part of the convolution or matrix product before them.

Legal where the product and the biased product are read by nobody else and not fetched.
"""

from __future__ import annotations

from ..graph import Graph, Node, Value
from ..step_graph import StepGraph, consumers, emit_like, rewrite

_CHANNEL_AXIS = {"NCHW": 1, "NHWC": 3}


def fuse_epilogues(step: StepGraph) -> tuple[StepGraph, dict[str, int]]:
    """The step with fused epilogues; counts them."""
    readers = consumers(step)
    fetched = set(step.fetches)
    counts = {"fused": 0}

    def private(value: Value) -> bool:
        return value not in fetched and len(readers.get(value, ())) == 1

    def product_of(bias: Node) -> Node | None:
        """The product that a bias_add belongs to, where fusing is legal."""
        if bias.primitive.name != "bias_add":
            return None
        product = bias.operands[0].node
        if not private(bias.operands[0]):
            return None
        axis = bias.attributes["axis"]
        if product.primitive.name == "conv2d":
            return product if axis == _CHANNEL_AXIS[product.attributes["layout"]] else None
        if product.primitive.name == "matmul":
            return product if axis == 1 else None
        return None

    # The chains are found in the old graph, where readers are known.
    ends: dict[Node, tuple[Node, Node, bool]] = {}
    absorbed: set[Node] = set()
    for node in reversed(step.nodes):
        if node in absorbed:
            continue
        relu = node.primitive.name == "relu"
        bias = node.operands[0].node if relu else node
        if relu and not private(node.operands[0]):
            continue
        product = product_of(bias)
        if product is not None:
            ends[node] = (product, bias, relu)
            absorbed |= {product, bias}

    moved: dict[Value, Value] = {}

    def fuse(graph: Graph, node: Node, operands: tuple[Value, ...]) -> tuple[Value, ...] | None:
        moved.update(zip(node.operands, operands, strict=True))
        if node not in ends:
            return None
        product, bias, relu = ends[node]
        sources = [moved[each] for each in (*product.operands, bias.operands[1])]
        attributes = {**product.attributes, "relu": relu}
        counts["fused"] += 1
        name = f"{product.primitive.name}_epilogue"
        origin = product.origin.touched_by("fuse_epilogues")
        return emit_like(graph, name, sources, attributes, origin)

    return rewrite(step, fuse), counts
