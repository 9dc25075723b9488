"""The engine `numpy`: the author's step, called and nothing else."""

import subprocess
import sys

import numpy as np
import pytest

from benchctl_engines.contract import Engine, EngineOptions, Outputs
from benchctl_engines.devices import availability
from benchctl_engines.devices.cuda import detection
from benchctl_engines.manual.engine import make_engine


class Doubling:
    """A forward step and a training step, written by hand."""

    name = "doubling"

    def __init__(self, kind="forward", written=True):
        self.kind = kind
        self.written = written

    def step(self, case):
        return self.kind

    def differentiate(self, case):
        return ()

    def learning_rate(self, case):
        return 0.5

    def program(self, ops, parameters, inputs, case):
        return Outputs(values={})

    def by_hand(self, case):
        if not self.written:
            return None

        def step(parameters, inputs):
            if self.kind == "training":
                parameters["w"] -= inputs["x"]
            return {"total": (2 * inputs["x"]).sum()}

        return step


def runner(workload, parameters=None, x=(1.0, 2.0)):
    inputs = {"x": np.array(x)}
    return make_engine().prepare(workload, {}, parameters or {}, inputs, EngineOptions())


def test_it_is_an_engine():
    engine = make_engine()
    assert isinstance(engine, Engine)
    assert (engine.name, engine.paradigm) == ("numpy", "manual")
    assert engine.versions()["numpy"] == np.__version__
    assert dict(engine.switches()) == {}


def test_it_runs_on_the_cpu_and_says_what_a_gpu_lacks(monkeypatch):
    engine = make_engine()
    assert engine.availability("cpu").ok
    gpus = tuple(detection.DeviceFound(f"GPU {index}", 2**30) for index in range(2))
    two = detection.DriverFound((12, 4), 0, gpus)
    libraries = frozenset({"nvrtc", "cublasLt"})
    for driver, reason in ((None, "driver is not installed"), (two, "has gpu:0 to gpu:1")):
        monkeypatch.setattr(availability, "read_driver", lambda driver=driver: driver)
        gpu = engine.availability("gpu:2")
        assert not gpu.ok and reason in gpu.reason and "--device cpu" in gpu.hint
    for cupy, reason in (((), "cupy is not installed"), ((("cupy-cuda12x", "14.1"),), "")):
        found = detection.Found(two, cupy, bool(cupy), libraries)
        monkeypatch.setattr(availability, "look", lambda found=found: found)
        gpu = engine.availability("gpu:1")
        assert gpu.ok == bool(cupy) and reason in gpu.reason


def test_a_workload_without_a_step_by_hand_is_not_supported():
    engine = make_engine()
    assert engine.supports(Doubling(), {}).ok
    support = engine.supports(Doubling(written=False), {})
    assert support.reason == "the workload has no hand-written NumPy step"
    with pytest.raises(ValueError, match="no hand-written NumPy step"):
        runner(Doubling(written=False))


def test_steps_use_the_inputs_loaded_last():
    prepared = runner(Doubling())
    prepared.build()
    prepared.compile()
    with pytest.raises(RuntimeError, match="at least one step"):
        prepared.outputs()
    prepared.step()
    assert prepared.outputs()["total"] == 6
    prepared.load({"x": np.array([10.0])})
    prepared.step()
    outputs = prepared.outputs()
    assert isinstance(outputs["total"], np.ndarray)
    assert outputs["total"] == 20
    assert prepared.facts().kernels == ("numpy",)
    prepared.close()


def test_a_training_step_returns_updated_parameters():
    prepared = runner(Doubling("training"), {"w": np.array([5.0, 5.0])})
    prepared.step()
    prepared.step()
    outputs = prepared.outputs()
    assert set(outputs) == {"total", "parameter/w"}
    assert outputs["parameter/w"].tolist() == [3, 1]
    prepared.close()


def test_a_forward_step_returns_no_parameters():
    prepared = runner(Doubling(), {"w": np.array([5.0])})
    prepared.step()
    assert set(prepared.outputs()) == {"total"}


def test_listing_the_engine_imports_no_compiler_and_no_engine():
    code = (
        "import sys; from benchctl_engines.manual.engine import make_engine; make_engine();"
        "print([name for name in ('numba', 'scipy', 'threadpoolctl', 'benchctl_engines.primitives')"
        " if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "[]", result.stderr
