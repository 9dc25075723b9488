"""Whole steps as ONNX models: valid, made of plain operators, with the numbers of float64."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchctl_engines.contract import Outputs
from benchctl_engines.vocabulary import Vocabulary
from benchctl_workloads.heads import Heads
from benchctl_workloads.layout import Layout
from benchctl_workloads.reference import reference_outputs
from benchctl_workloads.vgg16 import Vgg16
from benchctl_workloads.workload import Workload, make_case
from benchctl_workloads.xyz import Xyz

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from benchctl_engines.peers.inference_runtimes import UnsupportedProgramError  # noqa: E402
from benchctl_engines.peers.onnx_file import model_file, run_model  # noqa: E402

SMALL_VGG16 = {"width": 16, "image_size": 32, "batch": 2}
SMALL_HEADS = {"width": 24, "channels": 5, "side": 3, "batch": 3}
STEPS = [
    (Xyz(), {"expression": "product", "size": "3x4"}),
    (Xyz(), {"expression": "multiply_add", "size": "3x4", "dtype": "float64"}),
    *(
        (Vgg16(), {**SMALL_VGG16, "mode": mode, "head": head, "layout": layout})
        for mode in ("inference", "training")
        for head, layout in (("fc", "NCHW"), ("conv", "NHWC"))
    ),
    *(
        (Heads(), {**SMALL_HEADS, "mode": "training", "head": head, "layout": layout})
        for head, layout in (("fc", "NHWC"), ("conv", "NCHW"))
    ),
    *(
        (Layout(), {"layer": "conv4_1", "image_size": 32, "direction": way, "layout": layout})
        for way in ("forward", "backward")
        for layout in ("NCHW", "NHWC")
    ),
]


def drawn(workload, case, seed=5):
    rng = np.random.default_rng(seed)
    return workload.parameters(case, rng), workload.inputs(case, rng)


def assert_right(model, outputs, workload, case, parameters, inputs):
    expected = reference_outputs(workload, case, parameters, inputs)
    assert set(model.outputs) == set(expected)
    for name, value in expected.items():
        found = outputs[model.outputs[name]]
        tolerance = workload.tolerance(case, name)
        scale = np.abs(value).max()
        if name.startswith("parameter/"):
            before = parameters[name.removeprefix("parameter/")].astype(np.float64)
            value, found = value - before, found - before
            scale = np.abs(value).max()
            tolerance = type(tolerance)(0.2, 1e-7)
        assert found.shape == value.shape, name
        error = np.abs(found.astype(np.float64) - value).max()
        assert error <= tolerance.relative * scale + tolerance.absolute, (name, error)


@pytest.mark.parametrize(("workload", "given"), STEPS)
def test_a_step_of_a_workload_has_the_numbers_of_float64(workload, given):
    case = make_case(workload, given)
    parameters, inputs = drawn(workload, case)
    model = model_file(workload, case, parameters, inputs)
    assert_right(model, run_model(model.content, inputs, 1), workload, case, parameters, inputs)
    # Names are those of the program, and every operator is one of ONNX's own.
    loaded = onnx.load_from_string(model.content)
    assert (loaded.ir_version, loaded.opset_import[0].version) == (10, 21)
    assert {each.name for each in loaded.graph.input} <= {*inputs, *parameters}
    assert all(node.domain == "" for node in loaded.graph.node)


def test_training_goes_on_with_the_parameters_it_returned():
    workload = Heads()
    case = make_case(workload, {**SMALL_HEADS, "mode": "training"})
    parameters, inputs = drawn(workload, case)
    model = model_file(workload, case, parameters, inputs)
    # The file has the first parameters, and takes others in their place.
    first = run_model(model.content, inputs, 1)
    between = {name: first[model.outputs[f"parameter/{name}"]] for name in parameters}
    second = run_model(model.content, {**inputs, **between}, 1)
    assert_right(model, second, workload, case, between, inputs)


class Written(Workload):
    """A gradient step of one expression."""

    name = "written"

    def __init__(self, expression, shapes):
        self._expression = expression
        self._shapes = shapes

    def inputs(self, case, rng):
        draw = {name: rng.uniform(0.5, 2.0, shape) for name, shape in self._shapes.items()}
        return {name: array.astype(np.float32) for name, array in draw.items()}

    def program(self, ops, parameters, inputs, case):
        value = self._expression(ops, *inputs.values())
        objective = ops.sum(ops.multiply(value, value))
        return Outputs(values={"value": value}, objective=objective)

    def step(self, case):
        return "gradient"

    def differentiate(self, case):
        return tuple(self._shapes)


A, AB = {"a": (3, 4)}, {"a": (3, 4), "b": (3, 4)}
EXPRESSIONS = {
    "elementwise": (lambda o, a, b: o.divide(o.subtract(o.add(a, b), 0.25), o.negative(b)), AB),
    "functions": (lambda o, a: o.tanh(o.add(o.exp(a), o.multiply(o.log(a), o.sqrt(a)))), A),
    "where": (lambda o, a, b: o.where(o.greater(a, b), a, o.multiply(b, 3.0)), AB),
    "maximum": (lambda o, a, b: o.maximum(a, b), AB),
    "relu": (lambda o, a: o.relu(o.subtract(a, 1.0)), A),
    "broadcast": (lambda o, a, b: o.multiply(a, b), {"a": (3, 1), "b": (2, 1, 4)}),
    "sum": (lambda o, a: o.sum(a, (0,)), A),
    "mean": (lambda o, a: o.mean(a, (-1,), True), A),
    "max": (lambda o, a: o.max(a, (1,)), A),
    "shape": (lambda o, a: o.transpose(o.reshape(o.transpose(a), (2, -1)), (1, 0)), A),
    "broadcast_to": (lambda o, a: o.broadcast_to(a, (2, 3, 4)), A),
    "slice": (lambda o, a: o.slice(a, (0, 1), (3, 4), (2, 3)), A),
    "pad": (lambda o, a: o.pad(a, ((1, 0), (0, 2))), A),
    "concatenate": (lambda o, a, b: o.concatenate([a, o.exp(b), a], 1), AB),
    "matmul": (lambda o, a, b: o.matmul(a, b, transpose_a=True), AB),
    "bias of rows": (lambda o, a, b: o.bias_add(a, b, axis=0), {"a": (3, 4), "b": (3,)}),
}


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_an_expression_and_its_gradients(name):
    workload = Written(*EXPRESSIONS[name])
    parameters, inputs = drawn(workload, {})
    model = model_file(workload, {}, parameters, inputs)
    assert_right(model, run_model(model.content, inputs, 1), workload, {}, parameters, inputs)


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_convolutions_and_poolings_of_any_geometry(data):
    """Strides that leave rows over, lopsided padding, windows that overlap, both layouts."""
    layout = data.draw(st.sampled_from(["NCHW", "NHWC"]))
    rows, columns = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    stride = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    padding = tuple(
        tuple(data.draw(st.integers(0, size - 1)) for _ in range(2)) for size in (rows, columns)
    )
    height, width = data.draw(st.integers(rows, 8)), data.draw(st.integers(columns, 8))
    nchw = layout == "NCHW"
    image = (2, 3, height, width) if nchw else (2, height, width, 3)
    kind = data.draw(st.sampled_from(["conv2d", "max_pool2d", "average_pool2d"]))
    if kind == "conv2d":
        filters = (4, 3, rows, columns) if nchw else (rows, columns, 3, 4)
        workload = Written(
            lambda o, x, w: o.conv2d(x, w, stride, padding, layout), {"x": image, "w": filters}
        )
    else:
        workload = Written(
            lambda o, x: getattr(o, kind)(x, (rows, columns), stride, padding, layout), {"x": image}
        )
    parameters, inputs = drawn(workload, {}, seed=data.draw(st.integers(0, 99)))
    model = model_file(workload, {}, parameters, inputs)
    assert_right(model, run_model(model.content, inputs, 1), workload, {}, parameters, inputs)


def test_random_numbers_cannot_be_exported():
    class Noisy(Written):
        def step(self, case):
            return "forward"

        def program(self, ops: Vocabulary, parameters, inputs, case):
            return Outputs(values={"y": ops.add(inputs["a"], ops.random_normal((3, 4)))})

    workload = Noisy(None, A)
    with pytest.raises(UnsupportedProgramError, match="random numbers"):
        model_file(workload, {}, *drawn(workload, {}))
