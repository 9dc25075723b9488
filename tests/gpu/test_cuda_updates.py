"""Many parameters updated by one launch: the bits of updates one by one, in both engines."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from cuda_runs import OFF, assert_same, drawn, prepared, stepped
from emulator import EmulatedDriver
from hypothesis import example, given, settings
from hypothesis import strategies as st
from layer_workloads import SmallGan, SmallNet

from benchctl_engines import static
from benchctl_engines.eager.multi_tensor import written_rule
from benchctl_engines.kernels import cuda_many
from benchctl_engines.kernels.cuda_many import ARGUMENT_BYTES, CHUNK, prepare_many
from benchctl_engines.kernels.cuda_state import scaled_body
from benchctl_engines.layers import SGD, Adam, Dense
from benchctl_engines.primitives import operations
from benchctl_engines.static import Graph, PassSwitches, Session
from benchctl_engines.static.session import group
from benchctl_workloads.heads import Heads

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="g++ builds the kernels")

DRIVER = EmulatedDriver(2**28)
HEADS = {"width": 24, "channels": 6, "side": 3, "batch": 3, "mode": "training"}


def launches(driver, kind="_many"):
    """The launches over many tensors since the last look."""
    found = [name for name in driver.issued if name.endswith(kind)]
    driver.issued.clear()
    return found


# ----- the kernel ---------------------------------------------------------------------------------


def placed(array, offset=0):
    made = DRIVER.allocate(array.nbytes + offset + 1)
    if array.size:
        DRIVER.copy_to_device(made.pointer + offset, array)
    return made, made.pointer + offset


def read(pointer, like):
    host = np.empty_like(like)
    if host.size:
        DRIVER.copy_to_host(host, pointer)
    return host


def subtracted(sizes, dtype, offset, launch=None):
    """w - 0.1 g of tensors of these sizes, in place, and what it should be."""
    rng = np.random.default_rng(len(sizes))
    body, scale = scaled_body(dtype, 0.1)
    pairs = [rng.standard_normal((2, size)).astype(dtype) for size in sizes]
    kept = [[placed(each, offset) for each in pair] for pair in pairs]
    launch = launch or prepare_many(DRIVER, body, 0, sizes)
    launch([(w, w, g) for (_, w), (_, g) in kept], (), (scale,))
    DRIVER.check()
    rate = np.dtype(dtype).type(0.1)
    found = [read(pointers[0][1], pair[0]) for pointers, pair in zip(kept, pairs, strict=True)]
    return found, [w - rate * g for w, g in pairs]


def same(found, expected):
    return all(a.tobytes() == b.tobytes() for a, b in zip(found, expected, strict=True))


SIZES = st.sampled_from([0, 1, 3, 4, 64, 257, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 6])


@settings(max_examples=12, deadline=None)
@given(
    st.lists(SIZES, min_size=1, max_size=5),
    st.sampled_from(["float32", "float64"]),
    st.sampled_from([0, 8]),
)
@example([0, 0], "float32", 0)
def test_every_element_is_updated_once(sizes, dtype, offset):
    assert same(*subtracted(sizes, dtype, offset))


def test_more_tensors_than_arguments_take_are_a_few_launches():
    DRIVER.issued.clear()
    assert same(*subtracted([5] * 250, "float32", 0))
    names = [name for name in DRIVER.issued if name.endswith("_many")]
    assert len(names) == 3 and 2 * ARGUMENT_BYTES < 250 * 5 * 8


def test_a_block_that_takes_its_neighbours_chunk_is_caught(monkeypatch):
    right = cuda_many._Writer._choice

    def wrong(self, low, high):
        return [line.replace("(block < ", "(block <= ") for line in right(self, low, high)]

    monkeypatch.setattr(cuda_many._Writer, "_choice", wrong)
    assert not same(*subtracted([CHUNK + 1, 40], "float32", 0))


def advanced_adam(adam, w, m, v, g, rate, scale):
    """One update in float32 operations of NumPy."""
    one = np.float32
    m = m * one(adam.beta_1) + g * one(1 - adam.beta_1)
    v = v * one(adam.beta_2) + (g * g) * one(1 - adam.beta_2)
    return w - m * rate / (np.sqrt(v) / scale + one(adam.epsilon)), m, v


def test_adam_is_one_launch_and_its_formula():
    adam, sizes = Adam(0.01, epsilon=1e-3), [5, 3000, 40_000]
    body, numbers = written_rule("adam", adam._moved, 4, 2, "float32")
    assert len(numbers) == 5
    rng = np.random.default_rng(0)
    rate, scale = np.float32([0.05]), np.float32([0.3])
    rows = [np.abs(rng.standard_normal((4, size))).astype("float32") for size in sizes]
    shared = [placed(each) for each in (rate, scale)]
    kept = [[placed(each) for each in (*row[:3], *row)] for row in rows]
    DRIVER.issued.clear()
    launch = prepare_many(DRIVER, body, 2, sizes)
    launch([[p for _, p in each] for each in kept], [p for _, p in shared], numbers)
    assert DRIVER.issued == ["adam_float32_many"]
    for row, own in zip(rows, kept, strict=True):
        wanted = advanced_adam(adam, *row, rate, scale)
        assert same([read(own[place][1], row[0]) for place in range(3)], wanted)


def test_a_rule_that_is_not_elementwise_is_refused():
    with pytest.raises(AttributeError, match="elementwise numbers, not matmul"):
        written_rule("wrong", lambda ops, a, b: (ops.matmul(a, b),), 2, 0, "float32")


# ----- both engines -------------------------------------------------------------------------------


def four_steps(engine, workload, case, parameters, inputs, switches=()):
    runner = prepared(engine, workload, case, parameters, inputs, switches)
    return [stepped(runner) for _ in range(4)], runner


@pytest.mark.parametrize(
    ("workload", "given", "many"),
    [
        (Heads(), HEADS, 1),
        (SmallGan(), {}, 2),
        (SmallNet(SGD(0.01), [Dense(8, "tanh"), Dense(2)], (3,)), {}, 1),
    ],
    ids=["plain SGD", "Adam and momentum", "SGD that the program states"],
)
def test_one_launch_gives_the_bits_of_all_others(workload, given, many, driver):
    case, parameters, inputs = drawn(workload, given)
    found, runner = four_steps("eager", workload, case, parameters, inputs)
    driver.issued.clear()
    runner.issue()
    assert len(launches(driver)) == many
    assert any(each.endswith(":multi_tensor") for each in runner.facts().kernels)
    for engine, switches in [("eager", {"multi_tensor": "off"}), ("static", OFF)]:
        others, _ = four_steps(engine, workload, case, parameters, inputs, switches)
        assert_same_steps(others, found)
    plain, _ = four_steps("static", workload, case, parameters, inputs, {"gather_updates": "off"})
    for switches in ({}, {"poison": "on", "bind_early": "off"}):
        gathered, _ = four_steps("static", workload, case, parameters, inputs, switches)
        assert_same_steps(gathered, plain)


def assert_same_steps(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert set(one) == set(other)
        assert_same({name: one[name] for name in other}, other)


def test_static_updates_in_place_and_alike_ones_together(driver):
    case, parameters, inputs = drawn(SmallGan(), {})
    plain = prepared("static", SmallGan(), case, parameters, inputs, {"gather_updates": "off"})
    runner = prepared("static", SmallGan(), case, parameters, inputs)
    for each in (plain, runner):
        each.step()
    facts, others = runner.facts(), plain.facts()
    # Adam of the generator, momentum of the discriminator; the gradient of a normalization's scale
    # comes out of a loop with other results, which does its update too.
    assert facts.counts["gather_updates.tensors"] == 6 + 4
    assert facts.counts["gather_updates.launches"] == 2
    assert facts.counts["launches"] < others.counts["launches"] - 20
    assert facts.counts["bytes_moved"] < others.counts["bytes_moved"]
    copies = [
        sum(kernel.startswith("assign:") for kernel in each.kernels) for each in (facts, others)
    ]
    assert copies[0] <= copies[1] - 14
    profile = runner.profile(1)
    assert any(each.shapes.endswith(" tensors") for each in profile.launches)


def test_large_gradients_are_not_kept_for_the_end(driver, monkeypatch):
    from benchctl_engines.static import cuda_updates

    case, parameters, inputs = drawn(Heads(), HEADS)
    together = prepared("static", Heads(), case, parameters, inputs, {"fuse_updates": "on"})
    monkeypatch.setattr(cuda_updates, "LARGE_BYTES", 1)
    apart = prepared("static", Heads(), case, parameters, inputs, {"fuse_updates": "on"})
    assert together.facts().counts["gather_updates.tensors"] > 1
    assert apart.facts().counts["gather_updates.tensors"] == 0
    for _ in range(4):
        assert_same(stepped(apart), stepped(together))


# ----- what a step may state ----------------------------------------------------------------------


@pytest.fixture
def graph():
    with Graph().as_default() as made:
        yield made


STAGES = {"gathered": PassSwitches(), "poisoned": PassSwitches(poison=True)}


@pytest.mark.parametrize("switches", STAGES)
@pytest.mark.parametrize("shape", [(3,), ()], ids=["in one loop", "in another loop"])
def test_a_loop_that_reads_a_state_another_changes_sees_the_old_one(shape, switches, driver, graph):
    """a <- tanh(a - a b) and b <- tanh(b - b b): the first reads what the second writes."""
    first, second = np.float32([1, 2, 3]), np.full(shape, 0.5, np.float32)
    a, b = static.variable(first, name="a"), static.variable(second, name="b")
    steps = [
        operations.assign(x, operations.tanh(operations.subtract(x, operations.multiply(x, b))))
        for x in (a, b)
    ]
    running = Session(graph, switches=STAGES[switches], device="gpu", threads=1)
    on_the_cpu = Session(graph, threads=1)
    for _ in range(4):
        running.run(group(*steps))
        on_the_cpu.run(group(*steps))
        for each in (a, b):
            np.testing.assert_allclose(
                running.value_of(each), on_the_cpu.value_of(each), rtol=1e-5, atol=1e-6
            )


@pytest.mark.parametrize("switches", STAGES)
def test_old_and_new_states_are_fetched_as_such(switches, driver, graph):
    given = np.arange(1, 5, dtype=np.float32)
    w, v = static.variable(given, name="w"), static.variable(np.zeros_like(given), name="v")
    moved = operations.assign(v, operations.add(operations.multiply(v, 0.5), w))
    new = operations.subtract(w, operations.multiply(operations.add(w, w), 0.25))
    changed = operations.assign(w, new)
    total = operations.sum(operations.multiply(w, w))
    running = Session(graph, switches=STAGES[switches], device="gpu", threads=1)
    old_w, old_v = given.copy(), np.zeros_like(given)
    for _ in range(5):
        before, after, velocity, square = running.run([w, changed, moved, total])
        np.testing.assert_array_equal(before, old_w)
        old_v = old_v * np.float32(0.5) + old_w
        np.testing.assert_array_equal(velocity, old_v)
        assert square == pytest.approx(float((old_w * old_w).sum()))
        old_w = old_w - (old_w + old_w) * np.float32(0.25)
        np.testing.assert_array_equal(after, old_w)
