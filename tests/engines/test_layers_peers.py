"""The same models in frameworks: one description, the results of float64, the same masks."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
from layer_workloads import Masked, SmallGan, SmallNet, drawn, steps_of
from test_peers_frameworks import FACTORIES, engine_of

from benchctl_engines.contract import EngineOptions, Outputs
from benchctl_engines.eager.engine import make_engine as make_eager
from benchctl_engines.eager.reference_run import evaluate_steps
from benchctl_engines.layers import (
    SGD,
    Adam,
    AveragePool2D,
    BatchNormalization,
    Conv2D,
    Conv2DTranspose,
    Dense,
    Sequential,
)
from benchctl_workloads import Workload

pytestmark = pytest.mark.frameworks
each_engine = pytest.mark.parametrize("name", FACTORIES)
each_engine_with_random_numbers = pytest.mark.parametrize(
    "name", [name for name in FACTORIES if name != "tinygrad"]
)
IN_NHWC = ("tf-function", "tf-eager", "tf-graph", "keras")


def layout_of(name):
    return "NHWC" if name in IN_NHWC else "NCHW"


def assert_as_reference(found, workload, seed=0):
    exact = evaluate_steps(workload, {}, *drawn(workload), seed=seed)
    for number, step in enumerate(found):
        wide = next(exact)
        assert set(step) == set(wide)
        for name, wanted in wide.items():
            tolerance = workload.tolerance({}, name)
            allowed = tolerance.relative * np.abs(wanted).max(initial=0) + tolerance.absolute
            error = np.abs(step[name] - wanted).max(initial=0)
            assert error <= allowed, (number, name, error, allowed)


@each_engine
def test_two_networks_train_as_in_float64(name):
    """Two objectives, Adam, momentum, moving averages, dropout, three steps."""
    rate = 0.0 if name == "tinygrad" else 0.3  # it has no random numbers of ours
    engine, workload = engine_of(name), SmallGan(layout_of(name), rate)
    assert engine.supports(workload, {}).ok
    assert_as_reference(steps_of(engine, workload, seed=3), workload, seed=3)


def test_torch_trains_two_networks_in_nhwc():
    """Images in channels_last go through other kernels of PyTorch's own layers."""
    workload = SmallGan("NHWC")
    assert_as_reference(steps_of(engine_of("torch"), workload, seed=3), workload, seed=3)


@pytest.mark.parametrize("name", ["torch", "tf-function"])
def test_statistics_of_one_element_a_channel(name):
    """What frameworks refuse, since they divide by one element less."""

    class Single(SmallNet):
        def inputs(self, case, rng):
            return {each: array[:1] for each, array in super().inputs(case, rng).items()}

    workload = Single(SGD(0.1), [Dense(3), BatchNormalization(0.5)], (4,))
    assert_as_reference(steps_of(engine_of(name), workload, 2), workload)


@each_engine
@pytest.mark.parametrize("optimizer", [SGD(0.05, 0.9, nesterov=True), Adam(0.01, epsilon=0.01)])
def test_one_network_trains_as_in_float64(name, optimizer):
    engine, workload = engine_of(name), SmallNet(optimizer, layout=layout_of(name))
    assert_as_reference(steps_of(engine, workload), workload)


@each_engine
def test_inference_is_that_of_float64(name):
    workload = SmallNet(None, layout=layout_of(name))
    assert_as_reference(steps_of(engine_of(name), workload, 1), workload)


@each_engine_with_random_numbers
def test_every_framework_drops_the_same_elements(name):
    """The step's number counts, the compiled ones' too."""
    one = steps_of(make_eager(), Masked(), seed=7)
    other = steps_of(engine_of(name), Masked(), seed=7)
    for first, second in zip(one, other, strict=True):
        for each in first:
            np.testing.assert_array_equal(first[each] == 0, second[each] == 0)


class Noise(Workload):
    """Random numbers of both kinds and widths."""

    name = "noise"

    def inputs(self, case, rng):
        return {"x": np.zeros(1, "float64")}

    def program(self, ops, parameters, inputs, case):
        values = {}
        for dtype in ("float32", "float64"):
            values[f"uniform {dtype}"] = ops.random_uniform((7, 3), dtype)
            values[f"normal {dtype}"] = ops.random_normal((5,), dtype)
        return Outputs(values={"x": inputs["x"], **values})


@each_engine_with_random_numbers
@pytest.mark.parametrize("seed", [0, 2**40 + 5])
def test_random_numbers_are_those_of_our_engines(name, seed):
    one = steps_of(make_eager(), Noise(), seed=seed)
    other = steps_of(engine_of(name), Noise(), seed=seed)
    for first, second in zip(one, other, strict=True):
        del first["x"]  # Keras turns inputs to float32
        for each, wanted in first.items():
            assert second[each].dtype == wanted.dtype
            rounding = 1e-5 if each.endswith("32") else 1e-12
            exact = each.startswith("uniform")
            np.testing.assert_allclose(
                second[each], wanted, rtol=0 if exact else rounding, atol=0 if exact else rounding
            )


@each_engine
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(("window", "stride"), [((5, 5), 2), ((3, 2), 1), ((2, 1), 3), ((4, 5), 3)])
def test_windows_of_any_kind(name, window, stride, padding):
    layers = [
        Conv2DTranspose(3, window, stride, padding),
        AveragePool2D(window, stride, padding),
        Conv2D(2, window, stride, "same"),
    ]
    workload = SmallNet(SGD(0.1), layers, (5, 6, 2), layout=layout_of(name))
    assert_as_reference(steps_of(engine_of(name), workload, 1), workload)


@pytest.mark.parametrize("name", ["torch", "torch-compile", "jax"])
def test_what_is_timed_draws_with_the_own_generator(name):
    class Draws(Workload):
        name = "draws"

        def inputs(self, case, rng):
            return {"x": np.ones(3, np.float32)}

        def program(self, ops, parameters, inputs, case):
            uniform = [ops.random_uniform((200, 30)) for _ in range(2)]
            values = {"first": uniform[0], "second": uniform[1]}
            values["normal"] = ops.random_normal((6000,), "float32")
            return Outputs(values={**values, "x": ops.negative(inputs["x"])})

    def steps(own_random):
        options = EngineOptions(threads=2, seed=3, own_random=own_random)
        workload = Draws()
        runner = engine_of(name).prepare(workload, {}, {}, drawn(workload)[1], options)
        runner.build()
        runner.compile()
        found = []
        for _ in range(2):
            runner.step()
            found.append(runner.outputs())
        notes = runner.facts().notes
        runner.close()
        return found, any("random numbers by" in note for note in notes)

    (ours, _), ours_noted = steps(own_random=False)
    (first, second), noted = steps(own_random=True)
    assert noted and not ours_noted
    drawings = [first["first"], first["second"], second["first"], second["second"], ours["first"]]
    assert len({each.tobytes() for each in drawings}) == 5
    for each in drawings:
        assert each.min() >= 0.0 and each.max() < 1.0
        assert each.mean() == pytest.approx(0.5, abs=0.02)
        assert each.var() == pytest.approx(1 / 12, abs=0.005)
    assert first["normal"].mean() == pytest.approx(0.0, abs=0.06)
    assert first["normal"].var() == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("name", ["torch", "torch-compile"])
def test_what_is_timed_drops_with_the_own_generator(name):
    options = EngineOptions(threads=2, seed=3, own_random=True)
    workload = Masked()
    runner = engine_of(name).prepare(workload, {}, {}, drawn(workload)[1], options)
    runner.build()
    runner.compile()
    runner.step()
    found = {each: np.array(array) for each, array in runner.outputs().items()}
    runner.close()
    (ours,) = steps_of(make_eager(), workload, 1, seed=3)
    assert (found["off"] == 1).all()
    masks = [found["a"] == 0, found["b"] == 0, ours["a"] == 0]
    assert len({each.tobytes() for each in masks}) == 3
    for each in (found["a"], found["b"]):
        assert (each == 0).mean() == pytest.approx(0.3, abs=0.03)
        np.testing.assert_allclose(each[each != 0], 1 / 0.7, rtol=1e-6)


# ----- against PyTorch's own ----------------------------------------------------------------------


@pytest.mark.parametrize("which", ["sgd", "momentum", "nesterov", "adam"])
def test_optimizers_are_those_of_torch(which):
    torch = importlib.import_module("torch") if engine_of("torch") else None
    ours, theirs = {
        "sgd": (SGD(0.1), lambda p: torch.optim.SGD(p, 0.1)),
        "momentum": (SGD(0.1, 0.9), lambda p: torch.optim.SGD(p, 0.1, 0.9)),
        "nesterov": (
            SGD(0.1, 0.9, nesterov=True),
            lambda p: torch.optim.SGD(p, 0.1, 0.9, nesterov=True),
        ),
        "adam": (Adam(0.1, epsilon=1e-8), lambda p: torch.optim.Adam(p, 0.1)),
    }[which]
    workload = SmallNet(ours, [Dense(3)], (4,), dtype="float64")
    parameters, inputs = drawn(workload)
    w, b = (
        torch.tensor(parameters[f"dense/{name}"], requires_grad=True) for name in ("weight", "bias")
    )
    optimizer = theirs([w, b])
    for step in steps_of(make_eager(), workload, 5):
        optimizer.zero_grad()
        y = torch.tensor(inputs["x"]) @ w + b
        ((y - torch.tensor(inputs["y"])) ** 2).mean().backward()
        optimizer.step()
        np.testing.assert_allclose(step["parameter/dense/weight"], w.detach().numpy(), rtol=1e-7)
        np.testing.assert_allclose(step["parameter/dense/bias"], b.detach().numpy(), rtol=1e-7)


def test_layers_are_those_of_torch():
    """A stride of 2, "same" written out, and batch statistics."""
    torch = importlib.import_module("torch") if engine_of("torch") else None
    from benchctl_engines.layers import BatchNormalization, LeakyReLU, MaxPool2D

    layers = [
        Conv2DTranspose(4, 5, 2, "same"),
        BatchNormalization(epsilon=1e-5),
        LeakyReLU(0.2),
        Conv2D(3, 3),
        MaxPool2D(),
    ]
    model = Sequential(layers, (5, 6, 2), layout="NCHW")
    workload = SmallNet(SGD(0.1), layers, (5, 6, 2), layout="NCHW")
    arrays = {n: torch.tensor(a) for n, a in drawn(workload)[0].items()}
    x = torch.tensor(drawn(workload)[1]["x"])
    f = torch.nn.functional
    y = f.conv_transpose2d(x, arrays["conv2d_transpose/weight"], arrays["conv2d_transpose/bias"], 2)
    y = y[:, :, 1:-2, 1:-2]
    y = f.batch_norm(y, None, None, training=True, eps=1e-5)
    y = f.conv2d(f.leaky_relu(y, 0.2), arrays["conv2d/weight"], arrays["conv2d/bias"])
    y = f.max_pool2d(y, 2)
    assert tuple(y.shape[1:]) == (3, 4, 5) and model.output_shapes == ((4, 5, 3),)
    wanted = ((y - torch.tensor(drawn(workload)[1]["y"])) ** 2).mean()
    (found,) = steps_of(make_eager(), workload, 1)
    assert float(found["loss"]) == pytest.approx(float(wanted), rel=1e-5)
