"""What makes a result unstable is found by its name, and steady results are left in peace."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from benchctl.compare import round_checks
from benchctl.compare.findings import Finding
from benchctl.compare.stability import EFFECTS, Instability, Observation, assess_arm, assess_run
from benchctl.plan.order import round_orders
from benchctl.stats.groups import group_variances, two_kinds
from benchctl.stats.permutation import permutation_p_value
from benchctl.store.record import ArmResult, ArmRound, ArmSpec, CaseResult, CaseSpec, Plan, Run

ROUNDS = 12
SEEDS = st.integers(0, 2**32 - 1)
# Two arms in mirrored pairs, as the plan orders them: the place of one of them.
PLACES = (0, 1)


def make_arm(
    logs: Sequence[float],
    rng: np.random.Generator,
    *,
    arm_id: str = "static",
    inside: float = 0.002,
    samples: int = 8,
    per_process: int = 5,
    positions: Sequence[int] | None = None,
    steady: Sequence[bool] = (),
    step_seconds: float = 1e-4,
    loops: int = 100,
    slow_samples: float = 0.0,
    first_sample: float = 0.0,
    versions: dict[str, str] | None = None,
) -> ArmResult:
    """An arm whose rounds have about these ln(time / step), with samples scattered around them."""
    if positions is None:
        orders = round_orders(["static", "other"], len(logs), int(rng.integers(1000)))
        positions = [order.index("static") for order in orders]
    rounds = []
    for number, log in enumerate(logs):
        noise = rng.normal(0, inside, samples)
        noise = noise + math.log(1.5) * (rng.random(samples) < slow_samples)
        noise[0] += first_sample
        seconds = tuple(float(each) for each in step_seconds * np.exp(log + noise))
        is_steady = steady[number] if steady else True
        process = number // per_process
        rounds.append(ArmRound(number, seconds, loops, is_steady, positions[number], process))
    spec = ArmSpec(arm_id, arm_id)
    return ArmResult(spec, "ok", versions=versions or {}, rounds=tuple(rounds))


def make_run(*arms: ArmResult, reference: str = "static", **facts: object) -> Run:
    case = CaseSpec("xyz[size=3x4]", "xyz", {"size": "3x4"})
    plan = Plan((case,), tuple(arm.arm for arm in arms), ROUNDS, 0, 2, reference)
    return Run(
        run_id="run",
        started_utc="2026-01-01T00:00:00Z",
        plan=plan,
        machine={"id": "m", "cores": 2},
        environment={"load_average": (0.1, 0.1, 0.1), "environment": {}, **facts},
        versions={},
        git={},
        command=(),
        cases=(CaseResult(case, arms),),
        complete=True,
    )


def noise(rng: np.random.Generator, count: int = ROUNDS, spread: float = 0.005) -> np.ndarray:
    return rng.normal(0, spread, count)


def found_in(arm: ArmResult, **how: object) -> set[Instability]:
    return {each.instability for each in assess_arm(arm, **how).observations}


# Planted faults --------------------------------------------------------------------------------


def drifting(rng: np.random.Generator) -> ArmResult:
    return make_arm(noise(rng) + np.linspace(0, 0.1, ROUNDS), rng)


def speeding_up(rng: np.random.Generator) -> ArmResult:
    return make_arm(noise(rng) - np.linspace(0, 0.1, ROUNDS), rng)


def of_differing_processes(rng: np.random.Generator) -> ArmResult:
    levels = np.repeat(rng.permutation([0.0, 0.05, 0.1]), 5)
    return make_arm(noise(rng, 15) + levels, rng)


def of_two_kinds_of_processes(rng: np.random.Generator) -> ArmResult:
    levels = np.repeat(rng.permutation([0.0] * 4 + [0.06] * 3), 3)
    return make_arm(noise(rng, 21) + levels, rng, per_process=3)


def of_two_kinds_a_round_each(rng: np.random.Generator) -> ArmResult:
    levels = rng.permutation([0.0] * 8 + [0.1] * 6)
    return make_arm(noise(rng, 14) + levels, rng, per_process=1)


def of_two_kinds_of_rounds(rng: np.random.Generator) -> ArmResult:
    levels = np.concatenate([rng.permutation([0.0] * 3 + [1.0] * 3) for _ in range(2)])
    return make_arm(noise(rng) + levels, rng, per_process=6)


def slow_when_first(rng: np.random.Generator) -> ArmResult:
    positions = list(rng.permutation([0, 1])) * (ROUNDS // 2)
    slowdown = 0.05 * (np.array(positions) == 0)
    return make_arm(noise(rng) + slowdown, rng, positions=positions)


def with_an_outlier(rng: np.random.Generator) -> ArmResult:
    logs = noise(rng)
    logs[int(rng.integers(ROUNDS))] += 0.4
    return make_arm(logs, rng)


def interrupted(rng: np.random.Generator) -> ArmResult:
    return make_arm(noise(rng, 30), rng, slow_samples=0.2)


def cold_at_first(rng: np.random.Generator) -> ArmResult:
    return make_arm(noise(rng), rng, first_sample=0.08)


def never_steady(rng: np.random.Generator) -> ArmResult:
    return make_arm(noise(rng), rng, steady=[False] * 3 + [True] * (ROUNDS - 3))


def varying(rng: np.random.Generator) -> ArmResult:
    return make_arm(rng.permutation(np.linspace(-0.5, 0.5, ROUNDS)), rng)


def varying_inside(rng: np.random.Generator) -> ArmResult:
    return make_arm(noise(rng), rng, inside=0.4)


def of_few_rounds(rng: np.random.Generator) -> ArmResult:
    return make_arm(noise(rng, 4), rng)


def of_few_samples(rng: np.random.Generator) -> ArmResult:
    return make_arm(noise(rng), rng, samples=1)


def under_a_coarse_clock(rng: np.random.Generator) -> ArmResult:
    return make_arm(noise(rng), rng, step_seconds=5e-7, loops=1)


def of_one_process(rng: np.random.Generator) -> ArmResult:
    return make_arm(noise(rng), rng, per_process=ROUNDS)


PLANTED = {
    drifting: Instability.DRIFT,
    speeding_up: Instability.DRIFT,
    of_differing_processes: Instability.PROCESSES_DIFFER,
    of_two_kinds_of_processes: Instability.BIMODAL_PROCESSES,
    of_two_kinds_a_round_each: Instability.BIMODAL_PROCESSES,
    of_two_kinds_of_rounds: Instability.BIMODAL_ROUNDS,
    slow_when_first: Instability.POSITION,
    with_an_outlier: Instability.OUTLYING_ROUNDS,
    interrupted: Instability.INTERRUPTED,
    cold_at_first: Instability.COLD_SAMPLES,
    never_steady: Instability.NEVER_STEADY,
    varying: Instability.ROUNDS_VARY,
    varying_inside: Instability.SAMPLES_VARY,
    of_few_rounds: Instability.FEW_ROUNDS,
    of_few_samples: Instability.FEW_SAMPLES,
    under_a_coarse_clock: Instability.COARSE_CLOCK,
    of_one_process: Instability.ONE_PROCESS,
}
OF_A_RUN = {
    Instability.DIFFERENT_VERSIONS,
    Instability.FREQUENCY_GOVERNOR,
    Instability.CPU_QUOTA,
}


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
@settings(max_examples=25, deadline=None)
@given(seed=SEEDS)
def test_a_planted_fault_is_found_by_its_name(plant, seed: int) -> None:
    assessed = assess_arm(plant(np.random.default_rng(seed)))
    assert PLANTED[plant] in {each.instability for each in assessed.observations}
    assert not assessed.is_steady


def test_every_instability_has_a_planted_fault() -> None:
    assert set(PLANTED.values()) | OF_A_RUN == set(Instability)


def test_a_drift_is_told_with_its_size_and_direction() -> None:
    rng = np.random.default_rng(1)
    slower = assess_arm(make_arm(np.linspace(0, 0.11, ROUNDS), rng, inside=0.0)).observations[0]
    # The middles of the first and last four of twelve steps lie eight steps apart.
    assert slower.text == (
        f"the last third of its rounds took {100 * math.expm1(0.08):.1f} % longer than the first"
    )
    faster = assess_arm(make_arm(np.linspace(0.11, 0, ROUNDS), rng)).observations[0]
    assert "% less than the first" in faster.text


def test_an_outlier_does_not_pass_for_a_difference_between_processes() -> None:
    rng = np.random.default_rng(13)
    logs = noise(rng, spread=0.002) + 0.006 * (np.arange(ROUNDS) > 5)
    logs[2] = 0.5
    found = assess_arm(make_arm(logs, rng, per_process=6))
    assert {each.instability for each in found.observations} == {Instability.OUTLYING_ROUNDS}
    assert found.process_share is not None
    assert found.process_share > 0.5


def test_rounds_that_follow_a_pattern_are_no_outliers() -> None:
    rng = np.random.default_rng(14)
    logs = noise(rng, spread=0.001) + 0.3 * (np.arange(ROUNDS) > 6)
    found = found_in(make_arm(logs, rng, per_process=7))
    assert Instability.PROCESSES_DIFFER in found
    assert Instability.OUTLYING_ROUNDS not in found


def test_two_kinds_of_processes_are_counted() -> None:
    rng = np.random.default_rng(2)
    found = assess_arm(of_two_kinds_of_processes(rng)).observations[0]
    assert found.text.endswith("4 fast, 3 slow")
    assert "--rounds 42" in found.hint


def test_processes_of_one_kind_each_are_no_two_kinds_of_rounds() -> None:
    assert share_of(stepping, Instability.BIMODAL_ROUNDS) == 0
    assert share_of(of_two_kinds_of_processes, Instability.BIMODAL_ROUNDS) == 0


def test_no_practical_number_of_rounds_is_no_advice() -> None:
    arm = of_two_kinds_of_rounds(np.random.default_rng(1))
    (found,) = [
        each for each in assess_arm(arm).observations if each.instability is Instability.FEW_ROUNDS
    ]
    assert "--rounds" not in found.hint
    assert "find out why it varies" in found.hint


def test_an_outlier_is_named_with_its_round() -> None:
    logs = noise(np.random.default_rng(3))
    logs[7] = 0.4
    (found,) = assess_arm(make_arm(logs, np.random.default_rng(3))).observations
    assert found.text.startswith("1 of 12 rounds lie far from the others: round 7 (+4")


# Drifts and processes look alike ---------------------------------------------------------------


def share_of(plant, wanted: Instability, trials: int = 200) -> float:
    rng = np.random.default_rng(4)
    return sum(wanted in found_in(plant(rng)) for _ in range(trials)) / trials


def stepping(rng: np.random.Generator) -> ArmResult:
    """Two processes of six rounds, the second 5 % slower: in the order of time, a rise."""
    return make_arm(noise(rng) + 0.05 * (np.arange(ROUNDS) > 5), rng, per_process=6)


def rising(rng: np.random.Generator) -> ArmResult:
    """The same rise, spread evenly over two processes of six rounds."""
    return make_arm(noise(rng) + np.linspace(0, 0.1, ROUNDS), rng, per_process=6)


def test_a_step_between_two_processes_is_no_drift() -> None:
    assert share_of(stepping, Instability.DRIFT) <= 0.01
    assert share_of(stepping, Instability.PROCESSES_DIFFER) >= 0.99


def test_a_drift_over_two_processes_is_no_difference_between_them() -> None:
    assert share_of(rising, Instability.PROCESSES_DIFFER) <= 0.01
    assert share_of(rising, Instability.DRIFT) >= 0.99


def test_without_the_choice_a_step_would_be_called_a_drift(monkeypatch) -> None:
    def both(rounds):
        return round_checks._drift(rounds), round_checks._processes(rounds)

    monkeypatch.setattr(round_checks, "_drift_or_processes", both)
    assert share_of(stepping, Instability.DRIFT) >= 0.5


# Steady results --------------------------------------------------------------------------------


def false_alarm_share(rounds: int, spread: float, trials: int, seed: int) -> float:
    rng = np.random.default_rng(seed)
    alarms = sum(
        not assess_arm(make_arm(noise(rng, rounds, spread), rng)).is_steady for _ in range(trials)
    )
    return alarms / trials


@pytest.mark.parametrize("spread", [0.002, 0.005])
@settings(max_examples=5, deadline=None)
@given(seed=SEEDS, rounds=st.sampled_from([7, 10, 12, 20, 30]))
def test_a_quiet_result_is_steady(spread: float, seed: int, rounds: int) -> None:
    """Differences below 1 % do not matter, so that quiet rounds hardly ever alarm."""
    assert false_alarm_share(rounds, spread, 100, seed) <= 0.05


@pytest.mark.parametrize("rounds", [10, 20, 30])
def test_a_noisy_result_alarms_rarely(rounds: int) -> None:
    """Where noise makes any difference matter, three tests at 1 % and the outliers remain."""
    rng = np.random.default_rng(rounds)
    trials = 500
    of_chance = {
        Instability.DRIFT,
        Instability.PROCESSES_DIFFER,
        Instability.BIMODAL_PROCESSES,
        Instability.BIMODAL_ROUNDS,
        Instability.POSITION,
        Instability.OUTLYING_ROUNDS,
        Instability.COLD_SAMPLES,
        Instability.INTERRUPTED,
    }
    alarms = sum(
        bool(of_chance & found_in(make_arm(noise(rng, rounds, 0.03), rng, inside=0.02)))
        for _ in range(trials)
    )
    # Four tests at 1 % and the outliers at 0.5 % make 4.5 % at most.
    assert alarms / trials <= 0.055


# Oracles ---------------------------------------------------------------------------------------


def enumerated_p_value(values: Sequence[float], design: np.ndarray) -> float:
    """The share of all orders that fit at least as well."""
    ranks = scipy.stats.rankdata(values)
    ranks = ranks - ranks.mean()
    fits = [
        float(np.sum((np.array(order) @ design) ** 2)) for order in itertools.permutations(ranks)
    ]
    own = float(np.sum((ranks @ design) ** 2))
    return float(np.mean(np.array(fits) >= own * (1 - 1e-9)))


@pytest.mark.parametrize(
    "design",
    [
        np.arange(7.0)[:, None],
        np.array([1.0, 0, 1, 0, 0, 1, 0])[:, None],
        np.repeat(np.eye(3), [3, 2, 2], axis=0) / np.sqrt([3, 2, 2]),
    ],
    ids=["drift", "position", "processes"],
)
@settings(max_examples=8, deadline=None)
@given(values=st.lists(st.integers(0, 9), min_size=7, max_size=7))
def test_the_p_value_is_that_of_all_orders(design: np.ndarray, values: list[int]) -> None:
    shuffled = permutation_p_value(np.array(values, dtype=float), design)
    exact = enumerated_p_value(values, design)
    # Five standard deviations of 9999 draws.
    assert abs(shuffled - exact) <= 5 * math.sqrt(max(exact * (1 - exact), 1e-4) / 9999) + 1e-4


def test_values_that_do_not_differ_fit_nothing() -> None:
    assert permutation_p_value(np.ones(12), np.arange(12.0)[:, None]) == 1.0
    quiet = make_arm([0.0] * ROUNDS, np.random.default_rng(0), inside=0.0)
    assert assess_arm(quiet).is_steady


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, groups=st.integers(2, 5), size=st.integers(2, 6))
def test_variances_of_equal_processes_are_those_of_the_analysis_of_variance(
    seed: int, groups: int, size: int
) -> None:
    values = np.random.default_rng(seed).normal(0, 1, (groups, size))
    found = group_variances(values.ravel(), np.repeat(np.arange(groups), size))
    assert found is not None
    ratio = scipy.stats.f_oneway(*values).statistic
    inside = float(np.mean(np.var(values, axis=1, ddof=1)))
    assert found.inside == pytest.approx(inside)
    assert found.between == pytest.approx(max(0.0, (ratio - 1) * inside / size), abs=1e-12)


def test_the_share_between_processes_is_recovered_from_many() -> None:
    rng = np.random.default_rng(5)
    processes = np.repeat(np.arange(400), rng.integers(1, 6, 400))
    logs = rng.normal(0, 0.02, 400)[processes] + rng.normal(0, 0.01, len(processes))
    found = group_variances(logs, processes)
    assert found is not None
    assert math.sqrt(found.between) == pytest.approx(0.02, rel=0.1)
    assert math.sqrt(found.inside) == pytest.approx(0.01, rel=0.1)


@pytest.mark.parametrize(
    ("centres", "kinds"),
    [
        ([0, 1, 10, 11], (2, 9)),
        ([11, 0, 10, 1, 12], (2, 9)),
        ([0, 10, 11, 12], None),
        ([0, 4, 8, 12], None),
        ([0, 10], None),
        ([0, 5, 11, 16], (2, 6)),
        ([0, 5, 10, 15], None),
    ],
)
def test_two_kinds_lie_further_apart_than_either_is_wide(centres, kinds) -> None:
    assert two_kinds(np.array(centres, dtype=float)) == kinds


# How much it varies ----------------------------------------------------------------------------


def test_spreads_and_shares_are_those_that_were_planted() -> None:
    rng = np.random.default_rng(6)
    levels = rng.normal(0, 0.02, 60)[np.arange(240) // 4]
    arm = make_arm(levels + rng.normal(0, 0.01, 240), rng, inside=0.005, per_process=4)
    found = assess_arm(arm)
    assert found.between_rounds == pytest.approx(math.hypot(0.02, 0.01), rel=0.2)
    assert found.inside_rounds == pytest.approx(0.005, rel=0.1)
    assert found.process_share == pytest.approx(0.8, abs=0.1)


def test_rounds_needed_are_those_of_the_ratio_to_the_reference() -> None:
    """Noise that both arms share is not in their ratio."""
    rng = np.random.default_rng(7)
    shared = noise(rng, 30, 0.05)
    static = make_arm(shared + noise(rng, 30, 0.002), rng)
    eager = make_arm(shared + noise(rng, 30, 0.002), rng, arm_id="eager")
    paired = assess_arm(eager, static).rounds_needed
    alone = assess_arm(eager).rounds_needed
    assert list(paired) == list(EFFECTS)
    assert paired[0.05] == paired[0.02] == 6
    assert alone[0.05] is not None
    assert alone[0.02] is not None
    assert 10 < alone[0.05] < alone[0.02]
    crowd = assess_arm(eager, static, comparisons=3).rounds_needed
    assert crowd[0.05] == 7


def test_a_reference_that_varies_is_not_held_against_the_others() -> None:
    rng = np.random.default_rng(12)
    eager = make_arm(noise(rng, spread=0.001), rng, arm_id="eager")
    against = assess_arm(eager, varying(rng))
    assert against.is_steady
    assert against.rounds_needed[0.05] is not None
    assert against.rounds_needed[0.05] > ROUNDS


def test_few_rounds_are_told_with_how_many_are_needed() -> None:
    rng = np.random.default_rng(8)
    (found,) = [
        each
        for each in assess_arm(make_arm(noise(rng, 3, 0.001), rng)).observations
        if each.instability is Instability.FEW_ROUNDS
    ]
    assert found.text == "3 rounds are too few to show a difference of 5 %"
    assert found.hint == "measure about 6: --rounds 6"
    lonely = assess_arm(make_arm([0.0], rng))
    assert lonely.observations[0].text.startswith("1 round is too few")
    assert lonely.rounds_needed == {0.05: None, 0.02: None}


def test_a_long_step_may_have_one_sample_a_round() -> None:
    rng = np.random.default_rng(9)
    found = assess_arm(make_arm(noise(rng), rng, samples=1, step_seconds=0.5, loops=1))
    assert found.is_steady
    assert found.inside_rounds is None


def test_the_step_of_the_clock_shows_in_samples_that_it_divides() -> None:
    rng = np.random.default_rng(10)
    arm = make_arm(noise(rng), rng, step_seconds=1e-3, loops=1)
    assert assess_arm(arm).is_steady
    ticking = tuple(
        replace(taken, seconds=tuple(round(each / 2e-6) * 2e-6 for each in taken.seconds))
        for taken in arm.rounds
    )
    assert found_in(replace(arm, rounds=ticking)) == {Instability.COARSE_CLOCK}
    assert found_in(arm, clock_step_seconds=2e-6) == {Instability.COARSE_CLOCK}


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, plant=st.sampled_from(list(PLANTED)), exponent=st.integers(-3, 4))
def test_the_unit_of_time_does_not_matter(seed: int, plant, exponent: int) -> None:
    arm = plant(np.random.default_rng(seed))
    scaled = tuple(
        replace(taken, seconds=tuple(each * 2.0**exponent for each in taken.seconds))
        for taken in arm.rounds
    )

    def names(result: ArmResult) -> list[Instability]:
        found = [each.instability for each in assess_arm(result).observations]
        return [each for each in found if each is not Instability.COARSE_CLOCK]

    assert names(replace(arm, rounds=scaled)) == names(arm)


def test_the_same_rounds_are_judged_the_same_every_time() -> None:
    arm = drifting(np.random.default_rng(11))
    assert assess_arm(arm) == assess_arm(arm)


# Whole runs ------------------------------------------------------------------------------------


def quiet_arm(arm_id: str, seed: int, **more: object) -> ArmResult:
    rng = np.random.default_rng(seed)
    return make_arm(noise(rng, spread=0.002), rng, arm_id=arm_id, **more)


def test_a_quiet_run_is_clean() -> None:
    found = assess_run(make_run(quiet_arm("static", 1), quiet_arm("eager", 2)))
    assert found.is_clean
    assert [arm.arm_id for arm in found.arms] != []
    assert all(arm.is_steady for arm in found.arms)


def test_versions_that_differ_between_arms_are_named_with_their_arms() -> None:
    arms = (
        quiet_arm("static", 1, versions={"numpy": "2.4.0", "numba": "0.61"}),
        quiet_arm("eager", 2, versions={"numpy": "2.4.0"}),
        quiet_arm("torch", 3, versions={"numpy": "2.3.1", "torch": "2.6"}),
    )
    found = assess_run(make_run(*arms))
    (observation,) = found.cases[0].observations
    assert observation.instability is Instability.DIFFERENT_VERSIONS
    assert observation.text.startswith("the arms have different versions of numpy: ")
    assert "2.3.1 (torch)" in observation.text
    assert "torch 2.6" not in observation.text
    assert not found.is_clean


@pytest.mark.parametrize(
    ("facts", "instability", "words"),
    [
        ({"governor": "powersave"}, Instability.FREQUENCY_GOVERNOR, "was powersave"),
        ({"cpu_quota": 1.5}, Instability.CPU_QUOTA, "2 threads were limited to 1.5 cores"),
    ],
)
def test_what_the_environment_says_is_told_of_the_run(facts, instability, words) -> None:
    (observation,) = assess_run(make_run(quiet_arm("static", 1), **facts)).observations
    assert observation.instability is instability
    assert words in observation.text


@pytest.mark.parametrize("facts", [{"governor": ""}, {"governor": "performance"}, {"cpu_quota": 2}])
def test_an_environment_without_fault_is_not_mentioned(facts) -> None:
    assert assess_run(make_run(quiet_arm("static", 1), **facts)).observations == ()


def test_a_busy_machine_is_told_of_the_run() -> None:
    found = assess_run(make_run(quiet_arm("static", 1), load_average=(1.7, 1.0, 1.0)))
    assert [each.finding for each in found.warnings] == [Finding.BUSY_MACHINE]
    assert not found.is_clean


def test_an_arm_without_rounds_is_not_judged() -> None:
    broken = ArmResult(ArmSpec("eager", "eager"), "crashed")
    found = assess_run(make_run(quiet_arm("static", 1), broken))
    assert found.is_clean
    assert [arm.arm_id for arm in found.arms] == ["static"]
    (_, absent) = found.cases[0].arms
    assert (absent.status, absent.rounds, absent.is_steady) == ("crashed", 0, False)


def test_rounds_without_samples_do_not_count() -> None:
    arm = quiet_arm("static", 1)
    assert assess_arm(replace(arm, rounds=(*arm.rounds, ArmRound(ROUNDS, (), 1)))).rounds == ROUNDS


@pytest.mark.parametrize("instability", list(Instability))
def test_every_instability_has_a_sentence_and_a_hint(instability: Instability) -> None:
    assert instability.sentence
    assert instability.hint
    assert not instability.sentence.endswith(".")


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, plant=st.sampled_from(list(PLANTED)))
def test_every_observation_reads_as_a_sentence_without_blanks(seed: int, plant) -> None:
    for each in assess_arm(plant(np.random.default_rng(seed))).observations:
        assert isinstance(each, Observation)
        assert "{" not in each.text + each.hint
        assert "nan" not in each.text
