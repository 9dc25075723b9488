"""From what a user typed to a plan, and what can be said before anything is measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchctl.cli.errors import CliError
from benchctl.cli.exits import Exit

if TYPE_CHECKING:
    from benchctl.plan.suites import SuiteEntry
    from benchctl.store.record import Plan
    from benchctl_engines.contract import Availability

NO_WORKLOAD = "expected a workload, a file or a suite"
NO_WORKLOAD_HINT = "for instance benchctl run xyz; benchctl list shows all"


@dataclass(frozen=True, slots=True)
class Request:
    """The options of `run` and `verify` that decide what is measured."""

    names: tuple[str, ...]
    engines: tuple[str, ...] = ()
    device: str = "cpu"
    precision: str = ""
    autotune: bool = False
    axes: tuple[str, ...] = ()
    suite: str = ""
    rounds: int | None = None
    budget_seconds: float | None = None
    seed: int = 0
    threads: int | None = None
    reference: str = ""
    keep_blas_override: bool = False
    timeout_seconds: float | None = None
    cold: bool = True
    energy: bool = False


# What a worker may be asked for; one limit from the command line stands for all of them.
_TIMEOUTS = (
    "import_timeout_seconds",
    "prepare_timeout_seconds",
    "sample_timeout_seconds",
    "reference_timeout_seconds",
)


def make_plan(request: Request) -> Plan:
    """The plan of a request; raises `PlanError` or `CliError`."""
    from benchctl.plan.cases import parse_axes
    from benchctl.plan.schedule import build_plan

    names = [*request.names, *([request.suite] if request.suite else [])]
    if not names:
        raise CliError(NO_WORKLOAD, NO_WORKLOAD_HINT)
    axes = {name: tuple(values) for name, values in parse_axes(request.axes).items()}
    entries: list[SuiteEntry] = []
    suites = [request.suite] if request.suite else []
    for name in request.names:
        found, is_suite = entries_of(name)
        entries += found
        suites += [name] if is_suite else []
    if request.suite:
        from benchctl.plan.suites import suite

        entries += suite(request.suite).entries
    measure: dict[str, Any] = {}
    if request.keep_blas_override:
        measure["keep_blas_override"] = True
    if not request.cold:
        measure["cold"] = False
    if request.energy:
        measure["energy"] = True
    if request.timeout_seconds is not None:
        measure.update(dict.fromkeys(_TIMEOUTS, request.timeout_seconds))
    settings: dict[str, Any] = {"measure": measure} if measure else {}
    return build_plan(
        with_axes(entries, axes),
        arms=request.engines,
        device=request.device,
        precision=request.precision,
        autotune=request.autotune,
        rounds=request.rounds,
        seed=request.seed,
        threads=request.threads or usable_cores(),
        reference=request.reference,
        suite=",".join(dict.fromkeys(suites)),
        budget_seconds=request.budget_seconds,
        settings=settings,
    )


def entries_of(name: str) -> tuple[tuple[SuiteEntry, ...], bool]:
    """What a name on the command line stands for, and whether it is a suite."""
    from benchctl.plan.errors import UnknownNameError, nearest
    from benchctl.plan.registry import FILE_EXAMPLE, is_file_reference, workload_names
    from benchctl.plan.suites import SuiteEntry, suite, suite_names

    workloads, suites = workload_names(), suite_names()
    if name in workloads or is_file_reference(name):
        return (SuiteEntry(name),), False
    if name in suites:
        return suite(name).entries, True
    file = f"./{name}.py"
    suggestion = file if Path(file).is_file() else nearest(name, [*workloads, *suites])
    also = f"suites: {', '.join(suites)}; {FILE_EXAMPLE}"
    raise UnknownNameError("workload", name, workloads, suggestion, also)


def entries_of_names(names: tuple[str, ...], axes: tuple[str, ...]) -> list[SuiteEntry]:
    """The entries of workloads, files and suites named on the command line."""
    from benchctl.plan.cases import parse_axes

    entries = [entry for name in names for entry in entries_of(name)[0]]
    chosen = {name: tuple(values) for name, values in parse_axes(axes).items()}
    return with_axes(entries, chosen)


def with_axes(
    entries: Sequence[SuiteEntry], axes: Mapping[str, tuple[str, ...]]
) -> list[SuiteEntry]:
    """The entries with the axis values given, each taking those that its workload has.

    An axis that no workload has is an error.
    """
    from dataclasses import replace

    from benchctl.plan.errors import UnknownNameError
    from benchctl.plan.registry import load_workload

    if not axes:
        return list(entries)
    known = {
        entry.workload: [axis.name for axis in load_workload(entry.workload).axes]
        for entry in entries
    }
    everywhere = dict.fromkeys(name for names in known.values() for name in names)
    for name in axes:
        if name not in everywhere:
            owner = f"workload {' or '.join(dict.fromkeys(known))}"
            raise UnknownNameError("axis", name, everywhere, owner=owner)
    return [
        replace(
            entry,
            axes={
                **entry.axes,
                **{name: values for name, values in axes.items() if name in known[entry.workload]},
            },
        )
        for entry in entries
    ]


def usable_cores() -> int:
    """The cores that this process may use: its affinity, and its container's share of time."""
    import math

    from benchctl.measure.environment import affinity, cpu_quota

    cores = max(1, len(affinity()))
    quota = cpu_quota()
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def require_something_measurable(plan: Plan) -> None:
    """Raise with exit code 6 where no arm of the plan can run here, saying why for each."""
    from benchctl.plan.registry import load_engine, load_workload
    from benchctl.plan.schedule import arms_of_case
    from benchctl_engines.contract import precision_availability

    reasons: dict[str, Availability] = {}
    workloads: dict[str, Any] = {case.workload: load_workload(case.workload) for case in plan.cases}
    for arm in plan.arms:
        engine = load_engine(arm.engine)
        state = engine.availability(arm.device)
        if not state.ok:
            reasons[arm.id] = state
            continue
        for case in plan.cases:
            if arm.id not in [each.id for each in arms_of_case(plan, case.id)]:
                continue
            state = engine.supports(workloads[case.workload], case.parameters)
            if state.ok:
                state = precision_availability(engine, arm.precision)
            if state.ok:
                return
            reasons.setdefault(arm.id, state)
    raise nothing_can_run(reasons)


def missing_engines(plan: Plan) -> dict[str, Availability]:
    """The arms of a plan whose engine or device is not there, by arm id, with the reason."""
    from benchctl.plan.registry import load_engine

    states = {arm.id: load_engine(arm.engine).availability(arm.device) for arm in plan.arms}
    return {arm_id: state for arm_id, state in states.items() if not state.ok}


def nothing_can_run(reasons: Mapping[str, Availability]) -> CliError:
    """The error for a plan without a single arm that can run."""
    arms: dict[str, list[str]] = {}
    for arm, state in reasons.items():
        arms.setdefault(state.reason, []).append(arm)
    hints = dict.fromkeys(state.hint for state in reasons.values() if state.hint)
    if len(arms) == 1:
        message = next(iter(arms))
    else:
        message = "; ".join(f"{', '.join(alike)}: {reason}" for reason, alike in arms.items())
    return CliError(message, "\n".join(hints), Exit.NOTHING_MEASURED)
