"""The graph: nodes, values, and the one function that can make a node."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..contract import Array
from ..primitives.elementwise import cast
from ..primitives.half_storage import held
from ..primitives.operators import TensorOperators
from ..primitives.primitive import OperandError, Primitive
from ..primitives.specs import (
    HALVES,
    ShapeError,
    TensorSpec,
    array_dtype,
    number_dtype,
    spec,
    stated_dtype,
)
from ..source_sites import Site, user_site
from .sources import constant_source, placeholder_source, step_source, variable_source


class Node:
    """One operation in a graph. Made by `Graph.emit` only.

    `payload` is what a source node stands for: a constant's array, a `Variable`, the placeholder
    that the user feeds.
    """

    __slots__ = (
        "attributes",
        "graph",
        "name",
        "operands",
        "origin",
        "outputs",
        "payload",
        "primitive",
        "sequence",
    )

    def __init__(
        self,
        graph: Graph,
        primitive: Primitive,
        operands: tuple[Value, ...],
        attributes: Mapping[str, Any],
        origin: Site,
        name: str,
        payload: Any,
    ) -> None:
        self.graph = graph
        self.primitive = primitive
        self.operands = operands
        self.attributes = attributes
        self.origin = origin
        self.name = name
        self.payload = payload
        self.sequence = len(graph.nodes)
        specs = primitive.output_specs([each.spec for each in operands], attributes)
        self.outputs = tuple(Value(self, index, each) for index, each in enumerate(specs))

    @property
    def is_source(self) -> bool:
        """Whether the node computes nothing: placeholder, constant, variable, step counter."""
        return not self.operands and self.primitive.name in _SOURCES

    def __repr__(self) -> str:
        operands = ", ".join(each.name for each in self.operands)
        return f"{self.name} = {self.primitive.name}({operands})"


class Value(TensorOperators):
    """One result of a node: what the user of the static engine holds. It has no number in it."""

    __slots__ = ("__weakref__", "index", "node", "spec")

    def __init__(self, node: Node, index: int, spec: TensorSpec) -> None:
        self.node = node
        self.index = index
        self.spec = spec

    @staticmethod
    def apply_primitive(
        primitive: Primitive, operands: Sequence[Any], attributes: Mapping[str, Any]
    ) -> Any:
        """Record a primitive in the graph of its operands."""
        return record(primitive, operands, attributes)

    @property
    def graph(self) -> Graph:
        """The graph that the value belongs to."""
        return self.node.graph

    @property
    def name(self) -> str:
        """`node:index`, unique in the graph."""
        return f"{self.node.name}:{self.index}"

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes."""
        return self.spec.shape

    @property
    def dtype(self) -> str:
        """Name of the dtype."""
        return self.spec.dtype

    def __bool__(self) -> bool:
        raise TypeError(
            f"{self!r} has no truth value: a graph is not run while it is built; "
            f"run it in a Session first   (made at {self.node.origin})"
        )

    def __repr__(self) -> str:
        return f'Tensor("{self.name}", shape={self.spec.shape}, dtype={self.spec.dtype})'


class Graph:
    """An append-only list of nodes; their order is a topological one."""

    outer: Graph | None = None
    """The graph around the part of a program that is a branch or the body of a loop."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self._names: dict[str, int] = {}
        self._origins: list[Site] = []
        self._frozen = False
        self.random_sites = 0

    def emit(
        self,
        primitive: Primitive,
        operands: Sequence[Value],
        attributes: Mapping[str, Any],
        *,
        origin: Site,
        name: str = "",
        payload: Any = None,
    ) -> Node:
        """Append a node; raises `ShapeError` where the operands do not fit."""
        if self._frozen:
            raise RuntimeError(
                f"the graph is frozen, and {primitive.name} at {origin} would add a node to it; "
                "build the graph once, outside the loop that runs it"
            )
        unique = self._unique(name or primitive.name)
        node = Node(self, primitive, tuple(operands), attributes, origin, unique, payload)
        self.nodes.append(node)
        return node

    def _unique(self, name: str) -> str:
        unique = name
        while unique in self._names:
            count = self._names[name]
            self._names[name] = count + 1
            unique = f"{name}_{count}"
        self._names[unique] = 1
        return unique

    def held(self, value: Value) -> Value | None:
        """What stands for a value in this graph; None for one that has no place here."""
        return value if value.graph is self else None

    def widen(self, node: Node, attributes: Mapping[str, Any]) -> None:
        """Give a node more results through new attributes; those that it has stay as they are.

        A branch or loop that is differentiated also gives what its gradient needs.
        """
        node.attributes = attributes
        specs = node.primitive.output_specs([each.spec for each in node.operands], attributes)
        kept = len(node.outputs)
        more = tuple(Value(node, kept + place, each) for place, each in enumerate(specs[kept:]))
        node.outputs = (*node.outputs, *more)

    def freeze(self) -> None:
        """Forbid new nodes: a graph that grows in a loop is the classic leak."""
        self._frozen = True

    @contextmanager
    def growing(self) -> Iterator[None]:
        """Within this, a frozen graph takes new nodes: the program again, for other shapes."""
        frozen, self._frozen = self._frozen, False
        try:
            yield
        finally:
            self._frozen = frozen

    def site(self) -> Site:
        """Where a node made now comes from."""
        return self._origins[-1] if self._origins else user_site()

    @contextmanager
    def made_at(self, origin: Site) -> Iterator[None]:
        """Give nodes made inside this origin."""
        self._origins.append(origin)
        try:
            yield
        finally:
            self._origins.pop()

    @contextmanager
    def as_default(self) -> Iterator[Graph]:
        """Make this the graph that placeholders, constants and variables go to."""
        _DEFAULTS.append(self)
        try:
            yield self
        finally:
            _DEFAULTS.pop()

    def __repr__(self) -> str:
        return f"Graph({len(self.nodes)} nodes)"


class Variable(Value):
    """State that a session keeps between runs: read like a value, changed by assign.

    `initial` is its value at the start; `given` the array that the user handed in.
    """

    __slots__ = ("given", "initial")

    def __init__(self, node: Node, initial: Array, given: Array) -> None:
        super().__init__(node, 0, node.outputs[0].spec)
        self.initial = initial
        self.given = given


_SOURCES = {"placeholder", "constant", "variable", "step"}
_DEFAULTS: list[Graph] = [Graph()]
_BODIES: list[Graph] = []


def default_graph() -> Graph:
    """The graph that new placeholders, constants and variables go to."""
    return _DEFAULTS[-1]


@contextmanager
def recorded_in(body: Graph) -> Iterator[None]:
    """Within this, operations go to `body`, on whatever values they are called."""
    _BODIES.append(body)
    try:
        with body.as_default():
            yield
    finally:
        _BODIES.pop()


def graph_of(value: Value) -> Graph:
    """Where an operation on this value is recorded now; raises `OperandError` on a leaked one."""
    if _BODIES:
        return _BODIES[-1]
    if value.graph.outer is not None:
        raise OperandError(
            f"{value!r} was made inside a branch or loop and is used outside of it; return it from "
            f"there   (made at {value.node.origin.describe()})"
        )
    return value.graph


def record(primitive: Primitive, operands: Sequence[Any], attributes: Mapping[str, Any]) -> Any:
    """Append a call of `primitive` to the graph of its operands."""
    values = [each for each in operands if isinstance(each, Value)]
    graph = graph_of(values[0])
    site = graph.site()
    if primitive.effect == "update" and graph.outer is not None:
        raise OperandError(
            f"{primitive.name} expected to be called outside branches and loops, received a call "
            f"inside one   (made at {site.describe()}); return the new value and assign it after"
        )
    lifted = [_as_operand(primitive, each, values, graph, site) for each in operands]
    if primitive.effect == "pure":
        lifted = _rounded_beside_halves(lifted)
    try:
        node = graph.emit(primitive, lifted, attributes, origin=site)
    except ShapeError as error:
        raise ShapeError(_explain_shapes(str(error), lifted, site)) from None
    return node.outputs[0] if len(node.outputs) == 1 else node.outputs


def _rounded_beside_halves(operands: list[Value]) -> list[Value]:
    """Operands of float32 that meet a half, such as random numbers, become halves."""
    half = next((each.spec.dtype for each in operands if each.spec.half), "")
    if not half:
        return operands
    return [cast(each, dtype=half) if each.spec.dtype == "float32" else each for each in operands]


def _explain_shapes(message: str, operands: Sequence[Value], site: Site) -> str:
    lines = [message, f"       at    {site.describe()}"]
    if len(operands) == 2:
        places = ["left ", "right"]
    else:
        places = [f"input {index}" for index in range(len(operands))]
    lines += [
        f"       {place} from {operand.node.origin.describe()}"
        for place, operand in zip(places, operands, strict=True)
    ]
    return "\n".join(lines)


def _as_operand(
    primitive: Primitive, operand: Any, values: Sequence[Value], graph: Graph, site: Site
) -> Value:
    if isinstance(operand, Value):
        known = graph.held(operand)
        if known is None:
            raise OperandError(
                f"{primitive.name} expected values of one graph, received {values[0]!r} made at "
                f"{values[0].node.origin} and {operand!r} made at {operand.node.origin}"
            )
        return known
    if hasattr(operand, "apply_primitive"):
        raise OperandError(
            f"{primitive.name} cannot mix a value of the static engine, {values[0]!r} made at "
            f"{values[0].node.origin}, with an eager tensor used at {site}; feed the tensor's "
            "array through a placeholder or make it a constant"
        )
    # Copied: what the user does to the array later must not reach the graph.
    array, specs = np.array(operand), [each.spec for each in values]
    adopted = array_dtype if isinstance(operand, np.ndarray) else number_dtype
    dtype = adopted(operand, specs)
    array = held(array, dtype) if dtype in HALVES else array.astype(dtype, copy=False)
    return emit_constant(graph, array, site, dtype=dtype)


def emit_constant(
    graph: Graph, array: Array, origin: Site, name: str = "", dtype: str = ""
) -> Value:
    """A constant node holding `array`, which must not be changed afterwards.

    `dtype` is said where the array only holds what a GPU stores otherwise; see half_storage.py.
    """
    array = np.ascontiguousarray(array) if array.ndim else array
    made = spec(array.shape, dtype or stated_dtype(str(array.dtype)))
    attributes = {"shape": made.shape, "dtype": made.dtype}
    node = graph.emit(constant_source, (), attributes, origin=origin, name=name, payload=array)
    return node.outputs[0]


def constant(value: Any, dtype: str | None = None, name: str = "") -> Value:
    """A constant in the default graph: int becomes int32 and float float32 unless `dtype` says."""
    array = np.array(value)
    if dtype is None and not isinstance(value, np.ndarray | np.generic):
        dtype = {"i": "int32", "f": "float32"}.get(array.dtype.kind)
    graph = default_graph()
    return emit_constant(graph, array.astype(dtype or array.dtype), graph.site(), name)


def placeholder(dtype: str = "float32", shape: Sequence[int] = (), name: str = "") -> Value:
    """A value that every run must be fed, in the default graph."""
    graph = default_graph()
    _require_outside("placeholder", graph)
    sizes = tuple(int(size) for size in shape)
    return emit_placeholder(graph, spec(sizes, stated_dtype(dtype)), graph.site(), name)


def emit_placeholder(graph: Graph, made: TensorSpec, origin: Site, name: str = "") -> Value:
    """A placeholder of this spec; arrays that it is fed are held as the spec says."""
    attributes = {"shape": made.shape, "dtype": made.dtype}
    node = graph.emit(placeholder_source, (), attributes, origin=origin, name=name)
    node.payload = node.outputs[0]
    return node.outputs[0]


def variable(initial: Any, dtype: str | None = None, name: str = "", copy: bool = True) -> Variable:
    """State with an initial value, in the default graph; `copy` off keeps the array given.

    The copy makes later changes of the array harmless; it costs memory that a session with
    share_variables has no use for.
    """
    array = np.asarray(initial)
    if dtype is None and not isinstance(initial, np.ndarray | np.generic):
        dtype = {"i": "int32", "f": "float32"}.get(array.dtype.kind)
    array = np.asarray(array, dtype, order="C")
    graph = default_graph()
    _require_outside("variable", graph)
    made = spec(array.shape, stated_dtype(str(array.dtype)))
    return emit_variable(graph, made, array.copy() if copy else array, array, name)


def emit_variable(
    graph: Graph, made: TensorSpec, initial: Array, given: Array, name: str = ""
) -> Variable:
    """A variable of this spec; `initial` is held as the spec says."""
    attributes = {"shape": made.shape, "dtype": made.dtype}
    node = graph.emit(variable_source, (), attributes, origin=graph.site(), name=name)
    result = Variable(node, initial, given)
    node.outputs = (result,)
    node.payload = result
    return result


def _require_outside(name: str, graph: Graph) -> None:
    if graph.outer is not None:
        raise OperandError(
            f"{name} expected to be made outside branches and loops, received one inside"
            f"   (made at {graph.site().describe()}); make it before and read it inside"
        )


def step_counter(graph: Graph) -> Value:
    """The number of the run, fed by the session: the counter of random operations."""
    for node in graph.nodes:
        if node.primitive is step_source:
            return node.outputs[0]
    return graph.emit(step_source, (), {}, origin=graph.site()).outputs[0]
