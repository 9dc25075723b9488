"""What the rounds of one arm show of its instability, one check a reason.

A difference is called one where chance makes it in at most one steady result in a hundred (`LEVEL`)
and where it exceeds 1 % (`MATERIAL`): less cannot move a verdict with a margin of 2 %.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from benchctl.compare.instabilities import Details, Instability, Observation
from benchctl.compare.summary import CONFIDENCE, NOISY_SPREAD
from benchctl.measure.sampler import SampleRule
from benchctl.stats.groups import (
    Labels,
    Variances,
    group_contrasts,
    group_means,
    group_variances,
    two_kinds,
)
from benchctl.stats.permutation import permutation_p_value
from benchctl.stats.planner import minimum_rounds, robust_spread
from benchctl.stats.signed_rank import Floats, hodges_lehmann, p_value
from benchctl.store.record import ArmRound

LEVEL = 0.01
MATERIAL = 0.01
OUTLIER = 5.0
"""Robust standard deviations from the median beyond which a round or a sample is an outlier."""
INTERRUPTED_SHARE = 0.05
FAR_LONGER = 0.10
"""By how much a sample must exceed its round's median for something to have interrupted it."""
LEAST_TICKS = 1000
"""Steps of the clock that a sample should last."""

_MATERIAL_LOG = math.log1p(MATERIAL)
# The median absolute deviation of a normal distribution times this is its standard deviation.
_DEVIATIONS_IN_MAD = 1.4826
# Few rounds tell their own spread badly. By simulation, a limit wider by 1 + (this / rounds)**2
# makes one of them an outlier in at most one of two hundred steady results, from 6 rounds up.
_FEW_ROUNDS_WIDENING = 9.5
# Values without a group of their own are of two kinds where the gap is so many times as wide as
# either; of so many or more that happens by chance in one of two hundred steady results.
_CLEAR_GAP = 2.0
_LEAST_SINGLE = 9
_LISTED_ROUNDS = 3
_PATTERNS = (
    Instability.DRIFT,
    Instability.PROCESSES_DIFFER,
    Instability.BIMODAL_PROCESSES,
    Instability.BIMODAL_ROUNDS,
)


@dataclass(frozen=True, slots=True)
class Rounds:
    """The rounds of one arm, R of them, and ln of their medians.

    `processes` are numbered from 0; `residuals` are ln(sample / round median) of each round.
    `kept` are the places of all rounds but outliers, unless these are many; `variances` are theirs
    between and inside processes, None where they cannot be told.
    """

    taken: tuple[ArmRound, ...]
    logs: Floats
    processes: Labels
    residuals: tuple[Floats, ...]
    kept: Labels
    variances: Variances | None

    @classmethod
    def of(cls, taken: tuple[ArmRound, ...]) -> Rounds:
        """The logarithms of all samples, once; every round has some."""
        samples = [np.log(np.asarray(each.seconds)) for each in taken]
        logs = np.array([math.log(float(np.median(each.seconds))) for each in taken])
        _, processes = np.unique([each.process for each in taken], return_inverse=True)
        residuals = tuple(each - log for each, log in zip(samples, logs, strict=True))
        far = outliers(logs)
        kept = np.arange(len(logs))
        if far.size <= len(logs) // 4:
            kept = np.delete(kept, far)
        _, labels = np.unique(processes[kept], return_inverse=True)
        variances = group_variances(logs[kept], labels)
        return cls(taken, logs, processes, residuals, kept, variances)

    @property
    def inside_spread(self) -> float | None:
        """Standard deviation of the ln of a round's samples, the median over the rounds."""
        spreads = [float(np.std(each, ddof=1)) for each in self.residuals if len(each) > 1]
        return float(np.median(spreads)) if spreads else None


def outliers(logs: Floats) -> Labels:
    """The places of values far from the median; none where values are too few to tell."""
    count = len(logs)
    if count < minimum_rounds(CONFIDENCE):
        return np.zeros(0, dtype=np.intp)
    deviations = np.abs(logs - np.median(logs))
    spread = _DEVIATIONS_IN_MAD * float(np.median(deviations))
    limit = OUTLIER * (1 + (_FEW_ROUNDS_WIDENING / count) ** 2) * spread
    return np.flatnonzero(deviations > max(limit, _MATERIAL_LOG))


def check_rounds(rounds: Rounds, clock_step_seconds: float = 0.0) -> list[Observation]:
    """Everything that speaks against these rounds."""
    patterns = (*_drift_or_processes(rounds), _bimodal_rounds(rounds))
    has_pattern = any(each and each.instability in _PATTERNS for each in patterns)
    found = (
        *patterns,
        _outlying_rounds(rounds, has_pattern),
        *(check(rounds) for check in _CHECKS),
        _coarse_clock(rounds, clock_step_seconds),
    )
    return [each for each in found if each is not None]


def _drift_or_processes(rounds: Rounds) -> tuple[Observation | None, ...]:
    """A drift and a difference between processes; of both only what explains the rounds better.

    Rounds of one process follow each other, so with few processes each looks like the other.
    """
    drift, processes = _drift(rounds), _processes(rounds)
    if drift is None or processes is None or rounds.variances is None:
        return drift, processes
    logs = rounds.logs[rounds.kept]
    line = np.polyval(np.polyfit(rounds.kept, logs, 1), rounds.kept)
    unexplained = float(np.sum((logs - line) ** 2)) / (len(logs) - 2)
    return (drift, None) if unexplained < rounds.variances.inside else (None, processes)


def _drift(rounds: Rounds) -> Observation | None:
    """The rank correlation of a round's number with its time."""
    third = len(rounds.logs) // 3
    if third == 0:
        return None
    size = float(np.median(rounds.logs[-third:]) - np.median(rounds.logs[:third]))
    numbers = np.array([[float(each.round)] for each in rounds.taken])
    if abs(size) < _MATERIAL_LOG or permutation_p_value(rounds.logs, numbers) > LEVEL:
        return None
    return Observation(Instability.DRIFT, _change(size))


def _processes(rounds: Rounds) -> Observation | None:
    centres = group_means(rounds.logs, rounds.processes)
    more = 2 * len(rounds.logs)
    if len(centres) == 1:
        enough = len(rounds.logs) >= minimum_rounds(CONFIDENCE)
        return Observation(Instability.ONE_PROCESS) if enough else None
    if rounds.variances is None:
        # Every round has a process of its own: only a clear gap tells kinds of them apart.
        if len(centres) < _LEAST_SINGLE:
            return None
        return _bimodal(Instability.BIMODAL_PROCESSES, two_kinds(centres, _CLEAR_GAP), rounds)
    spread = math.sqrt(rounds.variances.between)
    contrasts = group_contrasts(rounds.processes)
    if spread < _MATERIAL_LOG or permutation_p_value(rounds.logs, contrasts) > LEVEL:
        return None
    details: Details = {
        "percent": _percent(spread),
        "share": 100 * rounds.variances.share_between,
        "more": more,
    }
    bimodal = _bimodal(Instability.BIMODAL_PROCESSES, two_kinds(centres), rounds)
    return bimodal or Observation(Instability.PROCESSES_DIFFER, details)


def _bimodal_rounds(rounds: Rounds) -> Observation | None:
    """Two kinds of rounds, both of them in one process at least."""
    count = len(rounds.logs)
    shared = np.bincount(rounds.processes).max() > 1
    if count < _LEAST_SINGLE or not shared:
        return None
    kinds = two_kinds(rounds.logs, _CLEAR_GAP, least=count // 4)
    if kinds is None:
        return None
    is_slow = rounds.logs >= np.sort(rounds.logs)[kinds[0]]
    slow_share = group_means(is_slow.astype(np.float64), rounds.processes)
    if not np.any((slow_share > 0) & (slow_share < 1)):
        return None
    return _bimodal(Instability.BIMODAL_ROUNDS, kinds, rounds)


def _bimodal(
    instability: Instability, kinds: tuple[int, float] | None, rounds: Rounds
) -> Observation | None:
    if kinds is None or kinds[1] < _MATERIAL_LOG:
        return None
    fast, gap = kinds
    of_processes = instability is Instability.BIMODAL_PROCESSES
    count = int(rounds.processes.max()) + 1 if of_processes else len(rounds.logs)
    more = 2 * len(rounds.logs)
    details = {"percent": _percent(gap), "fast": fast, "slow": count - fast, "more": more}
    return Observation(instability, details)


def _position(rounds: Rounds) -> Observation | None:
    """The first place in a round against all later ones."""
    first = np.array([each.position == 0 for each in rounds.taken])
    if first.all() or not first.any():
        return None
    size = float(np.median(rounds.logs[first]) - np.median(rounds.logs[~first]))
    design = first[:, None].astype(np.float64)
    if abs(size) < _MATERIAL_LOG or permutation_p_value(rounds.logs, design) > LEVEL:
        return None
    return Observation(Instability.POSITION, _change(size))


def _outlying_rounds(rounds: Rounds, has_pattern: bool) -> Observation | None:
    """Rounds far from the others; where these follow a pattern, many of them are part of it."""
    far = outliers(rounds.logs)
    if far.size == 0 or (has_pattern and far.size > len(rounds.logs) // 4):
        return None
    deviations = rounds.logs - np.median(rounds.logs)
    listed = [
        f"round {rounds.taken[place].round} ({100 * math.expm1(deviations[place]):+.0f} %)"
        for place in far[:_LISTED_ROUNDS]
    ]
    if far.size > _LISTED_ROUNDS:
        listed.append(f"{far.size - _LISTED_ROUNDS} more")
    details: Details = {
        "outliers": int(far.size),
        "rounds": len(deviations),
        "listed": ", ".join(listed),
    }
    return Observation(Instability.OUTLYING_ROUNDS, details)


def _interrupted(rounds: Rounds) -> Observation | None:
    """Samples that stand out of their round on the slow side."""
    told = [each for each in rounds.residuals if len(each) > 2]
    residuals = np.concatenate([np.zeros(0), *told])
    # The middle one of an odd number of samples lies at their median: it tells no spread.
    apart = np.abs(residuals[residuals != 0])
    if apart.size == 0:
        return None
    spread = _DEVIATIONS_IN_MAD * float(np.median(apart))
    share = float(np.mean(residuals > max(OUTLIER * spread, math.log1p(FAR_LONGER))))
    if share < INTERRUPTED_SHARE:
        return None
    return Observation(Instability.INTERRUPTED, {"percent": 100 * share})


def _never_steady(rounds: Rounds) -> Observation | None:
    unsteady = sum(not each.steady for each in rounds.taken)
    if unsteady == 0:
        return None
    details = {"unsteady": unsteady, "rounds": len(rounds.taken)}
    return Observation(Instability.NEVER_STEADY, details)


def _cold_samples(rounds: Rounds) -> Observation | None:
    """The first sample of each round against the others of it."""
    excess = [float(each[0] - np.median(each[1:])) for each in rounds.residuals if len(each) > 2]
    if not excess:
        return None
    size = hodges_lehmann(excess)
    if size < _MATERIAL_LOG or p_value(excess, "greater") > LEVEL:
        return None
    return Observation(Instability.COLD_SAMPLES, {"percent": _percent(size)})


def _rounds_vary(rounds: Rounds) -> Observation | None:
    spread = robust_spread(rounds.logs)
    if spread <= NOISY_SPREAD:
        return None
    details = {"percent": 100 * spread, "more": 2 * len(rounds.logs)}
    return Observation(Instability.ROUNDS_VARY, details)


def _samples_vary(rounds: Rounds) -> Observation | None:
    spread = rounds.inside_spread
    # Interruptions are a reason of their own.
    if spread is None or spread <= NOISY_SPREAD or _interrupted(rounds) is not None:
        return None
    return Observation(Instability.SAMPLES_VARY, {"percent": 100 * spread})


def _few_samples(rounds: Rounds) -> Observation | None:
    """Rounds with fewer samples than the sampler takes of a step of that length."""
    count = int(np.median([len(each.seconds) for each in rounds.taken]))
    least = SampleRule().samples_for(math.exp(float(np.median(rounds.logs))))
    if count >= min(least, SampleRule().min_samples):
        return None
    samples = f"{count} sample{'' if count == 1 else 's'}"
    return Observation(Instability.FEW_SAMPLES, {"samples": samples})


_CHECKS: tuple[Callable[[Rounds], Observation | None], ...] = (
    _position,
    _interrupted,
    _never_steady,
    _cold_samples,
    _rounds_vary,
    _samples_vary,
    _few_samples,
)


def _coarse_clock(rounds: Rounds, clock_step_seconds: float) -> Observation | None:
    """Samples that are no more than a few steps of the clock.

    The clock's step is the recorded one, or what divides all samples where that is larger.
    """
    samples = {round(each * one.loops * 1e9) for one in rounds.taken for each in one.seconds}
    # Two numbers may have a large divisor by chance, three hardly ever.
    step = max(math.gcd(*samples) if len(samples) > 2 else 1, clock_step_seconds * 1e9)
    ticks = min(samples) / step
    if ticks >= LEAST_TICKS:
        return None
    return Observation(Instability.COARSE_CLOCK, {"ticks": ticks, "least": LEAST_TICKS})


def _percent(log_ratio: float) -> float:
    return 100 * math.expm1(log_ratio)


def _change(log_ratio: float) -> Details:
    """A difference of ln(time) as a percentage and its direction in words."""
    direction = "longer" if log_ratio > 0 else "less"
    return {"percent": abs(_percent(log_ratio)), "direction": direction}
