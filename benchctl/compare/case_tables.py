"""Two tables of a case, never mixed: our engines among themselves, and every engine.

Only between our own engines is a difference one of paradigm: they share their kernels, or do the
same by hand. A framework differs in everything at once: its table is one of implementations.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from benchctl.compare.findings import Notice
from benchctl.compare.peers import YARDSTICK, is_peer, peer_names, with_peers
from benchctl.compare.summary import CaseSummary, RunSummary, summarise, summarise_case
from benchctl.store.record import ArmResult, CaseResult, Plan, Run

PARADIGM = "paradigm: our engines, on the same kernels or by hand"
IMPLEMENTATION = "implementation: every engine"


@dataclass(frozen=True, slots=True)
class CaseTables:
    """What is shown of one case: at least one of the tables.

    `everything` has every arm as the plan compares them, for what is said of single arms.
    `paradigm` is without frameworks, and None where fewer than two of ours are measured beside one;
    `implementation` is None where no framework is measured. `peers` are the ids of the arms of
    frameworks.
    """

    everything: CaseSummary
    paradigm: CaseSummary | None
    implementation: CaseSummary | None
    peers: frozenset[str] = frozenset()

    @property
    def named(self) -> tuple[tuple[str, CaseSummary], ...]:
        """The tables with their titles; without frameworks there is but one, and it has none."""
        if not self.peers and self.paradigm is not None:
            return (("", self.paradigm),)
        pairs = ((PARADIGM, self.paradigm), (IMPLEMENTATION, self.implementation))
        return tuple((title, each) for title, each in pairs if each is not None)

    def own(self, arm_id: str) -> CaseSummary:
        """The first table that an arm is compared in: of ours the paradigms, where there is one."""
        return next((each for _, each in self.named if each.arm(arm_id)), self.everything)

    @property
    def warnings(self) -> tuple[Notice, ...]:
        """Those of both tables, each kind once an arm: the one that asks for more comes first."""
        found: dict[tuple[object, str], Notice] = {}
        for _, table in reversed(self.named):
            for notice in table.warnings:
                found.setdefault((notice.finding, notice.arm_id), notice)
        return tuple(found.values())

    @property
    def failures(self) -> tuple[ArmResult, ...]:
        """The arms to give reasons for, fastest first; why a framework is n/a is told with it."""
        return tuple(
            arm.result
            for arm in self.everything.arms
            if arm.result.status != "unavailable" or arm.result.arm.id not in self.peers
        )


def tables_of_run(summary: RunSummary) -> tuple[CaseTables, ...]:
    """The tables of every case, in the run's order."""
    plan, names = summary.run.plan, peer_names(summary.run)
    pairs = zip(summary.run.cases, summary.cases, strict=True)
    return tuple(tables_of_case(plan, case, everything, names) for case, everything in pairs)


def tables_of_case(
    plan: Plan, case: CaseResult, everything: CaseSummary, names: Collection[str]
) -> CaseTables:
    """The tables of one case; `names` are the engines that are frameworks."""
    peers = tuple(arm for arm in case.arms if is_peer(arm, names))
    if not peers:
        return CaseTables(everything, everything, None)
    ours = tuple(arm for arm in case.arms if not is_peer(arm, names))
    rivals = any(arm.rounds for arm in peers)
    compared = sum(bool(arm.rounds) for arm in ours) > 1
    alone = replace(case, arms=ours)
    return CaseTables(
        everything,
        summarise_case(plan, alone) if ours and (compared or not rivals) else None,
        implementation_of(plan, case, names) if rivals or not ours else None,
        frozenset(arm.arm.id for arm in peers),
    )


def implementation_of(plan: Plan, case: CaseResult, names: Collection[str]) -> CaseSummary:
    """Every arm of a case, compared with the plan's framework or else the static engine.

    The winner is found between the fastest of our engines and the frameworks, under Holm's
    correction for their number: who leads among ours is for the table of paradigms to say.
    """
    reference = _reference(plan, case, names)
    summary = summarise_case(replace(plan, reference_arm=reference), case)
    rivals = [arm for arm in case.arms if is_peer(arm, names)]
    measured = [arm.result for arm in summary.arms if arm.rounds]
    fastest = next((arm for arm in measured if not is_peer(arm, names)), None)
    if fastest is None:
        return summary
    if not any(is_peer(arm, names) for arm in measured):
        return replace(summary, winner=None, payback=None)
    border = summarise_case(
        replace(plan, reference_arm=fastest.arm.id), replace(case, arms=(fastest, *rivals))
    )
    return replace(summary, winner=border.winner, payback=border.payback)


def _reference(plan: Plan, case: CaseResult, names: Collection[str]) -> str:
    """A framework that the plan compares with stays; else the static engine, where measured."""
    measured = {arm.arm.id: arm for arm in case.arms if arm.rounds}
    planned = measured.get(plan.reference_arm)
    if planned is not None and is_peer(planned, names):
        return plan.reference_arm
    return YARDSTICK if YARDSTICK in measured else plan.reference_arm


def implementation_summary(run: Run) -> RunSummary:
    """The cases of a run that a framework takes part in, each as its table of implementations."""
    run, names = with_peers(run), peer_names(run)
    cases = tuple(implementation_of(run.plan, case, names) for case in run.cases)
    return replace(summarise(run), cases=cases)
