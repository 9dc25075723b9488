"""Every layer and loss: its gradients against central differences, its values against NumPy."""

from __future__ import annotations

import kernel_cases as oracles
import numpy as np
import pytest
from test_gradients import Case, worst_excess

from benchctl_engines import eager
from benchctl_engines.layers import (
    Activation,
    Add,
    AveragePool2D,
    BatchNormalization,
    Concatenate,
    Conv2D,
    Conv2DTranspose,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePool2D,
    Input,
    LeakyReLU,
    MaxPool2D,
    Model,
    ReLU,
    Reshape,
    Sequential,
    binary_cross_entropy,
    mean_squared_error,
    softmax_cross_entropy,
)
from benchctl_engines.primitives.primitive import PRIMITIVES
from benchctl_engines.primitives.vocabulary_methods import InHouseVocabulary

BATCH = 3
IMAGE = (5, 6, 2)
VECTOR = (7,)


class Ops(InHouseVocabulary):
    """The vocabulary; random numbers are a given array, so that they hold still."""

    def __init__(self, constant):
        self._constant = constant

    def _random(self, shape, dtype, distribution):
        return self._constant(np.random.default_rng(3).random(shape).astype(dtype))


LAYERS = {
    "dense": (lambda: Dense(4), VECTOR),
    "dense without bias": (lambda: Dense(3, "tanh", bias=False), VECTOR),
    "conv2d": (lambda: Conv2D(3, 3), IMAGE),
    "conv2d same": (lambda: Conv2D(3, (3, 2), (2, 1), "same", "sigmoid"), IMAGE),
    "conv2d wide stride": (lambda: Conv2D(2, (1, 2), 3, "same", bias=False), IMAGE),
    "conv2d_transpose": (lambda: Conv2DTranspose(3, (3, 2)), IMAGE),
    "conv2d_transpose same": (lambda: Conv2DTranspose(3, 5, 2, "same", "tanh"), IMAGE),
    "conv2d_transpose same 1": (lambda: Conv2DTranspose(2, (4, 3), padding="same"), IMAGE),
    "conv2d_transpose gaps": (lambda: Conv2DTranspose(2, (2, 1), 3, bias=False), IMAGE),
    "conv2d_transpose gaps same": (lambda: Conv2DTranspose(2, 2, 3, "same"), IMAGE),
    "batch_normalization": (lambda: BatchNormalization(), IMAGE),
    "batch_normalization of vectors": (lambda: BatchNormalization(0.5, 0.1), VECTOR),
    "leaky_relu": (lambda: LeakyReLU(0.2), IMAGE),
    "relu": (lambda: ReLU(), VECTOR),
    "max_pool2d": (lambda: MaxPool2D(), IMAGE),
    "max_pool2d same": (lambda: MaxPool2D(3, (2, 1), "same"), IMAGE),
    "average_pool2d": (lambda: AveragePool2D(), IMAGE),
    "average_pool2d same": (lambda: AveragePool2D((3, 4), (2, 1), "same"), IMAGE),
    "global_average_pool2d": (lambda: GlobalAveragePool2D(), IMAGE),
    "flatten": (lambda: Flatten(), IMAGE),
    "reshape": (lambda: Reshape((2, 3, 10)), IMAGE),
    "reshape to images": (lambda: Reshape((7, 1, 1)), VECTOR),
    "reshape to vectors": (lambda: Reshape((60,)), IMAGE),
    "dropout": (lambda: Dropout(0.4), IMAGE),
    "softmax of channels": (lambda: Activation("softmax"), IMAGE),
    "softmax": (lambda: Activation("softmax"), VECTOR),
    "leaky_relu by name": (lambda: Activation("leaky_relu"), VECTOR),
}
LAYOUTS = ("NHWC", "NCHW")


def stored(x, layout):
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2)) if layout == "NCHW" and x.ndim == 4 else x


def unstored(x, layout):
    return x.transpose(0, 2, 3, 1) if layout == "NCHW" and x.ndim == 4 else x


def distinct(shape, seed=1):
    """Values at least 0.1 apart and 0.05 from 0: no maximum is near a tie, no kink near."""
    count = int(np.prod(shape))
    order = np.random.default_rng(seed).permutation(count).reshape(shape)
    return (0.1 * order - 0.05 * count + 0.025) / (0.04 * count)


def arrays_of(model, seed=2):
    rng = np.random.default_rng(seed)
    specs = model.parameter_specs.values()
    return [rng.uniform(0.3, 1.2, each.shape) * rng.choice([-1, 1], each.shape) for each in specs]


def case_of(model, x, training=True):
    """The model as a function of its input and its arrays."""
    names = tuple(model.parameter_specs)

    def function(constant, x, *arrays):
        parameters = dict(zip(names, arrays, strict=True))
        return model.forward(Ops(constant), parameters, x, training)

    arrays = arrays_of(model)
    for index, name in enumerate(names):
        if name.endswith("variance"):
            arrays[index] = np.abs(arrays[index])
    return Case(repr(model), function, (x, *arrays))


def layer_case(name, layout, training=True):
    make, shape = LAYERS[name]
    model = Sequential([make()], shape, layout=layout)
    return case_of(model, stored(distinct((BATCH, *shape)), layout), training)


@pytest.mark.parametrize("engine", ["eager", "static"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", LAYERS)
def test_gradients_of_a_layer(name, layout, engine):
    case = layer_case(name, layout)
    assert worst_excess(case, engine, "cpu", 1) <= 0


@pytest.mark.parametrize("engine", ["eager", "static"])
def test_gradients_of_batch_normalization_outside_training(engine):
    assert worst_excess(layer_case("batch_normalization", "NCHW", False), engine, "cpu", 1) <= 0


@pytest.mark.parametrize("engine", ["eager", "static"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_gradients_of_a_graph_with_branches(engine, layout):
    x = Input(IMAGE)
    shared = Conv2D(2, 3, padding="same")
    left, right = shared(x), shared(LeakyReLU()(x))
    joined = Concatenate()(left, right, Add()([left, right]))
    model = Model(x, Concatenate()(GlobalAveragePool2D()(joined), Flatten()(joined)), layout=layout)
    case = case_of(model, stored(distinct((BATCH, *IMAGE)), layout))
    assert worst_excess(case, engine, "cpu", 1) <= 0


LOSSES = {
    "binary_cross_entropy of 1": lambda ops, c, x: binary_cross_entropy(ops, x, 1),
    "binary_cross_entropy of 0": lambda ops, c, x: binary_cross_entropy(ops, x, 0.0),
    "binary_cross_entropy": lambda ops, c, x: binary_cross_entropy(
        ops, x, c(np.linspace(0, 1, BATCH * 7).reshape(BATCH, 7))
    ),
    "softmax_cross_entropy": lambda ops, c, x: softmax_cross_entropy(
        ops, x, c(np.array([2, 0, 6]))
    ),
    "mean_squared_error": lambda ops, c, x: mean_squared_error(ops, x, c(np.ones((BATCH, 7)))),
}


@pytest.mark.parametrize("engine", ["eager", "static"])
@pytest.mark.parametrize("name", LOSSES)
def test_gradients_of_a_loss(name, engine):
    x = 3 * distinct((BATCH, 7))
    x[0, 2] = x[1, 0] = 0.0  # where both kinks of the binary cross-entropy meet
    case = Case(name, lambda c, x: LOSSES[name](Ops(c), c, x), (x,))
    assert worst_excess(case, engine, "cpu", 1) <= 0


# ----- values -----------------------------------------------------------------------------------


def eager_result(model, x, arrays, training=False, updates=None):
    parameters = dict(zip(model.parameter_specs, map(eager.tensor, arrays), strict=True))
    return model.forward(Ops(eager.tensor), parameters, eager.tensor(x), training, updates).numpy()


def transposed(x, w, stride, size, padding):
    """Each element of x spreads its filter over the result: sums, NHWC, filters [R, S, C, K]."""
    N, P, Q, _ = x.shape
    R, S, C, _ = w.shape
    (top, _), (left, _) = padding
    y = np.zeros((N, *size, C))
    for p, q, r, s in np.ndindex(P, Q, R, S):
        h, v = p * stride[0] + r - top, q * stride[1] + s - left
        if 0 <= h < size[0] and 0 <= v < size[1]:
            y[:, h, v] += x[:, p, q] @ w[r, s].T
    return y


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("window", "stride", "padding", "size", "around"),
    [
        ((5, 5), (2, 2), "same", (10, 12), ((1, 2), (1, 2))),
        ((5, 5), (1, 1), "same", (5, 6), ((2, 2), (2, 2))),
        ((3, 2), (1, 2), "valid", (7, 12), ((0, 0), (0, 0))),
        ((2, 1), (3, 3), "same", (15, 18), ((0, 0), (0, 0))),
    ],
)
def test_a_transposed_convolution_spreads_its_filter(window, stride, padding, size, around, layout):
    layer = Conv2DTranspose(3, window, stride, padding, bias=False)
    model = Sequential([layer], IMAGE, layout=layout)
    assert model.output_shapes == ((*size, 3),)
    x = distinct((BATCH, *IMAGE))
    w = np.random.default_rng(4).standard_normal((*window, 3, 2))
    given = w if layout == "NHWC" else np.ascontiguousarray(w.transpose(3, 2, 0, 1))
    found = unstored(eager_result(model, stored(x, layout), [given]), layout)
    np.testing.assert_allclose(found, transposed(x, w, stride, size, around), atol=1e-12)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("window", [(2, 2), (3, 4)])
def test_an_average_does_not_count_padding(window, layout):
    model = Sequential([AveragePool2D(window, 1, "same")], IMAGE, layout=layout)
    x = distinct((BATCH, *IMAGE))
    (top, left), (R, S) = ((size - 1) // 2 for size in window), window
    expected = np.empty_like(x)
    for p, q in np.ndindex(*IMAGE[:2]):
        rows = slice(max(p - top, 0), p - top + R)
        columns = slice(max(q - left, 0), q - left + S)
        expected[:, p, q] = x[:, rows, columns].mean((1, 2))
    found = unstored(eager_result(model, stored(x, layout), []), layout)
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_batch_statistics_and_moving_averages(layout):
    model = Sequential([BatchNormalization(0.9, 0.01, name="norm")], IMAGE, layout=layout)
    x = 2 * distinct((BATCH, *IMAGE)) + 1
    arrays = [np.array([2.0, 0.5]), np.array([0.1, -1.0]), np.zeros(2), np.ones(2)]
    updates = {}
    found = unstored(eager_result(model, stored(x, layout), arrays, True, updates), layout)
    mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
    wanted = arrays[0] * (x - mean) / np.sqrt(variance + 0.01) + arrays[1]
    np.testing.assert_allclose(found, wanted, atol=1e-12)
    np.testing.assert_allclose(updates["norm/moving_mean"].numpy(), 0.1 * mean)
    np.testing.assert_allclose(updates["norm/moving_variance"].numpy(), 0.9 + 0.1 * variance)
    later = [*arrays[:2], mean, variance]
    found = unstored(eager_result(model, stored(x, layout), later), layout)
    np.testing.assert_allclose(found, wanted, atol=1e-12)


def test_a_layer_used_twice_averages_twice():
    layer = BatchNormalization(0.5, name="norm")
    a, b = Input(VECTOR), Input(VECTOR)
    model = Model([a, b], [layer(a), layer(b)])
    assert len(model.parameter_specs) == 4
    rng = np.random.default_rng(0)
    xs = [rng.standard_normal((BATCH, *VECTOR)) + shift for shift in (1.0, 5.0)]
    arrays = [np.ones(7), np.zeros(7), np.zeros(7), np.ones(7)]
    parameters = dict(zip(model.parameter_specs, map(eager.tensor, arrays), strict=True))
    updates = {}
    model.forward(Ops(eager.tensor), parameters, [eager.tensor(x) for x in xs], True, updates)
    wanted = 0.25 * xs[0].mean(0) + 0.5 * xs[1].mean(0)
    np.testing.assert_allclose(updates["norm/moving_mean"].numpy(), wanted)


def test_both_layouts_are_the_same_network():
    layers = [
        lambda: Conv2D(3, 3, padding="same", activation="relu"),
        BatchNormalization,
        lambda: Conv2DTranspose(2, 3, 2, "same"),
        Flatten,
        lambda: Dense(2 * 3 * 2),
        lambda: Reshape((2, 3, 2)),
        lambda: Conv2D(2, 2),
    ]
    results = []
    for layout in LAYOUTS:
        model = Sequential([make() for make in layers], IMAGE, layout=layout)
        arrays = model.initial_parameters(np.random.default_rng(8)).values()
        x = distinct((BATCH, *IMAGE)).astype("float32")
        results.append(unstored(eager_result(model, stored(x, layout), arrays, True), layout))
    np.testing.assert_allclose(*results, rtol=1e-4, atol=1e-5)


def test_activations_against_numpy():
    x = np.array([[-1000.0, -90.0, -1.0, 0.0, 2.0, 90.0, 1000.0]])
    with np.errstate(over="ignore"):
        wanted = {
            "relu": np.maximum(x, 0),
            "leaky_relu": np.where(x > 0, x, 0.3 * x),
            "tanh": np.tanh(x),
            "sigmoid": 1 / (1 + np.exp(-x)),
            "softmax": oracles.softmax(x),
        }
    for name, expected in wanted.items():
        model = Sequential([Activation(name)], VECTOR)
        tensor = eager.tensor(x, requires_grad=True)
        y = model.forward(Ops(eager.tensor), {}, tensor)
        np.testing.assert_allclose(y.numpy(), expected, atol=1e-12)
        (gradient,) = eager.gradients(eager.sum(y * y), [tensor])
        assert np.isfinite(gradient.numpy()).all(), name


def test_binary_cross_entropy_of_large_logits():
    x = np.array([-1e4, -50.0, 0.0, 3.0, 1e4], "float32")
    for target in (0.0, 0.25, 1.0):
        wide = x.astype(float)
        exact = np.logaddexp(0, wide) - target * wide
        for given in (target, eager.tensor(np.full(5, target, "float32"))):
            tensor = eager.tensor(x, requires_grad=True)
            loss = binary_cross_entropy(Ops(eager.tensor), tensor, given)
            assert loss.item() == pytest.approx(exact.mean(), rel=1e-6)
            (gradient,) = eager.gradients(loss, [tensor])
            sigmoid = np.exp(-np.logaddexp(0, -wide))
            np.testing.assert_allclose(gradient.numpy(), (sigmoid - target) / 5, atol=1e-7)


# ----- planted faults ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("primitive", "layer"),
    [
        ("average_pool2d", "average_pool2d same"),
        ("conv2d_input_gradient", "conv2d_transpose same"),
        ("where", "leaky_relu"),
        ("divide", "batch_normalization"),
    ],
)
def test_a_rule_wrong_by_a_thousandth_is_caught(primitive, layer, monkeypatch):
    right = PRIMITIVES[primitive].rule

    def wrong(gradient, saved):
        found = right(gradient, saved)
        return tuple(None if each is None else each * 1.001 for each in found)

    monkeypatch.setattr(PRIMITIVES[primitive], "rule", wrong)
    assert worst_excess(layer_case(layer, "NHWC"), "static", "cpu", 1) > 0


def test_a_dropped_gradient_of_the_concatenation_is_caught(monkeypatch):
    right = PRIMITIVES["concatenate"].rule

    def swapped(gradient, saved):
        return right(gradient, saved)[::-1]

    a, b = Input(VECTOR), Input(VECTOR)
    model = Model([a, b], Concatenate()(a, b))

    def function(constant, a, b):
        joined = model.forward(Ops(constant), {}, [a, b])
        return joined * joined

    arrays = (distinct((BATCH, 7)), distinct((BATCH, 7), seed=2))
    case = Case("concatenate", function, arrays)
    assert worst_excess(case, "static", "cpu", 1) <= 0
    monkeypatch.setattr(PRIMITIVES["concatenate"], "rule", swapped)
    assert worst_excess(case, "static", "cpu", 1) > 0
