"""The adapters to inference runtimes: their numbers, their models, and what they refuse."""

from __future__ import annotations

import importlib
import sys

import numpy as np
import pytest

from benchctl_engines.contract import EngineOptions, Outputs
from benchctl_engines.peers import onnx_nodes
from benchctl_engines.peers.inference_runtimes import UnsupportedProgramError
from benchctl_engines.peers.ncnn_engine import make_ncnn_engine
from benchctl_engines.peers.ncnn_model import chain_of, layer_lines
from benchctl_engines.peers.onnxruntime_engine import make_onnxruntime_engine
from benchctl_engines.peers.openvino_engine import make_openvino_engine
from benchctl_engines.peers.probed_program import probe_program
from benchctl_engines.vocabulary import Vocabulary
from benchctl_workloads.heads import Heads
from benchctl_workloads.layout import Layout
from benchctl_workloads.reference import reference_outputs
from benchctl_workloads.vgg16 import Vgg16
from benchctl_workloads.workload import Workload, make_case
from benchctl_workloads.xyz import Xyz

ENGINES = {
    "onnxruntime": make_onnxruntime_engine,
    "openvino": make_openvino_engine,
    "ncnn": make_ncnn_engine,
}
SMALL_VGG16 = {"width": 16, "image_size": 32}
SMALL_HEADS = {"width": 24, "channels": 5, "side": 3}
FORWARD_CASES = [
    (Vgg16(), {**SMALL_VGG16, "head": "fc"}),
    (Vgg16(), {**SMALL_VGG16, "head": "conv"}),
    (Vgg16(), {**SMALL_VGG16, "head": "fc", "batch": 3}),
    (Vgg16(), {**SMALL_VGG16, "head": "conv", "batch": 3}),
    (Heads(), {**SMALL_HEADS, "head": "fc", "batch": 3}),
    (Heads(), {**SMALL_HEADS, "head": "conv", "batch": 3}),
    (Layout(), {"layer": "conv4_1", "image_size": 32, "batch": 2}),
]
RUNTIMES = [pytest.param(name, marks=pytest.mark.timeout(120)) for name in ENGINES]


def import_packages(engine):
    for package in engine.packages:
        pytest.importorskip(package)


def arrays_of(workload, case, seed=5):
    rng = np.random.default_rng(seed)
    return workload.parameters(case, rng), workload.inputs(case, rng)


def prepared(engine, workload, case, parameters, inputs):
    runner = engine.prepare(workload, case, parameters, inputs, EngineOptions(threads=2))
    runner.build()
    runner.compile()
    return runner


def check_outputs(outputs, workload, case, parameters, inputs):
    expected = reference_outputs(workload, case, parameters, inputs)
    assert set(outputs) == set(expected)
    for name, value in expected.items():
        tolerance = workload.tolerance(case, name)
        allowed = tolerance.relative * np.abs(value).max() + tolerance.absolute
        assert outputs[name].shape == value.shape
        assert outputs[name].dtype.kind == np.asarray(value).dtype.kind
        assert np.abs(outputs[name].astype("float64") - value).max() <= allowed, name


def check_engine(engine, workload, case):
    """Right on the inputs it was prepared with, and on others loaded later."""
    parameters, inputs = arrays_of(workload, case)
    runner = prepared(engine, workload, case, parameters, inputs)
    try:
        runner.step()
        first = runner.outputs()
        check_outputs(first, workload, case, parameters, inputs)
        kept = {name: value.copy() for name, value in first.items()}
        _, others = arrays_of(workload, case, seed=6)
        runner.load(others)
        runner.step()
        check_outputs(runner.outputs(), workload, case, parameters, others)
        assert all(np.array_equal(first[name], kept[name]) for name in kept)
        facts = runner.facts()
        assert facts.kernels
        assert any("2" in note for note in facts.notes)
    finally:
        runner.close()


# ----- numbers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RUNTIMES)
@pytest.mark.parametrize(("workload", "axes"), FORWARD_CASES)
def test_outputs_are_those_of_float64(name, workload, axes):
    engine = ENGINES[name]()
    import_packages(engine)
    case = make_case(workload, axes)
    assert engine.supports(workload, case).ok
    check_engine(engine, workload, case)


class EveryOperation(Workload):
    """A value of each operation of the vocabulary that needs no random numbers."""

    name = "every_operation"

    def inputs(self, case, rng):
        return {
            "x": rng.uniform(0.5, 2.0, (2, 3)).astype("float32"),
            "y": rng.uniform(0.5, 2.0, (3,)).astype("float32"),
            "image": rng.standard_normal((2, 3, 7, 6)).astype("float32"),
            "labels": rng.integers(0, 3, (2,)),
        }

    def parameters(self, case, rng):
        return {
            "w": rng.standard_normal((3, 4)).astype("float32"),
            "filters": rng.standard_normal((5, 3, 3, 2)).astype("float32"),
            "bias": rng.standard_normal(5).astype("float32"),
        }

    def program(self, ops, parameters, inputs, case):
        x, y, image, w = inputs["x"], inputs["y"], inputs["image"], parameters["w"]
        large = ops.greater(x, y)
        maps = ops.conv2d(image, parameters["filters"], (2, 1), ((1, 0), (2, 1)))
        values = {
            "add": ops.add(x, y),
            "subtract": ops.subtract(1.0, x),
            "multiply": ops.multiply(x, 3.0),
            "divide": ops.divide(x, y),
            "maximum": ops.maximum(x, y),
            "greater": large,
            "where": ops.where(large, x, 0.0),
            "both": ops.multiply(large, ops.greater(x, 1.0)),
            "either": ops.add(large, ops.greater(x, 1.0)),
            "mask_greater": ops.greater(large, ops.greater(x, 1.0)),
            "negative": ops.negative(x),
            "exp": ops.exp(x),
            "log": ops.log(x),
            "sqrt": ops.sqrt(x),
            "tanh": ops.tanh(x),
            "relu": ops.relu(image),
            "sum": ops.sum(image, (0, 2)),
            "sum_all": ops.sum(x),
            "sum_nothing": ops.sum(x, ()),
            "mean": ops.mean(image, (1,), keepdims=True),
            "max": ops.max(image, (-1,)),
            "reshape": ops.reshape(image, (-1, 6)),
            "transpose": ops.transpose(image),
            "broadcast_to": ops.broadcast_to(y, (2, 3)),
            "slice": ops.slice(image, (0, 1, 0, 2), (2, 3, 7, 6), (1, 1, 3, 2)),
            "pad": ops.pad(x, ((1, 0), (0, 2))),
            "matmul": ops.matmul(x, w),
            "matmul_transposed": ops.matmul(w, x, transpose_a=True, transpose_b=True),
            "conv2d": maps,
            # The convolution is an output too, so that its node cannot take the bias.
            "bias_add": ops.bias_add(maps, parameters["bias"], axis=1),
            "bias_in_gemm": ops.bias_add(ops.matmul(w, x, True, True), ops.sum(x, (1,))),
            "max_pool2d": ops.max_pool2d(image, (3, 2), (2, 2), ((1, 1), (0, 1))),
            "conv2d_transpose": ops.conv2d_transpose(
                maps, parameters["filters"], (2, 1), ((1, 0), (2, 1)), (1, 0)
            ),
            "average_pool2d": ops.average_pool2d(image, (3, 2), (2, 2), ((1, 1), (0, 1))),
            "concatenate": ops.concatenate([x, ops.exp(x)], axis=1),
            "loss": ops.softmax_cross_entropy(x, inputs["labels"]),
            "given": x,
            "learned": w,
            "again": ops.add(x, y),
        }
        return Outputs(values=values)


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_every_operation(name):
    engine = ENGINES[name]()
    import_packages(engine)
    workload = EveryOperation()
    assert engine.supports(workload, {}).ok
    check_engine(engine, workload, {})


class DoublePrecision(EveryOperation):
    """The same in float64."""

    def inputs(self, case, rng):
        return {"x": rng.standard_normal((2, 3))}

    def parameters(self, case, rng):
        return {"w": rng.standard_normal((3, 4))}

    def program(self, ops, parameters, inputs, case):
        return Outputs(values={"y": ops.matmul(inputs["x"], parameters["w"])})


def test_onnxruntime_computes_in_float64():
    engine = make_onnxruntime_engine()
    import_packages(engine)
    check_engine(engine, DoublePrecision(), {})


@pytest.mark.parametrize("name", ["openvino", "ncnn"])
def test_float64_is_refused_where_it_would_be_rounded(name):
    engine = ENGINES[name]()
    import_packages(engine)
    workload = DoublePrecision()
    parameters, inputs = arrays_of(workload, {})
    runner = engine.prepare(workload, {}, parameters, inputs, EngineOptions())
    with pytest.raises(UnsupportedProgramError, match="float32 only"):
        runner.build()


# ----- models -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("workload", "axes"), [*FORWARD_CASES, (EveryOperation(), {})], ids=lambda each: str(each)[:40]
)
def test_the_checker_accepts_the_model(workload, axes):
    onnx = pytest.importorskip("onnx")
    onnx_model = importlib.import_module("benchctl_engines.peers.onnx_model")
    case = make_case(workload, axes)
    model = onnx_model.onnx_model(workload, case, *arrays_of(workload, case))
    onnx.checker.check_model(model.proto, full_check=True)
    assert model.proto.ir_version == 10
    assert [each.version for each in model.proto.opset_import] == [21]


def test_biases_are_operands_of_convolutions_and_products():
    pytest.importorskip("onnx")
    onnx_model = importlib.import_module("benchctl_engines.peers.onnx_model")
    case = make_case(Vgg16(), SMALL_VGG16)
    model = onnx_model.onnx_model(Vgg16(), case, *arrays_of(Vgg16(), case))
    assert set(model.operations) == {"Conv", "Relu", "MaxPool", "Reshape", "Gemm"}
    assert model.operations.count("Conv") == 13
    assert model.operations.count("Gemm") == 3


def test_every_operation_without_random_numbers_and_control_flow_has_a_node():
    # A mean is a sum and a product, a transposed convolution the gradient of one.
    derived = {"mean", "conv2d_transpose", "random_uniform", "random_normal"}
    derived |= {"cond", "scan", "while_loop"}
    names = {name for name in vars(Vocabulary) if not name.startswith("_")}
    assert names - derived <= set(onnx_nodes.NODE_RULES)


def test_ncnn_puts_bias_and_relu_into_the_layers():
    case = make_case(Vgg16(), SMALL_VGG16)
    chain = chain_of(probe_program(Vgg16(), case))
    lines = layer_lines(chain, arrays_of(Vgg16(), case)[0])
    assert [line.split()[0] for line in lines].count("Convolution") == 13
    first, last = lines[1].split(), lines[-1].split()
    assert {"0=16", "1=3", "4=1", "5=1", "6=432", "9=1"} <= set(first)
    assert {"0=1000", "1=1", "9=0"} <= set(last)


# ----- refusals ---------------------------------------------------------------------------------


class ProgramOf(Workload):
    """A forward workload whose program is a function of (ops, parameters, inputs)."""

    name = "program_of"

    def __init__(self, function):
        self._function = function

    def inputs(self, case, rng):
        return {"x": rng.standard_normal((4, 6)).astype("float32")}

    def parameters(self, case, rng):
        return {"w": rng.standard_normal((3, 2)).astype("float32")}

    def program(self, ops, parameters, inputs, case):
        return Outputs(values={"y": self._function(ops, parameters, inputs)})


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize(
    ("workload", "axes"),
    [(Xyz(), {}), (Vgg16(), {"mode": "training"}), (Layout(), {"direction": "backward"})],
)
def test_gradients_are_refused(name, workload, axes):
    state = ENGINES[name]().supports(workload, make_case(workload, axes))
    assert not state.ok
    assert state.reason == f"{name} computes no gradients"
    assert state.hint


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("workload", [Vgg16(), Layout()])
def test_convolutions_of_nhwc_images_are_refused(name, workload):
    state = ENGINES[name]().supports(workload, make_case(workload, {"layout": "NHWC"}))
    assert not state.ok
    assert "NCHW only" in state.reason
    assert "-a layout=NCHW" in state.hint


@pytest.mark.parametrize("name", ENGINES)
def test_dense_layers_have_no_layout(name):
    assert ENGINES[name]().supports(Heads(), make_case(Heads(), {"layout": "NHWC"})).ok


@pytest.mark.parametrize("name", ENGINES)
def test_random_numbers_are_refused(name):
    workload = ProgramOf(lambda ops, p, x: ops.add(x["x"], ops.random_uniform((4, 6))))
    state = ENGINES[name]().supports(workload, {})
    assert not state.ok
    if name != "ncnn":
        assert "random numbers" in state.reason


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda ops, p, x: ops.tanh(ops.matmul(x["x"], p["w"])), "no layer is written for tanh"),
        (lambda ops, p, x: ops.matmul(x["x"], x["x"]), "operand b of matmul is no parameter"),
        (lambda ops, p, x: ops.matmul(p["w"], x["x"]), "does not take an input"),
        (
            lambda ops, p, x: ops.matmul(ops.matmul(x["x"], p["w"]), p["w"], transpose_a=True),
            "columns",
        ),
        (
            lambda ops, p, x: (ops.matmul(x["x"], p["w"]), ops.matmul(x["x"], p["v"]))[1],
            "another value than the last result",
        ),
        (
            lambda ops, p, x: ops.conv2d(ops.reshape(x["x"], (4, 1, 2, 3)), p["f"]),
            "a reshape to",
        ),
        (lambda ops, p, x: ops.relu(x["x"]), "no layer is written for relu"),
        (lambda ops, p, x: ops.reshape(x["x"], (6, 4)), "the program has no layer"),
        (lambda ops, p, x: x["x"].shape[0], "looks at its arrays"),
    ],
)
def test_ncnn_says_why_a_program_is_no_chain(function, reason):
    state = make_ncnn_engine().supports(ProgramOf(function), {})
    assert not state.ok
    assert reason in state.reason
    assert state.hint


def test_ncnn_refuses_a_reshape_that_splits_images():
    engine = make_ncnn_engine()
    import_packages(engine)
    workload = ProgramOf(lambda ops, p, x: ops.matmul(ops.reshape(x["x"], (8, 3)), p["w"]))
    runner = engine.prepare(workload, {}, *arrays_of(workload, {}), EngineOptions())
    with pytest.raises(UnsupportedProgramError, match="8 rows of 4 images"):
        runner.build()


@pytest.mark.parametrize("name", ENGINES)
def test_a_missing_package_is_named(name, monkeypatch):
    engine = ENGINES[name]()
    module = sys.modules["benchctl_engines.peers.framework"]
    monkeypatch.setattr(module, "find_spec", lambda package: None)
    state = engine.availability("cpu")
    assert not state.ok
    assert name in state.reason
    assert "not installed" in state.reason
    assert f"benchctl[{name}]" in state.hint
    assert "CPU" in engine.availability("gpu").reason
