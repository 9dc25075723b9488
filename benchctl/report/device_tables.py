"""The extra table of arms on a GPU: whose time a step takes, the device's or the host's."""

from __future__ import annotations

from collections.abc import Sequence

from benchctl.compare.device_times import DeviceSummary, summarise_device
from benchctl.compare.summary import ArmSummary, CaseSummary
from benchctl.report import numbers
from benchctl.report.table import Column, Table
from benchctl.store.record import STEP_PHASES

MISSING = "-"
_FIGURES = (
    ("device, cold L2", "cold"),
    ("device, warm L2", "warm"),
    ("wall", "wall"),
    ("host issue", "issue"),
    ("replay", "replay"),
    ("copy in", "copy_in"),
)


def device_table(
    cases: Sequence[CaseSummary], axes: Sequence[str], *, by_id: bool = False
) -> Table | None:
    """One row for each arm with device times; None where there is none.

    `axes`, or with `by_id` the id, tell the cases apart. Where some step has several phases, the
    device times of forward, backward and update have a column each.
    """
    measured = [(case, arm, found) for case in cases for arm, found in _measured(case)]
    if not measured:
        return None
    phases = [name for name in STEP_PHASES if any(name in found.phases for _, _, found in measured)]
    rows = []
    for case, arm, found in measured:
        labels = [str(case.case.parameters.get(axis, MISSING)) for axis in axes]
        labels = [case.case.id] if by_id else labels
        rows.append((*labels, *_cells(arm, found, phases)))
    columns = (
        *(Column(title, align_right=False) for title in (["case"] if by_id else axes)),
        Column("engine", align_right=False),
        Column("products in", align_right=False),
        *(Column(title) for title, _ in _FIGURES),
        *(Column(name) for name in phases),
        Column("host share"),
        Column("bound by", align_right=False),
    )
    return Table(columns, tuple(rows))


def device_sentences(cases: Sequence[CaseSummary]) -> list[str]:
    """Which arms spend more time on launching than on working, and what disturbed the samples."""
    found = [pair for case in cases for pair in _measured(case)]
    launch_bound = dict.fromkeys(arm.result.arm.id for arm, each in found if each.launch_bound)
    lines = []
    if launch_bound:
        verb = "is" if len(launch_bound) == 1 else "are"
        lines.append(
            f"{', '.join(launch_bound)} {verb} launch-bound: the device works on a step for less "
            "than half of its wall time."
        )
    marks = dict.fromkeys((arm.result.arm.id, mark) for arm, each in found for mark in each.marks)
    return [*lines, *(f"{arm_id}: {mark}." for arm_id, mark in marks)]


def _measured(case: CaseSummary) -> list[tuple[ArmSummary, DeviceSummary]]:
    pairs = ((arm, summarise_device(arm.result)) for arm in case.arms)
    return [(arm, found) for arm, found in pairs if found is not None]


def _cells(arm: ArmSummary, found: DeviceSummary, phases: Sequence[str]) -> list[str]:
    times = [getattr(found, name) for _, name in _FIGURES]
    times += [found.phases.get(name) for name in phases]
    unit = numbers.pick_time_unit([each for each in times if each is not None])
    share = MISSING if found.host_share is None else f"{found.host_share:.0%}"
    return [
        arm.result.arm.id,
        arm.result.arm.precision,
        *(MISSING if each is None else numbers.format_seconds(each, unit=unit) for each in times),
        share,
        "launching"
        if found.launch_bound
        else "device"
        if found.host_share is not None
        else MISSING,
    ]
