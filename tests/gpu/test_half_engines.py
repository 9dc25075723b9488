"""Steps at half precision on an emulated GPU: stored in 16 bits, right as such, parameters kept."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from cuda_runs import OFF, assert_right, assert_same, drawn, prepared, stepped
from test_every_engine import SMALL_HEADS

from benchctl_engines import eager, static
from benchctl_engines.contract import Outputs
from benchctl_engines.devices.cuda.device import CudaDevice
from benchctl_engines.eager.tensor import half_tensor
from benchctl_engines.primitives import half_storage
from benchctl_engines.primitives.elementwise import cast
from benchctl_engines.primitives.half_storage import rounded
from benchctl_engines.static.session import Session
from benchctl_engines.static.switches import PassSwitches
from benchctl_workloads import Workload
from benchctl_workloads.heads import Heads
from benchctl_workloads.layout import Layout
from benchctl_workloads.vgg16 import Vgg16
from benchctl_workloads.xyz import Xyz

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="g++ builds the kernels")

STORED = {"fp16": "float16", "bf16": "bfloat16"}
WAYS = {
    "eager": ("eager", {}),
    "static": ("static", {}),
    "static, passes off": ("static", OFF),
}
TINY_VGG16 = {"width": 8, "image_size": 32, "batch": 2}
CASES = {
    "xyz": (Xyz(), {"size": "30x40", "expression": "multiply_add"}),
    "vgg16": (Vgg16(), {**TINY_VGG16, "mode": "inference", "layout": "NCHW"}),
    "layout": (Layout(), {"layer": "conv1_1", "image_size": 32, "direction": "backward"}),
    "training": (Heads(), {**SMALL_HEADS, "mode": "training", "layout": "NHWC"}),
}


# ----- right results ------------------------------------------------------------------------------


@pytest.mark.parametrize("which", CASES)
@pytest.mark.parametrize("way", WAYS)
def test_a_step_is_right_at_its_precision(way, which, driver, tmp_path):
    engine, switches = WAYS[way]
    workload, given = CASES[which]
    case, parameters, inputs = drawn(workload, given)
    for precision, dtype in STORED.items():
        runner = prepared(engine, workload, case, parameters, inputs, switches, precision=precision)
        found = stepped(runner)
        assert all(each.dtype != np.uint16 for each in found.values())
        folder = tmp_path / precision
        assert_right(found, workload, case, parameters, inputs, folder, precision)
        if which != "training":
            with pytest.raises(AssertionError):
                assert_right(found, workload, case, parameters, inputs, folder)
        assert any(f"stored as {dtype}" in note for note in runner.facts().notes)
        runner.close()


def test_a_forward_step_holds_half_the_bytes(driver):
    case, parameters, inputs = drawn(*CASES["vgg16"])
    counts = {}
    for precision in ("fp32", "fp16"):
        runner = prepared("static", Vgg16(), case, parameters, inputs, precision=precision)
        stepped(runner)
        counts[precision] = runner.facts().counts
        runner.close()
    assert counts["fp32"]["constant_bytes"] == 2 * counts["fp16"]["constant_bytes"]
    # Arrays start at multiples of 256 bytes, and plans ask for as much workspace as before.
    assert counts["fp16"]["arena_bytes"] < 0.7 * counts["fp32"]["arena_bytes"]


@pytest.mark.parametrize("engine", ["eager", "static"])
def test_a_profile_counts_the_bytes_that_are_stored(engine, driver):
    """Two for a number instead of four; but for the loss, which stays float32."""
    case, parameters, inputs = drawn(Xyz(), {"size": "30x40", "expression": "product"})
    moved = {}
    for precision in ("fp32", "fp16", "bf16"):
        runner = prepared(engine, Xyz(), case, parameters, inputs, precision=precision)
        first = runner.profile(1).launches[0]
        moved[precision] = first.bytes_moved
        runner.close()
    assert moved["fp16"] == moved["bf16"]
    assert moved["fp32"] >= 3 * 4 * 30 * 40
    assert 2 * moved["fp16"] - moved["fp32"] in (0, 4)


def test_a_network_in_nchw_moves_where_halves_are_multiplied(driver):
    case, parameters, inputs = drawn(*CASES["vgg16"])
    runner = prepared("static", Vgg16(), case, parameters, inputs, precision="fp16")
    assert runner.facts().counts["assign_layouts.moved"] > 0


@pytest.mark.parametrize("precision", STORED)
def test_both_engines_agree_in_every_bit(precision, driver):
    case, parameters, inputs = drawn(*CASES["training"])
    runners = [
        prepared(engine, Heads(), case, parameters, inputs, switches, precision=precision)
        for engine, switches in (("eager", {}), ("static", OFF))
    ]
    for _ in range(3):
        first, second = (stepped(each) for each in runners)
        assert_same(first, second)


# ----- what is kept in float32 --------------------------------------------------------------------


class Tiny(Workload):
    """One product of a parameter; the loss has a gradient of about `factor`."""

    name = "tiny"
    step_kind = "training"
    factor = 1.0
    rate = 1e-5

    def step(self, case):
        return self.step_kind

    def differentiate(self, case):
        return ("w",)

    def learning_rate(self, case):
        return self.rate

    def inputs(self, case, rng):
        return {"x": np.linspace(0.5, 1.5, 12, dtype=np.float32).reshape(3, 4)}

    def parameters(self, case, rng):
        return {"w": np.linspace(1, 2, 4, dtype=np.float32).reshape(4, 1)}

    def program(self, ops, parameters, inputs, case):
        product = ops.matmul(inputs["x"], parameters["w"])
        small = ops.multiply(ops.multiply(product, self.factor), self.factor)
        loss = ops.sum(small)
        return Outputs({"loss": loss}, objective=loss)


def tiny(engine, precision, **changed):
    workload = type("Changed", (Tiny,), changed)()
    case, parameters, inputs = drawn(workload, {})
    runner = prepared(engine, workload, case, parameters, inputs, precision=precision)
    return runner, parameters, inputs


@pytest.mark.parametrize("precision", STORED)
@pytest.mark.parametrize("engine", ["eager", "static"])
def test_updates_smaller_than_a_bit_of_a_half_add_up(engine, precision, driver):
    runner, parameters, inputs = tiny(engine, precision)
    steps = 4
    for _ in range(steps):
        found = stepped(runner)["parameter/w"]
    moved = parameters["w"] - found
    expected = steps * Tiny.rate * inputs["x"].sum(axis=0)[:, None]
    np.testing.assert_allclose(moved, expected, rtol=2e-2)
    # In a half nothing would have moved.
    last_bit = 2.0 ** -(11 if precision == "fp16" else 8)
    assert (expected < last_bit / 2).all()
    assert found.dtype == np.float32 and (found != rounded(found, STORED[precision])).all()


@pytest.mark.parametrize("engine", ["eager", "static"])
def test_gradients_too_small_for_binary16_arrive(engine, driver):
    changed = {"step_kind": "gradient", "factor": 1e-4}
    for precision in STORED:
        runner, _, inputs = tiny(engine, precision, **changed)
        found = stepped(runner)["grad_w"]
        expected = 1e-8 * inputs["x"].sum(axis=0)[:, None]
        np.testing.assert_allclose(found, expected, rtol=3e-2)
        scaled = any("scaled by 1024" in note for note in runner.facts().notes)
        assert scaled is (precision == "fp16")


@pytest.mark.parametrize("engine", ["eager", "static"])
def test_without_a_scale_they_would_not(engine, driver, monkeypatch):
    monkeypatch.setattr(half_storage, "LOSS_SCALES", {})
    runner, *_ = tiny(engine, "fp16", step_kind="gradient", factor=1e-4)
    assert not stepped(runner)["grad_w"].any()


# ----- what meets a half --------------------------------------------------------------------------


class Dropped(Tiny):
    """Random numbers are compared, and added to a half."""

    step_kind = "forward"

    def parameters(self, case, rng):
        return {}

    def program(self, ops, parameters, inputs, case):
        x = inputs["x"]
        kept = ops.greater(ops.random_uniform((3, 4)), 0.5)
        noisy = ops.add(x, ops.random_normal((3, 4)))
        shifted = ops.add(noisy, np.ones(4, np.float32))
        return Outputs({"kept": ops.where(kept, x, 0.0), "shifted": shifted})


@pytest.mark.parametrize("engine", ["eager", "static"])
def test_random_numbers_are_those_of_float32_and_rounded_where_they_meet_a_half(engine, driver):
    case, parameters, inputs = drawn(Dropped(), {})
    strict, halved = (
        stepped(prepared(engine, Dropped(), case, parameters, inputs, precision=precision))
        for precision in ("fp32", "fp16")
    )
    np.testing.assert_array_equal(strict["kept"] == 0, halved["kept"] == 0)
    np.testing.assert_allclose(halved["shifted"], strict["shifted"], rtol=0, atol=8e-3)
    assert (halved["shifted"] == rounded(halved["shifted"], "float16")).all()


def test_constants_fold_as_the_device_would_compute_them(driver):
    """A product of two halves is rounded, whoever computes it."""
    numbers = np.float32([1.1, 2.3, 1000.7])
    with static.Graph().as_default() as graph:
        a, b = static.constant(numbers), static.constant(numbers[::-1].copy())
        product = cast(a, dtype="bfloat16") * cast(b, dtype="bfloat16")
        x = static.placeholder("float32", (3,))
        result = cast(product, dtype="float32") + x
    feed = {x: np.zeros(3, np.float32)}
    found = []
    for fold in (True, False):
        switches = PassSwitches(fold_constants=fold)
        with Session(graph, switches=switches, device="gpu", threads=1) as session:
            found.append(session.run(result, feed))
    np.testing.assert_array_equal(*found)
    halves = rounded(numbers, "bfloat16")
    np.testing.assert_array_equal(found[0], rounded(halves * halves[::-1], "bfloat16"))


def test_a_tensor_of_halves_is_seen_as_float32(driver):
    device = CudaDevice(driver, "bf16")
    x = half_tensor(np.float32([1.1, -2.6]), "bfloat16", device, requires_grad=True)
    y = eager.tensor(np.float32([2, 3]), device=device)
    z = x * y
    assert (z.dtype, z.numpy().dtype) == ("bfloat16", np.float32)
    z.backward(np.float32([1, 2]))
    np.testing.assert_array_equal(x.grad.numpy(), [2, 6])
    np.testing.assert_array_equal(x.numpy(), rounded(np.float32([1.1, -2.6]), "bfloat16"))
