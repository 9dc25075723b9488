"""What a run recorded of each framework: version, threads, backend and options, or why it is n/a.

The first note of an adapter says on what it runs, the others how it was set; nothing is guessed
from a name.
"""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from benchctl.compare.summary import CaseSummary
from benchctl.plan.schedule import threads_of_case
from benchctl.report.results import NOT_HERE, where_words
from benchctl.report.sentences import UNMEASURED
from benchctl.report.table import GAP, Column, Table, align, cell_width
from benchctl.store.record import ArmResult, Plan

TITLE = "frameworks"
WIDTH = 80
NOTHING = "none recorded"


@dataclass(frozen=True, slots=True)
class Framework:
    """One arm of a framework over the cases of a workload, in words.

    What held in some of the cases only says in which. `absent` tells why it has no times there;
    the other fields are empty where it has none at all.
    """

    arm_id: str
    versions: str = ""
    threads: str = ""
    backend: str = ""
    options: str = ""
    absent: tuple[str, ...] = ()


def frameworks_of(
    plan: Plan, names: Collection[str], cases: Sequence[CaseSummary]
) -> tuple[Framework, ...]:
    """The frameworks of some cases of one workload, in the plan's order.

    `names` are the engines that are frameworks; the cases have all arms of the run.
    """
    present = {arm.result.arm.id for case in cases for arm in case.arms}
    return tuple(
        _framework(arm.id, plan, cases)
        for arm in plan.arms
        if arm.engine in names and arm.id in present
    )


def _framework(arm_id: str, plan: Plan, cases: Sequence[CaseSummary]) -> Framework:
    found = [(case, arm.result) for case in cases if (arm := case.arm(arm_id)) is not None]
    started = [pair for pair in found if pair[1].status not in ("unavailable", "planned")]
    absent = _told([(case, _absence(result)) for case, result in found], cases)
    if not started:
        return Framework(arm_id, absent=absent)
    return Framework(
        arm_id,
        versions=_joined((case, _versions(result)) for case, result in started),
        threads=_joined(
            (case, _threads(result, threads_of_case(plan, case.case.id)))
            for case, result in started
        ),
        backend=_joined((case, _backend(result)) for case, result in started),
        options=_joined((case, _options(result)) for case, result in started),
        absent=absent,
    )


def _joined(told: Iterable[tuple[CaseSummary, Sequence[str]]]) -> str:
    """What was recorded in the cases that the framework started in; never empty."""
    pairs = list(told)
    return "; ".join(_told(pairs, [case for case, _ in pairs])) or NOTHING


def _told(
    pairs: Sequence[tuple[CaseSummary, Sequence[str]]], among: Sequence[CaseSummary]
) -> tuple[str, ...]:
    """Every text once, with the cases that it holds in where those are not all."""
    holds: dict[str, list[CaseSummary]] = {}
    for case, texts in pairs:
        for text in dict.fromkeys(texts):
            holds.setdefault(text, []).append(case)
    places = {text: where_words(some, among) for text, some in holds.items()}
    return tuple(f"{text} ({where})" if where else text for text, where in places.items())


def _versions(result: ArmResult) -> list[str]:
    named = ", ".join(f"{name} {version}" for name, version in result.versions.items())
    return [named] if named else []


def _threads(result: ArmResult, planned: int) -> list[str]:
    """What the framework counted itself comes before what it was asked for."""
    if "threads" in result.counts:
        return [f"{result.counts['threads']} in use"]
    return [f"asked for {planned}"] if planned else []


def _backend(result: ArmResult) -> list[str]:
    if result.notes:
        return [result.notes[0]]
    families = dict.fromkeys(kernel.partition(":")[0] for kernel in result.kernels)
    return [", ".join(families)] if families else []


def _options(result: ArmResult) -> list[str]:
    switches = [f"{name}={value}" for name, value in result.arm.switches.items()]
    return [*switches, *result.notes[1:]]


def _absence(result: ArmResult) -> list[str]:
    """Why an arm has no times; empty where it has."""
    if result.status == "ok":
        return []
    word = UNMEASURED[result.status]
    if result.status != "unavailable":
        return [word]
    reason = " ".join((result.message or "no reason was recorded").split())
    return [f"{word}: {reason}; {result.hint}" if result.hint else f"{word}: {reason}"]


# As text and as a table ----------------------------------------------------------------------


def framework_lines(frameworks: Sequence[Framework]) -> list[str]:
    """A block for a terminal of 80 columns; empty where there is no framework."""
    if not frameworks:
        return []
    width = max(cell_width(each.arm_id) for each in frameworks)
    lines = [TITLE]
    for each in frameworks:
        below = [line for part in _parts(each) for line in _wrapped(part, WIDTH - width - 4)]
        names = [each.arm_id, *[""] * (len(below) - 1)]
        lines += [
            align(name, width, right=False) + GAP + line
            for name, line in zip(names, below, strict=True)
        ]
    return lines


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(
        text, width, subsequent_indent=GAP, break_long_words=False, break_on_hyphens=False
    )


def _parts(framework: Framework) -> list[str]:
    if not framework.versions:
        return list(framework.absent)
    return [
        f"version: {framework.versions}; threads: {framework.threads}",
        f"backend: {framework.backend}",
        f"options: {framework.options}",
        *framework.absent,
    ]


def framework_table(frameworks: Sequence[Framework]) -> Table:
    """The same with one row a framework."""
    titles = ("framework", "version", "threads", "backend", "options")
    columns = tuple(Column(title, align_right=False) for title in titles)
    return Table(columns, tuple(_row(each) for each in frameworks))


def _row(framework: Framework) -> tuple[str, ...]:
    absent = "; ".join(framework.absent)
    if not framework.versions:
        return (framework.arm_id, absent, *[NOT_HERE] * 3)
    options = f"{framework.options}; {absent}" if absent else framework.options
    return (
        framework.arm_id,
        framework.versions,
        framework.threads,
        framework.backend,
        options,
    )
