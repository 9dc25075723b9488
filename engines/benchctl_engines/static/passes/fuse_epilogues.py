"""What follows a convolution or matrix product becomes part of it: bias, ReLU, 2x2 max pooling.

Legal where everything between the product and the end of the chain is read by nobody else and not
fetched. ReLU and the maximum commute, so either may come first.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..graph import Graph, Node, Value
from ..launch import Target
from ..step_graph import StepGraph, consumers, emit_like, rewrite

_CHANNEL_AXIS = {"NCHW": 1, "NHWC": 3}


@dataclass(frozen=True)
class _Chain:
    """A product, its bias, and what follows up to the end."""

    product: Node
    bias: Node
    relu: bool
    pool: bool
    nodes: tuple[Node, ...]

    @property
    def primitive(self) -> str:
        return f"{self.product.primitive.name}_epilogue"

    @property
    def sources(self) -> tuple[Value, ...]:
        return (*self.product.operands, self.bias.operands[1])

    @property
    def attributes(self) -> dict[str, object]:
        added: dict[str, object] = {"relu": self.relu}
        if self.pool:
            added["pool"] = True
        return {**self.product.attributes, **added}


def fuse_epilogues(step: StepGraph, target: Target) -> tuple[StepGraph, dict[str, int]]:
    """The step with fused epilogues; counts them, and the poolings among them."""
    finder = _Finder(step, target)
    # The chains are found in the old graph, where readers are known.
    ends: dict[Node, _Chain] = {}
    absorbed: set[Node] = set()
    for node in reversed(step.nodes):
        chain = None if node in absorbed else finder.chain_to(node)
        if chain is not None:
            ends[node] = chain
            absorbed.update(chain.nodes)

    counts = {"fused": 0, "pooled": 0}
    moved: dict[Value, Value] = {}

    def fuse(graph: Graph, node: Node, operands: tuple[Value, ...]) -> tuple[Value, ...] | None:
        moved.update(zip(node.operands, operands, strict=True))
        if node not in ends:
            return None
        chain = ends[node]
        sources = [moved[each] for each in chain.sources]
        counts["fused"] += 1
        counts["pooled"] += chain.pool
        origin = chain.product.origin.touched_by("fuse_epilogues")
        made = emit_like(graph, chain.primitive, sources, chain.attributes, origin)
        # Nobody reads the offsets that a pooling also made.
        return made * len(node.outputs)

    return rewrite(step, fuse), counts


class _Finder:
    """Finds chains in a step."""

    def __init__(self, step: StepGraph, target: Target) -> None:
        self._readers = consumers(step)
        self._fetched = set(step.fetches)
        self._target = target

    def chain_to(self, end: Node) -> _Chain | None:
        """The longest chain that ends at a node, where fusing it is legal and some kernel can."""
        node, nodes = end, []
        relu = pool = False
        while True:
            nodes.append(node)
            if node.primitive.name == "relu" and not relu:
                relu = True
            elif self._is_pooling(node) and not pool:
                pool = True
            else:
                break
            if not self._private(node.operands[0]):
                return None
            node = node.operands[0].node
        product = self._product_of(node)
        if product is None:
            return None
        chain = _Chain(product, node, relu, pool, (*nodes, product))
        return chain if self._computable(chain) else None

    def _private(self, value: Value) -> bool:
        return value not in self._fetched and len(self._readers.get(value, ())) == 1

    def _is_pooling(self, node: Node) -> bool:
        """Whether a node is the max pooling of 2x2 squares, and nobody asks which place won."""
        if node.primitive.name != "max_pool2d":
            return False
        attributes, offsets = node.attributes, node.outputs[1]
        unused = offsets not in self._fetched and offsets not in self._readers
        squares = attributes["window"] == attributes["stride"] == (2, 2)
        return unused and squares and attributes["padding"] == ((0, 0), (0, 0))

    def _product_of(self, bias: Node) -> Node | None:
        """The product that a bias_add belongs to, where fusing is legal."""
        if bias.primitive.name != "bias_add" or not self._private(bias.operands[0]):
            return None
        product, axis = bias.operands[0].node, bias.attributes["axis"]
        if product.primitive.name == "conv2d":
            return product if axis == _CHANNEL_AXIS[product.attributes["layout"]] else None
        return product if product.primitive.name == "matmul" and axis == 1 else None

    def _computable(self, chain: _Chain) -> bool:
        """Whether the device has the kernel; a pooling follows a convolution in its layout."""
        layouts = {node.attributes.get("layout") for node in chain.nodes} - {None}
        if chain.pool and (chain.product.primitive.name != "conv2d" or len(layouts) > 1):
            return False
        inputs = [each.spec for each in chain.sources]
        return self._target.kernel_for(chain.primitive, inputs, chain.attributes) is not None
