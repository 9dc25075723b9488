"""What a gate says of every case, and of itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from benchctl.compare.pairs import Comparison, PairResult
from benchctl.gate.decide import Confirmation, GateRule, contaminated
from benchctl.gate.plans import is_control
from benchctl.plan.cases import selects
from benchctl.stats.verdict import Judgement, Verdict

Key = tuple[str, str]
"""(case id, label): what names a pair."""


class Outcome(Enum):
    """What became of a case; the text is for tables."""

    REGRESSED = "regressed"
    FAILED = "failed"
    QUARANTINED = "quarantined"
    UNCONFIRMED = "unconfirmed"
    INCONCLUSIVE = "inconclusive"
    IMPROVED = "improved"
    SAME = "same"
    NEW = "new"
    REMOVED = "removed"
    UNAVAILABLE = "not available"


class Ending(Enum):
    """How a gate ended."""

    CLEAN = "clean"
    REGRESSION = "regression"
    INCONCLUSIVE = "inconclusive"
    CONTAMINATED = "contaminated"
    FAILED = "failed"
    NOTHING_MEASURED = "nothing measured"


@dataclass(frozen=True, slots=True)
class CountChange:
    """An exact count that differs between base and head; `allowed` is the share it may grow."""

    name: str
    base: int
    head: int
    allowed: float

    @property
    def grew(self) -> bool:
        """Whether it grew by more than it may."""
        return self.head > self.base * (1 + self.allowed)


@dataclass(frozen=True, slots=True)
class CaseOutcome:
    """One case on one engine. `interval` and `estimate` are of ln(head / base).

    They come from the confirmation where there was one, else from the screen; `p_value` is that of
    the confirmation.
    """

    key: Key
    outcome: Outcome
    pair: PairResult | None
    estimate: float | None = None
    interval: tuple[float, float] | None = None
    p_value: float | None = None
    counts: tuple[CountChange, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ControlOutcome:
    """One control in one stage."""

    stage: str
    name: str
    judgement: Judgement
    contaminated: bool


@dataclass(frozen=True, slots=True)
class GateResult:
    """Everything a gate found; `ending` decides the exit code."""

    ending: Ending
    cases: tuple[CaseOutcome, ...]
    controls: tuple[ControlOutcome, ...]
    rule: GateRule
    base: str
    head: str
    candidates: tuple[Key, ...] = ()

    def of(self, outcome: Outcome) -> list[CaseOutcome]:
        """The cases with that outcome."""
        return [each for each in self.cases if each.outcome is outcome]


def control_outcomes(stage: str, comparison: Comparison) -> list[ControlOutcome]:
    """The controls of one stage."""
    return [
        ControlOutcome(stage, pair.case.id, pair.judgement, contaminated(pair.judgement))
        for pair in comparison.pairs
        if is_control(pair.case) and pair.judgement is not None
    ]


def changed_counts(pair: PairResult, limits: Mapping[str, float]) -> tuple[CountChange, ...]:
    """The exact counts that both sides have and that differ."""
    base, head = pair.base.counts, pair.head.counts
    return tuple(
        CountChange(name, base[name], head[name], allowed)
        for name, allowed in limits.items()
        if name in base and name in head and base[name] != head[name]
    )


def decide_outcomes(
    screened: Comparison,
    candidates: Collection[Key],
    confirmed: Mapping[Key, Confirmation],
    unconfirmed_reasons: Mapping[Key, str],
    *,
    counts: Mapping[str, float],
    quarantine: Collection[str],
    removed: Sequence[str] = (),
) -> list[CaseOutcome]:
    """The outcome of every pair that is no control.

    `confirmed` holds the candidates that could be measured again, `unconfirmed_reasons` says why
    the others could not.
    """
    found = []
    for pair in screened.pairs:
        if is_control(pair.case):
            continue
        key = pair.case.id, pair.label
        made = _decide(pair, key, candidates, confirmed, unconfirmed_reasons, counts)
        if _is_quarantined(key, quarantine) and made.outcome in (Outcome.REGRESSED, Outcome.FAILED):
            made = _as(made, Outcome.QUARANTINED)
        found.append(made)
    found += [CaseOutcome((case_id, ""), Outcome.REMOVED, None) for case_id in removed]
    order = list(Outcome)
    return sorted(found, key=lambda each: (order.index(each.outcome), each.key))


def _is_quarantined(key: Key, quarantine: Collection[str]) -> bool:
    """Whether an entry names the case, or the case on its engine: `xyz[size=3x4] eager`."""
    return any(_names(entry, key) for entry in quarantine)


def unused_entries(result: GateResult, quarantine: Collection[str]) -> list[str]:
    """The entries that name no case of a gate: misspelt, or no longer there."""
    keys = [case.key for case in result.cases]
    return sorted(entry for entry in quarantine if not any(_names(entry, key) for key in keys))


def _names(entry: str, key: Key) -> bool:
    case_id, label = key
    if selects(entry, case_id):
        return True
    return entry.endswith(f" {label}") and selects(entry.removesuffix(f" {label}"), case_id)


def _as(made: CaseOutcome, outcome: Outcome) -> CaseOutcome:
    return replace(made, outcome=outcome, reason=made.reason or f"would be {made.outcome.value}")


def _decide(
    pair: PairResult,
    key: Key,
    candidates: Collection[Key],
    confirmed: Mapping[Key, Confirmation],
    reasons: Mapping[Key, str],
    counts: Mapping[str, float],
) -> CaseOutcome:
    if pair.judgement is None:
        return _unmeasured(pair, key)
    judgement = pair.judgement
    changes = changed_counts(pair, counts)
    low, high = judgement.low, judgement.high
    interval = None if low is None or high is None else (low, high)
    made = CaseOutcome(
        key, _screen_outcome(judgement), pair, judgement.estimate, interval, None, changes
    )
    if key in candidates:
        found = confirmed.get(key)
        if found is None:
            reason = f"could not be measured again: {reasons.get(key, 'no reason is known')}"
            return replace(made, outcome=Outcome.FAILED, reason=reason)
        made = replace(
            made,
            outcome=Outcome.REGRESSED if found.regressed else Outcome.UNCONFIRMED,
            estimate=found.estimate,
            interval=found.interval,
            p_value=found.p_value,
        )
    if any(each.grew for each in changes):
        words = ", ".join(
            f"{each.name} {each.base} -> {each.head}" for each in changes if each.grew
        )
        return replace(made, outcome=Outcome.REGRESSED, reason=words)
    return made


def _screen_outcome(judgement: Judgement) -> Outcome:
    """What the screen says of a case that is no candidate; it never says that one is slower."""
    if judgement.verdict is Verdict.FASTER:
        return Outcome.IMPROVED
    if judgement.verdict is Verdict.SAME:
        return Outcome.SAME
    return Outcome.INCONCLUSIVE


def _unmeasured(pair: PairResult, key: Key) -> CaseOutcome:
    base, head = pair.base, pair.head
    said = (head.message or base.message).partition("\n")[0]
    if head.status in ("wrong", "crashed", "timeout"):
        return CaseOutcome(key, Outcome.FAILED, pair, reason=f"head {head.status}: {said}")
    if head.status == "unavailable":
        return CaseOutcome(key, Outcome.UNAVAILABLE, pair, reason=said)
    if base.status != "ok":
        said = base.message.partition("\n")[0]
        return CaseOutcome(key, Outcome.NEW, pair, reason=f"base {base.status}: {said}")
    return CaseOutcome(key, Outcome.FAILED, pair, reason=pair.reason)


def decide_ending(
    cases: Sequence[CaseOutcome], controls: Sequence[ControlOutcome], *, strict: bool
) -> Ending:
    """How the gate ended: what makes it red first, since a disturbed machine proves nothing."""
    outcomes = {each.outcome for each in cases}
    if any(each.contaminated for each in controls):
        return Ending.CONTAMINATED
    if not any(each.pair is not None and each.estimate is not None for each in cases):
        return Ending.FAILED if Outcome.FAILED in outcomes else Ending.NOTHING_MEASURED
    if Outcome.REGRESSED in outcomes:
        return Ending.REGRESSION
    if Outcome.FAILED in outcomes:
        return Ending.FAILED
    if strict and outcomes & {Outcome.INCONCLUSIVE, Outcome.UNCONFIRMED}:
        return Ending.INCONCLUSIVE
    return Ending.CLEAN
