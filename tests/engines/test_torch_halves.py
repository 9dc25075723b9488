"""PyTorch at half precision, run on the CPU: the harness would place it on a GPU."""

from __future__ import annotations

import numpy as np
import pytest
from test_every_engine import SMALL_HEADS, drawn

from benchctl.measure.verification import load_reference, save_reference, verify_outputs
from benchctl_engines.contract import EngineOptions
from benchctl_engines.peers.torch_engine import TorchEngine, TorchRunner
from benchctl_workloads.heads import Heads
from benchctl_workloads.layout import Layout
from benchctl_workloads.reference import reference_outputs
from benchctl_workloads.vgg16 import Vgg16
from benchctl_workloads.workload import make_case
from benchctl_workloads.xyz import Xyz

torch = pytest.importorskip("torch")

CASES = {
    "xyz": (Xyz(), {"size": "30x40", "expression": "multiply_add"}),
    "vgg16": (Vgg16(), {"width": 8, "image_size": 32, "batch": 2, "mode": "inference"}),
    "layout": (Layout(), {"layer": "conv1_1", "image_size": 32, "direction": "backward"}),
    "training": (Heads(), {**SMALL_HEADS, "mode": "training", "layout": "NHWC"}),
}


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
@pytest.mark.parametrize("which", CASES)
def test_a_step_is_right_at_its_precision(which, precision, tmp_path):
    workload, given = CASES[which]
    case = make_case(workload, given)
    parameters, inputs = drawn(workload, case)
    options = EngineOptions(threads=1, precision=precision)
    copies = {name: array.copy() for name, array in parameters.items()}
    runner = TorchRunner(workload, case, copies, inputs, options)
    runner.build()
    runner.step()
    found = runner.outputs()
    save_reference(tmp_path, reference_outputs(workload, case, parameters, inputs), parameters)
    reference = load_reference(tmp_path)
    right, problems = verify_outputs(found, reference, workload, case, inputs, precision)
    assert right.ok, problems
    # It did round.
    assert not verify_outputs(found, reference, workload, case, inputs)[0].ok
    assert all(each.dtype == np.float32 for each in found.values())
    words = " ".join(runner.facts().notes)
    trained = workload.step(case) == "training"
    assert ("parameters kept in float32" in words) is trained
    assert ("scaled by 1024" in words) is (precision == "fp16" and workload.step(case) != "forward")
    if trained:
        held = {each.dtype for each in runner._parameters.values()}
        assert held == {torch.float32}
    runner.close()


def test_sums_of_products_are_not_shortened():
    TorchRunner(Xyz(), make_case(Xyz(), {}), {}, {}, EngineOptions(precision="bf16"))
    matmul = torch.backends.cuda.matmul
    assert not matmul.allow_fp16_reduced_precision_reduction
    assert not matmul.allow_bf16_reduced_precision_reduction


def test_only_the_eager_adapter_says_so():
    from benchctl_engines.peers.torch_compile_engine import TorchCompileEngine

    assert TorchEngine.precisions == ("fp32", "tf32", "fp16", "bf16")
    assert TorchCompileEngine.precisions == ("fp32", "tf32")
