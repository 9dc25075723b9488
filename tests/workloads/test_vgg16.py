"""The workload vgg16, at sizes where an oracle is quick."""

import itertools

import numpy as np
import pytest
from directional import assert_gradient
from numpy_vocabulary import run_program

from benchctl_engines.contract import as_float64
from benchctl_workloads import AxisError, make_case
from benchctl_workloads.vgg16 import Vgg16

VGG16 = Vgg16()
FORMS = list(itertools.product(["NCHW", "NHWC"], ["fc", "conv"]))
SMALL = {"width": 2, "image_size": 64, "batch": 2}


def small_case(layout="NCHW", head="fc", mode="inference", **axes):
    return make_case(VGG16, {**SMALL, "layout": layout, "head": head, "mode": mode, **axes})


def arrays(case, seed=3):
    rng = np.random.default_rng(seed)
    return VGG16.parameters(case, rng), VGG16.inputs(case, rng)


def canonical(name, array, layout, head):
    """A parameter as layout NCHW with head fc stores it."""
    if array.ndim != 4:
        if name == "fc6_weight" and layout == "NHWC":
            side, width = 2, array.shape[1]
            return array.reshape(side, side, -1, width).transpose(2, 0, 1, 3).reshape(-1, width)
        return array
    filters = array.transpose(3, 2, 0, 1) if layout == "NHWC" else array  # K C R S
    if name.startswith("fc"):
        return filters.reshape(len(filters), -1).T
    return filters


@pytest.mark.parametrize(("layout", "head"), FORMS)
def test_by_hand_computes_the_program(layout, head):
    case = small_case(layout, head)
    parameters, inputs = (as_float64(group) for group in arrays(case))
    expected = run_program(VGG16, case, parameters, inputs).values["logits"]
    logits = VGG16.by_hand(case)(parameters, inputs)["logits"]
    assert logits.shape == (2, 1000)
    np.testing.assert_allclose(logits, expected, rtol=1e-10, atol=1e-12)


def test_all_forms_give_the_same_numbers_from_one_seed():
    logits, losses, updated = [], [], []
    for layout, head in FORMS:
        case = small_case(layout, head)
        parameters, inputs = (as_float64(group) for group in arrays(case))
        logits.append(VGG16.by_hand(case)(parameters, inputs)["logits"])
        case = small_case(layout, head, "training")
        parameters, inputs = arrays(case)
        parameters = as_float64(parameters)
        losses.append(VGG16.by_hand(case)(parameters, as_float64(inputs))["loss"])
        updated.append(
            {name: canonical(name, each, layout, head) for name, each in parameters.items()}
        )
    for other in range(1, len(FORMS)):
        np.testing.assert_allclose(logits[other], logits[0], rtol=1e-9, atol=1e-12)
        assert losses[other] == pytest.approx(losses[0], rel=1e-12)
        assert list(updated[other]) == list(updated[0])
        for name, expected in updated[0].items():
            np.testing.assert_allclose(updated[other][name], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("layout", "head"), FORMS)
def test_training_by_hand_follows_the_gradient(layout, head):
    case = small_case(layout, head, "training", image_size=32)
    parameters, inputs = arrays(case)
    before = as_float64(parameters)
    inputs = as_float64(inputs)
    after = {name: array.copy() for name, array in before.items()}
    loss = VGG16.by_hand(case)(after, inputs)["loss"]
    assert loss == pytest.approx(float(run_program(VGG16, case, before, inputs).objective))

    rng = np.random.default_rng(4)
    for name, point in before.items():
        gradient = (point - after[name]) / VGG16.learning_rate(case)

        def objective(value, name=name):
            return float(run_program(VGG16, case, {**before, name: value}, inputs).objective)

        # The division by the learning rate costs three digits; kinks lie further than the step.
        assert_gradient(objective, point, gradient, rng=rng, directions=1, relative=1e-4)


@pytest.mark.parametrize(("layout", "head"), FORMS)
def test_float32_is_within_tolerance_of_float64(layout, head):
    case = small_case(layout, head, "training", width=4)
    parameters, inputs = arrays(case)
    before, after64 = as_float64(parameters), as_float64(parameters)
    loss = VGG16.by_hand(case)(parameters, inputs)["loss"]
    loss64 = VGG16.by_hand(case)(after64, as_float64(inputs))["loss"]
    assert abs(loss - loss64) <= VGG16.tolerance(case, "loss").relative * loss64
    for name, point in before.items():
        assert parameters[name].dtype == np.float32
        expected = point - after64[name]
        worst = np.max(np.abs(point - parameters[name] - expected))
        tolerance = VGG16.tolerance(case, f"parameter/{name}")
        assert worst <= tolerance.relative * np.max(np.abs(expected))


def test_repeated_training_on_one_batch_converges():
    case = small_case("NHWC", mode="training", width=8)
    parameters, inputs = arrays(case)
    step = VGG16.by_hand(case)
    losses = [float(step(parameters, inputs)["loss"]) for _ in range(40)]
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]


def test_weights_have_the_variance_of_he_and_biases_are_not_zero():
    case = small_case(width=16)
    parameters, _ = arrays(case)
    weight = parameters["conv5_2_weight"]
    assert weight.dtype == np.float32
    assert float(weight.var()) == pytest.approx(2 / (128 * 9), rel=0.02)
    for name, array in parameters.items():
        assert np.count_nonzero(array) == array.size, name


def test_parameters_of_the_same_seed_are_the_same_and_inputs_have_labels_only_for_training():
    case = small_case()
    first, inputs = arrays(case)
    again, _ = arrays(case)
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert list(inputs) == ["images"]
    _, inputs = arrays(small_case(mode="training"))
    assert inputs["labels"].shape == (2,)
    assert inputs["labels"].dtype == np.int64


def test_images_are_the_same_in_both_layouts():
    nchw, nhwc = (arrays(small_case(layout))[1]["images"] for layout in ("NCHW", "NHWC"))
    assert nhwc.flags.c_contiguous
    assert np.array_equal(nchw.transpose(0, 2, 3, 1), nhwc)


def test_the_step_by_hand_leaves_inputs_alone():
    case = small_case(mode="training")
    parameters, inputs = arrays(case)
    images = inputs["images"].copy()
    VGG16.by_hand(case)(parameters, inputs)
    assert np.array_equal(inputs["images"], images)


@pytest.mark.parametrize("text", ["0", "16", "100", "-32", "224.0", "big"])
def test_image_sizes_that_do_not_halve_five_times_are_refused(text):
    axis = next(each for each in VGG16.axes if each.name == "image_size")
    assert axis.parse("224") == 224
    with pytest.raises(AxisError, match="image_size expected a multiple of 32"):
        axis.parse(text)


def test_title_names_what_differs():
    assert VGG16.title(make_case(VGG16, {})) == "inference, batch 1 of 224x224, NCHW, fc head"
    assert VGG16.title(small_case()).endswith("width 2")
