"""Branches and loops on an emulated GPU: the host reads what decides, and bodies run as written."""

from __future__ import annotations

import gc
import shutil
from collections import Counter
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from control_programs import NAMES, PROGRAMS, Recorded
from control_programs import drawn as drawn_arrays
from cuda_runs import (
    ENGINES,
    OFF,
    PLAIN,
    DriverClock,
    assert_right,
    assert_same,
    drawn,
    emulated,
    prepared,
    stepped,
)

from benchctl.measure.batches import BatchesRunner, batch_name
from benchctl.measure.device_timing import DeviceRule, take_times, waits_words
from benchctl_engines import eager, static
from benchctl_engines.contract import EngineOptions, Outputs, WaitingRunner
from benchctl_engines.devices.cpu import Device
from benchctl_engines.devices.cuda import memory as memory_of_a_card
from benchctl_engines.devices.cuda.device import CudaDevice
from benchctl_engines.eager.engine import EagerVocabulary
from benchctl_engines.gpu.driver import DeviceError, OutOfDeviceMemoryError
from benchctl_engines.primitives.nan_check import NanError
from benchctl_engines.static import (
    Graph,
    PassSwitches,
    Session,
    control_launches,
    cuda_bodies,
    cuda_program,
)
from benchctl_engines.static.program import all_bodies
from benchctl_engines.static.switches import PASS_NAMES
from benchctl_workloads import Workload
from benchctl_workloads.conditional import Conditional
from benchctl_workloads.dynamic_shapes import DynamicShapes
from benchctl_workloads.reference import reference_outputs

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="g++ builds the kernels")

each_program = pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
FORMS = ("branch", "loop", "while")
WAYS = {
    "eager": ("eager", {}),
    "static": ("static", {}),
    "static, passes off": ("static", OFF),
}
ALIGNED = 64
"""Rows of so many float32 begin at multiples of 256 bytes."""


def run_eager(program, arrays, device):
    """The loss and the gradients of the arrays, 0 where the loss does not depend on one."""
    tensors = [eager.tensor(each, requires_grad=True, device=device) for each in arrays]
    loss = program(EagerVocabulary(device), *tensors)
    found = eager.gradients(loss, tensors)
    pairs = zip(found, arrays, strict=True)
    return [loss.numpy(), *(np.zeros_like(a) if g is None else g.numpy() for g, a in pairs)]


def exact(program, arrays):
    """The same in float64, by NumPy."""
    return run_eager(program, [each.astype(np.float64) for each in arrays], Device("reference", 1))


def run_static(program, arrays, switches):
    """The same on the GPU, by each of four runs: nothing is left behind by the one before."""
    recorded = Recorded(program, arrays)
    wanted = [each for each in recorded.gradients if each is not None]
    with Session(recorded.graph, switches=switches, device="gpu", threads=1) as session:
        feed = recorded.feed(arrays)
        runs = [session.run([recorded.loss, *wanted], feed) for _ in range(4)]
    for found in runs[1:]:
        assert [each.tobytes() for each in found] == [each.tobytes() for each in runs[0]]
    rest = iter(runs[0][1:])
    pairs = zip(recorded.gradients, arrays, strict=True)
    return [runs[0][0], *(np.zeros_like(a) if g is None else next(rest) for g, a in pairs)]


def conditional(form, mode="forward", size=5, steps=4):
    return drawn(Conditional(), {"form": form, "mode": mode, "size": size, "steps": steps})


# ----- right, and alike in every bit --------------------------------------------------------------


@each_program
@pytest.mark.parametrize("size", [3, ALIGNED])
@pytest.mark.parametrize("positive", [True, False], ids=["above", "below"])
def test_both_engines_agree_in_every_bit_and_are_right(program, size, positive, driver):
    arrays = drawn_arrays(size=size, positive=positive, dtype="float32")
    first = run_eager(program, arrays, CudaDevice(driver))
    second = run_static(program, arrays, PassSwitches.none())
    for name, a, b in zip(("loss", *NAMES), first, second, strict=True):
        # But for the sign of zeros: where nothing arrives, engines may differ in it.
        assert (a + 0.0).tobytes() == (b + 0.0).tobytes(), name
    for found, expected in zip(second, exact(program, arrays), strict=True):
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize(
    "switches",
    [
        PassSwitches(),
        PassSwitches(poison=True),
        PassSwitches(poison=True, bind_early=False),
        PassSwitches(check_nan=True),
        *(PassSwitches.only(each) for each in PASS_NAMES),
    ],
    ids=["all", "poisoned", "poisoned, interpreted", "check_nan", *PASS_NAMES],
)
@pytest.mark.parametrize("name", ["read_everywhere", "loop_in_branch", "while_in_loop"])
def test_passes_leave_results_as_they_are(name, switches, driver):
    arrays = drawn_arrays(dtype="float32")
    found = run_static(PROGRAMS[name], arrays, switches)
    for each, expected in zip(found, exact(PROGRAMS[name], arrays), strict=True):
        np.testing.assert_allclose(each, expected, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16", "bf16"])
def test_gradients_are_right_at_every_precision(precision, form, way, driver, tmp_path):
    engine, switches = WAYS[way]
    case, parameters, inputs = conditional(form, "gradient")
    runner = prepared(
        engine, Conditional(), case, parameters, inputs, switches, precision=precision
    )
    assert_right(stepped(runner), Conditional(), case, parameters, inputs, tmp_path, precision)
    runner.close()


class Gated(Workload):
    """Training whose layers depend on data: a product in a branch, a loop over halved states."""

    name = "gated"

    def step(self, case):
        return "training"

    def learning_rate(self, case):
        return 0.05

    def inputs(self, case, rng):
        x = rng.standard_normal((6, 8), dtype=np.float32)
        return {"x": x, "gate": np.array(1.0, np.float32)}

    def parameters(self, case, rng):
        return {
            name: rng.standard_normal(shape, dtype=np.float32) * np.float32(0.3)
            for name, shape in {"w": (8, 5), "v": (8, 5), "u": (5,)}.items()
        }

    def program(self, ops, parameters, inputs, case):
        x, u = inputs["x"], parameters["u"]
        h = ops.cond(
            ops.greater(inputs["gate"], 0.0),
            lambda: ops.relu(ops.matmul(x, parameters["w"])),
            lambda: ops.tanh(ops.matmul(x, parameters["v"])),
        )
        last, _ = ops.scan(lambda s, row: (ops.tanh(ops.add(ops.multiply(s, u), row)), None), u, h)
        loss = ops.sum(ops.multiply(last, last))
        return Outputs(values={"loss": loss}, objective=loss)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_training_through_a_branch_and_a_loop(precision, way, driver, tmp_path):
    engine, switches = WAYS[way]
    case, parameters, inputs = drawn(Gated(), {})
    runner = prepared(engine, Gated(), case, parameters, inputs, switches, precision=precision)
    for place, gate in enumerate((1.0, -1.0, 1.0, -1.0)):
        inputs["gate"] = np.array(gate, np.float32)
        runner.load(inputs)
        found = stepped(runner)
        folder = tmp_path / str(place)
        assert_right(found, Gated(), case, parameters, inputs, folder, precision)
        parameters = {name: found[f"parameter/{name}"] for name in parameters}
    runner.close()


def test_training_is_alike_in_every_bit(driver):
    case, parameters, inputs = drawn(Gated(), {})
    runners = [
        prepared(engine, Gated(), case, parameters, inputs, switches)
        for engine, switches in (("eager", {}), ("static", OFF))
    ]
    for gate in (1.0, -1.0, 1.0):
        for runner in runners:
            runner.load({**inputs, "gate": np.array(gate, np.float32)})
        first, second = (stepped(each) for each in runners)
        assert_same(second, first)


# ----- what the host does -------------------------------------------------------------------------


def test_the_host_reads_each_condition_once_and_nothing_else(driver):
    reads = {"branch": 4, "loop": 0}
    for form, expected in reads.items():
        case, parameters, inputs = conditional(form)
        runner = prepared("static", Conditional(), case, parameters, inputs)
        runner.step()
        before = driver.counts()
        runner.issue()
        assert driver.since(before) == ({"to_host": expected} if expected else {})
    case, parameters, inputs = conditional("while")
    for count in (1, 3):
        inputs["count"] = np.array(count, np.float32)
        runner = prepared("static", Conditional(), case, parameters, inputs)
        runner.step()
        before = driver.counts()
        runner.issue()
        assert driver.since(before) == {"to_host": count + 1}


@pytest.mark.parametrize("form", ["branch", "while"])
def test_a_step_whose_condition_is_read_is_launched_and_why_is_said(form, driver):
    case, parameters, inputs = conditional(form)
    runner = prepared("static", Conditional(), case, parameters, inputs)
    for _ in range(4):
        runner.step()
    assert not runner.replays()
    name = {"branch": "cond", "while": "while_loop"}[form]
    (note,) = [each for each in runner.facts().notes if each.startswith("the step is")]
    assert f"launched one by one: the host reads the condition of {name} at conditional.py:" in note
    assert ("and 3 more" in note) is (form == "branch")
    assert isinstance(runner, WaitingRunner) and f"condition of {name}" in runner.waits()
    assert "conditional.py" in str(runner.facts().source)


def test_a_loop_over_rows_is_recorded_as_it_goes_round(driver):
    """Its length is known: nothing is read, and a replay does all iterations."""
    case, parameters, inputs = conditional("loop", steps=7)
    runner = prepared("static", Conditional(), case, parameters, inputs)
    driver.issued.clear()
    first = stepped(runner)
    assert driver.issued == ["graph"] and runner.replays() and runner.waits() == ""
    plain = prepared("static", Conditional(), case, parameters, inputs, PLAIN)
    assert_same(stepped(plain), first)
    assert runner.facts().counts["capture.recorded"] >= 7


def test_only_the_branch_taken_is_launched(driver):
    for gate, taken, other in ((1.0, "w", "v"), (-1.0, "v", "w")):
        case, parameters, inputs = drawn(Gated(), {})
        inputs["gate"] = np.array(gate, np.float32)
        runner = prepared("static", Gated(), case, parameters, inputs, PLAIN)
        found = stepped(runner)
        assert (found[f"parameter/{taken}"] != parameters[taken]).any()
        np.testing.assert_array_equal(found[f"parameter/{other}"], parameters[other])
        runs = Counter()
        for body in all_bodies(runner._compiled().launches):
            run = body.bound["k0"]
            body.bound["k0"] = partial(counted, runs, body.label, run)
        runner.step()
        names = ("then", "otherwise") if gate > 0 else ("otherwise", "then")
        assert runs[names[0]] > 0 and runs[names[1]] == 0


def counted(runs, label, kernel, *arrays):
    """A kernel that counts its calls."""
    runs[label] += 1
    kernel(*arrays)


# ----- memory -------------------------------------------------------------------------------------


def test_bodies_work_in_the_memory_of_the_step(driver):
    """One block: nothing is allocated for a body, and branches share their workspace."""
    case, parameters, inputs = conditional("branch", size=1000)
    runner = prepared("static", Conditional(), case, parameters, inputs)
    runner.step()
    counts = runner.facts().counts
    assert runner.device_memory().held_bytes == driver.memory.used
    assert counts["arena_bytes"] <= counts["memory_bytes"]
    program = runner._compiled()
    plans = list(program.plan.workspaces)
    assert [each.primitive.name for each in plans] == ["cond"] * 4
    before = driver.counts()["allocations"]
    for _ in range(3):
        runner.step()
    assert driver.counts()["allocations"] == before
    runner.close()
    del runner, program, plans
    gc.collect()
    assert driver.memory.used == 0


def test_sharing_is_worth_something(driver):
    case, parameters, inputs = conditional("loop", "gradient", size=1000, steps=6)
    arena = [
        prepared("static", Conditional(), case, parameters, inputs, switches)
        .facts()
        .counts["arena_bytes"]
        for switches in (OFF, {**OFF, "plan_memory": "on"})
    ]
    assert arena[1] < arena[0]


def test_what_does_not_fit_is_said_before_anything_is_allocated():
    with emulated(2**20) as small:
        case, parameters, inputs = conditional("loop", size=30000, steps=8)
        with pytest.raises(OutOfDeviceMemoryError, match="the step needs"):
            prepared("static", Conditional(), case, parameters, inputs)
        gc.collect()
        assert small.memory.used == 0


# ----- looking inside -----------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["eager", "static"])
def test_a_step_that_waits_has_a_wall_time_and_says_why_it_has_no_other(engine, driver):
    case, parameters, inputs = conditional("branch")
    runner = prepared(engine, Conditional(), case, parameters, inputs)
    runner.step()
    driver.clock.device_seconds = lambda name: 10.0 if name == "benchctl_spin" else 2e-6
    found = take_times(runner, DriverClock(driver), DeviceRule(samples=3))
    assert len(found.wall) == 3 and min(found.wall) > 0
    assert found.cold == found.warm == found.issue == found.replay == () and not found.phases
    assert found.marks == (waits_words(runner.waits()),)
    assert "reads" in found.marks[0]


def test_a_loop_that_reads_nothing_has_every_figure(driver):
    case, parameters, inputs = conditional("loop", "gradient")
    runner = prepared("static", Conditional(), case, parameters, inputs)
    runner.step()
    driver.clock.device_seconds = lambda name: 10.0 if name == "benchctl_spin" else 2e-6
    found = take_times(runner, DriverClock(driver), DeviceRule(samples=3))
    assert min(*found.cold, *found.warm, *found.issue, *found.replay) > 0 and found.marks == ()
    assert set(found.phases) == {"forward", "backward"}


@pytest.mark.parametrize("form", FORMS)
def test_a_profile_has_a_row_for_each_branch_and_loop(form, driver):
    case, parameters, inputs = conditional(form, "gradient")
    runner = prepared("static", Conditional(), case, parameters, inputs)
    plain = stepped(runner)
    found = runner.profile(3)
    rows = [each for each in found.launches if each.kernel.endswith(":host")]
    assert rows and all(each.seconds > 0 and each.origin for each in rows)
    assert {each.phase for each in rows} == {"forward", "backward"}
    assert_same(stepped(runner), plain)


def test_explain_and_graphs_show_the_bodies(driver):
    case, parameters, inputs = conditional("while", "gradient")
    runner = prepared("static", Conditional(), case, parameters, inputs)
    facts = runner.facts()
    assert "launches in branches and loops" in facts.source
    assert facts.counts["body_launches"] > 0
    assert {"while_loop:host", "scan:host"} <= set(facts.kernels)
    names = {each.primitive for each in runner.graphs().after.operations}
    assert {"while_loop", "scan"} <= names


def test_a_nan_inside_a_body_names_its_line(driver):
    with Graph().as_default() as graph:
        x = static.placeholder("float32", (2, 3))
        zeros = static.constant(np.zeros(3, "float32"))
        h, _ = static.scan(lambda h, row: (h + static.log(row), None), zeros, x)
    session = Session(graph, switches=PassSwitches(check_nan=True), device="gpu", threads=1)
    with pytest.raises(NanError, match=r"log made a NaN.*test_cuda_control_flow\.py"):
        session.run(h, {x: np.full((2, 3), -1.0, "float32")})


@pytest.mark.parametrize("switches", [PassSwitches.none(), PassSwitches.only("bind_early")])
def test_a_failure_inside_a_body_names_both_lines(switches, driver):
    arrays = drawn_arrays(dtype="float32")
    recorded = Recorded(PROGRAMS["recurrence"], arrays)
    session = Session(recorded.graph, switches=switches, device="gpu", threads=1)
    program = session.compiled([recorded.loss], recorded.feeds)

    def broken(*arrays):
        raise ArithmeticError("planted")

    next(all_bodies(program.launches)).bound["k0"] = broken
    with pytest.raises(ArithmeticError, match="planted") as caught:
        session.run([recorded.loss], recorded.feed(arrays))
    notes = "\n".join(caught.value.__notes__)
    assert "while running multiply" in notes and "while running scan" in notes


# ----- shapes that change ------------------------------------------------------------------------


def of_batches(engine, **given):
    workload = DynamicShapes()
    case, parameters, _ = drawn(workload, {"width": 8, **given})
    batches = workload.batches(case, np.random.default_rng(2))
    options = EngineOptions(device="gpu", threads=1)
    runner = ENGINES[engine].prepare(workload, case, dict(parameters), batches[0], options)
    runner = BatchesRunner(runner, batches)
    runner.build()
    runner.compile()
    return runner, workload, case, parameters, batches


@pytest.mark.parametrize("engine", ["eager", "static"])
@pytest.mark.parametrize("lengths", [4, 32])
def test_the_outputs_of_every_batch_are_right(engine, lengths, driver):
    runner, workload, case, parameters, batches = of_batches(
        engine, lengths=lengths, mode="gradient", varying="batch"
    )
    runner.step()
    found = runner.outputs()
    for place in (0, 1, 31):
        expected = reference_outputs(workload, case, parameters, batches[place])
        for name, value in expected.items():
            np.testing.assert_allclose(found[batch_name(name, place)], value, rtol=1e-4, atol=1e-5)
    runner.close()


def test_the_memory_of_batches_is_that_of_all_programs(driver):
    runner, *_ = of_batches("static", lengths=4)
    runner.step()
    assert runner.facts().counts["programs_compiled"] == 4
    assert runner.device_memory().held_bytes == driver.memory.used
    assert {each.shapes for each in runner.profile(1).launches} > {"64x8", "128x8"}
    runner.close()


def test_programs_that_were_let_go_of_make_room(monkeypatch):
    """More shapes than are kept, on a card that has room for about twice those."""
    with emulated(2**30) as large:
        runner, *_ = of_batches("static", lengths=32)
        runner.step()
        gc.collect()
        room = 2 * large.memory.used
        runner.close()
    gc.disable()
    try:
        with emulated(room):
            runner, *_ = of_batches("static", lengths=32)
            for _ in range(4):
                runner.step()
            monkeypatch.setattr(memory_of_a_card.gc, "collect", lambda: 0)
            with pytest.raises(OutOfDeviceMemoryError):
                for _ in range(4):
                    runner.step()
            runner.close()
            monkeypatch.undo()
    finally:
        gc.enable()


# ----- where rows lie -----------------------------------------------------------------------------


def addresses_in_bodies(program, arrays):
    """Of what the kernels in bodies are given, the remainders by 256."""
    recorded = Recorded(program, arrays)
    found = set()

    def noted(kernel, *arrays):
        found.update(each.pointer % 256 for each in arrays)
        kernel(*arrays)

    switches = PassSwitches(capture=False)
    with Session(recorded.graph, switches=switches, device="gpu", threads=1) as session:
        wanted = [recorded.loss, *(each for each in recorded.gradients if each is not None)]
        for body in all_bodies(session.compiled(wanted, recorded.feeds).launches):
            for place, launch in enumerate(body.launches):
                if not launch.bodies:
                    body.bound[f"k{place}"] = partial(noted, launch.prepared.run)
        session.run(wanted, recorded.feed(arrays))
    return found


@pytest.mark.parametrize("name", ["read_everywhere", "loop_in_loop", "while_in_loop"])
def test_kernels_see_rows_at_aligned_places(name, driver, monkeypatch):
    arrays = drawn_arrays(dtype="float32")
    assert addresses_in_bodies(PROGRAMS[name], arrays) == {0}
    # Planted fault: rows of 12 bytes are given as they lie.
    monkeypatch.setattr(cuda_bodies, "ALIGNMENT", 4)
    assert len(addresses_in_bodies(PROGRAMS[name], arrays)) > 1


# ----- faults that must be caught -----------------------------------------------------------------


def wrong(program, arrays, switches=None):
    """Whether the loss or a gradient is not that of float64, or the device refuses."""
    try:
        found = run_static(program, arrays, switches or PassSwitches.none())
    except DeviceError:
        return True
    pairs = zip(found, exact(program, arrays), strict=True)
    return not all(np.allclose(a, b, rtol=1e-3) for a, b in pairs)


def test_a_condition_read_wrongly_is_caught(monkeypatch, driver):
    access = cuda_bodies.device_access

    def negated(driver):
        right = access(driver)
        return replace(right, truth=lambda array: not right.truth(array))

    assert not wrong(PROGRAMS["branch"], drawn_arrays(dtype="float32", positive=False))
    monkeypatch.setattr(cuda_bodies, "device_access", negated)
    assert wrong(PROGRAMS["branch"], drawn_arrays(dtype="float32", positive=False))


def test_a_row_at_the_wrong_place_is_caught(monkeypatch, driver):
    access = cuda_bodies.device_access

    def shifted(driver):
        right = access(driver)
        return replace(right, row=lambda stack, key: right.row(stack, (key[0] // 2, ...)))

    monkeypatch.setattr(cuda_bodies, "device_access", shifted)
    assert wrong(PROGRAMS["recurrence"], drawn_arrays(dtype="float32"))


def test_branches_over_the_memory_of_the_step_are_caught(monkeypatch, driver):
    """A workspace that is not there when the step is placed lies over what is alive."""
    plan = cuda_program.plan_memory

    def without_controls(step, scratch, *rest):
        kept = {node: min(size, 256) for node, size in scratch.items()}
        return plan(step, kept, *rest)

    monkeypatch.setattr(cuda_program, "plan_memory", without_controls)
    arrays = drawn_arrays(dtype="float32", size=200)
    assert wrong(PROGRAMS["loop_in_loop"], arrays, PassSwitches.only("plan_memory"))


def test_a_read_that_was_overlooked_ends_the_recording_and_not_the_step(monkeypatch, driver):
    monkeypatch.setattr(cuda_bodies, "read_words", lambda node: "")
    case, parameters, inputs = conditional("branch")
    runner = prepared("static", Conditional(), case, parameters, inputs)
    plain = prepared("static", Conditional(), case, parameters, inputs, PLAIN)
    assert_same(stepped(runner), stepped(plain))
    assert not runner.replays()
    assert "copy to the host" in runner._compiled().captured.reason


def test_carries_that_do_not_take_turns_are_caught(monkeypatch, driver):
    launch = control_launches.over_rows

    def in_one_place(node, body, spare, access):
        carries = node.attributes["carries"]

        def run(*arrays):
            launch(node, body, arrays[:carries], access)(*arrays)

        return run

    monkeypatch.setattr(control_launches, "over_rows", in_one_place)
    arrays = drawn_arrays(dtype="float32", length=5)
    assert wrong(PROGRAMS["repeated_results"], arrays)
