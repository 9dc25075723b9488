"""The DCGAN: shapes and counts in closed form, float64, and our two engines side by side."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest

from benchctl.measure.verification import check_output
from benchctl_engines.contract import EngineOptions, objectives_of
from benchctl_engines.eager.engine import make_engine as make_eager
from benchctl_engines.manual.engine import ManualEngine
from benchctl_engines.peers.torch_engine import make_torch_engine
from benchctl_engines.static.engine import make_engine as make_static
from benchctl_workloads import AxisError, make_case
from benchctl_workloads.digits.strokes import draw_digits
from benchctl_workloads.gan.networks import networks
from benchctl_workloads.gan.training import ShuffledImages
from benchctl_workloads.gan.workload import DISCRIMINATOR_LOSS, GENERATOR_LOSS, LEARNING_RATE, Gan
from benchctl_workloads.reference import reference_outputs, reference_steps

GAN = Gan()
SMALL = {"width": 4, "batch": 6}
LOSSES = (GENERATOR_LOSS, DISCRIMINATOR_LOSS)
each_layout = pytest.mark.parametrize("layout", ["NHWC", "NCHW"])


def small_case(**more):
    return make_case(GAN, SMALL | more)


def drawn(case, seed=5):
    rng = np.random.default_rng(seed)
    return GAN.parameters(case, rng), GAN.inputs(case, rng)


def prepared(engine, case, seed=3, **switches):
    parameters, inputs = drawn(case)
    options = EngineOptions(threads=2, seed=seed, switches=switches)
    runner = engine.prepare(GAN, case, parameters, inputs, options)
    runner.build()
    runner.compile()
    runner.load(inputs)
    return runner


def losses_of(engine, case, count, **switches):
    runner = prepared(engine, case, **switches)
    found = []
    for _ in range(count):
        runner.step()
        outputs = runner.outputs()
        found.append([float(outputs[name]) for name in LOSSES])
    runner.close()
    return np.array(found)


def assert_as_reference(runner, case, steps):
    """The first step in full, the losses of the others, as a run checks them."""
    parameters, inputs = drawn(case)
    exact = reference_steps(GAN, case, parameters, inputs, seed=3)
    for number in range(steps):
        runner.step()
        outputs, wanted = runner.outputs(), next(exact)
        assert set(outputs) == set(wanted)
        for name in wanted if number == 0 else LOSSES:
            before = parameters.get(name.removeprefix("parameter/"))
            expected = wanted[name] if before is None else before.astype(float) - wanted[name]
            tolerance = GAN.tolerance(case, name)
            check = check_output(name, outputs[name], expected, tolerance, before)
            assert check.max_error <= (10 if number else 1) * check.allowed, check


# Shapes and counts -----------------------------------------------------------------------------


@pytest.mark.parametrize("width", [4, 64])
@each_layout
def test_parameters_are_as_many_as_the_lecture_s(width, layout):
    both = networks(width, layout)
    first, second, w = 7 * 7 * 4 * width, 2 * width, width
    generator = 100 * first + 25 * (4 * w * second + second * w + w) + 4 * (first + second + w)
    discriminator = 25 * (w + w * 2 * w) + 3 * w + 7 * 7 * 2 * w + 1
    assert both.generator.parameter_count == generator
    assert both.discriminator.parameter_count == discriminator
    if width == 64:
        assert (generator, discriminator) == (2_330_944, 212_865)


@each_layout
def test_shapes_are_the_lecture_s(layout):
    both = networks(64, layout)
    images = [row.output_shape for row in both.generator.rows() if len(row.output_shape) == 3]
    assert list(dict.fromkeys(images)) == [(7, 7, 256), (7, 7, 128), (14, 14, 64), (28, 28, 1)]
    judged = [row.output_shape for row in both.discriminator.rows()]
    assert list(dict.fromkeys(judged)) == [(14, 14, 64), (7, 7, 128), (6272,), (1,)]
    _, inputs = drawn(small_case(layout=layout))
    wanted = (6, 28, 28, 1) if layout == "NHWC" else (6, 1, 28, 28)
    assert inputs["real"].shape == wanted and inputs["noise"].shape == (6, 100)


def test_the_cost_of_a_step_in_closed_form():
    case = make_case(GAN, {"batch": 3})
    dense, large = 100 * 7 * 7 * 256, 7 * 7 * 25 * 256 * 128
    middle, last = 7 * 7 * 25 * 128 * 64, 14 * 14 * 25 * 64
    generator = 3 * (dense + large + middle + last) - dense
    first, second, decision = 14 * 14 * 25 * 64, 7 * 7 * 25 * 64 * 128, 7 * 7 * 128
    forward = first + second + decision
    # Real and generated images to the weights; generated ones once more, down to their pixels.
    discriminator = 2 * (3 * forward - first) + forward
    trained = 2_305_472 + 212_865
    cost = GAN.cost(case)
    assert cost.flops == 2 * 3 * (generator + discriminator) + 13 * trained
    assert cost.parameters == 2_330_944 + 212_865
    inference = GAN.cost({**case, "mode": "inference"})
    assert inference.flops == 2 * 3 * (dense + large + middle + last + forward)
    assert 0 < inference.bytes_moved < cost.bytes_moved


def test_one_seed_is_one_network_and_one_batch_in_both_layouts():
    (parameters, inputs), (other, others) = (
        drawn(small_case(layout=layout)) for layout in ("NHWC", "NCHW")
    )
    assert list(parameters) == list(other)
    for name, array in parameters.items():
        moved = other[name].transpose(2, 3, 1, 0) if array.ndim == 4 else other[name]
        np.testing.assert_array_equal(array, moved)
    np.testing.assert_array_equal(inputs["noise"], others["noise"])
    np.testing.assert_array_equal(inputs["real"][..., 0], others["real"][:, 0])


def test_both_networks_are_trained_and_nothing_twice():
    case = small_case()
    objectives = objectives_of(GAN, case)
    assert tuple(objectives) == LOSSES
    trained = {name for names in objectives.values() for name in names}
    assert all(name.split("/")[0] in ("generator", "discriminator") for name in trained)
    parameters, _ = drawn(case)
    averages = [name for name in parameters if "/moving_" in name]
    assert len(averages) == 6 and not trained & set(averages)
    inference = small_case(mode="inference")
    assert GAN.step(inference) == "forward" and objectives_of(GAN, inference) is None
    kept, inputs = drawn(inference)
    assert set(kept) == trained | set(averages) and list(inputs) == ["noise"]


# Engines ---------------------------------------------------------------------------------------


@each_layout
def test_twenty_steps_have_the_same_losses_on_both_engines(layout):
    """Bit by bit with the passes off; reordered sums drift by less than 1e-5 in 20 steps."""
    case = small_case(layout=layout)
    eager = losses_of(make_eager(), case, 20)
    plain = losses_of(make_static(), case, 20, passes="off")
    np.testing.assert_array_equal(eager, plain)
    np.testing.assert_allclose(losses_of(make_static(), case, 20), eager, rtol=1e-5)
    assert len({tuple(losses) for losses in eager}) == 20


@pytest.mark.parametrize("make", [make_eager, make_static])
def test_steps_are_those_of_float64(make):
    case = small_case()
    runner = prepared(make(), case)
    assert_as_reference(runner, case, 5)
    runner.close()


@pytest.mark.frameworks
@each_layout
def test_torch_steps_are_those_of_float64(layout):
    case, engine = small_case(layout=layout), make_torch_engine()
    here = engine.availability("cpu")
    if not here.ok:
        pytest.skip(here.reason)
    assert_as_reference(prepared(engine, case), case, 5)


def test_the_reference_needs_the_seed_of_the_dropout():
    case = small_case()
    parameters, inputs = drawn(case)
    runner = prepared(make_eager(), case)
    runner.step()
    found = runner.outputs()
    for seed, same in ((3, True), (0, False)):
        exact = reference_outputs(GAN, case, parameters, inputs, seed)
        for name in LOSSES:
            tolerance = GAN.tolerance(case, name)
            assert check_output(name, found[name], exact[name], tolerance).ok is same
    runner.close()


@each_layout
@pytest.mark.parametrize("make", [make_eager, make_static])
def test_pictures_and_decisions(make, layout):
    case = small_case(mode="inference", layout=layout)
    runner = prepared(make(), case)
    runner.step()
    found = {name: np.array(array) for name, array in runner.outputs().items()}
    runner.close()
    assert found["decisions"].shape == (6, 1)
    assert found["images"].size == 6 * 28 * 28 and np.abs(found["images"]).max() < 1.0
    parameters, inputs = drawn(case)
    for name, wanted in reference_outputs(GAN, case, parameters, inputs).items():
        assert check_output(name, found[name], wanted, GAN.tolerance(case, name)).ok


@pytest.mark.parametrize("output", ["discriminator/conv2d/weight", "generator/dense/weight"])
def test_a_moment_that_is_wrong_by_a_tenth_is_not_let_pass(output):
    """What Adam's moves hide."""
    case = small_case()
    parameters, inputs = drawn(case)
    exact = reference_outputs(GAN, case, parameters, inputs)
    optimizer = output.split("/")[0] + "_adam"
    name = f"parameter/{optimizer}/moment_1/{output}"
    assert not check_output(name, 1.1 * exact[name], exact[name], GAN.tolerance(case, name)).ok
    moved = exact[f"parameter/{output}"] - parameters[output]
    assert np.abs(moved).max() == pytest.approx(LEARNING_RATE, rel=0.01)


def test_the_engine_numpy_says_why_not():
    support = ManualEngine().supports(GAN, small_case())
    assert not support.ok and "no hand-written NumPy step" in support.reason


# Data ------------------------------------------------------------------------------------------


def test_an_epoch_is_in_an_order_of_its_own_with_noise_of_its_own():
    """And the same ones as from plain indexing: order and noise of one generator."""
    case = small_case(batch=4, layout="NCHW")
    images = ShuffledImages(case, 5, 11)
    drawing = np.random.default_rng([5, 0])
    pixels = draw_digits(drawing, drawing.integers(0, 10, 11))
    assert images.batches == 2
    for epoch in (1, 3):
        rng = np.random.default_rng([5, epoch])
        order = rng.permutation(11)
        with images.epoch(epoch) as batches:
            for number, inputs in enumerate(batches):
                real = (pixels[order[4 * number : 4 * number + 4]] - np.float32(127.5)) / 127.5
                noise = rng.standard_normal((4, 100), dtype=np.float32)
                np.testing.assert_array_equal(inputs["noise"], noise)
                np.testing.assert_array_equal(inputs["real"][:, 0], real)
        assert number == 1


def test_a_path_is_named_in_the_case_and_its_title(tmp_path):
    images = np.full((2, 28, 28), 51, np.uint8)
    path = tmp_path / "mine.gz"
    path.write_bytes(
        gzip.compress(struct.pack(">4B3I", 0, 0, 8, 3, *images.shape) + images.tobytes())
    )
    axis = {each.name: each for each in GAN.axes}["data"]
    case = small_case(data=axis.parse(str(path)))
    assert case["data"] == str(path) and "mine.gz images" in GAN.title(case)
    assert "synthetic images" in GAN.title(small_case())
    _, inputs = drawn(case)
    np.testing.assert_allclose(inputs["real"], -0.6, rtol=1e-6)
    with pytest.raises(AxisError, match="expected synthetic, mnist5k, mnist, fashion or a path"):
        axis.parse("fasion")
