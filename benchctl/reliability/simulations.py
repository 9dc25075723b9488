"""How often the statistics are right: made-up measurements, judged by the code for real ones.

Each function takes a generator and a number of runs first, and returns the share of the runs in
which something happened.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from benchctl.gate.decide import GateRule, candidates, confirm, contaminated, judge_control
from benchctl.reliability.noise import WHITE, HistoryNoise, Noise, history, paired_rounds
from benchctl.stats.change_points import find_change_points
from benchctl.stats.geometric_mean import geometric_mean
from benchctl.stats.looks import judge_at_looks
from benchctl.stats.planner import rounds_needed
from benchctl.stats.signed_rank import Floats, confidence_interval
from benchctl.stats.verdict import DEFAULT_CONFIDENCE, DEFAULT_MARGIN, Verdict, judge

DIFFERENT = (Verdict.FASTER, Verdict.SLOWER)
# Of every run of the gate, in which all cases and controls take part.
GATE_CASES = 12
GATE_CONTROLS = 2
HISTORY_POINTS = 100
STEP_NEAR = 3

GateOutcome = Literal["clean", "red", "contaminated"]


# Verdicts -------------------------------------------------------------------------------------


def false_alarms(
    rng: np.random.Generator,
    runs: int,
    noise: Noise,
    rounds: int,
    confidence: float = DEFAULT_CONFIDENCE,
    margin: float = 0.0,
) -> float:
    """Two equal arms are told apart; without a margin any difference at all would count."""
    return _judged(paired_rounds(noise, rng, runs, rounds), DIFFERENT, margin, confidence)


def false_sameness(rng: np.random.Generator, runs: int, noise: Noise, rounds: int) -> float:
    """Arms that differ by the whole margin are called the same."""
    log_ratios = paired_rounds(noise, rng, runs, rounds, math.log1p(DEFAULT_MARGIN))
    return _judged(log_ratios, (Verdict.SAME,))


def power(
    rng: np.random.Generator,
    runs: int,
    slowdown: float,
    spread: float,
    rounds: int,
    wanted: Verdict = Verdict.SLOWER,
) -> float:
    """A slowdown of that fraction of the time ends in the verdict wanted."""
    noise = replace(WHITE, spread=spread)
    return _judged(paired_rounds(noise, rng, runs, rounds, math.log1p(slowdown)), (wanted,))


def planned_power(
    rng: np.random.Generator,
    runs: int,
    slowdown: float,
    spread: float,
    wanted: Verdict,
    planned: float,
) -> float:
    """The rounds that were planned for so much power end in the verdict wanted."""
    rounds = rounds_needed(math.log1p(slowdown), spread, power=planned)
    if rounds is None:
        raise ValueError(f"no number of rounds tells {slowdown:+.1%} from the margin")
    return power(rng, runs, slowdown, spread, rounds, wanted)


def false_alarms_at_looks(
    rng: np.random.Generator, runs: int, noise: Noise, looks: Sequence[int]
) -> float:
    """Any of the planned looks tells two equal arms apart."""
    rows = paired_rounds(noise, rng, runs, looks[-1])
    return _share([judge_at_looks(each, looks, margin=0.0).settled for each in rows])


def false_alarms_when_peeking(
    rng: np.random.Generator, runs: int, noise: Noise, first: int, last: int
) -> float:
    """Two equal arms are told apart where every round from `first` on may end the comparison."""
    counts = range(first, last + 1)
    rows = paired_rounds(noise, rng, runs, last)
    return _share([any(judge(row[:n], 0.0).verdict in DIFFERENT for n in counts) for row in rows])


# Intervals ------------------------------------------------------------------------------------


def coverage(rng: np.random.Generator, runs: int, noise: Noise, rounds: int) -> float:
    """The 95 % interval of paired rounds holds the true ratio."""
    truth = math.log(1.3)
    rows = paired_rounds(noise, rng, runs, rounds, truth)
    return _share([_holds(confidence_interval(row, 0.95), truth) for row in rows])


def geometric_mean_coverage(
    rng: np.random.Generator, runs: int, noise: Noise, rounds: int
) -> float:
    """The 95 % interval of a geometric mean over cases that share noise holds the true mean."""
    effects = np.log([0.7, 0.9, 1.0, 1.4])
    truth = math.exp(float(np.mean(effects)))
    held = []
    for seed in range(runs):
        shared = noise.spread * rng.standard_normal(rounds)
        rows = paired_rounds(noise, rng, len(effects), rounds) + shared + effects[:, None]
        cases = [dict(enumerate(row.tolist())) for row in rows]
        mean = geometric_mean(cases, 0.95, resamples=200, seed=seed)
        interval = None if mean.low is None or mean.high is None else (mean.low, mean.high)
        held.append(_holds(interval, truth))
    return _share(held)


# The gate -------------------------------------------------------------------------------------


def gate_outcomes(
    rng: np.random.Generator,
    runs: int,
    noise: Noise,
    outcome: GateOutcome,
    slowdowns: Sequence[float],
    control_slowdown: float = 0.0,
) -> float:
    """A run of the gate ends that way where cases and controls slow down by these fractions."""
    rule = GateRule()
    rule.check(GATE_CASES)
    effects = np.log1p([*slowdowns, *[control_slowdown] * GATE_CONTROLS])
    return _share([gate_run(rule, rng, noise, effects) == outcome for _ in range(runs)])


def gate_run(
    rule: GateRule, rng: np.random.Generator, noise: Noise, effects: Floats
) -> GateOutcome:
    """One run of the gate: screen, then candidates on fresh rounds; a control off ends it.

    `effects` are the true ln(head time / base time), those of the controls last.
    """
    screened, disturbed = _gate_rounds(rng, noise, effects, rule.screen_rounds)
    suspects = candidates(screened, rule)
    if disturbed:
        return "contaminated"
    if not suspects:
        return "clean"
    fresh, disturbed = _gate_rounds(rng, noise, effects, rule.confirm_rounds)
    if disturbed:
        return "contaminated"
    confirmed = confirm({case_id: fresh[case_id] for case_id in suspects}, rule)
    return "red" if any(each.regressed for each in confirmed.values()) else "clean"


def _gate_rounds(
    rng: np.random.Generator, noise: Noise, effects: Floats, rounds: int
) -> tuple[dict[str, list[float]], bool]:
    """Rounds of every case, and whether a control says that they cannot be believed."""
    rows = paired_rounds(noise, rng, len(effects), rounds) + effects[:, None]
    cases = {f"case {place}": row.tolist() for place, row in enumerate(rows[:-GATE_CONTROLS])}
    return cases, any(contaminated(judge_control(row.tolist())) for row in rows[-GATE_CONTROLS:])


# Histories ------------------------------------------------------------------------------------


def false_changes(rng: np.random.Generator, runs: int, noise: HistoryNoise) -> float:
    """A history without a change is said to have one."""
    series = (history(noise, rng, HISTORY_POINTS) for _ in range(runs))
    return _share([bool(find_change_points(each, seed=i)) for i, each in enumerate(series)])


def located_steps(
    rng: np.random.Generator,
    runs: int,
    noise: HistoryNoise,
    steps: Sequence[tuple[int, float]],
) -> float:
    """Every planted step is found within 3 points; each is a place and ln(time after / before)."""
    located = []
    for seed in range(runs):
        series = history(noise, rng, HISTORY_POINTS)
        for place, step in steps:
            series[place:] += step
        found = [each.index for each in find_change_points(series, seed=seed)]
        located.append(
            all(any(abs(index - place) <= STEP_NEAR for index in found) for place, _ in steps)
        )
    return _share(located)


def _judged(
    log_ratios: Floats,
    wanted: Sequence[Verdict],
    margin: float = DEFAULT_MARGIN,
    confidence: float = DEFAULT_CONFIDENCE,
) -> float:
    """How many of the runs (runs, rounds) end in one of the verdicts wanted."""
    return _share([judge(row, margin, confidence).verdict in wanted for row in log_ratios])


def _holds(interval: tuple[float, float] | None, truth: float) -> bool:
    return interval is not None and interval[0] <= truth <= interval[1]


def _share(happened: Sequence[bool]) -> float:
    return float(sum(happened) / len(happened))
