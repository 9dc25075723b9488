"""The workload heads: one classifier, two forms."""

import itertools

import numpy as np
import pytest
from directional import assert_gradient
from numpy_vocabulary import run_program

from benchctl_engines.contract import as_float64
from benchctl_workloads import make_case
from benchctl_workloads.heads import Heads

HEADS = Heads()
FORMS = list(itertools.product(["NCHW", "NHWC"], ["fc", "conv"]))
SMALL = {"width": 24, "channels": 5, "side": 3, "batch": 4}


def small_case(layout, head, mode):
    return make_case(HEADS, {**SMALL, "layout": layout, "head": head, "mode": mode})


def arrays(case):
    rng = np.random.default_rng(8)
    return as_float64(HEADS.parameters(case, rng)), as_float64(HEADS.inputs(case, rng))


@pytest.mark.parametrize(("layout", "head"), FORMS)
def test_by_hand_computes_the_program(layout, head):
    case = small_case(layout, head, "inference")
    parameters, inputs = arrays(case)
    expected = run_program(HEADS, case, parameters, inputs).values["logits"]
    logits = HEADS.by_hand(case)(parameters, inputs)["logits"]
    np.testing.assert_allclose(logits, expected, rtol=1e-11, atol=1e-13)


def test_all_forms_give_the_same_logits_from_one_seed():
    logits = []
    for layout, head in FORMS:
        case = small_case(layout, head, "inference")
        logits.append(HEADS.by_hand(case)(*arrays(case))["logits"])
    for other in logits[1:]:
        np.testing.assert_allclose(other, logits[0], rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize(("layout", "head"), FORMS)
def test_training_by_hand_follows_the_gradient(layout, head):
    case = small_case(layout, head, "training")
    before, inputs = arrays(case)
    after = {name: array.copy() for name, array in before.items()}
    HEADS.by_hand(case)(after, inputs)
    for name, point in before.items():
        gradient = (point - after[name]) / HEADS.learning_rate(case)

        def objective(value, name=name):
            return float(run_program(HEADS, case, {**before, name: value}, inputs).objective)

        assert_gradient(objective, point, gradient, rng=np.random.default_rng(2))


def test_fc_and_conv_are_told_apart_by_the_title():
    titles = {HEADS.title(small_case(layout, head, "inference")) for layout, head in FORMS}
    assert len(titles) == len(FORMS)
