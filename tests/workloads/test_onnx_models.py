"""ONNX models as workloads: ONNX's own node tests, its light networks, and what is refused."""

from __future__ import annotations

import importlib
import math
from pathlib import Path

import numpy as np
import pytest

from benchctl.plan.errors import PlanError
from benchctl.plan.registry import load_workload, workload_reference
from benchctl_workloads.onnx_models.operators import RULES
from benchctl_workloads.onnx_models.reading import ModelError, graph_of_model
from benchctl_workloads.onnx_models.workload import OnnxWorkload
from benchctl_workloads.reference import reference_outputs
from benchctl_workloads.workload import make_case

onnx = pytest.importorskip("onnx")
helper = onnx.helper
FLOAT = onnx.TensorProto.FLOAT


def node_cases():
    """ONNX's own tests of single nodes whose operations are supported."""
    loader = importlib.import_module("onnx.backend.test.case.node")
    found = loader.collect_testcases(None)
    return {each.name: each for each in found if _is_ours(each.model)}


def _is_ours(model) -> bool:
    """Inference in float32 of operations that have a rule, each of them a node of its own."""
    graph = model.graph
    return (
        len(graph.node) == 1
        and graph.node[0].op_type in RULES
        and not graph.node[0].domain
        and _all_float(graph.output)
    )


def _all_float(values) -> bool:
    return all(each.type.tensor_type.elem_type == FLOAT for each in values)


def with_constants(model, inputs):
    """The model with every operand but the first as an initializer, as exporters write them."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    for place, (info, array) in enumerate(zip(model.graph.input, inputs, strict=True)):
        if place:
            made.graph.initializer.append(
                onnx.numpy_helper.from_array(np.asarray(array), info.name)
            )
    return made


def run_on_reference(model, inputs):
    graph = graph_of_model(model, "node")
    workload = OnnxWorkload(graph)
    case = make_case(workload, {})
    given = {
        info.name: np.asarray(array)
        for info, array in zip(model.graph.input, inputs, strict=False)
        if info.name in {each.name for each in graph.inputs}
    }
    return workload, case, given


def test_onnx_node_tests_pass(record_property):
    """Every supported node test gives ONNX's own outputs; those that are refused are named."""
    passed, refused, wrong = [], {}, {}
    for name, case in node_cases().items():
        inputs, expected = case.data_sets[0]
        try:
            model = with_constants(case.model, inputs)
            workload, axes, given = run_on_reference(model, inputs)
            outputs = reference_outputs(workload, axes, workload.parameters(axes, None), given)
        except ModelError as error:
            refused[name] = str(error)
            continue
        for info, value in zip(case.model.graph.output, expected, strict=True):
            found = np.asarray(outputs[info.name])
            if found.shape != value.shape or not np.allclose(found, value, 1e-3, 1e-5):
                wrong[name] = f"{found.reshape(-1)[:4]} for {value.reshape(-1)[:4]}"
                break
        else:
            passed.append(name)
    print(f"ONNX node tests: {len(passed)} pass, {len(refused)} are refused with a reason")
    record_property("onnx_node_tests_passed", len(passed))
    assert wrong == {}
    assert len(passed) >= 250
    # What is refused is refused in words, and is none of what a vision network needs.
    assert all(len(reason) > 10 for reason in refused.values())


LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
# Compiling the others takes a minute together.
QUICK = ("light_bvlc_alexnet", "light_shufflenet", "light_squeezenet")
NETWORKS = [
    pytest.param(path, marks=() if path.stem in QUICK else pytest.mark.frameworks, id=path.stem)
    for path in sorted(LIGHT.glob("light_*.onnx"))
]


@pytest.mark.slow
@pytest.mark.parametrize("path", NETWORKS)
def test_a_light_network_gives_what_onnx_runtime_gives(path, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    from benchctl.plan.registry import load_engine
    from benchctl_engines.contract import EngineOptions

    workload = load_workload(str(path))
    case = make_case(workload, {})
    rng = np.random.default_rng(3)
    inputs, parameters = workload.inputs(case, rng), workload.parameters(case, rng)
    options = EngineOptions(threads=2, cache_directory=None)
    runner = load_engine("static").prepare(workload, case, parameters, inputs, options)
    runner.build()
    runner.compile()
    runner.step()
    found = runner.outputs()
    runner.close()
    settings = runtime.SessionOptions()
    settings.log_severity_level = 3
    session = runtime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    for name, value in zip(names, session.run(names, inputs), strict=True):
        assert found[name].shape == value.shape
        scale = np.abs(value).max()
        assert np.abs(found[name] - value).max() <= 1e-4 * scale, name


# What is refused -------------------------------------------------------------------------------


def small_model(*nodes, shape=(1, 3, 8, 8), arrays=()):
    inputs = [helper.make_tensor_value_info("x", FLOAT, shape)]
    outputs = [helper.make_tensor_value_info("y", FLOAT, ["rows"])]
    initial = [onnx.numpy_helper.from_array(array, name) for name, array in dict(arrays).items()]
    graph = helper.make_graph(list(nodes), "small", inputs, outputs, initial)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def saved(model, tmp_path) -> str:
    path = tmp_path / "mine.onnx"
    onnx.save(model, str(path))
    return str(path)


def test_a_file_is_a_workload_with_its_open_sizes_as_axes(tmp_path):
    weights = np.ones((3, 4), np.float32)
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    path = saved(small_model(node, shape=("batch", 3), arrays={"w": weights}), tmp_path)
    workload = load_workload(path)
    assert workload.name == "mine" and workload_reference(workload) == path
    assert [axis.name for axis in workload.axes] == ["batch"]
    case = make_case(workload, {"batch": 5})
    inputs = workload.inputs(case, np.random.default_rng(0))
    assert inputs["x"].shape == (5, 3)
    outputs = reference_outputs(workload, case, workload.parameters(case, None), inputs)
    assert np.allclose(outputs["y"], inputs["x"].sum(axis=1, keepdims=True))
    assert workload.cost(case).flops == 2 * 5 * 3 * 4
    # Two files are two workloads, each with its own name and axes.
    other = OnnxWorkload(graph_of_model(small_model(helper.make_node("Relu", ["x"], ["y"])), "b"))
    assert (other.name, other.axes, workload.name) == ("b", (), "mine")


def test_a_runtime_is_given_the_file_itself(tmp_path):
    pytest.importorskip("onnxruntime")
    from benchctl.plan.registry import load_engine
    from benchctl_engines.contract import EngineOptions

    node = helper.make_node("HardSwish", ["x"], ["y"])
    path = saved(small_model(node, shape=("batch", 3)), tmp_path)
    workload = load_workload(path)
    case = make_case(workload, {"batch": 4})
    inputs = workload.inputs(case, np.random.default_rng(0))
    runner = load_engine("onnxruntime").prepare(workload, case, {}, inputs, EngineOptions())
    runner.build()
    runner.compile()
    runner.step()
    # The vocabulary has no such operation: a translated model would have several nodes.
    assert runner.facts().kernels == ("onnxruntime:HardSwish",)
    expected = reference_outputs(workload, case, {}, inputs)["y"]
    assert np.allclose(runner.outputs()["y"], expected, atol=1e-6)
    runner.close()


@pytest.mark.parametrize(
    ("node", "words"),
    [
        (helper.make_node("Det", ["x"], ["y"], name="odd"), "Det node odd"),
        (helper.make_node("RandomNormalLike", ["x"], ["y"]), "draws random numbers"),
        (helper.make_node("Resize", ["x", "", "s"], ["y"], mode="linear"), "only the mode nearest"),
        (
            helper.make_node("Pad", ["x", "p"], ["y"], mode="reflect"),
            "only padding with a constant",
        ),
    ],
)
def test_what_is_not_supported_is_named_with_its_node(tmp_path, node, words):
    arrays = {"s": np.array([1, 1, 2, 2], np.float32), "p": np.array([0, 0, 1, 1] * 2)}
    used = {name: array for name, array in arrays.items() if name in node.input}
    with pytest.raises(PlanError) as caught:
        load_workload(saved(small_model(node, arrays=used), tmp_path))
    assert words in caught.value.message
    assert "mine.onnx" in caught.value.message


def test_a_file_that_is_no_model_or_is_not_there(tmp_path):
    path = tmp_path / "torn.onnx"
    path.write_bytes(b"not a model")
    with pytest.raises(PlanError, match="no valid ONNX model"):
        load_workload(str(path))
    with pytest.raises(PlanError, match="does not exist"):
        load_workload(str(tmp_path / "gone.onnx"))


def test_a_model_of_our_own_export_comes_back(tmp_path):
    from benchctl_engines.peers.onnx_file import model_file
    from benchctl_workloads.vgg16 import Vgg16

    source = Vgg16()
    case = make_case(source, {"image_size": 32, "width": 16, "batch": 2, "mode": "inference"})
    rng = np.random.default_rng(1)
    parameters, inputs = source.parameters(case, rng), source.inputs(case, rng)
    path = tmp_path / "vgg.onnx"
    path.write_bytes(model_file(source, case, parameters, inputs).content)
    again = load_workload(str(path))
    axes = make_case(again, {})
    found = reference_outputs(again, axes, again.parameters(axes, None), inputs)
    for name, value in reference_outputs(source, case, parameters, inputs).items():
        assert np.allclose(found[name], value, rtol=1e-6, atol=1e-9 * math.fabs(value.max()))
