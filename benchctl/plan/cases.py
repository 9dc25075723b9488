"""The cases of a workload: the cross product of the values of its axes."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence

from benchctl.plan.errors import PlanError, UnknownNameError, did_you_mean
from benchctl.plan.registry import (
    file_of_reference,
    first_line,
    is_file_reference,
    load_workload,
    workload_reference,
)
from benchctl.store.record import CaseSpec
from benchctl_workloads.workload import Axis, AxisError, AxisValue, Workload, make_case


def parse_axes(texts: Iterable[str]) -> dict[str, list[str]]:
    """Axis values from texts such as "size=3x4,1000x1000"; an axis given twice gets both."""
    axes: dict[str, list[str]] = {}
    for text in texts:
        name, equals, values_text = text.partition("=")
        values = [value.strip() for value in values_text.split(",")]
        if not equals or not name.strip() or not all(values):
            raise PlanError(
                f'axis expected as name=value or name=value,value, received "{text}"',
                "for instance -a batch=1,8",
            )
        known = axes.setdefault(name.strip(), [])
        known.extend(value for value in dict.fromkeys(values) if value not in known)
    return axes


def expand_cases(
    workload: Workload | str, axes: Mapping[str, Sequence[str]]
) -> tuple[CaseSpec, ...]:
    """All cases of the axis values given, the last axis changing fastest, defaults filled in.

    `workload` may be what `load_workload` takes. Raises `PlanError` on an unknown axis or value,
    naming the choices.
    """
    if isinstance(workload, str):
        workload = load_workload(workload)
    by_name = {axis.name: axis for axis in workload.axes}
    for name in axes:
        if name not in by_name:
            raise UnknownNameError("axis", name, by_name, owner=f"workload {workload.name}")
    columns = [_parse_values(axis, axes.get(axis.name, ())) for axis in workload.axes]
    combinations = itertools.product(*columns)
    names = list(by_name)
    return tuple(
        _make_spec(workload, dict(zip(names, values, strict=True))) for values in combinations
    )


def case_id(workload_name: str, parameters: Mapping[str, AxisValue]) -> str:
    """The name of a case: `xyz[expression=product,size=3x4]`."""
    inside = ",".join(f"{name}={value}" for name, value in parameters.items())
    return f"{workload_name}[{inside}]"


def short_ids(ids: Iterable[str]) -> dict[str, str]:
    """Each id without the values that all ids of its workload share: `xyz[size=3x4]`, or `xyz`.

    `selects` finds a case by its short id among the same cases.
    """
    known = list(dict.fromkeys(ids))
    parts = {each: _split_id(each) for each in known}
    shared: dict[str, set[str]] = {}
    for workload, values in parts.values():
        shared[workload] = shared.get(workload, set(values)) & set(values)
    found = {}
    for each, (workload, values) in parts.items():
        own = [value for value in values if value not in shared[workload]]
        found[each] = f"{workload}[{','.join(own)}]" if own else workload
    return found


def selects(pattern: str, full_id: str) -> bool:
    """Whether an id, perhaps without some values, names a case: `xyz[size=3x4]` or `xyz`."""
    workload, values = _split_id(pattern)
    full_workload, full_values = _split_id(full_id)
    return workload == full_workload and set(values) <= set(full_values)


def _split_id(text: str) -> tuple[str, list[str]]:
    workload, bracket, inside = text.partition("[")
    values = inside.removesuffix("]").split(",") if bracket else []
    return workload, [value for value in values if value]


def _parse_values(axis: Axis, texts: Sequence[str]) -> list[AxisValue]:
    """The values on one axis, each once; its default where none is given."""
    values: dict[AxisValue, None] = {}
    for text in texts:
        try:
            values[axis.parse(text)] = None
        except AxisError as error:
            choices = [str(value) for value in axis.values]
            raise PlanError(f"{error}.{did_you_mean(text, choices)}") from error
    return list(values) or [axis.default]


def _make_spec(workload: Workload, given: Mapping[str, AxisValue]) -> CaseSpec:
    """The case as it is recorded; asks the workload for its words and its cost."""
    parameters = make_case(workload, given)
    name = case_id(workload.name, parameters)
    try:
        cost = workload.cost(parameters)
        return CaseSpec(
            id=name,
            workload=workload_reference(workload),
            parameters=parameters,
            title=workload.title(parameters),
            step=workload.step(parameters),
            flops=cost.flops,
            bytes_moved=cost.bytes_moved,
            parameter_count=cost.parameters,
        )
    except AxisError as error:
        raise PlanError(str(error)) from error
    except Exception as error:
        raise PlanError(f"{name} is not a case: {_describe(workload, error)}") from error


def _describe(workload: Workload, error: Exception) -> str:
    """The error in words; for a user's own workload with the line that raised it."""
    reference = workload_reference(workload)
    if is_file_reference(reference):
        from benchctl.plan.user_file import describe_error

        return describe_error(error, file_of_reference(reference))
    return f"{type(error).__name__}: {first_line(error)}"
