"""The static engine as its user meets it: graphs, sessions, nests, feeds, variables."""

from __future__ import annotations

import collections
import gc
import io
import weakref
from contextlib import redirect_stdout

import numpy as np
import pytest

from benchctl_engines import static
from benchctl_engines.devices.cpu import POOLED_BYTES
from benchctl_engines.primitives.primitive import OperandError
from benchctl_engines.primitives.specs import ShapeError
from benchctl_engines.static import FeedError, Graph, PassSwitches, Session
from benchctl_engines.static.program import Program
from benchctl_engines.static.step_graph import CyclicUpdateError
from benchctl_engines.static.switches import PASS_NAMES

Pair = collections.namedtuple("Pair", ["first", "second"])


@pytest.fixture
def graph():
    with Graph().as_default() as graph:
        yield graph


@pytest.fixture(params=["all", "none", "interpreted"])
def session(graph, request):
    switches = {
        "all": PassSwitches(),
        "none": PassSwitches.none(),
        "interpreted": PassSwitches(bind_early=False),
    }
    return Session(graph, switches=switches[request.param], threads=1)


# ----- the lecture's lines ----------------------------------------------------------------------


def test_a_constant_prints_as_a_tensor_and_runs_to_its_number(graph):
    a = static.constant(1)
    shown = io.StringIO()
    with redirect_stdout(shown), Session() as session:
        print(a)
        print(session.run(a))
    assert shown.getvalue() == 'Tensor("constant:0", shape=(), dtype=int32)\n1\n'


def test_a_value_has_no_number_and_no_truth(graph):
    x = static.placeholder("float32", ())
    with pytest.raises(TypeError, match=r"no truth value.*test_static.py"):
        bool(x > 0.0)


def test_names_are_unique(graph):
    names = [static.constant(1, name=name).name for name in ("x", "x", "x_1", "x", "")]
    names.append((static.constant(1) + static.constant(2)).name)
    assert len(set(names)) == len(names)


# ----- nests ------------------------------------------------------------------------------------


def same_nest(got, expected) -> bool:
    if isinstance(expected, dict):
        return (
            isinstance(got, dict)
            and list(got) == list(expected)
            and all(same_nest(got[key], expected[key]) for key in expected)
        )
    if isinstance(expected, tuple | list):
        return (
            type(got) is type(expected)
            and len(got) == len(expected)
            and all(map(same_nest, got, expected))
        )
    if expected is None:
        return got is None
    return isinstance(got, np.ndarray) and bool(got == expected)


def test_results_come_in_the_nest_that_was_asked_for(graph, session):
    x = static.placeholder("float32", ())
    a, b = x + 1.0, x * 3.0
    update = static.group(static.assign(static.variable(0.0), x))
    nests = [
        (a, 3.0),
        ([a], [3.0]),
        ((a,), (3.0,)),
        ([a, b], [3.0, 6.0]),
        ((a, b), (3.0, 6.0)),
        (Pair(a, b), Pair(3.0, 6.0)),
        ({"b": b, "a": a}, {"b": 6.0, "a": 3.0}),
        ([a, (b, [a, {"z": b}])], [3.0, (6.0, [3.0, {"z": 6.0}])]),
        ({"p": Pair([a], (b, a))}, {"p": Pair([3.0], (6.0, 3.0))}),
        ([[a, b], (a, b), Pair(a, b)], [[3.0, 6.0], (3.0, 6.0), Pair(3.0, 6.0)]),
        ([(a,), b], [(3.0,), 6.0]),
        (((a,), b), ((3.0,), 6.0)),
        ([a, a], [3.0, 3.0]),
        ([update, a], [None, 3.0]),
        ((a, update), (3.0, None)),
        (update, None),
        ([], []),
        ({}, {}),
    ]
    # Twice and in both orders: what was run before must not change the form of the next result.
    for fetches, expected in [*nests, *nests, *reversed(nests)]:
        got = session.run(fetches, {x: 2.0})
        assert same_nest(got, expected), (fetches, got)
        call = session.make_callable(fetches, [x])
        assert same_nest(call(2.0), expected)


def test_an_intermediate_value_can_be_fetched_with_its_result(graph, session):
    x = static.placeholder("float32", (3,))
    y = x * 2.0
    z = static.relu(y - 1.0)
    out = static.sum(z * y)
    feed = {x: np.array([0, 1, 2], "float32")}
    for got in (session.run([x, y, z, out], feed), session.run([out, z, y, x], feed)[::-1]):
        np.testing.assert_array_equal(got[0], [0, 1, 2])
        np.testing.assert_array_equal(got[1], [0, 2, 4])
        np.testing.assert_array_equal(got[2], [0, 1, 3])
        assert got[3] == 14


@pytest.mark.parametrize("wrong", [1.0, "y", None, [1.0], {"a": "b"}])
def test_fetches_that_are_no_values_are_refused(graph, session, wrong):
    with pytest.raises(TypeError, match="fetches expected"):
        session.run(wrong)


def test_values_of_another_graph_are_refused(graph, session):
    with Graph().as_default():
        other = static.constant(1.0)
    with pytest.raises(ValueError, match=r"its own graph.*test_static.py"):
        session.run(other)


# ----- feeds ------------------------------------------------------------------------------------


def test_wrong_feeds_are_refused_with_the_placeholders_line(graph, session):
    x = static.placeholder("float32", (2, 3), "images")
    n = static.placeholder("int32", (2,), "labels")
    y, m = x + 1.0, n + 1
    right = np.zeros((2, 3), "float32")
    place = r"'images'.*float32\[2, 3\].*test_static\.py"
    for wrong in (np.zeros((3, 2)), np.zeros(6), np.zeros((2, 3), complex), 1.0, [[1, 2]]):
        with pytest.raises(FeedError, match=place):
            session.run(y, {x: wrong})
    for wrong in (np.zeros(2), np.zeros(2, bool)):
        with pytest.raises(FeedError, match="'labels'"):
            session.run(m, {n: wrong})
    with pytest.raises(FeedError, match=place):
        session.run(y)
    with pytest.raises(FeedError, match=place):
        session.run(y, {n: np.zeros(2, "int32")})
    # A good run first: the checks do not belong to compiling.
    session.run(y, {x: right})
    with pytest.raises(FeedError, match=place):
        session.run(y, {x: right.T})
    with pytest.raises(FeedError, match="placeholders as keys"):
        session.run(y, {"images": right})
    with pytest.raises(FeedError, match="expected placeholders"):
        session.run(y, {x: right, y: right})


def test_a_placeholder_of_another_graph_is_refused(graph, session):
    x = static.placeholder("float32", ())
    with Graph().as_default():
        stranger = static.placeholder("float32", ())
    with pytest.raises((FeedError, ValueError), match="graph"):
        session.run(x + 1.0, {x: 1.0, stranger: 1.0})


def test_feeds_of_values_that_are_not_needed_are_accepted(graph, session):
    x, y = static.placeholder("float32", ()), static.placeholder("float32", ())
    both = {x: 1.0, y: 2.0}
    assert session.run(x + 1.0, both) == 2.0
    assert session.run(y + 1.0, both) == 3.0


def test_feeds_are_converted_where_no_kind_of_number_is_lost(graph, session):
    x = static.placeholder("float32", (2, 3))
    y = x * 2.0
    numbers = np.arange(6.0).reshape(2, 3)
    feeds = [
        numbers,
        numbers.astype("float32"),
        numbers.astype("int64"),
        numbers.astype("uint8"),
        numbers.astype(">f4"),
        numbers.tolist(),
        np.asfortranarray(numbers.astype("float32")),
        numbers.astype("float32").T.copy().T,
        np.repeat(numbers.astype("float32"), 2, axis=1)[:, ::2],
        numbers.astype("float32")[::-1][::-1],
        numbers.astype("float32").view(np.matrix),
        np.array(numbers, np.dtype("float32", metadata={"unit": "m"})),
    ]
    for feed in feeds:
        got = session.run(y, {x: feed})
        assert got.dtype == np.float32 and type(got) is np.ndarray
        np.testing.assert_array_equal(got, numbers * 2)


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8", "bool"])
def test_other_dtypes_are_fed_and_fetched_as_they_are(graph, session, dtype):
    x = static.placeholder(dtype, (3,))
    given = np.array([1, 0, 1], dtype)
    got = session.run(
        static.where(x, 1.0, 0.0) if dtype == "bool" else static.reshape(x, (3, 1)), {x: given}
    )
    np.testing.assert_array_equal(np.ravel(got), given)
    np.testing.assert_array_equal(session.run(x, {x: given}), given)


def test_integers_that_do_not_fit_are_refused(graph, session):
    x = static.placeholder("int32", ())
    with pytest.raises(FeedError, match="int32"):
        session.run(x + 1, {x: 2**40})


def test_arrays_fed_are_not_changed(graph, session):
    x = static.placeholder("float32", (4,))
    y = static.exp(-(x * 2.0)) + x
    given = np.ones(4, "float32")
    given.flags.writeable = False
    session.run(y, {x: given})
    np.testing.assert_array_equal(given, 1)


def test_a_callable_takes_its_feeds_in_order(graph, session):
    x, y = static.placeholder("float32", ()), static.placeholder("float32", (2,))
    call = session.make_callable([x - static.sum(y), y], [y, x])
    got = call(np.array([1, 2], "float32"), 10.0)
    assert got[0] == 7.0
    np.testing.assert_array_equal(got[1], [1, 2])
    with pytest.raises(FeedError, match="float32"):
        call(np.zeros(3, "float32"), 1.0)
    with pytest.raises(FeedError, match="placeholder"):
        session.make_callable([x], [])


@pytest.mark.parametrize("feeds", [(), (1.0, 2.0)])
def test_a_callable_says_how_many_feeds_it_expects(graph, session, feeds):
    x = static.placeholder("float32", ())
    call = session.make_callable(x + 1.0, [x])
    with pytest.raises((FeedError, TypeError), match=r"expected 1 feed"):
        call(*feeds)


# ----- fetched arrays belong to the user --------------------------------------------------------


@pytest.mark.parametrize("size", [3, POOLED_BYTES])
def test_a_later_run_changes_no_array_fetched_before(graph, session, size):
    x = static.placeholder("float32", (size,))
    v = static.variable(np.zeros(size, "float32"))
    c = static.constant(np.full(size, 5, "float32"))
    update = static.assign_sub(v, x)
    fetches = [x * 2.0, static.tanh(x), v, update, c, x]
    first = session.run(fetches, {x: np.full(size, 1, "float32")})
    copies = [each.copy() for each in first]
    second = session.run(fetches, {x: np.full(size, 2, "float32")})
    for array, copy in zip(first, copies, strict=True):
        np.testing.assert_array_equal(array, copy)
    for one in (*first, *second):
        one[...] = -99
    third = session.run(fetches, {x: np.full(size, 1, "float32")})
    np.testing.assert_array_equal([each[0] for each in third[:1] + third[2:]], [2, -3, -4, 5, 1])


@pytest.mark.parametrize("size", [3, POOLED_BYTES])
def test_arrays_of_one_run_share_no_memory(graph, session, size):
    x = static.placeholder("float32", (size,))
    y = static.tanh(x)
    given = np.ones(size, "float32")
    got = session.run([x, y, y * 1.0, static.reshape(y, (size, 1)), y + 0.0], {x: given})
    arrays = [*got, given]
    for place, one in enumerate(arrays):
        for other in arrays[:place]:
            assert not np.shares_memory(one, other)


def test_memory_of_dropped_results_is_used_again(graph):
    x = static.placeholder("float32", (POOLED_BYTES,))
    session = Session(graph, threads=1)
    feed = {x: np.ones(POOLED_BYTES, "float32")}
    for _ in range(5):
        got = session.run([x * 2.0], feed)
        held = session.state.pool.held_bytes
        assert held <= 2 * got[0].nbytes
    kept = [session.run([x * 2.0], feed) for _ in range(3)]
    assert len({each[0].ctypes.data for each in kept}) == 3


# ----- compiled programs ------------------------------------------------------------------------


def test_programs_are_compiled_once(graph):
    x = static.placeholder("float32", (2,))
    y, z = x + 1.0, x * 2.0
    session = Session(graph)
    feed = {x: np.zeros(2)}
    session.run(y, feed)
    seconds = session.compile_seconds
    for _ in range(3):
        session.run(y, feed)
    assert session.compile_seconds == seconds
    session.run([y, z], feed)
    assert session.compile_seconds > seconds


def test_only_the_last_programs_are_kept(graph):
    x = static.placeholder("float32", ())
    values = [x + float(number) for number in range(40)]
    session = Session(graph, switches=PassSwitches.none())
    programs = []
    for value in values:
        session.run(value, {x: 1.0})
        session.run([value], {x: 1.0})
        programs.append(weakref.ref(session.program([value], [True], (x,))))
    gc.collect()
    alive = [each for each in programs if each() is not None]
    assert len(alive) <= 16
    assert isinstance(programs[-1](), Program)
    # One that was dropped is compiled again.
    assert session.run(values[0], {x: 1.0}) == 1.0


def test_the_order_of_a_feed_dictionary_does_not_matter(graph):
    x, y = static.placeholder("float32", ()), static.placeholder("float32", ())
    z = x - y
    session = Session(graph)
    assert session.run(z, {x: 5.0, y: 2.0}) == 3.0
    seconds = session.compile_seconds
    assert session.run(z, {y: 2.0, x: 5.0}) == 3.0
    assert session.compile_seconds == seconds


def test_explain_lists_passes_launches_and_memory(graph):
    x = static.placeholder("float32", (4, 4))
    y = static.matmul(static.exp(x), x)
    report = Session(graph).explain([y])
    assert [each.name for each in report.passes] == [
        "prune",
        *(name for name in PASS_NAMES if name not in ("plan_memory", "bind_early")),
    ]
    assert len(report.launches) == len(report.kernels) == 2
    assert "test_static.py" in report.launches[0]
    assert report.kernels[1] == "matmul:gemm"
    assert report.arena_bytes >= report.live_bytes >= 64
    assert "def step(" in report.source
    assert "matmul:gemm" in str(report)


# ----- variables --------------------------------------------------------------------------------


def test_variables_live_in_the_session(graph):
    v = static.variable(np.array([1, 2], "float32"))
    x = static.placeholder("float32", (2,))
    subtract = static.assign_sub(v, x)
    one, other = Session(graph), Session(graph)
    np.testing.assert_array_equal(one.run(v), [1, 2])
    np.testing.assert_array_equal(one.run(subtract, {x: np.ones(2)}), [0, 1])
    np.testing.assert_array_equal(one.run(v), [0, 1])
    np.testing.assert_array_equal(other.run(v), [1, 2])
    np.testing.assert_array_equal(one.value_of(v), [0, 1])


@pytest.mark.parametrize("kind", ["constant", "operand", "variable"])
def test_arrays_given_while_building_count_as_they_were_then(graph, kind):
    array = np.ones(2, "float32")
    one = static.constant(np.ones(2, "float32"))
    total = one + {"constant": static.constant, "variable": static.variable}.get(kind, _same)(array)
    array[...] = 50
    np.testing.assert_array_equal(Session(graph).run(total), [2, 2])


def _same(array):
    return array


def test_sharing_works_on_the_arrays_given(graph):
    array = np.ones(2, "float32")
    v = static.variable(array)
    Session(graph, share_variables=True).run(static.assign_sub(v, v * 0.5))
    np.testing.assert_array_equal(array, 0.5)


def test_a_read_in_the_step_of_an_update_sees_the_old_value(graph, session):
    v = static.variable(np.array([1.0, 2.0], "float32"))
    double = v * 2.0
    new = static.assign(v, double + 1.0)
    later = new * 10.0
    got = session.run([v, double, new, later])
    np.testing.assert_array_equal(got, [[1, 2], [2, 4], [3, 5], [30, 50]])
    got = session.run([later, new, double, v])
    np.testing.assert_array_equal(got, [[70, 110], [7, 11], [6, 10], [3, 5]])


def test_a_late_reader_written_after_the_update_sees_the_old_value_too(graph, session):
    v = static.variable(5.0)
    new = static.assign(v, 1.0)
    old = v + 0.5
    assert session.run([new, old]) == [1.0, 5.5]
    assert session.run([old, new]) == [1.5, 1.0]


def test_a_scalar_is_assigned_everywhere(graph, session):
    v = static.variable(np.zeros((2, 3), "float32"))
    np.testing.assert_array_equal(session.run(static.assign(v, 4.0)), np.full((2, 3), 4))
    np.testing.assert_array_equal(session.run(static.assign_sub(v, 0.5)), np.full((2, 3), 3.5))


def test_updates_of_one_variable_in_a_chain(graph, session):
    v = static.variable(1.0)
    first = static.assign(v, 10.0)
    second = static.assign_sub(first, 3.0)
    assert session.run(second) == 7.0
    got = session.run([v, first * 1.0, second])
    assert got == [7.0, 10.0, 7.0]


def test_each_update_of_a_chain_is_fetched_as_it_was(graph, session):
    v = static.variable(1.0)
    first = static.assign(v, 10.0)
    second = static.assign_sub(first, 3.0)
    assert session.run([first, second]) == [10.0, 7.0]


def test_two_updates_of_one_variable_in_one_step_are_refused(graph, session):
    v = static.variable(1.0)
    one, other = static.assign(v, 2.0), static.assign_sub(v, 1.0)
    with pytest.raises(CyclicUpdateError, match=r"changed twice.*test_static\.py:\d+ and test_"):
        session.run([one, other])
    assert session.run(one) == 2.0
    assert session.run(static.group(other)) is None
    assert session.run(v) == 1.0


def test_assigning_another_shape_or_dtype_is_refused(graph):
    v = static.variable(np.zeros(3, "float32"))
    for wrong in (np.zeros(4, "float32"), np.zeros(3), np.zeros((1, 3), "float32")):
        with pytest.raises(ShapeError, match=r"assign expected(.|\n)*test_static"):
            static.assign(v, wrong)


def test_a_group_runs_everything_and_returns_nothing(graph, session):
    a, b = static.variable(1.0), static.variable(2.0)
    step = static.group(static.assign_sub(a, 0.5), static.group(static.assign(b, 9.0)))
    assert session.run(step) is None
    assert session.run([a, b]) == [0.5, 9.0]
    assert session.run([a, step, b]) == [0.5, None, 9.0]
    assert session.run([a, b]) == [0.0, 9.0]


def test_training_a_line(graph, session):
    rng = np.random.default_rng(0)
    points = rng.standard_normal((50, 2)).astype("float32")
    wanted = points @ np.array([[2.0], [-3.0]], "float32") + 0.5
    x, y = static.placeholder("float32", (50, 2)), static.placeholder("float32", (50, 1))
    w, b = static.variable(np.zeros((2, 1), "float32")), static.variable(np.zeros(1, "float32"))
    error = static.bias_add(static.matmul(x, w), b) - y
    loss = static.mean(error * error)
    found = static.gradients(loss, [w, b])
    train = static.group(
        *(static.assign_sub(v, 0.2 * g) for v, g in zip([w, b], found, strict=True))
    )
    losses = [session.run([loss, train], {x: points, y: wanted})[0] for _ in range(100)]
    assert losses[-1] < 1e-8 < losses[0]
    np.testing.assert_allclose(session.value_of(w).ravel(), [2, -3], atol=1e-3)
    np.testing.assert_allclose(session.value_of(b), [0.5], atol=1e-3)


# ----- graphs -----------------------------------------------------------------------------------


def test_a_frozen_graph_refuses_new_nodes_and_still_runs(graph):
    x = static.placeholder("float32", ())
    y = x + 1.0
    graph.freeze()
    with pytest.raises(RuntimeError, match=r"frozen.*multiply.*test_static\.py"):
        y * y
    with pytest.raises(RuntimeError, match="frozen"):
        static.constant(1)
    count = len(graph.nodes)
    assert Session(graph).run(y, {x: 1.0}) == 2.0
    assert len(graph.nodes) == count


def test_running_adds_no_nodes(graph, session):
    x = static.placeholder("float32", ())
    (slope,) = static.gradients(x * x, [x])
    count = len(graph.nodes)
    for number in range(3):
        assert session.run(slope, {x: number}) == 2 * number
    assert len(graph.nodes) == count


def test_values_of_two_graphs_do_not_mix(graph):
    with Graph().as_default():
        other = static.constant(1.0)
    with pytest.raises(OperandError, match=r"one graph.*test_static.py:\d+.*test_static.py:\d+"):
        static.constant(2.0) + other


def test_the_default_graph_comes_back():
    one, other = Graph(), Graph()
    outside = static.default_graph()
    with one.as_default():
        with other.as_default():
            assert static.default_graph() is other
            with one.as_default():
                assert static.default_graph() is one
            assert static.default_graph() is other
        assert static.default_graph() is one
    assert static.default_graph() is outside
    with pytest.raises(KeyError), one.as_default():
        raise KeyError
    assert static.default_graph() is outside


def test_numbers_adopt_the_dtype_of_their_neighbour(graph, session):
    for dtype, number in (
        ("float64", 2),
        ("float64", 2.5),
        ("float32", np.float64(2.5)),
        ("float32", np.int64(2)),
        ("int32", 2),
        ("int32", np.int64(2)),
        ("int64", np.int32(2)),
    ):
        x = static.placeholder(dtype, (2,))
        for value in (x * number, number * x, x - number):
            assert value.dtype == dtype
            got = session.run(value, {x: np.array([3, 4], dtype)})
            assert got.dtype == dtype
    flag = static.where(np.bool_(True), static.placeholder("float32", (2,)), 0.0)
    assert flag.dtype == "float32"


def test_constants_are_typed_like_the_lecture(graph):
    assert static.constant(1).dtype == "int32"
    assert static.constant(1.5).dtype == "float32"
    assert static.constant([1, 2]).spec.shape == (2,)
    assert static.constant(np.float64(1)).dtype == "float64"
    assert static.constant(1, dtype="float64").dtype == "float64"
    assert static.constant(True).dtype == "bool"
    assert static.variable(1.5).dtype == "float32"
    with pytest.raises(ShapeError, match="dtype among"):
        static.placeholder("float16", (2,))


def test_gradients_need_a_scalar_or_a_seed(graph, session):
    x = static.placeholder("float32", (2,))
    with pytest.raises(ShapeError, match=r"scalar or a seed.*test_static.py"):
        static.gradients(x * x, [x])
    with pytest.raises(ShapeError, match="seed like"):
        static.gradients(x * x, [x], [static.constant(np.zeros(3, "float32"))])
    (found,) = static.gradients(x * x, [x], [np.array([1, 10], "float32")])
    np.testing.assert_array_equal(session.run(found, {x: [1, 2]}), [2, 40])
    (total,) = static.gradients([static.sum(x), static.sum(x * x)], [x])
    np.testing.assert_array_equal(session.run(total, {x: [1, 2]}), [3, 5])
