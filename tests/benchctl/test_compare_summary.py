"""Summaries against medians and intervals worked out apart from the code."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchctl.compare import summary
from benchctl.compare.findings import Finding, Notice
from benchctl.compare.summary import CaseSummary, paired_log_ratios, summarise
from benchctl.stats.verdict import Verdict
from benchctl.store.record import (
    ArmResult,
    ArmRound,
    ArmSpec,
    ArmStatus,
    CaseResult,
    CaseSpec,
    OutputCheck,
    Phases,
    Plan,
    Run,
    Verification,
)

CHECKED = Verification(True, (OutputCheck("c", True, 1e-8, 1e-6, 1e-8),))
# Deviations of twelve rounds, centred, no two alike.
WOBBLE = (0.9, -1.1, 0.3, -0.2, 0.7, -0.6, 0.1, -0.4, 1.2, -0.8, 0.5, -0.7)


def make_arm(
    arm_id: str,
    medians: Sequence[float],
    *,
    phases: Sequence[Phases] = (),
    status: ArmStatus = "ok",
    first_round: int = 0,
    verification: Verification | None = CHECKED,
    unsteady: int = 0,
    processes: int = 3,
) -> ArmResult:
    """An arm whose rounds have these medians, of three samples each."""
    rounds = tuple(
        ArmRound(
            first_round + place,
            (median * 1.5, median, median * 0.9),
            loops=4,
            steady=place >= unsteady,
            process=place % processes,
        )
        for place, median in enumerate(medians)
    )
    spec = ArmSpec(arm_id, arm_id.partition(":")[0])
    return ArmResult(spec, status, verification=verification, phases=tuple(phases), rounds=rounds)


def around(seconds: float, spread: float = 0.001, turn: int = 0, count: int = 12) -> list[float]:
    """Round medians near a time."""
    wobble = [WOBBLE[(place + turn) % len(WOBBLE)] for place in range(count)]
    return [seconds * math.exp(spread * each) for each in wobble]


def make_run(
    *arms: ArmResult,
    reference: str = "numpy",
    complete: bool = True,
    environment: Mapping[str, object] | None = None,
) -> Run:
    case = CaseSpec("xyz[size=3x4]", "xyz", {"size": "3x4"})
    plan = Plan((case,), tuple(arm.arm for arm in arms), 12, 0, 2, reference)
    return Run(
        "run",
        "2026-01-01T00:00:00Z",
        plan,
        {"id": "m", "cores": 2},
        environment or {"load_average": (0.1, 0.1, 0.1), "environment": {}},
        {},
        {},
        (),
        (CaseResult(case, arms),),
        complete,
    )


def only_case(*arms: ArmResult, reference: str = "numpy") -> CaseSummary:
    (case,) = summarise(make_run(*arms, reference=reference)).cases
    return case


def findings(notices: Sequence[Notice]) -> list[tuple[Finding, str]]:
    return [(notice.finding, notice.arm_id) for notice in notices]


def test_arms_are_ordered_by_the_median_of_round_medians() -> None:
    case = only_case(
        make_arm("eager", around(3e-3)),
        make_arm("numpy", around(2e-3)),
        make_arm("broken", [], status="crashed"),
        make_arm("static", around(1e-3)),
        make_arm("absent", [], status="unavailable"),
    )
    assert [arm.result.arm.id for arm in case.arms] == [
        "static",
        "numpy",
        "eager",
        "broken",
        "absent",
    ]
    static = case.arm("static")
    assert static is not None
    assert static.rounds == 12
    assert static.median_seconds == statistics.median(around(1e-3))
    broken = case.arm("broken")
    assert broken is not None
    assert (broken.rounds, broken.median_seconds, broken.relative) == (0, None, None)


def test_interval_of_a_time_is_that_of_its_logarithms() -> None:
    case = only_case(make_arm("numpy", around(2e-3, spread=0.05)))
    (arm,) = case.arms
    logs = sorted(math.log(each) for each in around(2e-3, spread=0.05))
    averages = sorted(
        (logs[i] + logs[j]) / 2 for i in range(len(logs)) for j in range(i, len(logs))
    )
    # Printed tables: 12 pairs are significant at 5 %, two-sided, up to a rank sum of 13.
    k = 14
    low, high = math.exp(averages[k - 1]), math.exp(averages[-k])
    assert arm.interval_seconds == pytest.approx((low, high), rel=1e-12)
    assert arm.median_seconds is not None
    assert low < arm.median_seconds < high


def test_a_drift_that_both_arms_share_cancels() -> None:
    drift = [1 + 0.2 * place for place in range(12)]
    fast = [each * 1e-3 * wobble for each, wobble in zip(drift, around(1.0), strict=True)]
    slow = [each * 2e-3 for each in drift]
    case = only_case(make_arm("static", fast), make_arm("numpy", slow))
    static = case.arm("static")
    assert static is not None
    assert static.relative is not None
    assert static.relative.verdict is Verdict.FASTER
    assert static.relative.ratio == pytest.approx(0.5, rel=1e-3)
    assert static.relative.low is not None
    assert static.relative.high is not None
    assert static.relative.high / static.relative.low < 1.01
    # The times alone say far less: this is why rounds are paired.
    assert static.interval_seconds is not None
    assert static.interval_seconds[1] / static.interval_seconds[0] > 1.5


def test_the_pairing_test_catches_unpaired_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault: one arm's rounds in another order."""

    def turned(result: ArmResult) -> dict[int, float]:
        values = [statistics.median(each.seconds) for each in result.rounds]
        turn = 5 if result.arm.id == "static" else 0
        return dict(enumerate(values[turn:] + values[:turn]))

    monkeypatch.setattr(summary, "round_medians", turned)
    with pytest.raises(AssertionError):
        test_a_drift_that_both_arms_share_cancels()


def test_only_rounds_of_both_arms_are_paired() -> None:
    static = make_arm("static", around(1e-3, count=9), first_round=3)
    numpy = make_arm("numpy", around(2e-3, count=10))
    assert len(paired_log_ratios(static, numpy)) == 7
    assert paired_log_ratios(static, make_arm("numpy", [1.0, 1.0])) == []


@given(
    st.lists(st.tuples(st.floats(1e-7, 10), st.floats(1e-7, 10)), min_size=1, max_size=15),
    st.sampled_from([2.0**-10, 0.5, 4.0]),
)
def test_swapping_arms_inverts_and_scaling_both_keeps_the_ratio(
    pairs: list[tuple[float, float]], scale: float
) -> None:
    one, other = ([pair[place] for pair in pairs] for place in (0, 1))
    ratios = paired_log_ratios(make_arm("a", one), make_arm("b", other))
    assert paired_log_ratios(make_arm("b", other), make_arm("a", one)) == [-r for r in ratios]
    scaled = paired_log_ratios(
        make_arm("a", [scale * each for each in one]),
        make_arm("b", [scale * each for each in other]),
    )
    assert scaled == pytest.approx(ratios, abs=1e-12)


def test_the_winner_is_named_over_the_reference() -> None:
    case = only_case(
        make_arm("static", around(1e-3)),
        make_arm("eager", around(1.5e-3, turn=3)),
        make_arm("numpy", around(4e-3, turn=5)),
    )
    winner = case.winner
    assert winner is not None
    assert (winner.arm_id, winner.over_id, winner.significant) == ("static", "numpy", True)
    assert winner.ratio == pytest.approx(4, rel=2e-3)
    assert winner.low is not None
    assert winner.high is not None
    assert 3.98 < winner.low <= winner.ratio <= winner.high < 4.02


def test_where_the_reference_is_fastest_it_is_named_over_the_next() -> None:
    case = only_case(
        make_arm("static", around(3e-3)),
        make_arm("eager", around(2e-3, turn=3)),
        make_arm("numpy", around(1e-3, turn=5)),
    )
    winner = case.winner
    assert winner is not None
    assert (winner.arm_id, winner.over_id, winner.significant) == ("numpy", "eager", True)
    assert winner.ratio == pytest.approx(2, rel=2e-3)
    assert case.payback is None


def test_equal_arms_have_no_significant_winner() -> None:
    noise = np.random.default_rng(4).normal(0, 0.02, (2, 12))
    case = only_case(
        make_arm("static", list(1e-3 * np.exp(noise[0]))),
        make_arm("numpy", list(1e-3 * np.exp(noise[1]))),
    )
    assert case.winner is not None
    assert case.winner.ratio >= 1
    assert not case.winner.significant
    assert case.payback is None


def test_a_winner_needs_two_arms() -> None:
    assert only_case(make_arm("numpy", around(1e-3))).winner is None
    assert only_case(make_arm("numpy", [], status="crashed")).winner is None
    assert only_case().reference_id == ""


def test_six_rounds_are_enough_for_one_rival_and_not_for_two() -> None:
    """Holm: the smallest p-value of six rounds is 1/32, of which two need 1/40."""
    static = make_arm("static", around(1e-3, count=6))
    numpy = make_arm("numpy", around(4e-3, turn=5, count=6))
    eager = make_arm("eager", around(5e-3, turn=2, count=6))
    alone = only_case(static, numpy)
    assert alone.winner is not None
    assert alone.winner.significant
    crowd = only_case(static, eager, numpy)
    assert crowd.winner is not None
    assert not crowd.winner.significant
    rival = crowd.arm("static")
    assert rival is not None
    assert rival.relative is not None
    assert rival.relative.p_value == 2 / 32
    assert rival.relative.verdict is Verdict.INCONCLUSIVE
    assert (Finding.FEW_ROUNDS, "static") in findings(crowd.warnings)
    assert (Finding.FEW_ROUNDS, "static") not in findings(alone.warnings)


def test_too_few_rounds_for_any_interval() -> None:
    case = only_case(
        make_arm("static", around(1e-3, count=3)), make_arm("numpy", around(4e-3, count=3))
    )
    assert case.winner is not None
    assert (case.winner.low, case.winner.high, case.winner.significant) == (None, None, False)
    assert case.arms[0].interval_seconds is None
    few = [notice for notice in case.warnings if notice.finding is Finding.FEW_ROUNDS]
    assert [notice.arm_id for notice in few] == ["static", "numpy"]
    assert few[0].text == "static: 3 rounds are too few for an answer at 95 %"
    # The plan has rounds enough: this run just did not get to them.
    assert few[0].hint == "measure at least 6 rounds: benchctl run --resume"


def test_an_unclear_comparison_says_how_many_rounds_are_missing() -> None:
    noise = np.random.default_rng(5).normal(0, 0.03, (2, 12))
    case = only_case(
        make_arm("static", list(0.96e-3 * np.exp(noise[0]))),
        make_arm("numpy", list(1e-3 * np.exp(noise[1]))),
    )
    static = case.arm("static")
    assert static is not None
    assert static.relative is not None
    assert static.relative.verdict is Verdict.INCONCLUSIVE
    assert static.relative.more_rounds is not None
    assert static.relative.more_rounds > 0


def total_seconds(phases: Phases, step_seconds: float, steps: int) -> float:
    """Time of so many steps from nothing: the first run is one of them."""
    one_off = sum(
        each or 0.0
        for each in (phases.build_seconds, phases.compile_seconds, phases.first_run_seconds)
    )
    return one_off + (steps - 1) * step_seconds


@given(st.floats(0, 2), st.floats(0, 0.01), st.floats(1.1, 30))
def test_payback_is_the_first_step_at_which_the_winner_is_ahead(
    compile_seconds: float, build_seconds: float, factor: float
) -> None:
    cold = Phases("cold", 9.0, build_seconds, compile_seconds, 2e-3)
    warm = Phases("warm", 9.0, build_seconds, compile_seconds / 10, 2e-3)
    slow_cold = Phases("cold", 1.0, None, None, 3e-3)
    fast, slow = around(1e-3), around(factor * 1e-3, turn=5)
    case = only_case(
        make_arm("static", fast, phases=(cold, warm)), make_arm("numpy", slow, phases=(slow_cold,))
    )
    payback = case.payback
    assert payback is not None
    assert (payback.arm_id, payback.over_id) == ("static", "numpy")
    fast_step, slow_step = statistics.median(fast), statistics.median(slow)
    for phases, steps in ((cold, payback.cold_steps), (warm, payback.warm_steps)):
        assert steps is not None
        ahead = [
            total_seconds(phases, fast_step, n) <= total_seconds(slow_cold, slow_step, n) + 1e-12
            for n in (steps, steps - 1)
        ]
        assert ahead[0]
        assert steps == 1 or not ahead[1] or steps > 1e6


def test_each_cache_is_compared_with_the_same_cache_of_the_reference() -> None:
    cold, warm = Phases("cold", None, None, 1.0, 1e-3), Phases("warm", None, None, 0.1, 1e-3)
    case = only_case(
        make_arm("static", around(1e-3), phases=(cold, warm)),
        make_arm("numpy", around(2e-3), phases=(replace(cold, compile_seconds=0.5), warm)),
    )
    assert case.payback is not None
    assert case.payback.warm_steps == 1
    # 0.5 s behind, 1 ms gained a step.
    assert case.payback.cold_steps == pytest.approx(501, abs=2)


def test_a_round_without_samples_does_not_count() -> None:
    arm = make_arm("numpy", around(2e-3))
    empty = replace(arm, rounds=(*arm.rounds, ArmRound(12, (), 1)))
    assert only_case(empty).arms[0].rounds == 12


def test_payback_is_unknown_without_phases() -> None:
    arms = make_arm("static", around(1e-3)), make_arm("numpy", around(4e-3, turn=5))
    assert only_case(*arms).payback is None
    cold = Phases("cold", 1.0, None, None, 3e-3)
    half = replace(arms[0], phases=(cold,)), replace(arms[1], phases=(cold,))
    payback = only_case(*half).payback
    assert payback is not None
    assert (payback.cold_steps, payback.warm_steps) == (1, None)


def test_a_reference_without_rounds_is_replaced_and_said_so() -> None:
    case = only_case(
        make_arm("static", around(1e-3)),
        make_arm("eager", around(2e-3, turn=3)),
        make_arm("numpy", [], status="wrong"),
    )
    assert case.reference_id == "static"
    assert case.winner is not None
    assert (case.winner.arm_id, case.winner.over_id) == ("static", "eager")
    (notice,) = [each for each in case.warnings if each.finding is Finding.REFERENCE_MISSING]
    assert notice.text == "the reference numpy was not measured: static stands in for it"
    # A case that never had the plan's reference is not warned about, nor one that cannot have it.
    ours = make_arm("static", around(1e-3)), make_arm("eager", around(2e-3))
    for other in (only_case(*ours), only_case(*ours, make_arm("numpy", [], status="unavailable"))):
        assert other.reference_id == "static"
        assert Finding.REFERENCE_MISSING not in [notice.finding for notice in other.warnings]


def test_a_quiet_run_has_no_warnings() -> None:
    run = make_run(make_arm("static", around(1e-3)), make_arm("numpy", around(2e-3)))
    found = summarise(run)
    assert found.warnings == ()
    assert found.cases[0].warnings == ()
    assert found.case("xyz[size=3x4]") is found.cases[0]
    assert found.case("other") is None


def test_each_doubt_about_an_arm_is_named() -> None:
    case = only_case(
        make_arm("unsteady", around(1e-3), unsteady=2),
        make_arm("noisy", around(1e-3, spread=0.3)),
        make_arm("lonely", around(1e-3), processes=1),
        make_arm("unverified", around(1e-3), verification=None),
        make_arm("numpy", around(2e-3)),
    )
    assert sorted(findings(case.warnings), key=lambda each: each[1]) == [
        (Finding.ONE_PROCESS, "lonely"),
        (Finding.NOISY, "noisy"),
        (Finding.NEVER_STEADY, "unsteady"),
        (Finding.UNVERIFIED, "unverified"),
    ]


def test_each_doubt_about_the_run_is_named() -> None:
    variables = {
        "OPENBLAS_CORETYPE": "Haswell",
        "OPENBLAS_NUM_THREADS": "2",
        "NUMBA_CACHE_DIR": "cache",
        "NUMBA_DISABLE_JIT": "1",
        "CUDA_HOME": "cuda",
        "HOME": "home",
    }
    run = make_run(
        make_arm("numpy", around(2e-3, count=7)),
        complete=False,
        environment={"load_average": [1.5, 0, 0], "environment": variables},
    )
    notices = summarise(run).warnings
    assert [notice.text for notice in notices] == [
        "the run did not finish: 7 of 12 rounds are there",
        "OPENBLAS_CORETYPE=Haswell chooses the BLAS kernels by hand",
        "environment variables that change speed are set: NUMBA_DISABLE_JIT",
        "the machine was busy before the run: load 1.5 on 2 cores",
    ]
    assert all(notice.hint for notice in notices)


@pytest.mark.parametrize(
    ("threads", "allowed", "told"),
    [
        (2, (0, 1), []),
        (2, (), []),
        (3, (0, 1), ["3 threads were asked for on 2 usable cores"]),
        (2, (1,), ["2 threads were asked for on 1 usable cores"]),
    ],
)
def test_more_threads_than_cores_are_named(threads: int, allowed, told) -> None:
    run = make_run(make_arm("numpy", around(2e-3)), environment={"affinity": allowed})
    run = replace(run, plan=replace(run.plan, threads=threads), machine={"cores": 2})
    assert [notice.text for notice in summarise(run).warnings] == told


def test_records_without_environment_are_summarised() -> None:
    run = replace(make_run(make_arm("numpy", around(2e-3))), environment={}, machine={})
    assert summarise(run).warnings == ()


@pytest.mark.parametrize("finding", list(Finding))
def test_every_finding_has_a_sentence_and_a_hint(finding: Finding) -> None:
    assert finding.sentence
    assert finding.hint
    assert len({each.sentence for each in Finding}) == len(Finding)
