"""What a report draws on: the newest measurement of each case, one view per machine.

Arms are never mixed over runs: only arms of one run shared their rounds. Runs on another machine
or with another number of threads make a view of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from benchctl.compare.case_tables import implementation_summary
from benchctl.compare.findings import Notice
from benchctl.compare.peers import against_static, in_house, is_peer, peer_names, with_peers
from benchctl.compare.summary import ArmSummary, CaseSummary, RunSummary, summarise, warnings_of_run
from benchctl.stats.planner import minimum_rounds
from benchctl.store.record import ArmResult, CaseSpec, Run


@dataclass(frozen=True, slots=True)
class MeasuredCase:
    """One case as one run measured it."""

    run: Run
    summary: CaseSummary

    @property
    def case(self) -> CaseSpec:
        """The case's workload and axis values."""
        return self.summary.case

    def parameter(self, name: str, default: str = "") -> str:
        """An axis value as text, `default` where the case has no such axis."""
        return str(self.case.parameters.get(name, default))

    def arms(self) -> tuple[ArmSummary, ...]:
        """The arms with a median, in the plan's order (not the ranking's)."""
        place = {arm.id: index for index, arm in enumerate(self.run.plan.arms)}
        found = (arm for arm in self.summary.arms if is_measured(arm))
        return tuple(sorted(found, key=lambda arm: place.get(arm.result.arm.id, len(place))))

    def arm(self, arm_id: str) -> ArmSummary | None:
        """The measured arm with that id, if any."""
        return next((arm for arm in self.arms() if arm.result.arm.id == arm_id), None)

    def has_measured_framework(self) -> bool:
        """Whether a framework has a time here."""
        names = peer_names(self.run)
        return any(is_peer(arm.result, names) for arm in self.arms())


@dataclass(frozen=True, slots=True)
class View:
    """One machine with one number of threads: its newest measured cases, in the order of runs.

    `cases` hold our own engines and plug-ins. Where frameworks take part a case is in two more:
    in `implementations` every engine with its plan, or why it has no times, and in `peers` those
    that the static engine is measured beside, all compared with it. `notices` are the warnings
    about the runs that the cases come from.
    """

    machine_id: str
    threads: int
    cases: tuple[MeasuredCase, ...]
    notices: tuple[Notice, ...]
    peers: tuple[MeasuredCase, ...] = ()
    implementations: tuple[MeasuredCase, ...] = ()

    def of(self, workload: str) -> tuple[MeasuredCase, ...]:
        """The cases of one workload."""
        return tuple(each for each in self.cases if each.case.workload == workload)

    def runs(self) -> tuple[Run, ...]:
        """The runs drawn on, oldest first."""
        return distinct_runs((*self.cases, *self.implementations))


def distinct_runs(cases: Iterable[MeasuredCase]) -> tuple[Run, ...]:
    """The runs that `cases` come from, each once, oldest first."""
    runs = {each.run.run_id: each.run for each in cases}
    return tuple(sorted(runs.values(), key=_age))


def is_measured(arm: ArmSummary) -> bool:
    """Whether the arm has a steady time to show."""
    return arm.result.status == "ok" and arm.median_seconds is not None


def make_views(runs: Sequence[Run]) -> tuple[View, ...]:
    """One view per machine and thread count, the one measured last first."""
    groups: dict[tuple[str, int], list[Run]] = {}
    for run in sorted(runs, key=_age):
        groups.setdefault((str(run.machine.get("id", "")), run.plan.threads), []).append(run)
    by_latest = sorted(groups.items(), key=lambda item: _age(item[1][-1]), reverse=True)
    views = (_make_view(machine, threads, group) for (machine, threads), group in by_latest)
    return tuple(view for view in views if view.cases or view.implementations)


def _make_view(machine_id: str, threads: int, runs: Sequence[Run]) -> View:
    cases, notices = _summarised(runs, in_house)
    peers, _ = _summarised(runs, against_static)
    implementations, others = _summarised(runs, with_peers, implementation_summary)
    return View(
        machine_id,
        threads,
        tuple(cases),
        (*notices, *others),
        tuple(peers),
        tuple(implementations),
    )


def _summarised(
    runs: Sequence[Run],
    part_of: Callable[[Run], Run],
    summarise_part: Callable[[Run], RunSummary] = summarise,
) -> tuple[list[MeasuredCase], list[Notice]]:
    """Only the runs that something is shown of are summarised: a store may hold many."""
    wanted = _newest([part_of(run) for run in runs])
    cases: list[MeasuredCase] = []
    notices: list[Notice] = []
    for run in runs:
        ids = wanted.get(run.run_id)
        if ids:
            summary = summarise_part(part_of(run))
            notices.extend(warnings_of_run(run))
            cases.extend(MeasuredCase(run, each) for each in summary.cases if each.case.id in ids)
    return cases, notices


def _newest(runs: Sequence[Run]) -> dict[str, list[str]]:
    """Run ids with the cases to take from them: of each case the newest measurement.

    A measurement with a framework comes before one without, one that compares arms before one of a
    single arm, and one with rounds enough for an answer before one without, however new.
    """
    chosen: dict[str, tuple[Run, tuple[bool, int, bool]]] = {}
    for run in runs:
        names = peer_names(run)
        for result in run.cases:
            arms = [arm for arm in result.arms if _has_rounds(arm)]
            rivals = any(is_peer(arm, names) for arm in arms)
            worth = (rivals, min(2, len(arms)), _can_answer(arms))
            previous = chosen.get(result.case.id)
            if arms and (previous is None or worth >= previous[1]):
                chosen[result.case.id] = (run, worth)
    wanted: dict[str, list[str]] = {}
    for case_id, (run, _) in chosen.items():
        wanted.setdefault(run.run_id, []).append(case_id)
    return wanted


def _can_answer(arms: Sequence[ArmResult]) -> bool:
    """Whether every arm has the rounds that a comparison of them all takes."""
    needed = minimum_rounds(comparisons=max(1, len(arms) - 1))
    return all(len(arm.rounds) >= needed for arm in arms)


def _has_rounds(arm: ArmResult) -> bool:
    return arm.status == "ok" and bool(arm.rounds)


def _age(run: Run) -> tuple[str, str]:
    return run.started_utc, run.run_id
