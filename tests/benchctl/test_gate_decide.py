"""The gate's arithmetic: who is a candidate, who is confirmed, when a machine is disturbed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchctl.gate.decide import (
    GateRule,
    TooFewRoundsError,
    candidates,
    confirm,
    contaminated,
    judge_control,
    slowdown_p_value,
)

RULE = GateRule()


def rounds_at(ratio: float, count: int, spread: float = 0.005, seed: int = 0) -> list[float]:
    noise = np.random.default_rng(seed).normal(0, spread, count)
    return list(math.log(ratio) + noise)


def test_only_what_may_be_slower_is_a_candidate():
    screened = {
        "same": rounds_at(1.0, 12),
        "slower": rounds_at(1.10, 12),
        "faster": rounds_at(0.8, 12),
        "within the margin": rounds_at(1.01, 12),
    }
    assert candidates(screened, RULE) == ["slower"]


def test_what_looks_far_slower_is_a_candidate_however_much_it_varies():
    screened = {
        "noisy and far slower": [0.1, 0.3, -0.2, 0.4, -0.3, 0.2, -0.1, 0.35, -0.25, 0.3, 0.2, -0.1],
        "noisy": [0.1, 0.3, -0.2, 0.2, -0.3, 0.1, -0.1, 0.25, -0.25, 0.1, -0.2, -0.1],
    }
    assert slowdown_p_value(screened["noisy and far slower"], RULE.margin) > RULE.screen_alpha
    assert candidates(screened, RULE) == ["noisy and far slower"]
    assert candidates(screened, GateRule(margin=0.2)) == []


def test_a_margin_of_its_own_lets_a_case_be():
    screened = {"a": rounds_at(1.10, 12), "b": rounds_at(1.10, 12, seed=1)}
    assert candidates(screened, GateRule(margins={"a": 0.2})) == ["b"]


def test_confirmation_shares_the_error_of_all_candidates():
    fresh = {name: rounds_at(1.0, 30, seed=seed) for seed, name in enumerate("abcd")}
    fresh["slow"] = rounds_at(1.10, 30, seed=9)
    found = confirm(fresh, RULE)
    assert [name for name, each in found.items() if each.regressed] == ["slow"]
    alone = slowdown_p_value(fresh["slow"], RULE.margin)
    assert found["slow"].p_value == pytest.approx(5 * alone)
    assert found["slow"].estimate == pytest.approx(math.log(1.10), abs=0.005)
    low, high = found["slow"].interval
    assert low < math.log(1.10) < high


@given(st.lists(st.floats(-0.5, 0.019), min_size=30, max_size=30))
def test_rounds_within_the_margin_are_never_a_regression(log_ratios):
    assert not confirm({"case": log_ratios}, RULE)["case"].regressed


@given(st.lists(st.floats(0.02, 0.5), min_size=30, max_size=30))
def test_rounds_beyond_the_margin_all_of_them_always_are(log_ratios):
    assert confirm({"case": [each + 1e-6 for each in log_ratios]}, RULE)["case"].regressed


@pytest.mark.parametrize(
    ("rule", "cases"),
    [
        (GateRule(screen_rounds=5), 1),
        (GateRule(screen_rounds=8, screen_alpha=0.001), 1),
        (GateRule(confirm_rounds=10), 12),
        (GateRule(confirm_rounds=6), 1),
    ],
)
def test_rounds_that_could_reject_nothing_are_refused(rule, cases):
    with pytest.raises(TooFewRoundsError, match=r"needs? at least"):
        rule.check(cases)


def test_enough_rounds_are_not_refused():
    RULE.check(12)
    GateRule(screen_rounds=6, confirm_rounds=7).check(1)
    # At exactly this many rounds the clearest slowdown is found.
    rounds = 11
    GateRule(confirm_rounds=rounds).check(12)
    fresh = {f"case {n}": [0.5] * rounds if n == 0 else [0.0] * rounds for n in range(12)}
    found = confirm(fresh, GateRule(confirm_rounds=rounds))
    assert [name for name, each in found.items() if each.regressed] == ["case 0"]


@pytest.mark.parametrize(
    ("ratio", "spread", "disturbed"),
    [(1.0, 0.005, False), (1.05, 0.005, True), (0.95, 0.005, True), (1.01, 0.001, False)],
)
def test_a_control_that_differs_from_itself_tells_a_disturbed_machine(ratio, spread, disturbed):
    control = judge_control(rounds_at(ratio, 12, spread))
    assert contaminated(control) is disturbed


def test_a_noisy_control_alone_is_not_disturbed():
    # Off by more than the margin, but so that chance explains it.
    wide = [math.log(1.5), *[0.001] * 5, math.log(0.7), -0.001, 0.002, -0.002, 0.4, -0.3]
    assert not contaminated(judge_control(wide))
