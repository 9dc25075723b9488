"""A gate from its first round to its outcome: screen, check the controls, confirm."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from benchctl.compare.pairs import Comparison, compare_rounds
from benchctl.gate import decide
from benchctl.gate.decide import Confirmation, GateRule
from benchctl.gate.outcomes import (
    CaseOutcome,
    ControlOutcome,
    GateResult,
    Key,
    control_outcomes,
    decide_ending,
    decide_outcomes,
)
from benchctl.gate.plans import is_control, narrowed
from benchctl.store.record import Plan, Run

Measure = Callable[[Plan], Run]
"""Measures a plan and gives the stored run."""

Say = Callable[[str], None]

_RETRIES = 1


@dataclass(frozen=True, slots=True)
class GateRequest:
    """What a gate needs to know beside its plan; `removed` are cases that only the base has."""

    rule: GateRule
    base: str
    head: str
    counts: Mapping[str, float]
    quarantine: frozenset[str] = frozenset()
    removed: tuple[str, ...] = ()
    strict: bool = False


def run_gate(
    plan: Plan, request: GateRequest, measure: Measure, say: Say
) -> tuple[GateResult, list[Run]]:
    """Measure and decide; `plan` is that of the screen. The runs are those measured, in order."""
    runs: list[Run] = []
    screened, controls = _stage("screen", plan, request, measure, say, runs)
    if any(each.contaminated for each in controls):
        return _result(screened, {}, {}, (), controls, request), runs
    ratios = _log_ratios(screened)
    candidates = decide.candidates(ratios, _rule_of(ratios, request.rule))
    confirmed: dict[Key, Confirmation] = {}
    reasons: dict[Key, str] = {}
    if candidates:
        words = ", ".join(" ".join(key) for key in candidates)
        say(f"measuring again what may be slower: {words}")
        rule = request.rule
        again = narrowed(plan, candidates, rounds=rule.confirm_rounds, seed=plan.seed + 1)
        fresh, more_controls = _stage("confirm", again, request, measure, say, runs)
        controls = [*controls, *more_controls]
        confirmed, reasons = _confirm(fresh, rule)
    return _result(screened, confirmed, reasons, candidates, controls, request), runs


def _stage(
    name: str, plan: Plan, request: GateRequest, measure: Measure, say: Say, runs: list[Run]
) -> tuple[Comparison, list[ControlOutcome]]:
    """One stage, measured again where a control was off; the last try counts."""
    for attempt in range(_RETRIES + 1):
        # A second try on the same seed would repeat the order, not the machine's moods.
        run = measure(plan)
        runs.append(run)
        comparison = compare_rounds(
            run,
            request.base,
            request.head,
            margin=request.rule.margin,
            margins=request.rule.margins,
        )
        controls = control_outcomes(name, comparison)
        disturbed = [each.name for each in controls if each.contaminated]
        if not disturbed:
            break
        if attempt < _RETRIES:
            say(
                f"the machine was disturbed ({', '.join(disturbed)} differs from itself): once more"
            )
    return comparison, controls


def _log_ratios(comparison: Comparison) -> dict[Key, list[float]]:
    """The rounds of every pair that has any and is no control."""
    return {
        (pair.case.id, pair.label): list(pair.log_ratios.values())
        for pair in comparison.pairs
        if not is_control(pair.case) and pair.log_ratios
    }


def _rule_of(keys: Iterable[Key], rule: GateRule) -> GateRule:
    """The rule with the margin of each case for its pairs."""
    return replace(rule, margins={key: rule.margin_of(key[0]) for key in keys})


def _confirm(fresh: Comparison, rule: GateRule) -> tuple[dict[Key, Confirmation], dict[Key, str]]:
    """What fresh rounds say of the pairs that have all of them, and why others have not."""
    enough = {
        key: each for key, each in _log_ratios(fresh).items() if len(each) == rule.confirm_rounds
    }
    reasons = {
        key: pair.reason or f"only {len(pair.log_ratios)} of {rule.confirm_rounds} rounds"
        for pair in fresh.pairs
        if not is_control(pair.case) and (key := (pair.case.id, pair.label)) not in enough
    }
    return decide.confirm(enough, _rule_of(enough, rule)), reasons


def _result(
    screened: Comparison,
    confirmed: Mapping[Key, Confirmation],
    reasons: Mapping[Key, str],
    candidates: Sequence[Key],
    controls: Sequence[ControlOutcome],
    request: GateRequest,
) -> GateResult:
    cases: list[CaseOutcome] = decide_outcomes(
        screened,
        candidates,
        confirmed,
        reasons,
        counts=request.counts,
        quarantine=request.quarantine,
        removed=request.removed,
    )
    ending = decide_ending(cases, controls, strict=request.strict)
    return GateResult(
        ending,
        tuple(cases),
        tuple(controls),
        request.rule,
        request.base,
        request.head,
        tuple(candidates),
    )
