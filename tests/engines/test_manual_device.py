"""The hand-written steps on arrays of another module: the same numbers, and NumPy left alone."""

from __future__ import annotations

import foreign_arrays
import numpy as np
import pytest
from case_names import given_name

from benchctl_engines.contract import EngineOptions
from benchctl_engines.manual.array_module import array_module
from benchctl_engines.manual.cupy_runner import CupyRunner
from benchctl_engines.manual.engine import ManualEngine
from benchctl_workloads.heads import Heads
from benchctl_workloads.layout import Layout
from benchctl_workloads.vgg16 import Vgg16
from benchctl_workloads.workload import make_case
from benchctl_workloads.xyz import Xyz

VGG16 = {"width": 8, "image_size": 32, "batch": 2}
HEADS = {"width": 16, "channels": 6, "side": 3, "batch": 3}
CASES = [
    (Xyz(), {"size": "3x4", "expression": expression})
    for expression in ("product", "multiply_add", "as_on_the_slide")
]
for layout in ("NCHW", "NHWC"):
    CASES += [
        (Vgg16(), {**VGG16, "layout": layout, "mode": mode, "head": head})
        for mode, head in (("inference", "fc"), ("training", "fc"), ("training", "conv"))
    ]
    CASES += [(Heads(), {**HEADS, "layout": layout, "mode": mode}) for mode in ("training",)]
    CASES += [
        (Layout(), {"layer": "conv5_1", "image_size": 32, "direction": each, "layout": layout})
        for each in ("forward", "backward")
    ]


def drawn(workload, given, seed=3):
    case = make_case(workload, given)
    rng = np.random.default_rng(seed)
    return case, workload.parameters(case, rng), workload.inputs(case, rng)


def foreign_runner(workload, case, parameters, inputs, precision="fp32"):
    training = workload.step(case) == "training"
    options = EngineOptions(device="gpu:1", precision=precision)
    runner = CupyRunner(
        workload.by_hand(case),
        parameters,
        inputs,
        training,
        options,
        foreign_arrays,
        foreign_arrays.Driver(),
    )
    runner.build()
    return runner


@pytest.mark.parametrize(("workload", "given"), CASES, ids=given_name)
def test_two_steps_give_the_same_bits_as_on_the_cpu(workload, given):
    case, parameters, inputs = drawn(workload, given)
    copies = {name: each.copy() for name, each in parameters.items()}
    runner = foreign_runner(workload, case, parameters, inputs)
    own = ManualEngine().prepare(workload, case, copies, inputs, EngineOptions())
    for _ in range(2):
        runner.step()
        own.step()
        found, expected = runner.outputs(), own.outputs()
        assert list(found) == list(expected)
        for name in found:
            np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


def test_arrays_are_copied_when_built_and_loaded_and_never_in_a_step():
    case, parameters, inputs = drawn(Heads(), {**HEADS, "mode": "training"})
    foreign_arrays.copies.clear()
    runner = foreign_runner(Heads(), case, parameters, inputs)
    runner.load(inputs)
    assert foreign_arrays.copies == ["in"] * (len(parameters) + 2 * len(inputs))
    foreign_arrays.copies.clear()
    runner._driver.said.clear()
    runner.step()
    assert foreign_arrays.copies == []
    assert runner._driver.said == ["stream on 1", "left", "wait"]
    runner.issue()
    assert runner._driver.said[3:] == ["stream on 1", "left"]
    before = {name: each.copy() for name, each in parameters.items()}
    found = runner.outputs()
    for name, each in parameters.items():
        np.testing.assert_array_equal(each, before[name], err_msg="the caller's own array")
        assert (found[f"parameter/{name}"] != each).any()


def test_a_function_of_numpy_on_a_foreign_array_is_seen():
    """Planted fault: a step that asks NumPy."""
    with pytest.raises(TypeError, match="does not support ufuncs"):
        np.exp(foreign_arrays.array(np.ones(3))[:])
    with pytest.raises(TypeError, match="zeros_like of NumPy"):
        np.zeros_like(foreign_arrays.array(np.ones(3)))
    with pytest.raises(TypeError, match="hidden wait"):
        float(foreign_arrays.array(np.ones(())))


def test_the_module_is_that_of_the_arrays_class():
    assert array_module(np.ones(2)) is np and array_module(np.float32(1)) is np
    assert array_module(foreign_arrays.array(np.ones(2))) is foreign_arrays


@pytest.mark.parametrize(("precision", "words"), [("fp32", "computed strictly"), ("tf32", "TF32")])
def test_facts_say_how_products_are_computed(precision, words, monkeypatch):
    monkeypatch.setenv("CUPY_TF32", "")
    case, parameters, inputs = drawn(Xyz(), {"size": "3x4"})
    runner = foreign_runner(Xyz(), case, parameters, inputs, precision)
    assert any(words in note for note in runner.facts().notes)
    assert any("a GPU (gpu:1" in note for note in runner.facts().notes)
    runner.close()
