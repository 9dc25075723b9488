"""Training steps whose updates a program states itself: optimizers, moving averages, objectives."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
from layer_workloads import Masked, SmallGan, SmallNet, drawn, steps_of

from benchctl_engines import eager
from benchctl_engines.contract import EngineOptions, Outputs, UpdateError, UpdatingProgram
from benchctl_engines.eager.engine import make_engine as make_eager
from benchctl_engines.eager.partial_walks import gradients_of_each
from benchctl_engines.eager.reference_run import evaluate_steps
from benchctl_engines.layers import SGD, Adam, Dense, LayerError, Sequential
from benchctl_engines.layers.optimizers import Adam as AdamClass
from benchctl_engines.primitives import operations as ops
from benchctl_engines.primitives.primitive import PRIMITIVES
from benchctl_engines.static.engine import make_engine as make_static
from benchctl_workloads import Workload

ENGINES = {"eager": make_eager, "static": make_static}
each_engine = pytest.mark.parametrize("name", ENGINES)
OFF = {"passes": "off"}


def assert_close(found, expected, relative=1e-5):
    assert set(found) == set(expected)
    for name, wanted in expected.items():
        largest = max(np.abs(wanted).max(initial=0.0), 1e-3)
        assert np.abs(found[name] - wanted).max(initial=0.0) <= relative * largest, name


# ----- both engines -----------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_a_step_of_two_networks_agrees_in_every_bit(layout):
    workload = SmallGan(layout)
    one = steps_of(make_eager(), workload)
    other = steps_of(make_static(), workload, switches=OFF)
    for first, second in zip(one, other, strict=True):
        assert set(first) == set(second)
        for name in first:
            assert first[name].tobytes() == second[name].tobytes(), name


@each_engine
def test_steps_are_those_of_float64(name):
    workload = SmallGan()
    parameters, inputs = drawn(workload)
    exact = evaluate_steps(workload, {}, parameters, inputs)
    for found in steps_of(ENGINES[name](), workload):
        assert_close(found, next(exact), 1e-3)


def test_all_passes_keep_the_results():
    one, other = (steps_of(make_static(), SmallGan(), switches=each) for each in ({}, OFF))
    for first, second in zip(one, other, strict=True):
        assert_close(first, second, 1e-4)


def test_a_workload_of_layers_is_an_updating_program():
    assert isinstance(SmallGan(), UpdatingProgram)
    assert isinstance(Workload(), UpdatingProgram) and Workload().objectives({}) is None


# ----- optimizers against formulas ---------------------------------------------------------------


class Quadratic(SmallNet):
    """One vector w under the loss |w - y|^2 / n, whose gradient is known."""

    def __init__(self, optimizer):
        super().__init__(optimizer, [Dense(3, bias=False, name="d")], (4,), dtype="float64")


def expected_steps(workload, advance, count=5):
    """w after each step, by NumPy: the gradient of a dense layer's mean squared error."""
    parameters, inputs = drawn(workload)
    w, x, y = parameters["d/weight"], inputs["x"], inputs["y"]
    state = {}
    for number in range(1, count + 1):
        gradient = 2.0 / y.size * x.T @ (x @ w - y)
        w = w - advance(state, gradient, number)
        yield w


def advance_sgd(state, g, number):
    return 0.1 * g


def advance_momentum(state, g, number):
    state["v"] = 0.8 * state.get("v", 0.0) + g
    return 0.1 * state["v"]


def advance_nesterov(state, g, number):
    state["v"] = 0.8 * state.get("v", 0.0) + g
    return 0.1 * (g + 0.8 * state["v"])


def advance_adam(state, g, number):
    state["m"] = 0.7 * state.get("m", 0.0) + 0.3 * g
    state["v"] = 0.9 * state.get("v", 0.0) + 0.1 * g * g
    m, v = state["m"] / (1 - 0.7**number), state["v"] / (1 - 0.9**number)
    return 0.1 * m / (np.sqrt(v) + 1e-3)


OPTIMIZERS = {
    "sgd": (SGD(0.1), advance_sgd),
    "momentum": (SGD(0.1, 0.8), advance_momentum),
    "nesterov": (SGD(0.1, 0.8, nesterov=True), advance_nesterov),
    "adam": (Adam(0.1, 0.7, 0.9, 1e-3), advance_adam),
}


@each_engine
@pytest.mark.parametrize("which", OPTIMIZERS)
@pytest.mark.parametrize("switches", [{}, OFF], ids=["passes", "no passes"])
def test_an_optimizer_does_what_its_formula_says(which, name, switches):
    optimizer, advance = OPTIMIZERS[which]
    workload = Quadratic(optimizer)
    found = steps_of(ENGINES[name](), workload, 5, switches if name == "static" else {})
    for step, w in zip(found, expected_steps(workload, advance), strict=True):
        np.testing.assert_allclose(step["parameter/d/weight"], w, rtol=1e-10)


def test_a_missing_correction_of_adam_is_caught(monkeypatch):
    right = AdamClass.update

    def uncorrected(self, ops, parameters, gradients):
        whole = {f"{self.name}/weight_{order}": parameters["one"] for order in (1, 2)}
        return right(self, ops, {**parameters, **whole}, gradients)

    workload = Quadratic(OPTIMIZERS["adam"][0])
    monkeypatch.setattr(AdamClass, "update", uncorrected)
    parameters, inputs = drawn(workload)
    parameters["one"] = np.ones(())
    found = steps_of(make_eager(), workload, 1, arrays=(parameters, inputs))
    (w,) = expected_steps(workload, advance_adam, 1)
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(found[0]["parameter/d/weight"], w, rtol=1e-3)


def test_plain_sgd_in_layers_is_the_engine_s_own_update():
    """`w - rate g` is subtracted in w's own memory, as a plain training step does."""
    runner_kernels = []
    for workload in (SmallNet(SGD(0.01)), PlainNet(SGD(0.01))):
        found = steps_of(make_static(), workload)
        runner_kernels.append(found)
    for own, plain in zip(*runner_kernels, strict=True):
        for name in SmallNet(SGD(0.01)).model.trainable:
            key = f"parameter/{name}"
            np.testing.assert_array_equal(own[key], plain[key])


class PlainNet(SmallNet):
    """The same step with the engine's own SGD."""

    def program(self, ops, parameters, inputs, case):
        outputs = super().program(ops, parameters, inputs, case)
        return Outputs(values=outputs.values, objective=outputs.values["loss"])

    def objectives(self, case):
        return None

    def learning_rate(self, case):
        return 0.01


# ----- moving averages, masks --------------------------------------------------------------------


@each_engine
def test_moving_averages_move_and_gradients_leave_them_alone(name):
    workload = SmallNet(SGD(1e-6))
    parameters, _ = drawn(workload)
    first, second = steps_of(ENGINES[name](), workload, 2)
    mean = "parameter/batch_normalization/moving_mean"
    assert parameters["batch_normalization/moving_mean"].any() == 0
    # The rate is tiny, so that the batch has the same mean again: 1 - 0.99 of it, then of the rest.
    np.testing.assert_allclose(second[mean], 1.99 * first[mean], rtol=1e-3)
    assert np.abs(first[mean]).max() > 1e-4


def test_both_engines_drop_the_same_elements():
    one, other = (steps_of(ENGINES[name](), Masked(), seed=7) for name in ENGINES)
    exact = evaluate_steps(Masked(), {}, *drawn(Masked()), seed=7)
    for first, second in zip(one, other, strict=True):
        wide = next(exact)
        for name in first:
            np.testing.assert_array_equal(first[name], second[name])
            np.testing.assert_array_equal(first[name] == 0, wide[name] == 0)
    assert not np.array_equal(one[0]["a"], one[0]["b"])
    assert not np.array_equal(one[0]["a"], one[1]["a"])
    assert (one[0]["off"] == 1).all()
    reseeded = steps_of(make_eager(), Masked(), 1, seed=8)
    assert not np.array_equal(one[0]["a"], reseeded[0]["a"])


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_keeps_the_mean_and_drops_its_share(rate):
    found = steps_of(make_eager(), Masked(rate), 5)
    values = np.stack([each[name] for each in found for name in ("a", "b")])
    deviation = np.sqrt(rate * (1 - rate) / values.size)
    assert abs((values == 0).mean() - rate) < 5 * deviation
    np.testing.assert_allclose(values[values != 0], 1 / (1 - rate), rtol=1e-6)
    assert abs(values.mean() - 1) < 5 * deviation / (1 - rate)


# ----- several objectives ------------------------------------------------------------------------


def two_objectives():
    """(objective, its leaves) twice over one tape, and the leaves."""
    rng = np.random.default_rng(2)
    w, v = (eager.tensor(rng.standard_normal((3, 3)), requires_grad=True) for _ in range(2))
    hidden = ops.tanh(ops.matmul(w, w))
    first = ops.sum(ops.matmul(hidden, v))
    second = ops.sum(ops.multiply(ops.matmul(hidden, v), hidden))
    return first, second, w, v


def test_each_objective_has_its_own_gradients():
    first, second, w, v = two_objectives()
    found = gradients_of_each([(first, [w]), (second, [v])])
    first, second, w, v = two_objectives()
    (wanted_w,) = eager.gradients(first, [w])
    first, second, w, v = two_objectives()
    (wanted_v,) = eager.gradients(second, [v])
    for one, other in zip(found, (wanted_w, wanted_v), strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


def test_what_leads_to_other_leaves_is_not_computed(monkeypatch):
    needs = []
    right = PRIMITIVES["matmul"].rule

    def watched(gradient, saved):
        needs.append(tuple(saved.needs))
        return right(gradient, saved)

    monkeypatch.setattr(PRIMITIVES["matmul"], "rule", watched)
    rng = np.random.default_rng(2)
    w, v = (eager.tensor(rng.standard_normal((31, n)), requires_grad=True) for n in (31, 17))
    x = eager.tensor(rng.standard_normal((30, 31)))
    hidden = ops.matmul(x, w)
    product = ops.matmul(hidden, v)
    gradients_of_each([(ops.sum(product * 2.0), [v]), (ops.sum(product), [w])])
    # Of the product only v's gradient, then only the way to w; each rule is traced once.
    assert needs == [(False, True), (True, False), (False, True)]


def test_a_tape_is_released_by_its_last_walk():
    first, second, w, v = two_objectives()
    gradients_of_each([(first, [w]), (second, [w, v])])
    with pytest.raises(RuntimeError, match="released"):
        eager.gradients(second, [w])


def test_an_objective_that_depends_on_nothing_asked_for():
    x, y = (eager.tensor(np.ones(2), requires_grad=True) for _ in range(2))
    found = gradients_of_each([(ops.sum(x * x), [y]), (ops.sum(y * y), [y])])
    assert found[0] is None and found[1] is not None


# ----- other ways to run a step -------------------------------------------------------------------


def test_a_step_with_its_updates_is_exported():
    """Adam, moving averages and poolings as plain operators, run by another runtime."""
    pytest.importorskip("onnxruntime")
    files = importlib.import_module("benchctl_engines.peers.onnx_file")
    workload = SmallNet(Adam(0.01, epsilon=0.01), layout="NHWC")
    parameters, inputs = drawn(workload)
    model = files.model_file(workload, {}, parameters, inputs)
    given = {model.inputs[name]: each for name, each in inputs.items()}
    raw = files.run_model(model.content, given, 1)
    found = {name: raw[own] for name, own in model.outputs.items()}
    assert_close(found, next(evaluate_steps(workload, {}, parameters, inputs)), 1e-3)


def test_a_profile_sees_the_kernels_of_every_walk():
    parameters, inputs = drawn(SmallGan())
    runner = make_eager().prepare(SmallGan(), {}, parameters, inputs, EngineOptions(threads=1))
    runner.build()
    for _ in range(2):
        runner.step()
    kernels = [each.kernel for each in runner.profile(2).launches]
    # Three convolutions forward; back to filters one, one and two, to images two of the fakes.
    assert sum(each.startswith("conv2d:") for each in kernels) == 2 + 2
    assert sum(each.startswith("conv2d_filter_gradient:") for each in kernels) == 4
    runner.close()


# ----- errors ------------------------------------------------------------------------------------


class Wrong(SmallNet):
    """A step with something wrong in what it states."""

    def __init__(self, what):
        super().__init__(SGD(0.1), [Dense(3, name="d")], (4,))
        self.what = what

    def program(self, ops, parameters, inputs, case):
        outputs = super().program(ops, parameters, inputs, case)
        if self.what == "twice":
            outputs.updates = {"d/bias": parameters["d/bias"]}
        return outputs

    def objectives(self, case):
        if self.what == "shared":
            return {"loss": ("d/weight", "d/bias"), "other": ("d/bias",)}
        return super().objectives(case)

    def update(self, ops, parameters, gradients, case):
        new = super().update(ops, parameters, gradients, case)
        if self.what == "unknown":
            new["d/wieght"] = new["d/weight"]
        if self.what == "shape":
            new["d/bias"] = new["d/weight"]
        return new


@each_engine
@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("unknown", "received one of 'd/wieght'; the parameters are d/weight, d/bias"),
        ("shape", r"'d/bias' expected shape \(3,\), received \(4, 3\)"),
        ("twice", "received two of 'd/bias'.*leave one out"),
        ("shared", "received 'd/bias' under 'loss' and 'other'; train it by their sum"),
    ],
)
def test_updates_that_do_not_fit_are_named(name, what, message):
    with pytest.raises(UpdateError, match=message):
        steps_of(ENGINES[name](), Wrong(what), 1)


@each_engine
def test_updates_without_objectives_are_refused(name):
    class Forgetful(SmallNet):
        def program(self, ops, parameters, inputs, case):
            outputs = super().program(ops, parameters, inputs, case)
            outputs.objective = outputs.values["loss"]
            return outputs

        def objectives(self, case):
            return None

    with pytest.raises(UpdateError, match=r"moving_mean.*define objectives\(case\)"):
        steps_of(ENGINES[name](), Forgetful(SGD(0.1)), 1)


@each_engine
def test_a_trained_parameter_that_nothing_depends_on_is_named(name):
    class Idle(SmallNet):
        def objectives(self, case):
            return {"loss": (*self.model.trainable, "idle")}

        def parameters(self, case, rng):
            return {**super().parameters(case, rng), "idle": np.ones(3, "float32")}

    with pytest.raises(ValueError, match="'idle' was asked for"):
        steps_of(ENGINES[name](), Idle(SGD(0.1)), 1)


def test_a_workload_without_update_says_what_to_write():
    class Half(Workload):
        name = "half"

    with pytest.raises(NotImplementedError, match=r"half.*define update\(ops"):
        Half().update(None, {}, {}, {})


def test_slots_that_were_forgotten_are_named():
    workload = SmallNet(SGD(0.1, 0.9))
    parameters, inputs = drawn(workload)
    given = {name: each for name, each in parameters.items() if "velocity" not in name}
    with pytest.raises(LayerError, match=r"'sgd/velocity/conv2d/weight' of its own.*slots"):
        steps_of(make_eager(), workload, 1, arrays=(given, inputs))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SGD(0.0), "learning rate above 0, received 0"),
        (lambda: SGD(0.1, 1.0), "momentum of at least 0 and below 1, received 1"),
        (lambda: SGD(0.1, nesterov=True), "momentum with nesterov"),
        (lambda: Adam(beta_2=1.0), "beta_2 of at least 0 and below 1"),
        (lambda: Adam(epsilon=0.0), "epsilon above 0"),
    ],
)
def test_optimizers_refuse_what_makes_no_sense(make, message):
    with pytest.raises(LayerError, match=message):
        make()


def test_one_model_trains_on_both_engines_and_the_loss_falls():
    model = Sequential([Dense(8, "tanh"), Dense(2)], (3,))
    assert model.parameter_count == 3 * 8 + 8 + 8 * 2 + 2
    workload = SmallNet(Adam(0.05), [Dense(8, "tanh"), Dense(2)], (3,))
    for name in ENGINES:
        losses = [float(each["loss"]) for each in steps_of(ENGINES[name](), workload, 40)]
        assert losses[-1] < 0.2 * losses[0]
