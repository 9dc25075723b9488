"""Each pass alone and all together, on random programs, against the step with every pass off."""

from __future__ import annotations

import numpy as np
import programs
import pytest
from hypothesis import given, settings

from benchctl_engines import static
from benchctl_engines.primitives import operations
from benchctl_engines.static import Graph, PassSwitches, Session, constant, placeholder
from benchctl_engines.static.switches import PASS_NAMES
from benchctl_engines.static.workload_graph import StaticVocabulary

# simplify_algebra promises to leave every float as it is, so it is held to that.
EXACT = (
    "fold_constants",
    "simplify_algebra",
    "merge_common",
    "schedule",
    "plan_memory",
    "bind_early",
)
FEW = settings(max_examples=4, deadline=None, derandomize=True)
SOME = settings(max_examples=50, deadline=None, derandomize=True)


def same_bits(first, second) -> bool:
    return (
        first.dtype == second.dtype
        and first.shape == second.shape
        and first.tobytes() == second.tobytes()
    )


class Recorded:
    """A random program in a graph, ready for any switches.

    Its first two inputs are variables, which a training step moves against their gradients.
    """

    def __init__(self, program: programs.RandomProgram) -> None:
        self.program = program
        self.graph = Graph()
        initial = program.inputs()
        with self.graph.as_default():
            self.variables = [static.variable(each) for each in initial[:2]]
            self.feeds = [static.placeholder("float32", shape) for shape in program.shapes[2:]]
            sources = [*self.variables, *self.feeds]
            values = programs.evaluate(program, operations, sources)
            self.loss = programs.objective(program, operations, values)
            found = static.gradients(self.loss, sources)
            self.step = static.group(
                *(
                    static.assign_sub(variable, 0.01 * gradient)
                    for variable, gradient in zip(self.variables, found, strict=False)
                    if gradient is not None
                )
            )
        self.gradients = [each for each in found if each is not None]
        self.watched = [values[number] for number in program.watched]

    def results(self, switches: PassSwitches, threads: int = 1) -> list[np.ndarray]:
        """Three sets of fetches in turn, twice, with other inputs each time; then the variables."""
        session = Session(self.graph, switches=switches, threads=threads)
        looks = [self.loss, *self.gradients, self.watched[0]]
        evaluation = [self.watched[1], self.loss]
        training = [self.watched[1], self.step]
        results = []
        for run, fetches in enumerate((looks, training, evaluation, training, looks, evaluation)):
            feed = dict(zip(self.feeds, self.program.inputs(run)[2:], strict=True))
            results += [each for each in session.run(fetches, feed) if each is not None]
        return [*results, *(session.value_of(each) for each in self.variables)]


def scale_of(program: programs.RandomProgram) -> float:
    """The largest magnitude that the program meets on the way: roundings are relative to it."""
    values = programs.evaluate(program, programs.NumpyOperations, program.inputs(0, "float64"))
    return max(1.0, *(np.abs(each).max(initial=0.0) for each in values))


def assert_close(got, expected, scale: float) -> None:
    assert got.dtype == expected.dtype and got.shape == expected.shape
    largest = max(scale, np.abs(expected).max(initial=0.0))
    assert np.abs(got - expected).max(initial=0.0) <= 1e-5 * largest


@SOME
@given(programs.random_programs())
def test_unoptimised_steps_compute_what_numpy_computes(program):
    recorded = Recorded(program)
    session = Session(recorded.graph, switches=PassSwitches.none(), threads=1)
    feed = dict(zip(recorded.feeds, program.inputs()[2:], strict=True))
    got = session.run([*recorded.watched, recorded.loss], feed)
    values = programs.evaluate(program, programs.NumpyOperations, program.inputs(0, "float64"))
    expected = [values[number] for number in program.watched]
    expected.append(programs.objective(program, programs.NumpyOperations, values))
    for a, b in zip(got, expected, strict=True):
        assert a.shape == np.shape(b)
        assert np.abs(a - b).max(initial=0.0) <= 1e-5 * scale_of(program) * max(1, a.size)


@pytest.mark.parametrize("name", EXACT)
@SOME
@given(programs.random_programs())
def test_exact_passes_change_no_bit(name, program):
    recorded = Recorded(program)
    expected = recorded.results(PassSwitches.none())
    got = recorded.results(PassSwitches.only(name))
    assert all(map(same_bits, got, expected))


@SOME
@given(programs.random_programs())
def test_exact_passes_together_change_no_bit(program):
    recorded = Recorded(program)
    expected = recorded.results(PassSwitches.none())
    assert all(map(same_bits, recorded.results(PassSwitches.only(*EXACT)), expected))


@pytest.mark.parametrize("others", [(), ("schedule",), ("merge_common", "schedule")])
@SOME
@given(programs.random_programs())
def test_dead_memory_is_never_read(others, program):
    recorded = Recorded(program)
    expected = recorded.results(PassSwitches.none())
    switches = PassSwitches.only("plan_memory", "bind_early", *others)
    got = recorded.results(_poisoned(switches))
    assert all(map(same_bits, got, expected))


def _poisoned(switches: PassSwitches) -> PassSwitches:
    on = {name: getattr(switches, name) for name in PASS_NAMES}
    return PassSwitches(**on, poison=True)


@pytest.mark.parametrize("name", ["fuse_epilogues", "fuse_updates"])
@settings(FEW, max_examples=15)
@given(programs.random_programs())
def test_fusing_passes_stay_within_tolerance(name, program):
    _check_tolerance(program, PassSwitches.only(name))


@FEW
@given(programs.random_programs(max_steps=6))
def test_fused_loops_and_all_passes_stay_within_tolerance(program):
    """One test, so that the three settings share what Numba compiles."""
    for switches in (
        PassSwitches.only("fuse_elementwise"),
        PassSwitches(),
        _poisoned(PassSwitches()),
    ):
        _check_tolerance(program, switches)


def _check_tolerance(program, switches):
    recorded = Recorded(program)
    expected = recorded.results(PassSwitches.none())
    scale = scale_of(program)
    for got, wanted in zip(recorded.results(switches), expected, strict=True):
        assert_close(got, wanted, scale)


# ----- every pass finds something to do, and says so --------------------------------------------


def _counts(session: Session, fetches) -> dict[str, dict[str, int]]:
    return {each.name: each.counts for each in session.explain(fetches).passes}


def test_each_pass_reports_what_it_did():
    graph = Graph()
    with graph.as_default():
        x = static.placeholder("float32", (4, 3))
        w = static.variable(np.ones((3, 5), "float32"))
        b = static.variable(np.ones(5, "float32"))
        folded = static.exp(static.constant(1.0))
        hidden = static.relu(static.bias_add(static.matmul(x, w), b))
        loss = static.sum(hidden * folded * 1.0 + hidden * folded)
        dw, db = static.gradients(loss, [w, b])
        updates = static.group(static.assign_sub(w, 0.1 * dw), static.assign_sub(b, 0.1 * db))
    counts = _counts(Session(graph), [loss, updates])
    assert counts["fold_constants"]["folded"] >= 1
    assert counts["simplify_algebra"]["multiply_removed"] >= 1
    assert counts["merge_common"]["merged"] >= 1
    assert counts["fuse_epilogues"]["fused"] == 1
    assert counts["fuse_updates"]["products"] == 1 and counts["fuse_updates"]["scaled"] == 1
    assert counts["fuse_elementwise"]["groups"] >= 1
    schedule = counts["schedule"]
    assert schedule["live_bytes_after"] <= schedule["live_bytes_before"]


def test_prune_leaves_out_what_is_not_fetched():
    with Graph().as_default() as graph:
        x = static.placeholder("float32", (2,))
        kept, unused = x * 2.0, static.exp(x) + 1.0
    session = Session(graph, switches=PassSwitches.none())
    assert len(session.explain([kept]).kernels) == 1
    assert len(session.explain([kept, unused]).kernels) == 3


# ----- state ------------------------------------------------------------------------------------


class Factorisation:
    """x ~ u v, one SGD step on both factors at once: each gradient reads both."""

    def __init__(self, rows: int = 6, rank: int = 2, columns: int = 5) -> None:
        rng = np.random.default_rng(3)
        self.u0 = rng.standard_normal((rows, rank)).astype("float32")
        self.v0 = rng.standard_normal((rank, columns)).astype("float32")
        self.x0 = rng.standard_normal((rows, columns)).astype("float32")
        self.graph = Graph()
        with self.graph.as_default():
            self.x = static.placeholder("float32", self.x0.shape)
            self.u, self.v = static.variable(self.u0), static.variable(self.v0)
            error = static.matmul(self.u, self.v) - self.x
            self.loss = static.sum(error * error)
            found = static.gradients(self.loss, [self.u, self.v])
            self.step = static.group(
                *(
                    static.assign_sub(factor, 0.01 * gradient)
                    for factor, gradient in zip([self.u, self.v], found, strict=True)
                )
            )

    def train(self, switches: PassSwitches, steps: int = 3):
        session = Session(self.graph, switches=switches, threads=1)
        losses = [session.run([self.loss, self.step], {self.x: self.x0})[0] for _ in range(steps)]
        return [*losses, session.value_of(self.u), session.value_of(self.v)]

    def by_hand(self, steps: int = 3):
        u, v = self.u0.astype(float), self.v0.astype(float)
        losses = []
        for _ in range(steps):
            error = u @ v - self.x0
            losses.append((error * error).sum())
            u, v = u - 0.02 * error @ v.T, v - 0.02 * u.T @ error
        return [*losses, u, v]


@pytest.mark.parametrize("name", ["", *PASS_NAMES, "all"])
def test_two_factors_trained_at_once_match_the_hand_written_step(name):
    model = Factorisation()
    switches = PassSwitches() if name == "all" else PassSwitches.only(*filter(None, [name]))
    for got, expected in zip(model.train(switches), model.by_hand(), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "transpose_a"), [((3, 5), True), ((3, 5), False), ((700, 700), False)]
)
def test_an_update_whose_product_reads_the_variable_sees_the_old_value(shape, transpose_a):
    """700 x 700 takes more than one panel; 3 x 5 transposed takes the loop over few rows."""
    rng = np.random.default_rng(5)
    w0 = rng.standard_normal(shape).astype("float32")
    a0 = rng.standard_normal((shape[0], shape[0])).astype("float32")
    with Graph().as_default() as graph:
        w, a = static.variable(w0), static.constant(a0)
        update = static.assign_sub(w, 0.1 * static.matmul(a, w, transpose_a=transpose_a))
    expected = w0 - 0.1 * ((a0.T if transpose_a else a0).astype(float) @ w0)
    for switches in (PassSwitches.none(), PassSwitches.only("fuse_updates"), PassSwitches()):
        got = Session(graph, switches=switches, threads=1).run(update)
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["", *PASS_NAMES, "all"])
def test_old_and_new_state_can_be_read_in_one_expression(name):
    with Graph().as_default() as graph:
        v = static.variable(np.full(4, 1.0, "float32"))
        x = static.placeholder("float32", (4,))
        both = v * 2.0 + static.assign(v, x) * 3.0
    switches = PassSwitches() if name == "all" else PassSwitches.only(*filter(None, [name]))
    session = Session(graph, switches=switches)
    np.testing.assert_array_equal(session.run(both, {x: np.full(4, 10.0, "float32")}), 32.0)
    np.testing.assert_array_equal(session.run(both, {x: np.full(4, 1.0, "float32")}), 23.0)


@pytest.mark.parametrize("name", [*EXACT, "fuse_elementwise"])
def test_zeros_keep_their_sign_and_infinities_stay(name):
    special = np.array([-0.0, 0.0, np.inf, -np.inf, np.nan, 1.0], "float32")
    with Graph().as_default() as graph:
        x = static.placeholder("float32", special.shape)
        twice = static.negative(static.negative(x))
        fetched = [twice, x - (-0.0), x - 0.0, x + 0.0, x + (-0.0), x * 1.0, x / 1.0, x * -0.0]
    with np.errstate(invalid="ignore"):
        expected = Session(graph, switches=PassSwitches.none()).run(fetched, {x: special})
        got = Session(graph, switches=PassSwitches.only(name)).run(fetched, {x: special})
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_array_equal(np.signbit(a), np.signbit(b))
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", ["merge_common", "simplify_algebra"])
def test_fetched_arrays_share_no_memory_whatever_was_merged(name):
    with Graph().as_default() as graph:
        x = static.placeholder("float32", (3,))
        fetched = [x * 2.0, x * 2.0, (x * 2.0) * 1.0]
    session = Session(graph, switches=PassSwitches.only(name))
    first, second, third = session.run(fetched, {x: np.ones(3, "float32")})
    assert not np.shares_memory(first, second)
    assert not np.shares_memory(first, third)


def _convolution_step(layout: str, ending: str, channels: int = 64):
    """(graph, images, fetched value) of a convolution whose filters are constants."""
    rng = np.random.default_rng(5)
    nchw = layout == "NCHW"
    shape = (2, channels, 24, 26) if nchw else (2, 24, 26, channels)
    filters = (32, channels, 3, 3) if nchw else (3, 3, channels, 32)
    graph = Graph()
    with graph.as_default():
        images = placeholder("float32", shape)
        w = constant(rng.standard_normal(filters).astype(np.float32) / 24)
        b = constant(rng.standard_normal(32).astype(np.float32))
        ops = StaticVocabulary(graph)
        y = ops.conv2d(images, w, padding=((1, 1), (1, 1)), layout=layout)
        y = ops.bias_add(y, b, axis=1 if nchw else -1)
        for name in ending.split():
            y = ops.relu(y) if name == "relu" else ops.max_pool2d(y, (2, 2), layout=layout)
    return graph, images, y


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize(
    "ending", ["relu pool", "pool relu", "pool", "relu", "relu pool relu pool"]
)
@pytest.mark.parametrize("channels", [64, 5])
def test_pooling_joins_the_convolution_where_a_kernel_can(layout, ending, channels):
    graph, images, y = _convolution_step(layout, ending, channels)
    x = np.random.default_rng(6).standard_normal(images.shape).astype(np.float32)
    with Session(graph, switches=PassSwitches.none()) as plain:
        expected = plain.run([y], {images: x})[0]
    with Session(graph) as session:
        got = session.run([y], {images: x})[0]
        counts = {each.name: each.counts for each in session.explain([y], [images]).passes}[
            "fuse_epilogues"
        ]
        names = [each.split(":")[0] for each in session.explain([y], [images]).kernels]
    assert np.abs(got - expected).max() <= 1e-5 * np.abs(expected).max()
    poolings = ending.split().count("pool")
    pooled = int(channels == 64 and poolings > 0)
    assert counts == {"fused": 1, "pooled": pooled}
    assert names.count("max_pool2d") == poolings - pooled


def test_a_pooling_whose_input_or_winners_are_wanted_stays():
    graph, images, y = _convolution_step("NHWC", "relu pool")
    unpooled = y.node.operands[0]
    x = np.random.default_rng(6).standard_normal(images.shape).astype(np.float32)
    with Session(graph) as session:
        largest, whole = session.run([y, unpooled], {images: x})
        names = [each.split(":")[0] for each in session.explain([y, unpooled], [images]).kernels]
    assert names == ["conv2d_epilogue", "max_pool2d"]
    squares = whole.reshape(2, 12, 2, 13, 2, 32).max((2, 4))
    assert same_bits(largest, squares)


def test_constant_filters_are_transformed_once_and_only_where_folding_is_on():
    graph, images, y = _convolution_step("NHWC", "relu")
    x = np.random.default_rng(6).standard_normal(images.shape).astype(np.float32)
    results = []
    for switches in (PassSwitches(), PassSwitches(fold_constants=False)):
        with Session(graph, switches=switches) as session:
            results.append(session.run([y], {images: x})[0])
            kept = session.explain([y], [images]).folded_bytes
        assert (kept > 0) == switches.fold_constants
    assert np.abs(results[0] - results[1]).max() <= 1e-5 * np.abs(results[0]).max()
