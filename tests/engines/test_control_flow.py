"""cond, scan and while_loop on both engines: values, gradients, laziness, passes, errors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import control_programs
import numpy as np
import pytest
from control_programs import PROGRAMS, Recorded, drawn, run_eager, run_static
from hypothesis import given, settings
from hypothesis import strategies as st

from benchctl.plan.registry import load_engine
from benchctl_engines import eager, static
from benchctl_engines.devices.cpu import Device
from benchctl_engines.eager.engine import EagerVocabulary
from benchctl_engines.peers.inference_runtimes import UnsupportedProgramError
from benchctl_engines.peers.recorded_step import record_step
from benchctl_engines.primitives.nan_check import NanError
from benchctl_engines.primitives.primitive import OperandError
from benchctl_engines.primitives.specs import HALVES, ShapeError, spec
from benchctl_engines.static import (
    Graph,
    PassSwitches,
    Session,
    control_gradients,
    control_launches,
)
from benchctl_engines.static.control_gradients import UnboundedLoopError
from benchctl_engines.static.graph import emit_placeholder
from benchctl_engines.static.program import all_bodies
from benchctl_engines.static.switches import PASS_NAMES
from benchctl_engines.static.workload_graph import StaticVocabulary
from benchctl_workloads import make_case
from benchctl_workloads.conditional import Conditional
from benchctl_workloads.dynamic_shapes import DynamicShapes

FEW = settings(max_examples=10, deadline=None, derandomize=True)
each_program = pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
HERE = Path(__file__).name
OTHERS = Path(control_programs.__file__).name


def same_bits(first, second):
    """But for the sign of zeros: where nothing arrives, engines may differ in it."""
    return all(
        a.dtype == b.dtype and a.shape == b.shape and (a + 0.0).tobytes() == (b + 0.0).tobytes()
        for a, b in zip(first, second, strict=True)
    )


def slope(program, arrays, which, direction, h=1e-6):
    """The directional derivative of the loss by central differences."""
    losses = []
    for sign in (1, -1):
        moved = [*arrays]
        moved[which] = arrays[which] + sign * h * direction
        losses.append(float(run_eager(program, moved, "reference")[0]))
    return (losses[0] - losses[1]) / (2 * h)


def check_gradients(program, arrays, gradients):
    rng = np.random.default_rng(1)
    for which, gradient in enumerate(gradients):
        direction = rng.standard_normal(arrays[which].shape)
        expected = slope(program, arrays, which, direction)
        assert np.sum(gradient * direction) == pytest.approx(expected, rel=2e-6, abs=2e-8)


# ----- values and gradients -----------------------------------------------------------------------


@each_program
@pytest.mark.parametrize("positive", [True, False], ids=["above", "below"])
def test_gradients_against_central_differences(program, positive):
    arrays = drawn(positive=positive)
    for run in (run_eager, run_static):
        check_gradients(program, arrays, run(program, arrays)[1:])


@each_program
@FEW
@given(
    length=st.integers(1, 5),
    size=st.integers(1, 4),
    positive=st.booleans(),
    seed=st.integers(0, 99),
)
def test_both_engines_agree_in_every_bit(program, length, size, positive, seed):
    arrays = drawn(length, size, positive, "float32", seed)
    assert same_bits(run_eager(program, arrays), run_static(program, arrays))


@FEW
@given(length=st.integers(1, 6), size=st.integers(1, 5), seed=st.integers(0, 99))
def test_a_loop_gives_what_it_gives_unrolled(length, size, seed):
    def unrolled(ops, x, w, rows, p):
        h, parts = x, []
        for place in range(length):
            row = ops.reshape(ops.slice(rows, (place, 0), (place + 1, size)), (size,))
            h = ops.tanh(ops.add(ops.multiply(h, w), row))
            parts.append(ops.reshape(h, (1, size)))
        states = ops.concatenate(parts)
        return ops.add(ops.sum(ops.multiply(h, h)), ops.sum(ops.multiply(states, rows)))

    arrays = drawn(length, size, seed=seed)
    for run in (run_eager, run_static):
        for found, expected in zip(
            run(PROGRAMS["recurrence"], arrays), run(unrolled, arrays), strict=True
        ):
            np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("count", [0, 1, 4, 7])
def test_a_while_loop_gives_what_it_gives_unrolled(count):
    """Seven times is more than the limit of four."""

    def loop(ops, x, w, rows, p):
        _, h = ops.while_loop(
            lambda carry: ops.greater(p, carry[0]),
            lambda carry: (ops.add(carry[0], 1.0), ops.tanh(ops.multiply(carry[1], w))),
            (ops.multiply(p, 0.0), x),
            limit=4,
        )
        return ops.sum(ops.multiply(h, w))

    def unrolled(ops, x, w, rows, p):
        h = x
        for _ in range(min(count, 4)):
            h = ops.tanh(ops.multiply(h, w))
        return ops.sum(ops.multiply(h, w))

    arrays = [*drawn()[:3], np.array(float(count))]
    for run in (run_eager, run_static):
        found, expected = run(loop, arrays)[:3], run(unrolled, arrays)[:3]
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-13, atol=0)


def test_a_loop_without_a_limit_runs_forward():
    with Graph().as_default() as graph:
        x = static.placeholder("float32", ())
        last = static.while_loop(lambda x: x < 100.0, lambda x: x * 2.0, x)
    assert Session(graph).run(last, {x: np.float32(3.0)}) == 192.0


@pytest.mark.parametrize(
    "name, switches",
    [
        *((name, PassSwitches()) for name in ("several_results", "while_in_loop")),
        *(("read_everywhere", PassSwitches.only(each)) for each in PASS_NAMES),
    ],
    ids=["all", "all", *PASS_NAMES],
)
def test_passes_leave_results_as_they_are(name, switches):
    arrays = drawn()
    recorded = Recorded(PROGRAMS[name], arrays)
    expected = recorded.run(arrays)
    found = recorded.run(arrays, replace(switches, poison=True))
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


def test_one_program_serves_every_outcome():
    recorded = Recorded(PROGRAMS["branch"], drawn())
    session = recorded.session(PassSwitches())
    for seed, positive in enumerate([True, False, True, False]):
        arrays = drawn(positive=positive, seed=seed)
        found = session.run([recorded.loss, recorded.gradients[0]], recorded.feed(arrays))
        expected = run_eager(PROGRAMS["branch"], arrays)
        for a, b in zip(found, expected[:2], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12)
    assert session.programs_compiled == 1


def test_two_gradients_of_one_loop():
    arrays = drawn()
    recorded = Recorded(PROGRAMS["recurrence"], arrays)
    with recorded.graph.as_default():
        doubled = static.multiply(recorded.loss, 2.0)
        again = static.gradients(doubled, recorded.feeds[:2])
    first = [each for each in recorded.gradients[:2] if each is not None]
    found = recorded.session().run([*first, *again], recorded.feed(arrays))
    np.testing.assert_allclose(found[2], 2 * found[0], rtol=1e-13)
    np.testing.assert_allclose(found[3], 2 * found[1], rtol=1e-13)


def test_the_gradient_of_a_variable_and_its_update():
    """A loop reads a variable before the step changes it."""
    with Graph().as_default() as graph:
        w = static.variable(np.array([0.5, 2.0]))
        rows = static.constant(np.ones((3, 2)))
        h, _ = static.scan(lambda h, row: (h * w + row, None), static.constant(np.zeros(2)), rows)
        loss = static.sum(h)
        (gradient,) = static.gradients(loss, [w])
        update = static.assign_sub(w, gradient)
    for switches in (PassSwitches(), PassSwitches.none()):
        session = Session(graph, switches=switches)
        assert session.run([loss, update])[0] == pytest.approx(1.75 + 7.0)
        # h = 1 + w + w^2, and the slope 1 + 2 w.
        np.testing.assert_allclose(session.value_of(w), [0.5 - 2.0, 2.0 - 5.0])


# ----- what runs ----------------------------------------------------------------------------------


def counting(session, recorded, fetches):
    """How often each launch of each body runs, by (label, place), as a run counts them."""
    program = session.compiled(fetches, recorded.feeds)
    runs = {}
    for number, body in enumerate(all_bodies(program.launches)):
        for place in range(len(body.launches)):
            key, name = (number, body.label, place), f"k{place}"
            runs[key] = 0

            def counted(*arrays, key=key, kernel=body.bound[name]):
                runs[key] += 1
                return kernel(*arrays)

            body.bound[name] = counted
    return runs


@pytest.mark.parametrize("positive", [True, False])
def test_only_the_branch_taken_runs(positive):
    arrays = drawn(positive=positive)
    recorded = Recorded(PROGRAMS["branch"], arrays)
    session = recorded.session(PassSwitches(fuse_elementwise=False))
    fetches = [recorded.loss, *(each for each in recorded.gradients if each is not None)]
    runs = counting(session, recorded, fetches)
    session.run(fetches, recorded.feed(arrays))
    taken, other = ("then", "otherwise") if positive else ("otherwise", "then")
    assert {count for (_, label, _), count in runs.items() if label == taken} == {1}
    assert {count for (_, label, _), count in runs.items() if label == other} == {0}
    assert len({number for number, _, _ in runs}) == 4, "two branches forward, two backward"


def test_a_loop_runs_as_often_as_its_condition_holds():
    arrays = [*drawn()[:3], np.array(0.9)]  # 0.9 and 0.4 are above zero
    recorded = Recorded(PROGRAMS["counted"], arrays)
    session = recorded.session(PassSwitches())
    fetches = [recorded.loss, recorded.gradients[0]]
    runs = counting(session, recorded, fetches)
    session.run(fetches, recorded.feed(arrays))
    by_label = {(number, label): count for (number, label, _), count in runs.items()}
    assert sorted(by_label.values()) == [2, 2, 3], "the condition once more than body and gradient"


def test_eager_runs_the_branch_taken_alone():
    device = Device("cpu", 1)
    ops, called = EagerVocabulary(device), []
    x = eager.tensor(np.float32(2.0), device=device)
    y = ops.cond(ops.greater(x, 3.0), lambda: called.append("then") or x, lambda: ops.exp(x))
    assert not called and float(y) == pytest.approx(np.exp(2.0))


def test_a_step_without_gradients_keeps_nothing_for_them():
    arrays = drawn(length=50)
    recorded = Recorded(PROGRAMS["recurrence"], arrays)
    session = recorded.session(PassSwitches(fuse_elementwise=False))
    forward = session.compiled([recorded.loss], recorded.feeds)
    whole = session.compiled([recorded.loss, recorded.gradients[0]], recorded.feeds)
    (loop,) = [each for each in forward.launches if each.bodies]
    assert len(loop.node.outputs) == 2, "the last state and the stack that the loss reads"
    loops = [each for each in whole.launches if each.bodies]
    assert len(loops) == 2 and len(loops[0].node.outputs) > 2
    assert forward.plan.arena_bytes < whole.plan.arena_bytes


def test_passes_run_inside_bodies():
    arrays = drawn()
    recorded = Recorded(PROGRAMS["recurrence"], arrays)
    plain = recorded.session().explain([recorded.loss], recorded.feeds)
    fused = recorded.session(PassSwitches()).explain([recorded.loss], recorded.feeds)
    assert len(plain.bodies) == 3 and len(fused.bodies) == 1
    assert "fused" in str(fused) and "launches in branches and loops" in str(fused)


# ----- faults that must be caught -----------------------------------------------------------------


def test_a_gradient_that_walks_forward_is_caught(monkeypatch):
    emit = control_gradients.emit_scan
    monkeypatch.setattr(
        control_gradients,
        "emit_scan",
        lambda *arguments, **options: emit(*arguments, **{**options, "reverse": False}),
    )
    arrays = drawn()
    with pytest.raises(AssertionError):
        gradients = run_static(PROGRAMS["recurrence"], arrays)[1:]
        check_gradients(PROGRAMS["recurrence"], arrays, gradients)


def test_a_branch_taken_wrongly_is_caught(monkeypatch):
    branching = control_launches.branching

    def flipped(node, *bodies):
        run, place = branching(node, *bodies), len(node.outputs)
        return lambda *arrays: run(
            *arrays[:place], np.array(not arrays[place]), *arrays[place + 1 :]
        )

    monkeypatch.setattr(control_launches, "branching", flipped)
    arrays = drawn(positive=False)
    found, expected = (run(PROGRAMS["branch"], arrays)[0] for run in (run_static, run_eager))
    assert abs(found - expected) > 1e-3


def test_sums_that_begin_anew_change_bits(monkeypatch):
    """Dropping what arrived before a loop is a wrong gradient, not only another rounding."""
    gradients = control_gradients.operand_gradients
    monkeypatch.setattr(
        control_gradients,
        "operand_gradients",
        lambda node, given, totals: gradients(node, given, dict.fromkeys(totals)),
    )
    program, arrays = PROGRAMS["read_everywhere"], drawn()
    assert not np.allclose(run_static(program, arrays)[2], run_eager(program, arrays)[2])


# ----- errors -------------------------------------------------------------------------------------


def both(program):
    """The program's error on the static and on the eager engine."""
    errors = []
    for run in (run_static, run_eager):
        with pytest.raises((ShapeError, OperandError)) as caught:
            run(program, drawn())
        errors.append(str(caught.value))
    return errors


def test_branches_of_different_shapes():
    def program(ops, x, w, rows, p):
        return ops.cond(ops.greater(p, 0.0), lambda: x, lambda: ops.sum(x))

    with pytest.raises(
        ShapeError, match=r"expected \(float64\[3\]\), received \(float64\[\]\)"
    ) as e:
        run_static(program, drawn())
    assert "otherwise" in str(e.value) and f"at {HERE}" in str(e.value)

    def other(ops, x, w, rows, p):
        return ops.cond(ops.greater(p, 0.0), lambda: x, lambda: (x, w))

    with pytest.raises(ShapeError, match="same number of tensors"):
        run_static(other, drawn())


def test_a_predicate_that_is_no_bool():
    for message in both(lambda ops, x, w, rows, p: ops.cond(p, lambda: x, lambda: w)):
        assert "cond expected a scalar of type bool, received float64[]" in message
        assert f"at {HERE}" in message


def test_a_carry_that_changes():
    def grows(ops, x, w, rows, p):
        return ops.scan(lambda h, row: (ops.sum(h), row), x, rows)[0]

    for message in both(grows):
        assert "expected (float64[3]), received (float64[])" in message and f"at {HERE}" in message

    def spreads(ops, x, w, rows, p):
        return ops.while_loop(lambda h: ops.greater(p, 0.0), lambda h: ops.multiply(h, x), p)

    for message in both(spreads):
        assert "expected (float64[]), received (float64[3])" in message


def test_rows_that_do_not_fit():
    for message in both(lambda ops, x, w, rows, p: ops.scan(lambda h, r: (h, r), p, (x, rows))[0]):
        assert "same number of rows" in message
    for message in both(lambda ops, x, w, rows, p: ops.scan(lambda h, row: h, x, rows)):
        assert "to return (carry, y)" in message


def test_random_numbers_are_drawn_outside():
    def draws(ops, x, w, rows, p):
        return ops.cond(ops.greater(p, 0.0), lambda: ops.random_normal((3,)), lambda: x)

    for message in both(draws):
        assert "random_normal expected to be called outside" in message and f"at {HERE}" in message


def test_a_limit_is_a_number():
    for message in both(
        lambda ops, x, w, rows, p: ops.while_loop(lambda h: ops.greater(p, h), lambda h: h, p, 0)
    ):
        assert "limit of at least 1" in message


def test_a_gradient_needs_a_limit():
    def loop(ops, x, w, rows, p):
        return ops.while_loop(lambda h: ops.greater(0.1, h), lambda h: ops.multiply(h, h), p)

    with pytest.raises(UnboundedLoopError, match="expected a limit") as caught:
        run_static(loop, drawn())
    assert "limit=" in caught.value.hint and f"at {HERE}" in str(caught.value)
    run_eager(loop, drawn())


def test_changes_of_variables_stay_outside():
    with Graph().as_default():
        v = static.variable(np.float32(1.0))
        p = static.placeholder("bool", ())
        with pytest.raises(OperandError, match="assign expected to be called outside"):
            static.cond(p, lambda: static.assign(v, v * 2.0), lambda: v)
        with pytest.raises(OperandError, match="variable expected to be made outside"):
            static.cond(p, lambda: static.variable(np.float32(1.0)), lambda: v)


def test_a_value_of_a_body_stays_there():
    leaked = []
    with Graph().as_default():
        x = static.placeholder("float32", (2, 3))

        def body(h, row):
            leaked.append(h * row)
            return h + row, None

        static.scan(body, static.constant(np.zeros(3, "float32")), x)
        with pytest.raises(OperandError, match="return it from there"):
            leaked[0] + 1.0
        other = Graph()
        with other.as_default():
            y = static.placeholder("float32", (3,))
        with pytest.raises(OperandError, match="values of one graph"):
            static.scan(lambda h, row: (h + row + y, None), leaked_zero(), x)
        with pytest.raises(OperandError, match="values of one graph"):
            static.scan(lambda h, row: (h + row, None), y, x)


def leaked_zero():
    return static.constant(np.zeros(3, "float32"))


@pytest.mark.parametrize("dtype", HALVES)
def test_gradients_of_halves_are_halves(dtype):
    """Only recorded here: a GPU runs them (tests/gpu/test_cuda_control_flow.py)."""
    with Graph().as_default() as graph:
        p = static.placeholder("bool", ())
        x, y = (emit_placeholder(graph, spec((4,), dtype), graph.site()) for _ in "xy")
        taken = static.cond(p, lambda: x * 0.5, lambda: y * y)
        found = static.gradients(taken, [x, y], [np.ones(4, np.float32)])
    assert [each.dtype for each in found] == [dtype, dtype]


def test_a_nan_inside_a_body_names_its_line():
    with Graph().as_default() as graph:
        x = static.placeholder("float32", (2, 3))
        h, _ = static.scan(
            lambda h, row: (h + static.log(row), None), static.constant(np.zeros(3, "float32")), x
        )
    session = Session(graph, switches=PassSwitches(check_nan=True))
    with pytest.raises(NanError, match=f"log made a NaN.*{HERE}"):
        session.run(h, {x: np.full((2, 3), -1.0, "float32")})


@pytest.mark.parametrize("switches", [PassSwitches.none(), PassSwitches.only("bind_early")])
def test_a_failure_inside_a_body_names_both_lines(switches):
    recorded = Recorded(PROGRAMS["recurrence"], drawn())
    session = recorded.session(switches)
    program = session.compiled([recorded.loss], recorded.feeds)

    def broken(*arrays):
        raise ArithmeticError("planted")

    next(all_bodies(program.launches)).bound["k0"] = broken
    with pytest.raises(ArithmeticError, match="planted") as caught:
        session.run([recorded.loss], recorded.feed(drawn()))
    notes = "\n".join(caught.value.__notes__)
    assert "while running multiply" in notes and "while running scan" in notes and OTHERS in notes


def test_static_functions_are_those_of_the_vocabulary():
    with Graph().as_default() as graph:
        x = static.placeholder("float32", (2,))
        ops = StaticVocabulary(graph)
        by_ops = ops.cond(ops.greater(ops.sum(x), 0.0), lambda: x, lambda: -x)
        directly = static.cond(static.sum(x) > 0.0, lambda: x, lambda: -x)
    found = Session(graph).run([by_ops, directly], {x: np.array([1, -3], "float32")})
    np.testing.assert_array_equal(found, [[-1, 3]] * 2)


# ----- engines that have none ---------------------------------------------------------------------


@pytest.mark.parametrize("name", ["onnxruntime", "openvino", "keras", "tinygrad"])
@pytest.mark.parametrize("form, operation", [("branch", "cond"), ("while", "while_loop")])
def test_engines_that_record_a_model_say_why_not(name, form, operation):
    workload = Conditional()
    case = make_case(workload, {"form": form, "size": 4, "steps": 2})
    state = load_engine(name).supports(workload, case)
    assert not state.ok and operation in state.reason and state.hint
    plain = make_case(workload, {"form": form, "written": "branchless", "size": 4, "steps": 2})
    assert load_engine(name).supports(workload, plain).ok


@pytest.mark.parametrize("name", ["torch", "torch-compile", "tf-function", "tf-graph", "jax"])
def test_frameworks_are_asked_for_nothing_that_they_lack(name):
    workload = Conditional()
    for form in ("branch", "loop", "while"):
        assert load_engine(name).supports(workload, make_case(workload, {"form": form})).ok


@pytest.mark.parametrize("name", ["onnxruntime", "tf-graph", "tinygrad"])
def test_engines_that_are_made_for_one_shape_say_so(name):
    workload = DynamicShapes()
    state = load_engine(name).supports(workload, make_case(workload, {}))
    assert not state.ok and "one shape" in state.reason and state.hint


def test_a_step_with_control_flow_is_not_exported():
    workload = Conditional()
    case = make_case(workload, {"size": 4, "steps": 2})
    rng = np.random.default_rng(1)
    with pytest.raises(UnsupportedProgramError, match="the program has a cond") as caught:
        record_step(workload, case, workload.parameters(case, rng), workload.inputs(case, rng))
    assert "without branches" in caught.value.hint
