"""Every derivative rule against central differences, first and second order, on both engines."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from benchctl_engines import eager, static
from benchctl_engines.devices.cpu import Device
from benchctl_engines.primitives import operations as ops
from benchctl_engines.primitives.contractions import matmul_epilogue
from benchctl_engines.primitives.convolution import (
    conv2d_filter_gradient,
    conv2d_input_gradient,
)
from benchctl_engines.primitives.elementwise import relu_gradient
from benchctl_engines.primitives.losses import (
    softmax_cross_entropy,
    softmax_cross_entropy_gradient,
    softmax_cross_entropy_gradient_input,
    softmax_cross_entropy_gradient_seed,
)
from benchctl_engines.primitives.pooling import (
    average_pool2d_gradient,
    max_pool2d,
    max_pool2d_gather,
    max_pool2d_gradient,
)
from benchctl_engines.primitives.primitive import PRIMITIVES
from benchctl_engines.primitives.shaping import pad_primitive, slice_primitive
from benchctl_engines.static import Graph, PassSwitches, Session

STEP = 1e-6
DIRECTIONS = 3


# ----- the checker ------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Case:
    """A function of float64 tensors, and arrays at which it is smooth.

    `function(constant, *tensors)`; `constant` turns an array into a tensor of the same engine.
    """

    name: str
    function: Callable[..., Any]
    arrays: tuple[np.ndarray, ...]

    def __str__(self) -> str:
        return self.name


class Derived:
    """F = sum(w f(x)), its gradients, G = <gradient, v>, and the gradients of G, for one engine."""

    def __init__(self, case: Case, engine: str, device: str) -> None:
        self.case = case
        rng = np.random.default_rng(17)
        self.v = [rng.uniform(0.5, 1.5, each.shape) for each in case.arrays]
        self._device = Device(device)
        if engine == "eager":
            self.evaluate = self._eager
        else:
            self._record(device)

    def _derive(self, engine: Any, constant: Any, tensors: list[Any], options: dict[str, Any]):
        result = self.case.function(constant, *tensors)
        weights = np.random.default_rng(23).uniform(0.5, 1.5, result.shape)
        first = ops.sum(ops.multiply(result, constant(weights)))
        gradients = engine.gradients(first, tensors, **options)
        second, curvature = None, [None] * len(tensors)
        for gradient, v in zip(gradients, self.v, strict=True):
            if gradient is not None:
                term = ops.sum(ops.multiply(gradient, constant(v)))
                second = term if second is None else second + term
        if second is not None and _depends(second):
            curvature = engine.gradients(second, tensors)
        return first, gradients, second, curvature

    def _eager(self, arrays):
        def constant(array):
            return eager.tensor(array, device=self._device)

        tensors = [eager.tensor(each, requires_grad=True, device=self._device) for each in arrays]
        found = self._derive(eager, constant, tensors, {"create_graph": True})
        return _each(found, lambda each: each.numpy().copy())

    def _record(self, device: str) -> None:
        with Graph().as_default() as graph:
            feeds = [static.placeholder("float64", each.shape) for each in self.case.arrays]
            found = self._derive(static, static.constant, feeds, {})
        session = Session(graph, switches=PassSwitches.none(), device=device, threads=1)
        fetches: list[Any] = []
        places = _each(found, lambda each: fetches.append(each) or len(fetches) - 1)
        call = session.make_callable(fetches, feeds)

        def evaluate(arrays):
            results = call(*arrays)
            return _each(places, lambda place: results[place])

        self.evaluate = evaluate


def _depends(value: Any) -> bool:
    """An eager tensor without a tape depends on nothing; a graph is asked later."""
    return getattr(value, "requires_grad", True)


def _each(found, change):
    first, gradients, second, curvature = found

    def present(each):
        return None if each is None else change(each)

    return (
        present(first),
        [present(each) for each in gradients],
        present(second),
        [present(each) for each in curvature],
    )


def worst_excess(case: Case, engine: str, device: str, order: int) -> float:
    """Largest |difference| - (1e-6 + 1e-5 |expected|) over random unit directions; <= 0 passes."""
    derived = Derived(case, engine, device)
    place = 0 if order == 1 else 2
    at_point = derived.evaluate(list(case.arrays))
    gradients = at_point[place + 1]
    for gradient, array in zip(gradients, case.arrays, strict=True):
        assert gradient is None or (gradient.shape, gradient.dtype) == (array.shape, array.dtype)
    rng = np.random.default_rng(29)
    worst = -np.inf
    for _ in range(DIRECTIONS):
        direction = [rng.standard_normal(each.shape) for each in case.arrays]
        length = np.sqrt(sum((each**2).sum() for each in direction))
        direction = [each / max(length, 1e-300) for each in direction]
        expected = _slope(derived, case.arrays, direction, place)
        received = sum(
            (gradient * each).sum()
            for gradient, each in zip(gradients, direction, strict=True)
            if gradient is not None
        )
        worst = max(worst, abs(received - expected) - (1e-6 + 1e-5 * abs(expected)))
    return worst


def _slope(derived: Derived, arrays, direction, place: int) -> float:
    scale = max(1.0, *(np.abs(each).max(initial=0.0) for each in arrays))
    step = STEP * scale
    ends = []
    for sign in (1, -1):
        moved = [a + sign * step * d for a, d in zip(arrays, direction, strict=True)]
        value = derived.evaluate(moved)[place]
        ends.append(0.0 if value is None else float(value))
    return (ends[0] - ends[1]) / (2 * step)


# ----- the cases --------------------------------------------------------------------------------


def _away(seed: int, *shape: int, low: float = 0.3, high: float = 1.7) -> np.ndarray:
    """Random signs, magnitudes in [low, high]: away from 0."""
    rng = np.random.default_rng(seed)
    return rng.uniform(low, high, shape) * rng.choice([-1.0, 1.0], shape)


def _positive(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.3, 1.7, shape)


def _distinct(seed: int, *shape: int) -> np.ndarray:
    """Values at least 0.1 apart, so that no maximum is near a tie."""
    count = int(np.prod(shape))
    return 0.1 * np.random.default_rng(seed).permutation(count).reshape(shape) - 0.05 * count


BINARY = {
    "add": ops.add,
    "subtract": ops.subtract,
    "multiply": ops.multiply,
    "divide": ops.divide,
    "maximum": ops.maximum,
}
BROADCASTS = (
    ((2, 3), (2, 3)),
    ((2, 3), ()),
    ((3,), (2, 3)),
    ((2, 1), (1, 3)),
    ((1, 1), (2, 3)),
    ((2, 1, 3), (4, 1)),
    ((0, 3), (1, 3)),
    ((2, 0), (1,)),
    ((1,), (0,)),
)


def _smooth(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with the constant maker left out and a square after it: a second order."""

    def call(constant, *tensors):
        result = function(*tensors)
        return ops.multiply(result, result)

    return call


def _binary_cases():
    for name, function in BINARY.items():
        for left, right in BROADCASTS:
            a, b = _away(1, *left), _away(2, *right)
            if name == "maximum":
                # No tie: where the gap is small, move a.
                b = np.where(np.abs(b) < 1, b, b + 0.01)
                a = a + np.where(np.abs(a - b).min(initial=1.0) < 0.05, 0.07, 0.0)
            yield Case(f"{name}-{left}-{right}", _smooth(function), (a, b))
    same = _smooth(lambda x: ops.divide(ops.multiply(x, x), ops.add(x, 3.0)))
    yield Case("one-operand-twice", same, (_away(3, 2, 3),))


def _unary_cases():
    for name in ("exp", "tanh", "sin", "cos", "negative", "relu"):
        yield Case(name, _smooth(getattr(ops, name)), (_away(4, 2, 3),))
    for name in ("log", "sqrt"):
        yield Case(name, _smooth(getattr(ops, name)), (_positive(5, 2, 3),))

    def gate(constant, g, x):
        # y must not depend on the differentiated inputs' kink: it is the output of a relu.
        return ops.multiply(relu_gradient(ops.multiply(g, x), ops.relu(x)), x)

    yield Case("relu_gradient", gate, (_away(6, 2, 3), _away(7, 2, 3)))

    def choose(constant, a, b):
        condition = constant(np.array([[True, False, True], [False, False, True]]))
        return ops.multiply(ops.where(condition, a, b), a)

    for left, right in (((2, 3), (2, 3)), ((3,), ()), ((1, 3), (2, 1)), ((), (2, 3))):
        yield Case(f"where-{left}-{right}", choose, (_away(8, *left), _away(9, *right)))

    def narrow(constant, condition_source, a):
        chosen = ops.where(ops.greater(condition_source, 0.0), a, 0.5)
        return ops.multiply(chosen, chosen)

    yield Case("where-broadcast-condition", narrow, (_away(10, 4, 1), _away(11, 3)))
    yield Case("cast", _smooth(lambda x: ops.cast(x, dtype="float64")), (_away(12, 2, 3),))
    for axis, shape in ((1, (2, 3, 2, 2)), (-1, (2, 3)), (0, (2, 3))):
        case = _smooth(lambda x, b, axis=axis: ops.bias_add(x, b, axis))
        yield Case(f"bias_add-{axis}-{shape}", case, (_away(13, *shape), _away(14, shape[axis])))


def _reduction_cases():
    for name in ("sum", "mean", "max"):
        for shape, axes, keepdims in (
            ((2, 3), None, False),
            ((2, 3), (0,), False),
            ((2, 3), (-1,), True),
            ((2, 3, 4), (0, 2), False),
            ((2, 1, 3), (1,), True),
            ((2, 1, 3), (0, 1, 2), True),
            ((), None, False),
        ):
            function = getattr(ops, name)
            case = _smooth(
                lambda x, function=function, axes=axes, keepdims=keepdims: function(
                    x, axes, keepdims
                )
            )
            yield Case(f"{name}-{shape}-{axes}-{keepdims}", case, (_distinct(15, *shape),))
    yield Case("sum-empty", _smooth(lambda x: ops.sum(x, (1,))), (np.zeros((2, 0, 3)),))
    yield Case("sum-size-0-axis-kept", _smooth(lambda x: ops.sum(x, (0,))), (np.zeros((2, 0)),))


def _shaping_cases():
    x = (_away(16, 2, 3, 4),)
    yield Case("reshape", _smooth(lambda x: ops.reshape(x, (4, -1))), x)
    yield Case("reshape-empty", _smooth(lambda x: ops.reshape(x, (0, 5))), (np.zeros((2, 0)),))
    yield Case("transpose", _smooth(lambda x: ops.transpose(x, (2, 0, 1))), x)
    yield Case("transpose-reversed", _smooth(ops.transpose), x)
    for source, shape in (((3,), (2, 3)), ((2, 1), (4, 2, 3)), ((), (2, 2)), ((1, 1), (1, 1))):
        case = _smooth(lambda x, shape=shape: ops.broadcast_to(x, shape))
        yield Case(f"broadcast_to-{source}-{shape}", case, (_away(17, *source),))
    empty = _smooth(lambda x: ops.broadcast_to(x, (0, 3)))
    yield Case("broadcast_to-empty", empty, (_away(18, 1, 3),))
    for starts, stops, steps in (
        ((0, 1, 0), (2, 3, 4), (1, 1, 1)),
        ((0, 0, 0), (2, 3, 4), (1, 2, 3)),
        ((1, 0, 1), (2, 3, 4), (5, 2, 2)),
        ((0, 1, 2), (2, 1, 4), (1, 1, 1)),
    ):
        attributes = {"starts": starts, "stops": stops, "steps": steps}
        case = _smooth(lambda x, attributes=attributes: slice_primitive(x, **attributes))
        yield Case(f"slice-{starts}-{stops}-{steps}", case, x)
    yield Case("pad", _smooth(lambda x: ops.pad(x, ((1, 0), (0, 2), (3, 1)))), x)
    for axis, shapes in ((0, ((2, 3), (1, 3), (0, 3))), (-1, ((2, 1, 3), (2, 1, 2)))):
        case = _smooth(lambda *xs, axis=axis: ops.concatenate(xs, axis))
        yield Case(f"concatenate-{axis}", case, tuple(_away(36, *shape) for shape in shapes))
    twice = _smooth(lambda x: ops.concatenate([x, ops.exp(x), x], 1))
    yield Case("concatenate-one-operand-twice", twice, x)
    for shape, interior in (((2, 3), (1, 2)), ((1, 4), (3, 0)), ((0, 2), (1, 1)), ((1, 0), (0, 2))):
        attributes = {"low": (1, 0), "high": (2, 1), "interior": interior}
        case = _smooth(lambda x, attributes=attributes: pad_primitive(x, **attributes))
        yield Case(f"pad-interior-{shape}-{interior}", case, (_away(19, *shape),))


def _product_cases():
    for ta in (False, True):
        for tb in (False, True):
            a = _away(20, *((3, 2) if ta else (2, 3)))
            b = _away(21, *((4, 3) if tb else (3, 4)))
            case = _smooth(lambda a, b, ta=ta, tb=tb: ops.matmul(a, b, ta, tb))
            yield Case(f"matmul-{ta}-{tb}", case, (a, b))
    yield Case("matmul-square", _smooth(lambda a: ops.matmul(a, a)), (_away(22, 3, 3),))
    yield Case("matmul-empty", _smooth(ops.matmul), (np.zeros((2, 0)), np.zeros((0, 3))))


CONVOLUTIONS = (
    # image N H W, channels C, filters K R S, stride, padding
    ((2, 5, 6), 2, (3, 3, 3), (1, 1), ((1, 1), (1, 1))),
    ((1, 6, 5), 1, (2, 1, 1), (1, 1), ((0, 0), (0, 0))),
    ((2, 7, 6), 2, (2, 3, 2), (2, 3), ((1, 0), (0, 2))),
    ((1, 6, 8), 3, (2, 2, 5), (2, 1), ((0, 1), (3, 2))),
    ((1, 7, 7), 1, (1, 7, 7), (1, 1), ((0, 0), (0, 0))),
    ((1, 3, 3), 2, (2, 3, 3), (1, 1), ((2, 2), (2, 2))),
)


def _image_shapes(image, C, filters, layout):
    (N, H, W), (K, R, S) = image, filters
    if layout == "NCHW":
        return (N, C, H, W), (K, C, R, S)
    return (N, H, W, C), (R, S, C, K)


def _convolution_cases():
    for layout in ("NCHW", "NHWC"):
        for number, (image, C, filters, stride, padding) in enumerate(CONVOLUTIONS):
            window = {"stride": stride, "padding": padding, "layout": layout}
            x_shape, w_shape = _image_shapes(image, C, filters, layout)
            x, w = _away(24, *x_shape), _away(25, *w_shape)

            def convolve(x, w, window=window):
                return ops.conv2d(x, w, **window)

            y = convolve(eager.tensor(x), eager.tensor(w)).shape
            g = _away(26, *y)

            def to_input(g, w, window=window, shape=x_shape):
                return conv2d_input_gradient(g, w, input_shape=shape, **window)

            def to_filter(x, g, window=window, shape=w_shape):
                return conv2d_filter_gradient(x, g, filter_shape=shape, **window)

            def transposed(x, w, window=window):
                return ops.conv2d_transpose(x, w, output_padding=(0, 0), **window)

            rows, columns = (
                (size - 1) * step + reach - sum(around)
                for size, step, reach, around in zip(
                    y[2:] if layout == "NCHW" else y[1:3], stride, filters[1:], padding, strict=True
                )
            )
            if min(rows, columns) > 0:
                label = f"conv2d_transpose-{layout}-{number}"
                yield Case(label, _smooth(transposed), (g, w))
            yield Case(f"conv2d-{layout}-{number}", _smooth(convolve), (x, w))
            yield Case(f"conv2d_input_gradient-{layout}-{number}", _smooth(to_input), (g, w))
            yield Case(f"conv2d_filter_gradient-{layout}-{number}", _smooth(to_filter), (x, g))


def _pooling_cases():
    for layout in ("NCHW", "NHWC"):
        for number, (window, stride, padding) in enumerate(
            (
                ((2, 2), (2, 2), ((0, 0), (0, 0))),
                ((3, 2), (1, 2), ((0, 0), (0, 0))),
                ((3, 3), (2, 1), ((1, 1), (2, 1))),
            )
        ):
            attributes = {"window": window, "stride": stride, "padding": padding, "layout": layout}
            shape = (2, 2, 5, 6) if layout == "NCHW" else (2, 5, 6, 2)
            x, u = _distinct(27, *shape), _away(28, *shape)

            def pool(x, attributes=attributes):
                return max_pool2d(x, **attributes)[0]

            def scatter(constant, x, g, attributes=attributes, shape=shape):
                offsets = max_pool2d(x, **attributes)[1]
                dx = max_pool2d_gradient(
                    ops.multiply(g, g), offsets, input_shape=shape, **attributes
                )
                return ops.multiply(dx, x)

            def gather(constant, x, u, attributes=attributes):
                offsets = max_pool2d(x, **attributes)[1]
                return max_pool2d_gather(ops.multiply(u, u), offsets, **attributes)

            def average(x, attributes=attributes):
                return ops.average_pool2d(x, **attributes)

            def share(g, attributes=attributes, shape=shape):
                return average_pool2d_gradient(g, input_shape=shape, **attributes)

            pooled = pool(eager.tensor(x)).shape
            shared = (_away(37, *pooled),)
            yield Case(f"average_pool2d-{layout}-{number}", _smooth(average), (x,))
            yield Case(f"average_pool2d_gradient-{layout}-{number}", _smooth(share), shared)
            yield Case(f"max_pool2d-{layout}-{number}", _smooth(pool), (x,))
            yield Case(f"max_pool2d_gradient-{layout}-{number}", scatter, (x, _away(30, *pooled)))
            yield Case(f"max_pool2d_gather-{layout}-{number}", gather, (x, u))


def _loss_cases():
    labels = np.array([2, 0, 1, 2])
    logits = 2 * _away(31, 4, 3)

    def loss(constant, z):
        return softmax_cross_entropy(z, constant(labels))[0]

    def scaled(constant, z, s):
        # The seed of the loss depends on s: its gradient flows through the seed.
        return ops.multiply(loss(constant, z), ops.exp(s))

    def gradient(constant, z, g):
        y = constant(labels)
        return softmax_cross_entropy_gradient(z, softmax_cross_entropy(z, y)[1], y, g)

    yield Case("softmax_cross_entropy", loss, (logits,))
    yield Case(
        "softmax_cross_entropy-one-row",
        lambda c, z: softmax_cross_entropy(z, c(np.array([1], np.int32)))[0],
        (logits[:1],),
    )
    yield Case("softmax_cross_entropy-scaled", scaled, (logits, _away(32)))
    yield Case("softmax_cross_entropy-large", loss, (logits + 500.0,))

    def second(constant, u, z, g):
        probabilities = softmax_cross_entropy(z, constant(labels))[1]
        return softmax_cross_entropy_gradient_input(u, z, probabilities, g)

    def seed(constant, u, z):
        y = constant(labels)
        return softmax_cross_entropy_gradient_seed(u, z, softmax_cross_entropy(z, y)[1], y)

    yield Case("softmax_cross_entropy_gradient", gradient, (logits, _away(33)))
    direction = _away(34, 4, 3)
    yield Case("softmax_cross_entropy_gradient_input", second, (direction, logits, _away(35)))
    yield Case("softmax_cross_entropy_gradient_seed", seed, (direction, logits))


CASES = [
    *_binary_cases(),
    *_unary_cases(),
    *_reduction_cases(),
    *_shaping_cases(),
    *_product_cases(),
    *_convolution_cases(),
    *_pooling_cases(),
    *_loss_cases(),
]
# softmax_cross_entropy_gradient's own pullback is second order already.
FIRST_ORDER_ONLY = {"softmax_cross_entropy_gradient"}


@pytest.mark.parametrize("engine", ["eager", "static"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_first_order(case, engine):
    assert worst_excess(case, engine, "cpu", 1) <= 0


@pytest.mark.parametrize("engine", ["eager", "static"])
@pytest.mark.parametrize("case", [c for c in CASES if c.name not in FIRST_ORDER_ONLY], ids=str)
def test_second_order(case, engine):
    assert worst_excess(case, engine, "cpu", 2) <= 0


def test_the_cases_reach_every_rule():
    seen = set()
    for case in CASES:
        with Graph().as_default() as graph:
            feeds = [static.placeholder("float64", each.shape) for each in case.arrays]
            case.function(static.constant, *feeds)
        seen |= {node.primitive.name for node in graph.nodes}
    assert {name for name, each in PRIMITIVES.items() if each.rule is not None} <= seen


# ----- what differences cannot show -------------------------------------------------------------


def test_cast_gives_the_gradient_in_the_dtype_of_its_operand():
    x = eager.tensor(np.array([0.1, -2.0]), requires_grad=True)
    weights = eager.tensor(np.array([3.0, 4.0], "float32"))
    ops.sum(ops.multiply(ops.cast(x, dtype="float32"), weights)).backward()
    assert x.grad.dtype == "float64"
    np.testing.assert_array_equal(x.grad.numpy(), [3.0, 4.0])


def test_kinks_follow_the_stated_conventions():
    zero = eager.tensor(np.zeros(1), requires_grad=True)
    ops.sum(ops.relu(zero)).backward()
    np.testing.assert_array_equal(zero.grad.numpy(), [0.0])
    a, b = (eager.tensor(np.ones(1), requires_grad=True) for _ in range(2))
    ops.sum(ops.maximum(a, b)).backward()
    np.testing.assert_array_equal([a.grad.item(), b.grad.item()], [1.0, 0.0])
    tied = eager.tensor(np.array([[2.0, 2.0, 1.0]]), requires_grad=True)
    ops.sum(ops.max(tied, (1,))).backward()
    np.testing.assert_array_equal(tied.grad.numpy(), [[0.5, 0.5, 0.0]])
    window = eager.tensor(np.full((1, 1, 2, 2), 7.0), requires_grad=True)
    ops.sum(ops.max_pool2d(window)).backward()
    np.testing.assert_array_equal(window.grad.numpy().ravel(), [1.0, 0.0, 0.0, 0.0])


@pytest.mark.parametrize("engine", ["eager", "static"])
def test_an_input_that_nothing_depends_on_has_no_gradient(engine):
    if engine == "eager":
        x, y = (eager.tensor(np.ones(2), requires_grad=True) for _ in range(2))
        found = eager.gradients(ops.sum(x * x), [x, y])
    else:
        with Graph().as_default():
            x, y = (static.placeholder("float64", (2,)) for _ in range(2))
            found = static.gradients(ops.sum(x * x), [x, y])
    assert found[0] is not None and found[1] is None


@pytest.mark.parametrize("engine", ["eager", "static"])
def test_a_derivative_without_a_rule_is_refused_not_dropped(engine):
    """A fused product has no pullback: silence would be a wrong 0."""
    options = {"transpose_a": False, "transpose_b": False, "relu": False}
    with pytest.raises(NotImplementedError, match="matmul_epilogue"):
        if engine == "eager":
            x = eager.tensor(np.ones((2, 2)), requires_grad=True)
            y = matmul_epilogue(x, np.ones((2, 2)), np.ones(2), **options)
            eager.gradients(ops.sum(y), [x])
        else:
            with Graph().as_default():
                x = static.placeholder("float64", (2, 2))
                y = matmul_epilogue(x, np.ones((2, 2)), np.ones(2), **options)
                static.gradients(ops.sum(y), [x])


def test_the_third_derivative_of_softmax_cross_entropy():
    """Against central differences of the second derivative, which has its own test."""
    labels, direction = eager.tensor(np.array([1, 0])), np.array([[0.3, -0.5, 0.2], [0.1, 0.4, -1]])
    point = np.array([[0.3, -0.2, 0.5], [1.0, 0.2, -0.7]])

    def second(array, third):
        z = eager.tensor(array, requires_grad=True)
        loss = ops.softmax_cross_entropy(z, labels)
        (g,) = eager.gradients(loss, [z], create_graph=True)
        (h,) = eager.gradients(ops.sum(g * g), [z], create_graph=True)
        value = ops.sum(h * h)
        if not third:
            return float(value.numpy())
        return float((eager.gradients(value, [z])[0].numpy() * direction).sum())

    step = 1e-5
    ahead, behind = second(point + step * direction, False), second(point - step * direction, False)
    assert second(point, True) == pytest.approx((ahead - behind) / (2 * step), rel=1e-6)


# ----- planted faults ---------------------------------------------------------------------------


def _case(name: str) -> Case:
    return next(case for case in CASES if case.name == name)


FAULTS = [
    ("multiply", "multiply-(2, 3)-(2, 3)", 1),
    ("multiply", "multiply-(2, 3)-(2, 3)", 2),
    ("tanh", "tanh", 1),
    ("tanh", "tanh", 2),
    ("sum", "sum-(2, 3)-(0,)-False", 1),
    ("sum", "sum-(2, 3)-(0,)-False", 2),
    ("matmul", "matmul-False-True", 1),
    ("matmul", "matmul-False-True", 2),
    ("conv2d", "conv2d-NCHW-0", 1),
    ("conv2d_filter_gradient", "conv2d-NCHW-0", 2),
    ("slice", "slice-(0, 0, 0)-(2, 3, 4)-(1, 2, 3)", 1),
    ("max_pool2d", "max_pool2d-NHWC-0", 1),
    ("max_pool2d_gradient", "max_pool2d-NHWC-0", 2),
    ("average_pool2d", "average_pool2d-NCHW-2", 1),
    ("average_pool2d_gradient", "average_pool2d-NHWC-2", 2),
    ("concatenate", "concatenate--1", 1),
    ("softmax_cross_entropy", "softmax_cross_entropy", 1),
    ("softmax_cross_entropy_gradient", "softmax_cross_entropy", 2),
]


@pytest.mark.parametrize("engine", ["eager", "static"])
@pytest.mark.parametrize(("primitive", "case", "order"), FAULTS)
def test_a_rule_wrong_by_a_thousandth_is_caught(primitive, case, order, engine, monkeypatch):
    right = PRIMITIVES[primitive].rule
    # The fault in multiply must not call itself.
    scale, factor = (ops.divide, 1 / 1.001) if primitive == "multiply" else (ops.multiply, 1.001)

    def wrong(gradient, saved):
        return tuple(
            None if each is None else scale(each, factor) for each in right(gradient, saved)
        )

    monkeypatch.setattr(PRIMITIVES[primitive], "rule", wrong)
    chosen = next(each for each in CASES if each.name == case)
    assert worst_excess(chosen, engine, "cpu", order) > 0
