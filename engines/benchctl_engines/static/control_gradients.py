"""Gradients of branches and loops: operations of the same kinds, whose bodies walk back.

The gradient of a `cond` is a `cond` of the branches' gradients; that of a `scan` or a `while_loop`
is a `scan` from the last iteration to the first. What backward reads of the values inside, forward
gives as further results, stacked by iteration in a loop.

Bodies take what has arrived so far at a value that they read as the beginning of its sum, in the
order in which a walk over a tape adds: results are the same to the bit, but for the sign of a zero
where nothing arrives.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from ..primitives import control_flow as rules
from ..primitives.elementwise import add
from ..primitives.half_storage import held
from ..primitives.shaping import broadcast_to
from ..primitives.specs import TensorSpec
from ..source_sites import Site
from .bodies import Body, BodyGraph, Parts, held_in
from .control_flow import emit_cond, emit_scan
from .gradients import is_control, walk
from .graph import Graph, Node, Value, emit_constant, graph_of, recorded_in

Gradients = Mapping[int, Value]
"""By the place of a result or of an operand."""
Totals = Mapping[int, Value | None]
"""By the place of an operand whose gradient is asked for, what has arrived there before."""


class UnboundedLoopError(ValueError):
    """The gradient of a loop without a limit; `hint` says what to do."""

    hint = "pass limit=..., the most iterations that the loop may take"


def reached_operands(node: Node, given: Collection[int]) -> set[int]:
    """The operands that gradients of these results flow to."""
    if node.primitive is rules.cond:
        reached = set()
        for body, places in _branches(node):
            dependence = _dependence(body)
            for index, place in enumerate(places):
                if place in given:
                    reached |= {1 + each for each in dependence[index]}
        return reached
    loop = _Loop(node, given)
    return loop.reached()


def operand_gradients(node: Node, given: Gradients, totals: Totals) -> Gradients:
    """The gradients of the operands in `totals`, recorded in the graph that is recorded now."""
    graph = graph_of(next(iter(given.values())))
    site = node.origin.touched_by("gradients")
    with graph.made_at(site):
        if node.primitive is rules.cond:
            return _cond_gradients(graph, node, given, totals, site)
        return _loop_gradients(graph, _Loop(node, given), given, totals, site)


# ----- branches -----------------------------------------------------------------------------------


def _branches(node: Node) -> list[tuple[Body, tuple[int, ...]]]:
    """The bodies of a `cond` with the places of their results."""
    attributes = node.attributes
    return [
        (attributes["then"], attributes["then_places"]),
        (attributes["otherwise"], attributes["otherwise_places"]),
    ]


def _cond_gradients(
    graph: Graph, node: Node, given: Gradients, totals: Totals, site: Site
) -> Gradients:
    parts: list[Parts] = []
    for body, places in _branches(node):
        backward = BodyGraph(graph, site, forward=body)
        seeds = {index: given[place] for index, place in enumerate(places) if place in given}
        wanted = {place - 1: total for place, total in totals.items()}
        with recorded_in(backward), backward.made_at(site):
            found = _walk_back(body, seeds, {}, wanted)
            results = [held_in(backward, found[index]) for index in wanted]
        parts.append((backward, [], results))
    _save_branch_values(graph, node, [each[0] for each in parts])
    made = emit_cond(graph, node.operands[0], parts[0], parts[1], site)
    return dict(zip(totals, made.outputs, strict=True))


def _save_branch_values(graph: Graph, node: Node, backward: Sequence[BodyGraph]) -> None:
    """Let each branch also give what its gradient reads, and let that read it there."""
    attributes = dict(node.attributes)
    count = len(node.outputs)
    for name, (body, places), reader in zip(
        ("then", "otherwise"), _branches(node), backward, strict=True
    ):
        known = dict(zip(body.results, places, strict=True))
        more = [each for each in reader.saved if each not in known]
        attributes[name] = body.with_results(more)
        attributes[f"{name}_places"] = (*places, *range(count, count + len(more)))
        count += len(more)
    node.graph.widen(node, attributes)
    for (body, places), reader in zip(_branches(node), backward, strict=True):
        place_of = dict(zip(body.results, places, strict=True))
        for value, inside in reader.saved.items():
            reader.captures[held_in(graph, node.outputs[place_of[value]])] = inside


# ----- loops --------------------------------------------------------------------------------------


class _Loop:
    """A `scan` or `while_loop` whose results at the places `given` have gradients.

    Operands and inputs of the body are carries, stacks and what is read besides, in this order.
    `live` are the carries that a gradient reaches in some iteration.
    """

    def __init__(self, node: Node, given: Collection[int]) -> None:
        attributes = node.attributes
        self.node = node
        self.bounded = node.primitive is rules.while_loop
        self.body: Body = attributes["body"]
        self.carries: int = attributes["carries"]
        self.rows: int = attributes.get("rows", 0)
        self.reverse: bool = attributes.get("reverse", False)
        # Of a loop with a condition no result but the carries has a gradient.
        self.stacked = [] if self.bounded else sorted(p for p in given if p >= self.carries)
        self._dependence = _dependence(self.body)
        live = {place for place in given if place < self.carries}
        found = -1
        while found != len(live):
            found = len(live)
            read = self._read_by((*live, *self.stacked))
            live |= {place for place in range(self.carries) if place in read}
        self.live = sorted(live)
        self._reached = self._read_by((*live, *self.stacked))

    def _read_by(self, results: Sequence[int]) -> set[int]:
        return {place for result in results for place in self._dependence[result]}

    def reached(self) -> set[int]:
        """The operands that gradients flow to: without any iteration, carries as they are."""
        if self.bounded or self.node.attributes["counted"]:
            return self._reached | set(self.live)
        return self._reached

    def length(self) -> int:
        """The most iterations; raises `UnboundedLoopError`."""
        length: int | None = self.node.attributes["limit" if self.bounded else "length"]
        if length is None:
            raise UnboundedLoopError(
                "the gradient of while_loop expected a limit, since what backward reads of each "
                f"iteration is kept, received none   (made at {self.node.origin.describe()})"
            )
        return length

    def save(self, values: Sequence[Value]) -> list[Value]:
        """Stacks of these values of the body, one row an iteration, as values beside the loop."""
        node, carries = self.node, self.carries
        known = self.body.results[carries:]
        body = self.body.with_results([each for each in values if each not in known])
        attributes = {**node.attributes, "body": body}
        if self.bounded:
            attributes["counting"] = True
        node.graph.widen(node, attributes)
        # The number of iterations, where there is one, stands between carries and stacks.
        stacks = node.outputs[carries + self.bounded :]
        place_of = {each: place for place, each in enumerate(body.results[carries:])}
        return [stacks[place_of[each]] for each in values]

    def count(self) -> Value | None:
        """The number of iterations where it is not known beforehand, once values were saved."""
        if self.bounded:
            return self.node.outputs[self.carries]
        return self.node.operands[-1] if self.node.attributes["counted"] else None


def _loop_gradients(
    graph: Graph, loop: _Loop, given: Gradients, totals: Totals, site: Site
) -> Gradients:
    body, carries, rows = loop.body, loop.carries, loop.rows
    length = loop.length()
    first_read = carries + rows
    read = [place for place in totals if place >= first_read]
    from_rows = [place for place in totals if carries <= place < first_read]
    backward = BodyGraph(graph, site, forward=body)
    flowing = {place: backward.input(body.inputs[place].spec, "flowing") for place in loop.live}
    sums = {place: backward.input(body.inputs[place].spec, "sum") for place in read}
    arriving = {place: backward.input(body.results[place].spec, "g") for place in loop.stacked}
    wanted: dict[int, Value | None] = dict.fromkeys((*loop.live, *from_rows))
    with recorded_in(backward), backward.made_at(site):
        found = _walk_back(body, flowing, arriving, {**wanted, **sums})
        results = [held_in(backward, found[place]) for place in (*loop.live, *read, *from_rows)]
    inputs = [*flowing.values(), *sums.values(), *arriving.values(), *backward.saved.values()]
    own_rows = slice(carries, first_read)
    stack_of = dict(zip(body.inputs[own_rows], loop.node.operands[own_rows], strict=True))
    more = [value for value in backward.saved if value not in stack_of]
    stack_of |= zip(more, loop.save(more), strict=True)
    stacks = [given[place] for place in loop.stacked]
    stacks += [stack_of[value] for value in backward.saved]

    def begun(place: int, known: Totals) -> Value:
        value = known.get(place)
        return _neutral(graph, body.inputs[place].spec) if value is None else value

    before = [begun(place, given) for place in loop.live]
    before += [begun(place, totals) for place in read]
    made = emit_scan(
        graph,
        (backward, inputs, results),
        before,
        stacks,
        length,
        site,
        reverse=not loop.reverse,
        count=loop.count(),
    )
    gradients = dict(zip((*loop.live, *read, *from_rows), made.outputs, strict=True))
    for place in totals:
        total = totals[place]
        if total is not None and place < first_read:
            # What is read in every iteration has begun with its total.
            gradients[place] = add(total, gradients[place])
    return gradients


# ----- one body -----------------------------------------------------------------------------------


def _walk_back(body: Body, first: Gradients, rows: Gradients, wanted: Totals) -> Gradients:
    """Gradients of inputs of the body, recorded in the body that is recorded now.

    `first` are the gradients of carries or of a branch's results, `rows` of the rows of stacks;
    `wanted` has the sums that gradients of inputs are added to. What nothing arrives at is neutral.
    """
    graph = graph_of(body.results[0])
    sums = [(body.inputs[place], total) for place, total in wanted.items() if total is not None]
    seeds = [
        *((each, held_in(graph, total)) for each, total in sums),
        *((value, held_in(graph, gradient)) for value, gradient in _ordered(body, first, rows)),
    ]
    inputs = [body.inputs[place] for place in wanted]
    found = walk(body.graph, seeds, inputs)
    return {
        place: _neutral(graph, body.inputs[place].spec) if gradient is None else gradient
        for place, gradient in zip(wanted, found, strict=True)
    }


def _ordered(body: Body, first: Gradients, rows: Gradients) -> list[tuple[Value, Value]]:
    """(result, gradient) in the order in which a walk over a tape meets them.

    There a result that is an input or another result too, and every row, is one operation more:
    the later it was made, the earlier it is met, after what reads the result itself.
    """
    direct: list[tuple[Value, Value]] = []
    copied: list[tuple[Value, Value]] = []
    seen: set[Value] = set(body.inputs)
    for place, gradient in first.items():
        value = body.results[place]
        (copied if value in seen else direct).append((value, gradient))
        seen.add(value)
    copied += [(body.results[place], gradient) for place, gradient in rows.items()]
    return [*direct, *reversed(copied)]


def _dependence(body: Body) -> list[set[int]]:
    """For each result, the places of the inputs that its gradient flows to."""
    read: dict[Value, set[int]] = {each: {place} for place, each in enumerate(body.inputs)}
    for node in body.graph.nodes:
        if node.is_source:
            continue
        sources = [read.get(each, set()) for each in node.operands if each.spec.floating]
        union: set[int] = set().union(*sources)
        for value in node.outputs if is_control(node) else node.outputs[:1]:
            if value.spec.floating:
                read[value] = union
    return [read.get(each, set()) if each.spec.floating else set() for each in body.results]


def _neutral(graph: Graph, made: TensorSpec) -> Value:
    """-0, which leaves every number as it is that it is added to."""
    zero = held(-0.0, made.dtype)
    scalar = emit_constant(graph, zero, graph.site(), "nothing", made.dtype)
    return scalar if not made.shape else broadcast_to(scalar, shape=made.shape)
