"""A stored run as claims read it: cases by workload and axes, ratios with intervals, facts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from benchctl.claims.verdicts import (
    MARGIN,
    Observation,
    Outcome,
    Ratio,
    outcome_of_check,
    outcome_of_count,
    outcome_of_interval,
)
from benchctl.compare.pairs import process_log_medians
from benchctl.compare.summary import paired_log_ratios
from benchctl.report.numbers import format_bytes
from benchctl.stats.planner import more_rounds
from benchctl.stats.verdict import Judgement, judge, judge_unpaired
from benchctl.store.record import ArmResult, CaseResult, Run

SETTINGS = "claims"
"""The key of a plan's settings with the names, facts and gaps of a run of claims."""

NOT_REACHED = "not reached within the budget"
LONGER = "a longer --budget measures it"


class Evidence:
    """What one run holds of one claim."""

    def __init__(self, run: Run, claim: str) -> None:
        self.run = run
        stored: Mapping[str, Any] = run.plan.settings.get(SETTINGS, {})
        self.facts: Mapping[str, Any] = stored.get("facts", {}).get(claim, {})
        reason, hint = stored.get("skipped", {}).get(claim, ("", ""))
        self.skipped = (str(reason), str(hint))
        self._unavailable: Mapping[str, Any] = stored.get("unavailable", {})

    def cases(self, workload: str, **axes: str) -> list[CaseResult]:
        """The cases of a workload with these axis values, in the plan's order."""
        return [
            case
            for case in self.run.cases
            if case.case.workload == workload
            and all(str(case.case.parameters.get(name)) == value for name, value in axes.items())
        ]

    def arm(self, case: CaseResult, arm_id: str) -> ArmResult | None:
        """An arm of a case, whatever became of it."""
        return next((arm for arm in case.arms if arm.arm.id == arm_id), None)

    def has(self, case: CaseResult, arm_id: str) -> bool:
        """Whether an arm of a case was planned here."""
        return self.arm(case, arm_id) is not None

    # Observations --------------------------------------------------------------------------

    def times(
        self, what: str, case: CaseResult, arm_id: str, over_id: str, *, judged: bool = True
    ) -> Observation:
        """time(arm) / time(over) of one case, from the rounds that both have."""
        arm, over = self.arm(case, arm_id), self.arm(case, over_id)
        gap = self._gap(arm, arm_id) or self._gap(over, over_id)
        if gap is not None:
            return missing(what, *gap, judged=judged)
        assert arm is not None and over is not None
        logs = paired_log_ratios(arm, over)
        if not logs:
            return missing(what, "the two have no round in common", judged=judged)
        return _timed(what, judge(logs), logs, judged)

    def times_of_cases(
        self, what: str, case: CaseResult, over: CaseResult, arm_id: str, *, judged: bool = True
    ) -> Observation:
        """time(case) / time(over) of one arm: two cases share no rounds, so ranks are compared."""
        arm, other = self.arm(case, arm_id), self.arm(over, arm_id)
        gap = self._gap(arm, arm_id) or self._gap(other, arm_id)
        if gap is not None:
            return missing(what, *gap, judged=judged)
        assert arm is not None and other is not None
        found = judge_unpaired(process_log_medians(arm), process_log_medians(other))
        return _timed(what, found, [], judged)

    def peaks(
        self,
        what: str,
        case: CaseResult,
        arm_id: str,
        over_case: CaseResult,
        over_id: str,
        *,
        judged: bool = True,
    ) -> Observation:
        """The resident peak of an arm over another's: one count a side, hence no interval."""
        arm, over = self.arm(case, arm_id), self.arm(over_case, over_id)
        gap = self._gap(arm, arm_id) or self._gap(over, over_id)
        if gap is not None:
            return missing(what, *gap, judged=judged)
        assert arm is not None and over is not None
        one, two = arm.memory.resident_above_import, over.memory.resident_above_import
        if not one or not two:
            return missing(what, "no peak was recorded", judged=judged)
        seen = f"{format_bytes(one)} against {format_bytes(two)}"
        ratio = Ratio(one / two)
        return Observation(what, outcome_of_count(ratio.value), ratio, seen, judged=judged)

    def verified(
        self, what: str, case: CaseResult, arm_id: str, *, judged: bool = True
    ) -> Observation:
        """Whether an arm's results were those of float64 before it was timed."""
        arm = self.arm(case, arm_id)
        if arm is None or arm.status in ("planned", "unavailable"):
            gap = self._gap(arm, arm_id) or ("nothing was checked", "", Outcome.MISSING)
            return missing(what, *gap, judged=judged)
        verification = arm.verification
        if verification is None and arm.status == "ok":
            return missing(what, f"{arm_id} was timed without a check", judged=judged)
        if verification is None:
            seen = arm.message.partition("\n")[0] or arm.status
            return Observation(what, Outcome.AGAINST, seen=seen, judged=judged)
        names = ", ".join(check.output for check in verification.checks[:4])
        more = len(verification.checks) - 4
        seen = names + (f" and {more} more" if more > 0 else "")
        return Observation(what, outcome_of_check(verification.ok), seen=seen, judged=judged)

    def _gap(self, arm: ArmResult | None, arm_id: str) -> tuple[str, str, Outcome] | None:
        """Why an arm has no times and what to do, None where it has.

        One that was planned and not reached leaves open what it would have said.
        """
        if arm is None:
            reason, hint = self._unavailable.get(arm_id, ("", ""))
            return reason or f"{arm_id} was not planned", hint, Outcome.MISSING
        if arm.status == "planned":
            return NOT_REACHED, LONGER, Outcome.UNDECIDED
        if any(each.seconds for each in arm.rounds):
            return None
        said = arm.message.partition("\n")[0] or arm.status
        return f"{arm_id}: {said}", arm.hint, Outcome.MISSING


def missing(
    what: str,
    reason: str = "",
    hint: str = "",
    outcome: Outcome = Outcome.MISSING,
    *,
    judged: bool = True,
) -> Observation:
    """Something that was not seen, and why."""
    return Observation(what, outcome, reason=reason, hint=hint, judged=judged)


def checked(what: str, ok: bool, seen: str = "", *, judged: bool = True) -> Observation:
    """A check that was made."""
    return Observation(what, outcome_of_check(ok), seen=seen, judged=judged)


def _timed(what: str, found: Judgement, logs: list[float], judged: bool) -> Observation:
    low = None if found.low is None else math.exp(found.low)
    high = None if found.high is None else math.exp(found.high)
    outcome = outcome_of_interval(low, high)
    lacking = None
    if outcome is Outcome.UNDECIDED and logs:
        lacking = more_rounds(logs, found.estimate, margin=MARGIN - 1)
    return Observation(
        what, outcome, Ratio(math.exp(found.estimate), low, high, lacking), judged=judged
    )
