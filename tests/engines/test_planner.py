"""Memory plans: nothing alive together overlaps, and a plan with a fault in it is caught."""

from __future__ import annotations

import dataclasses

import numpy as np
import programs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchctl_engines import static
from benchctl_engines.primitives import operations
from benchctl_engines.static import Graph, PassSwitches, Session
from benchctl_engines.static import program as compiling
from benchctl_engines.static.passes.plan_memory import Buffer, place_buffers, plan_memory
from benchctl_engines.static.passes.schedule import live_peak, schedule, written_order
from benchctl_engines.static.step_graph import pruned

MANY = settings(max_examples=100, deadline=None, derandomize=True)

INTERVALS = st.lists(
    st.tuples(st.integers(0, 500), st.integers(0, 20), st.integers(0, 10)).map(
        lambda each: (each[0], each[1], each[1] + each[2])
    ),
    max_size=30,
)


def overlapping(buffers: list[Buffer]) -> list[tuple[Buffer, Buffer]]:
    """Pairs that are alive at one time and share a byte: the property checker."""
    return [
        (a, b)
        for place, a in enumerate(buffers)
        for b in buffers[:place]
        if a.birth <= b.death
        and b.birth <= a.death
        and max(a.offset, b.offset) < min(a.offset + a.nbytes, b.offset + b.nbytes)
    ]


def as_buffers(intervals) -> list[Buffer]:
    offsets = place_buffers(intervals)
    return [Buffer(offset, *each) for offset, each in zip(offsets, intervals, strict=True)]


def live_bytes(buffers) -> int:
    """The largest sum of bytes alive at one time, counted step by step."""
    last = max((each.death for each in buffers), default=0)
    return max(
        sum(each.nbytes for each in buffers if each.birth <= step <= each.death)
        for step in range(last + 1)
    )


@MANY
@given(INTERVALS)
def test_buffers_alive_together_share_no_byte(intervals):
    buffers = as_buffers(intervals)
    assert not overlapping(buffers)
    assert all(each.offset % 64 == 0 for each in buffers)


@MANY
@given(INTERVALS)
def test_no_plan_needs_less_than_the_live_bytes(intervals):
    buffers = as_buffers(intervals)
    assert max((b.offset + b.nbytes for b in buffers), default=0) >= live_bytes(buffers)


def test_disjoint_lives_share_one_place():
    assert place_buffers([(100, 0, 1), (100, 2, 3), (64, 4, 4)]) == [0, 0, 0]


def test_a_shortened_interval_is_caught_by_the_checker():
    """Planted fault: the first buffer is placed as if it died before the second is born."""
    true = [(128, 0, 2), (128, 1, 3)]
    assert not overlapping(as_buffers(true))
    offsets = place_buffers([(128, 0, 0), true[1]])
    wrong = [Buffer(offset, *each) for offset, each in zip(offsets, true, strict=True)]
    assert overlapping(wrong) == [(wrong[1], wrong[0])]


# ----- plans of whole programs ------------------------------------------------------------------


def recorded(program: programs.RandomProgram):
    with Graph().as_default() as graph:
        feeds = [static.placeholder("float32", shape) for shape in program.shapes]
        values = programs.evaluate(program, operations, feeds)
        loss = programs.objective(program, operations, values)
        found = [each for each in static.gradients(loss, feeds) if each is not None]
    return graph, (loss, *found)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(programs.random_programs())
def test_plans_of_random_programs(program):
    graph, fetches = recorded(program)
    step = written_order(pruned(graph.nodes, fetches))
    held = frozenset(fetches)
    scratch = dict.fromkeys(step.operations[::3], 100)
    plan = plan_memory(step, scratch, held)
    assert not overlapping(plan.buffers)
    assert plan.arena_bytes >= plan.live_bytes == live_bytes(plan.buffers)
    assert plan.live_bytes <= plan.summed_bytes
    assert set(plan.workspaces) == set(scratch)
    _check_lives(step, plan, held)
    apart = plan_memory(step, scratch, held, share=False)
    assert apart.in_place == 0
    assert apart.arena_bytes >= plan.arena_bytes
    everywhere = [dataclasses.replace(each, birth=0, death=0) for each in apart.buffers]
    assert not overlapping(everywhere)


def _check_lives(step, plan, held):
    """Each result has a buffer from where it is made to its last reading, and none is too small."""
    for place, node in enumerate(step.nodes):
        if node.is_source:
            continue
        for value in node.outputs:
            if value in held:
                assert value not in plan.values
                continue
            buffer = plan.buffers[plan.values[value]]
            readings = [i for i, each in enumerate(step.nodes) if value in each.operands]
            assert buffer.birth <= place and max([place, *readings]) <= buffer.death
            assert buffer.nbytes >= value.spec.nbytes
    for value, index in plan.values.items():
        sharers = [other for other, each in plan.values.items() if each == index]
        for other in sharers:
            assert other is value or _one_after_the_other(step, value, other)


def _one_after_the_other(step, first, second) -> bool:
    """Whether one value is last read where the other is made, or before."""
    place = {node: index for index, node in enumerate(step.nodes)}

    def life(value):
        born = place[value.node]
        return born, max([born, *(place[n] for n in step.nodes if value in n.operands)])

    (a, b), (c, d) = life(first), life(second)
    return b <= c or d <= a


@settings(max_examples=40, deadline=None, derandomize=True)
@given(programs.random_programs())
def test_scheduling_never_raises_the_peak(program):
    graph, fetches = recorded(program)
    step = pruned(graph.nodes, fetches)
    after, counts = schedule(step)
    assert sorted(after.nodes, key=id) == sorted(step.nodes, key=id)
    place = {node: index for index, node in enumerate(after.nodes)}
    for node in after.nodes:
        assert all(place[each.node] < place[node] for each in node.operands)
    assert live_peak(after) == counts["live_bytes_after"] <= live_peak(written_order(step))


def test_a_chain_is_computed_in_one_buffer():
    with Graph().as_default() as graph:
        x = static.placeholder("float32", (64, 64))
        y = static.tanh(x)
        for _ in range(5):
            y = static.exp(-y)
        total = static.sum(y)
    report = Session(graph, switches=PassSwitches.only("plan_memory")).explain(total)
    # The first result has no buffer to take over: x is fed. Each later one is in place.
    assert report.in_place == 10
    assert report.arena_bytes == report.live_bytes == 64 * 64 * 4
    apart = Session(graph, switches=PassSwitches.none()).explain(total)
    assert apart.in_place == 0 and apart.arena_bytes == 11 * 64 * 64 * 4


def test_a_value_that_is_read_later_is_not_overwritten():
    with Graph().as_default() as graph:
        x = static.placeholder("float32", (4,))
        y = x * 2.0
        z = static.exp(y)
        out = z + y
    feed = {x: np.arange(4, dtype="float32")}
    got = Session(graph, switches=PassSwitches.only("plan_memory")).run(out, feed)
    np.testing.assert_allclose(got, np.exp(2 * feed[x]) + 2 * feed[x], rtol=1e-6)


# ----- planted faults: poison must show them ----------------------------------------------------


def _deep_step():
    with Graph().as_default() as graph:
        x = static.placeholder("float32", (8,))
        early = static.tanh(x)
        y = static.matmul(static.reshape(early, (2, 4)), static.reshape(early, (4, 2)))
        for _ in range(3):
            y = static.matmul(y, y) * 0.5
        out = static.sum(y) + static.sum(early)
    return graph, x, out


def _run(switches):
    graph, x, out = _deep_step()
    session = Session(graph, switches=switches)
    feed = {x: np.linspace(0.1, 0.8, 8).astype("float32")}
    return [session.run(out, feed) for _ in range(2)]


def test_poison_changes_no_result():
    poisoned = dataclasses.replace(PassSwitches.only("plan_memory", "bind_early"), poison=True)
    np.testing.assert_array_equal(_run(poisoned), _run(PassSwitches.none()))


@pytest.mark.parametrize("names", [("plan_memory", "bind_early"), ("plan_memory",)])
def test_poison_shows_a_shortened_life(names, monkeypatch):
    """Planted fault: the buffer that lives longest is said to die as soon as it is born."""

    def shortened(*arguments, **options):
        plan = plan_memory(*arguments, **options)
        longest = max(plan.buffers, key=lambda each: each.death - each.birth)
        buffers = tuple(
            dataclasses.replace(each, death=each.birth) if each is longest else each
            for each in plan.buffers
        )
        return dataclasses.replace(plan, buffers=buffers)

    monkeypatch.setattr(compiling, "plan_memory", shortened)
    poisoned = dataclasses.replace(PassSwitches.only(*names), poison=True)
    assert np.isnan(_run(poisoned)).all()
