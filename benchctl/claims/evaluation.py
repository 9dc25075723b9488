"""The verdicts of a stored run: the same from its file at any later time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from benchctl.claims.claim import Claim
from benchctl.claims.evidence import SETTINGS, Evidence
from benchctl.claims.verdicts import Observation, Outcome, Verdict, verdict_of
from benchctl.plan.errors import PlanError
from benchctl.store.record import Run


class NoClaimsError(PlanError):
    """A run that was not measured for claims."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A claim, what was observed of it, and the verdict of that."""

    claim: Claim
    observations: tuple[Observation, ...]
    verdict: Verdict

    def with_outcome(self, outcome: Outcome) -> tuple[Observation, ...]:
        """What was judged and came out so."""
        return tuple(each for each in self.observations if each.judged and each.outcome is outcome)

    @property
    def gap(self) -> Observation | None:
        """The first judged thing that was not seen, None where all was."""
        return next((each for each in self.observations if each.judged and each.reason), None)


def is_claims_run(run: Run) -> bool:
    """Whether a run was measured for claims."""
    return SETTINGS in run.plan.settings


def judge_run(run: Run) -> tuple[Judged, ...]:
    """The claims that a run was made for, in the lecture's order; raises `NoClaimsError`."""
    if not is_claims_run(run):
        raise NoClaimsError(
            f"run {run.run_id} was not measured for claims", "benchctl claims measures one"
        )
    # The experiments bring the static engine along: a report without claims does without both.
    from benchctl.claims.catalogue import CLAIMS

    names = run.plan.settings[SETTINGS]["names"]
    return tuple(_judged(claim, run) for claim in CLAIMS if claim.name in names)


def _judged(claim: Claim, run: Run) -> Judged:
    observations = claim.judge(Evidence(run, claim.name))
    return Judged(claim, observations, verdict_of(observations))


def newest_claims(runs: Iterable[Run]) -> dict[tuple[str, int], Run]:
    """The newest run of claims of each machine and number of threads; it has some result."""
    found = {}
    for run in sorted(runs, key=lambda run: run.started_utc):
        if is_claims_run(run) and any(arm.rounds for case in run.cases for arm in case.arms):
            found[str(run.machine.get("id", "")), run.plan.threads] = run
    return found


def without_claims(runs: Iterable[Run]) -> list[Run]:
    """The runs that were measured for something else."""
    return [run for run in runs if not is_claims_run(run)]
