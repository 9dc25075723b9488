"""Adapters to frameworks compute what float64 does; each test needs its framework."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from benchctl.measure.verification import check_output
from benchctl_engines.contract import Engine, EngineOptions, Outputs
from benchctl_engines.devices import availability
from benchctl_engines.devices.cuda.detection import DeviceFound, DriverFound
from benchctl_engines.peers import (
    cuda_builds,
    framework,
    jax_engine,
    tensorflow_engine,
    torch_compile_engine,
    torch_engine,
)
from benchctl_engines.peers.jax_engine import make_jax_engine
from benchctl_engines.peers.keras_engine import make_keras_engine
from benchctl_engines.peers.tensorflow_engine import make_eager_engine, make_function_engine
from benchctl_engines.peers.tf_graph_engine import make_graph_engine
from benchctl_engines.peers.tinygrad_engine import make_tinygrad_engine
from benchctl_engines.peers.torch_compile_engine import make_torch_compile_engine
from benchctl_engines.peers.torch_engine import make_torch_engine
from benchctl_engines.vocabulary import LayerOperations, Vocabulary
from benchctl_workloads.heads import Heads
from benchctl_workloads.layout import Layout
from benchctl_workloads.reference import reference_outputs
from benchctl_workloads.vgg16 import Vgg16
from benchctl_workloads.workload import Workload, make_case
from benchctl_workloads.xyz import Xyz

FACTORIES = {
    "torch": make_torch_engine,
    "torch-compile": make_torch_compile_engine,
    "jax": make_jax_engine,
    "tf-function": make_function_engine,
    "tf-eager": make_eager_engine,
    "tf-graph": make_graph_engine,
    "keras": make_keras_engine,
    "tinygrad": make_tinygrad_engine,
}

each_engine = pytest.mark.parametrize("name", FACTORIES)
each_layout = pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
each_head = pytest.mark.parametrize("head", ["fc", "conv"])


def engine_of(name):
    engine = FACTORIES[name]()
    here = engine.availability("cpu")
    if not here.ok:
        pytest.skip(here.reason)
    return engine


def prepared(engine, workload, case, parameters, inputs):
    copies = {name: array.copy() for name, array in parameters.items()}
    runner = engine.prepare(workload, case, copies, inputs, EngineOptions(threads=2))
    runner.build()
    runner.compile()
    return runner


def drawn(workload, case, seed=5):
    rng = np.random.default_rng(seed)
    return workload.parameters(case, rng), workload.inputs(case, rng)


def assert_as_reference(outputs, workload, case, parameters, inputs):
    """Every output within the workload's tolerance; of a parameter, its update."""
    for name, expected in reference_outputs(workload, case, parameters, inputs).items():
        before = None
        if name.startswith("parameter/"):
            before = parameters[name.removeprefix("parameter/")]
            expected = before.astype(np.float64) - expected
        assert outputs[name].shape == expected.shape, name
        tolerance = workload.tolerance(case, name)
        check = check_output(name, outputs[name], expected, tolerance, before)
        assert check.ok, check


def check_case(name, workload, given):
    engine = engine_of(name)
    case = make_case(workload, given)
    support = engine.supports(workload, case)
    if not support.ok:
        is_image = name.startswith("tf-") or name == "keras"
        no_gradients = name == "keras" and workload.step(case) == "gradient"
        assert no_gradients or (is_image and case["layout"] == "NCHW")
        assert support.hint
        pytest.skip(support.reason)
    parameters, inputs = drawn(workload, case)
    runner = prepared(engine, workload, case, parameters, inputs)
    runner.step()
    assert_as_reference(runner.outputs(), workload, case, parameters, inputs)
    assert runner.facts().kernels and runner.facts().notes
    runner.close()


@each_engine
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("expression", ["product", "multiply_add"])
def test_xyz(name, dtype, expression):
    check_case(name, Xyz(), {"dtype": dtype, "expression": expression, "size": "30x40"})


@each_engine
@each_layout
@each_head
@pytest.mark.parametrize("mode", ["inference", "training"])
def test_vgg16(name, layout, head, mode):
    given = {"layout": layout, "head": head, "mode": mode}
    check_case(name, Vgg16(), {**given, "width": 16, "image_size": 32, "batch": 2})


@each_engine
@each_layout
@each_head
@pytest.mark.parametrize("mode", ["inference", "training"])
def test_heads(name, layout, head, mode):
    given = {"layout": layout, "head": head, "mode": mode}
    check_case(name, Heads(), {**given, "side": 3, "channels": 8, "width": 32, "batch": 3})


@each_engine
@each_layout
@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_layout(name, layout, direction):
    given = {"layout": layout, "direction": direction}
    check_case(name, Layout(), {**given, "layer": "conv3_1", "image_size": 32, "batch": 2})


# ----- all of the vocabulary --------------------------------------------------------------------


class Written(Workload):
    """A gradient step of one expression, of random inputs a and b or of those given."""

    name = "written"

    def __init__(self, expression, shapes, integers=False):
        self._expression = expression
        self._shapes = shapes
        self._integers = integers

    def inputs(self, case, rng):
        if self._integers:  # small ones, so that there are ties
            draw = {n: rng.integers(0, 3, shape) for n, shape in self._shapes.items()}
            return {name: array.astype(np.float32) for name, array in draw.items()}
        draw = {n: rng.uniform(0.5, 2.0, shape) for n, shape in self._shapes.items()}
        return {name: array.astype(np.float32) for name, array in draw.items()}

    def program(self, ops, parameters, inputs, case):
        value = self._expression(ops, *inputs.values())
        # A cotangent that differs everywhere tells a gradient from its transpose.
        objective = ops.sum(ops.multiply(value, value))
        return Outputs(values={"value": value}, objective=objective)

    kind = "gradient"

    def step(self, case):
        return self.kind

    def differentiate(self, case):
        return tuple(self._shapes)


def written_for(name, *arguments, **options):
    """An expression with its gradients, or without them where an engine has none."""
    workload = Written(*arguments, **options)
    workload.kind = "forward" if name == "keras" else "gradient"
    return workload


A = {"a": (3, 4)}
AB = {"a": (3, 4), "b": (3, 4)}
IMAGES = {"x": (2, 6, 7, 3), "w": (3, 2, 3, 4)}
MAPS = {"x": (2, 6, 8, 3)}
RANDOM = {"random_uniform", "random_normal"}
CONTROL_FLOW = {"cond", "scan", "while_loop"}
GRADIENTS = {"x": (2, 4, 5, 4), "w": (3, 2, 3, 4)}

EXPRESSIONS = {
    "elementwise": (lambda o, a, b: o.divide(o.subtract(o.add(a, b), 0.25), o.negative(b)), AB),
    "numbers first": (lambda o, a: o.subtract(2.0, o.divide(1.0, a)), A),
    "functions": (lambda o, a: o.tanh(o.add(o.exp(a), o.multiply(o.log(a), o.sqrt(a)))), A),
    "where": (lambda o, a, b: o.where(o.greater(a, b), a, o.multiply(b, 3.0)), AB),
    "where number": (lambda o, a: o.where(o.greater(a, 1.0), a, 0.5), A),
    "maximum number": (lambda o, a: o.maximum(a, 1.0), A),
    "broadcast": (lambda o, a, b: o.multiply(a, b), {"a": (3, 1), "b": (2, 1, 4)}),
    "sum": (lambda o, a: o.sum(a, (0,)), A),
    "mean": (lambda o, a: o.mean(a, (-1,), True), A),
    "mean of all": (lambda o, a: o.mean(a), A),
    "max": (lambda o, a: o.max(a, (1,)), A),
    "max of all": (lambda o, a: o.max(a, None, True), A),
    "no axes": (lambda o, a: o.sum(a, ()), A),
    "shape": (lambda o, a: o.transpose(o.reshape(o.transpose(a), (2, -1)), (1, 0)), A),
    "broadcast_to": (lambda o, a: o.broadcast_to(a, (2, 3, 4)), A),
    "slice": (lambda o, a: o.slice(a, (0, 1), (3, 4), (2, 1)), A),
    "pad": (lambda o, a: o.pad(a, ((1, 0), (0, 2))), A),
    "matmul": (lambda o, a, b: o.matmul(a, b, transpose_a=True), AB),
    "matmul b": (lambda o, a, b: o.matmul(a, b, False, True), AB),
    "bias of rows": (lambda o, a, b: o.bias_add(a, b, axis=0), {"a": (3, 4), "b": (3,)}),
    "bias twice": (
        lambda o, a, b: o.bias_add(o.bias_add(o.matmul(a, a, True), b), b),
        {"a": (3, 4), "b": (4,)},
    ),
    "product used twice": (
        lambda o, a, b: (lambda y: o.add(o.relu(o.bias_add(y, b)), y + o.exp(y) * y))(
            o.matmul(a, a, True)
        ),
        {"a": (3, 4), "b": (4,)},
    ),
    "biased used after relu": (
        lambda o, a, b: (lambda y: o.subtract(o.relu(y), y))(o.bias_add(o.matmul(a, a, True), b)),
        {"a": (3, 4), "b": (4,)},
    ),
    "strided": (lambda o, x, w: o.conv2d(x, w, (2, 1), layout="NHWC"), IMAGES),
    "lopsided": (
        lambda o, x, w: o.conv2d(x, w, padding=((0, 2), (1, 0)), layout="NHWC"),
        IMAGES,
    ),
    "transposed": (
        lambda o, x, w: o.conv2d_transpose(x, w, (2, 3), ((1, 1), (0, 1)), (1, 0), "NHWC"),
        GRADIENTS,
    ),
    "transposed lopsided": (
        lambda o, x, w: o.conv2d_transpose(x, w, (2, 1), ((0, 2), (1, 0)), (1, 0), layout="NHWC"),
        GRADIENTS,
    ),
    "transposed with a bias": (
        lambda o, x, w, b: o.bias_add(
            o.conv2d_transpose(x, w, (3, 3), ((2, 0), (0, 0)), (2, 1), "NHWC"), b
        ),
        {**GRADIENTS, "b": (3,)},
    ),
    "averages": (lambda o, x: o.average_pool2d(x, (3, 2), (2, 1), layout="NHWC"), MAPS),
    "averages of padded windows": (
        lambda o, x: o.average_pool2d(x, (3, 3), (1, 2), ((1, 1), (1, 1)), "NHWC"),
        MAPS,
    ),
    "averages of lopsided windows": (
        lambda o, x: o.average_pool2d(x, (3, 2), None, ((0, 2), (1, 0)), "NHWC"),
        MAPS,
    ),
    "side by side": (lambda o, a, b: o.concatenate([a, b, o.exp(a)], axis=-1), AB),
    "overlapping windows": (
        lambda o, x: o.max_pool2d(x, (3, 3), (1, 2), ((1, 1), (1, 1)), "NHWC"),
        MAPS,
    ),
    "lopsided windows": (
        lambda o, x: o.max_pool2d(x, (3, 2), None, ((0, 2), (1, 0)), "NHWC"),
        MAPS,
    ),
}
TIES = {
    "maximum": (lambda o, a, b: o.maximum(a, b), AB),
    "max": (lambda o, a: o.max(a, (1,)), A),
    "relu": (lambda o, a: o.add(o.relu(o.subtract(a, 1.0)), 1.0), A),
    "max_pool2d": (lambda o, x: o.add(o.max_pool2d(x, layout="NHWC"), 1.0), MAPS),
}


@each_engine
@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_and_its_gradients(name, expression):
    check_case(name, written_for(name, *EXPRESSIONS[expression]), {})


@each_engine
@pytest.mark.parametrize("expression", TIES)
def test_the_gradient_of_a_tie(name, expression):
    check_case(name, written_for(name, *TIES[expression], integers=True), {})


# ----- runners ----------------------------------------------------------------------------------


@each_engine
def test_a_second_training_step_goes_on_from_the_first(name):
    engine, workload = engine_of(name), Heads()
    given = {"layout": "NHWC", "mode": "training", "side": 2, "channels": 8, "width": 32}
    case = make_case(workload, given)
    parameters, inputs = drawn(workload, case)
    runner = prepared(engine, workload, case, parameters, inputs)
    runner.step()
    first = {name: np.array(array) for name, array in runner.outputs().items()}
    runner.step()
    between = {name: first[f"parameter/{name}"] for name in parameters}
    assert_as_reference(runner.outputs(), workload, case, between, inputs)
    runner.close()


@each_engine
def test_loaded_inputs_are_those_of_the_next_step(name):
    engine, workload = engine_of(name), Heads()
    given = {"layout": "NHWC", "mode": "inference", "side": 2, "channels": 8, "width": 32}
    case = make_case(workload, given)
    parameters, inputs = drawn(workload, case)
    runner = prepared(engine, workload, case, parameters, inputs)
    runner.step()
    _, others = drawn(workload, case, seed=6)
    runner.load(others)
    runner.step()
    assert_as_reference(runner.outputs(), workload, case, parameters, others)
    runner.close()


def test_torch_copies_nothing_in_an_nhwc_step():
    engine, workload = engine_of("torch"), Vgg16()
    profiler = importlib.import_module("torch.profiler")
    for head in ("fc", "conv"):
        given = {"layout": "NHWC", "head": head, "width": 16, "image_size": 64, "batch": 2}
        case = make_case(workload, given)
        runner = prepared(engine, workload, case, *drawn(workload, case))
        runner.step()
        with profiler.profile(activities=[profiler.ProfilerActivity.CPU]) as profile:
            runner.step()
        runner.close()
        events = profile.events()
        assert "aten::mkldnn_convolution" in {event.name for event in events}
        copies = [event for event in events if event.name in ("aten::copy_", "aten::clone")]
        # addmm spreads its bias over the result before it adds the product to it.
        assert {event.cpu_parent.name for event in copies} <= {"aten::addmm"}


# ----- without a framework ----------------------------------------------------------------------


@each_engine
def test_an_engine_is_one_of_the_contract(name):
    engine = FACTORIES[name]()
    assert isinstance(engine, Engine)
    assert engine.paradigm == "peer"
    assert set(engine.switches()) == ({"entry"} if name == "tf-graph" else set())


@each_engine
def test_all_of_the_vocabulary(name):
    wanted = {name for name in vars(Vocabulary) if not name.startswith("_")}
    if name == "tinygrad":
        wanted -= RANDOM
    if name in ("keras", "tinygrad"):
        wanted -= CONTROL_FLOW
    assert wanted <= set(dir(FACTORIES[name]().operations))


def test_where_a_gpu_of_torch_stands():
    properties = SimpleNamespace(pci_domain_id=0, pci_bus_id=0x17, pci_device_id=0)
    assert torch_engine._pci_bus_id(properties) == "0000:17:00.0"
    assert torch_engine._pci_bus_id(SimpleNamespace()) == ""


@each_engine
def test_what_an_adapter_has_beside_the_vocabulary_is_called_alike(name):
    """Layers call it by place, so that another order of arguments would be taken for this one."""
    operations = FACTORIES[name]().operations
    for each, stated in vars(LayerOperations).items():
        own = getattr(operations, each, None)
        if inspect.isfunction(stated) and each[0] != "_" and own is not None:
            assert list(inspect.signature(own).parameters) == list(
                inspect.signature(stated).parameters
            ), each


@each_engine
def test_a_missing_package_is_named_with_the_way_to_get_it(name, monkeypatch):
    monkeypatch.setattr(framework, "find_spec", lambda name: None)
    engine = FACTORIES[name]()
    missing = engine.availability("cpu")
    assert not missing.ok
    assert all(package in missing.reason for package in engine.packages)
    assert missing.reason.endswith("not installed")
    assert missing.hint == f'pip install "benchctl[{engine.extra}]"'


@each_engine
def test_another_device_is_refused(name):
    refused = FACTORIES[name]().availability("tpu")
    assert not refused.ok and "'tpu'" in refused.reason and "cpu" in refused.hint


@each_engine
def test_a_gpu_needs_a_build_with_cuda_and_a_driver_with_that_gpu(name, monkeypatch):
    engine = FACTORIES[name]()
    if name == "tinygrad":
        refused = engine.availability("gpu")
        assert not refused.ok and "computes on the CPU" in refused.reason
        return
    monkeypatch.setattr(framework, "find_spec", lambda package: package)
    driver = DriverFound((13, 0), 0, (DeviceFound("a GPU", 2**34),))
    monkeypatch.setattr(availability, "read_driver", lambda: driver)
    monkeypatch.setattr(type(engine), "without_cuda", lambda self: "built without CUDA")
    monkeypatch.setattr(torch_compile_engine, "find_compiler", lambda: "g++")
    refused = engine.availability("gpu")
    assert refused.reason == "built without CUDA" and "--device cpu" in refused.hint
    monkeypatch.setattr(type(engine), "without_cuda", lambda self: "")
    assert engine.availability("gpu:0").ok
    assert "has only gpu:0" in engine.availability("gpu:1").reason


def test_builds_without_cuda_are_told_by_what_is_installed(monkeypatch, tmp_path):
    have = {"jax": "0.9", "torch": "2.9+cpu", "tensorflow-cpu": "2.20"}
    monkeypatch.setattr(cuda_builds, "version", lambda name: have[name])
    monkeypatch.setattr(cuda_builds, "PackageNotFoundError", KeyError)
    origin = tmp_path / "torch" / "__init__.py"
    spec = SimpleNamespace(origin=str(origin))
    monkeypatch.setattr(cuda_builds, "find_spec", lambda name: spec)
    assert "torch 2.9+cpu is built without CUDA" in cuda_builds.torch_without_cuda()
    assert "jax 0.9 has no CUDA plugin" in cuda_builds.jax_without_cuda()
    assert "tensorflow-cpu 2.20 is built without CUDA" in cuda_builds.tensorflow_without_cuda()
    have.update({"jax-cuda12-plugin": "0.9", "tensorflow": "2.20"})
    (origin.parent / "lib").mkdir(parents=True)
    (origin.parent / "lib" / "libtorch_cuda.so").touch()
    assert not cuda_builds.torch_without_cuda()
    assert not cuda_builds.jax_without_cuda() and not cuda_builds.tensorflow_without_cuda()


class FakeTorch:
    """What placing a runner on a GPU asks of PyTorch, written down."""

    __version__ = "2.9"

    def __init__(self, gpus=2):
        self.said = []
        self.cuda = SimpleNamespace(
            is_available=lambda: gpus > 0,
            set_device=lambda place: self.said.append(("device", place)),
            synchronize=lambda place: self.said.append(("wait", place)),
        )
        self.backends = SimpleNamespace(cudnn=SimpleNamespace(allow_tf32=True, benchmark=False))
        self.device = lambda kind, index: f"{kind}:{index}"
        self.set_float32_matmul_precision = lambda word: self.said.append(("products", word))


@pytest.mark.parametrize(("precision", "word"), [("fp32", "highest"), ("tf32", "high")])
def test_torch_is_told_the_precision_in_both_of_its_places(precision, word):
    torch = FakeTorch()
    options = EngineOptions(device="gpu:1", precision=precision)
    assert torch_engine._place(torch, options) == "cuda:1"
    assert torch.said == [("products", word), ("device", "cuda:1")]
    assert torch.backends.cudnn.allow_tf32 is (precision == "tf32")
    assert torch.backends.cudnn.benchmark
    assert torch_engine._place(FakeTorch(0), EngineOptions()) is None
    with pytest.raises(RuntimeError, match="finds no GPU"):
        torch_engine._place(FakeTorch(0), options)


def test_a_step_of_torch_on_a_gpu_ends_with_a_wait():
    class Issuing:
        def step(self):
            self._torch.said.append("step")

    class Runner(torch_engine.WaitingForCuda, Issuing):
        _torch, _place = FakeTorch(), "cuda:0"

    Runner().step()
    assert Runner._torch.said == ["step", ("wait", "cuda:0")]


def test_jax_and_tensorflow_are_shown_one_gpu_and_told_the_precision():
    said = {}
    jax = SimpleNamespace(
        config=SimpleNamespace(update=said.__setitem__),
        devices=lambda kind: [f"{kind} {i}" for i in range(2)],
        default_backend=lambda: "gpu",
    )
    jax_engine._place(jax, EngineOptions(device="gpu:1"))
    assert said == {
        "jax_default_device": "gpu 1",
        "jax_default_matmul_precision": "float32",
    }
    jax_engine._place(jax, EngineOptions())
    assert said["jax_default_device"] == "cpu 0"

    said = []
    experimental = SimpleNamespace(
        set_memory_growth=lambda gpu, on: said.append((gpu, on)),
        enable_tensor_float_32_execution=lambda on: said.append(on),
    )
    tensorflow = SimpleNamespace(
        __version__="2.20",
        config=SimpleNamespace(
            list_physical_devices=lambda kind: ["a", "b"],
            set_visible_devices=lambda devices, kind: said.append(devices),
            experimental=experimental,
        ),
        test=SimpleNamespace(experimental=SimpleNamespace(sync_devices="wait")),
    )
    options = EngineOptions(device="gpu:1", precision="tf32")
    assert tensorflow_engine.place_on(tensorflow, options) == "wait"
    assert said == [["b"], ("b", True), True]
    assert tensorflow_engine.place_on(tensorflow, EngineOptions()) is None
    assert said[-1] == []
    with pytest.raises(RuntimeError, match="finds 2 GPUs"):
        tensorflow_engine.place_on(tensorflow, EngineOptions(device="gpu:2"))


def test_versions_leave_out_what_is_not_installed():
    found = framework.installed_versions(("numpy", "no-such-distribution"))
    assert found == {"numpy": np.__version__}


def test_tinygrad_refuses_random_numbers_before_a_step():
    class Noisy(Written):
        def program(self, ops, parameters, inputs, case):
            return Outputs(values={"y": ops.add(inputs["a"], ops.random_normal((3, 4)))})

    noisy = Noisy(None, A)
    noisy.kind = "forward"
    support = make_tinygrad_engine().supports(noisy, {})
    assert not support.ok and "random_normal" in support.reason and support.hint


def test_keras_hands_out_no_gradients():
    refused = make_keras_engine().supports(Xyz(), make_case(Xyz(), {}))
    assert not refused.ok and "gradients" in refused.reason and "tf-function" in refused.hint


def test_torch_compile_needs_a_compiler(monkeypatch):
    engine = engine_of("torch-compile")
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    missing = engine.availability("cpu")
    assert not missing.ok and "C++ compiler" in missing.reason and "g++" in missing.hint


@pytest.mark.parametrize("compiler", ["", "sh"])
def test_tinygrad_needs_clang(compiler, monkeypatch):
    monkeypatch.setattr(framework, "find_spec", lambda name: object())
    monkeypatch.setenv("PATH", "/usr/bin:/bin" if compiler else "")
    monkeypatch.setenv("CC", compiler or "clang")
    missing = make_tinygrad_engine().availability("cpu")
    assert not missing.ok and "clang" in missing.reason and "install clang" in missing.hint


@pytest.mark.parametrize(("head", "order"), [("fc", "[out, in]"), ("conv", "[K, C, R, S]")])
def test_tinygrad_says_how_it_stores_parameters(head, order):
    engine, workload = engine_of("tinygrad"), Heads()
    given = {"layout": "NHWC", "head": head, "side": 2, "channels": 8, "width": 32}
    case = make_case(workload, given)
    runner = prepared(engine, workload, case, *drawn(workload, case))
    runner.step()
    notes = " ".join(runner.facts().notes)
    assert "asked for 2 threads" in notes and order in notes
    runner.close()


@pytest.mark.parametrize("entry", ["run", "callable"])
def test_a_graph_is_fed_or_keeps_its_inputs(entry):
    engine, workload = engine_of("tf-graph"), Xyz()
    case = make_case(workload, {"size": "30x40"})
    parameters, inputs = drawn(workload, case)
    options = EngineOptions(threads=2, switches={"entry": entry})
    runner = engine.prepare(workload, case, parameters, inputs, options)
    runner.build()
    runner.compile()
    runner.step()
    again, fresh = drawn(workload, case, seed=6)
    runner.load(fresh)
    runner.step()
    assert_as_reference(runner.outputs(), workload, case, again, fresh)
    assert ("feed_dict" in runner.facts().notes[0]) == (entry == "run")
    assert runner.facts().counts["graph_nodes"] > 3
    runner.close()


def test_tensorflow_takes_images_in_nhwc_only():
    engine = make_function_engine()
    refused = engine.supports(Vgg16(), make_case(Vgg16(), {"layout": "NCHW"}))
    assert not refused.ok and "NCHW" in refused.reason and "NHWC" in refused.hint
    assert engine.supports(Vgg16(), make_case(Vgg16(), {"layout": "NHWC"})).ok
    assert engine.supports(Xyz(), make_case(Xyz(), {})).ok


def test_listing_engines_imports_no_framework():
    modules = [factory.__module__ for factory in FACTORIES.values()]
    code = (
        "import importlib, sys\n"
        f"modules = [importlib.import_module(name) for name in {modules!r}]\n"
        "engines = [getattr(m, n)() for m in modules for n in dir(m) if n.startswith('make_')]\n"
        "assert len(engines) >= 8\n"
        "for engine in engines: engine.availability('cpu'), engine.versions()\n"
        "assert not {'torch', 'jax', 'tensorflow', 'keras', 'tinygrad'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
