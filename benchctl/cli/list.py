"""`benchctl list`: workloads with their axes, engines with their state here, suites."""

from __future__ import annotations

from typing import Any

import click

from benchctl.cli.screen import write


@click.command("list")
@click.argument("kind", type=click.Choice(["workloads", "engines", "suites"]), required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def list_verb(kind: str | None, as_json: bool) -> int:
    """List workloads with axes, engines with their state here, and suites.

    \b
    benchctl list                  all three
    benchctl list engines          engines, their switches, what is missing
    """
    finders = {"workloads": find_workloads, "engines": find_engines, "suites": find_suites}
    writers = {"workloads": workload_lines, "engines": engine_lines, "suites": suite_lines}
    wanted = [kind] if kind else list(finders)
    found = {each: finders[each]() for each in wanted}
    if as_json:
        from benchctl.store.export import dump_json

        write([dump_json(found)])
        return 0
    for place, each in enumerate(wanted):
        write([*([""] if place else []), each, *writers[each](found[each])])
    if set(wanted) & {"workloads", "engines"}:
        write(["", "* default;  -a AXIS=VALUE sets an axis, --engine NAME:SWITCH=VALUE a switch"])
    return 0


def find_workloads() -> list[dict[str, Any]]:
    """Every registered workload; one that fails to load has an `error` instead of axes."""
    from benchctl.plan.errors import PlanError
    from benchctl.plan.registry import load_workload, workload_names

    found: list[dict[str, Any]] = []
    for name in workload_names():
        try:
            workload = load_workload(name)
        except PlanError as error:
            found.append({"name": name, "error": error.message, "hint": error.hint})
            continue
        axes = [
            {
                "name": axis.name,
                "default": axis.default,
                "values": list(axis.values),
                "description": axis.description,
            }
            for axis in workload.axes
        ]
        found.append({"name": name, "summary": workload.summary, "axes": axes})
    return found


def find_engines() -> list[dict[str, Any]]:
    """Every registered engine with its switches and whether it runs on each device here."""
    from benchctl.plan.arms import DEVICES
    from benchctl.plan.errors import PlanError
    from benchctl.plan.registry import engine_names, load_engine

    found: list[dict[str, Any]] = []
    for name in engine_names():
        try:
            engine = load_engine(name)
        except PlanError as error:
            found.append({"name": name, "error": error.message, "hint": error.hint})
            continue
        devices = {}
        for device in DEVICES:
            state = engine.availability(device)
            devices[device] = {"ok": state.ok, "reason": state.reason, "hint": state.hint}
        switches = [
            {
                "name": switch_name,
                "default": switch.default,
                "values": list(switch.values),
                "description": switch.description,
            }
            for switch_name, switch in engine.switches().items()
        ]
        found.append(
            {"name": name, "paradigm": engine.paradigm, "devices": devices, "switches": switches}
        )
    return found


def find_suites() -> list[dict[str, Any]]:
    """Every suite with its workloads."""
    from benchctl.plan.suites import suite, suite_names

    found = []
    for name in suite_names():
        each = suite(name)
        workloads = list(dict.fromkeys(entry.workload for entry in each.entries))
        found.append({"name": name, "summary": each.summary, "workloads": workloads})
    return found


def workload_lines(workloads: list[dict[str, Any]]) -> list[str]:
    """A line for every workload, its axes below."""
    lines, width = [], _longest_name(workloads)
    for each in workloads:
        if "error" in each:
            lines += _broken(each, width)
            continue
        lines.append(f"  {each['name']:<{width}}  {each['summary']}")
        lines += _columns(
            [(axis["name"], _values(axis), axis["description"]) for axis in each["axes"]]
        )
    return lines


def engine_lines(engines: list[dict[str, Any]]) -> list[str]:
    """A line for every engine with its devices, its switches below."""
    lines, width = [], _longest_name(engines)
    for each in engines:
        if "error" in each:
            lines += _broken(each, width)
            continue
        states = [
            f"{device} {'ok' if state['ok'] else 'not available'}"
            for device, state in each["devices"].items()
        ]
        lines.append(f"  {each['name']:<{width}}  {each['paradigm']:<8}  {', '.join(states)}")
        lines += [
            f"      {device}: {state['reason']}"
            for device, state in each["devices"].items()
            if not state["ok"] and state["reason"]
        ]
        lines += _columns(
            [
                (switch["name"], _values(switch), switch["description"])
                for switch in each["switches"]
            ]
        )
    return lines


def suite_lines(suites: list[dict[str, Any]]) -> list[str]:
    """A line for every suite."""
    width = _longest_name(suites)
    return [
        f"  {each['name']:<{width}}  {each['summary']} ({', '.join(each['workloads'])})"
        for each in suites
    ]


def _longest_name(found: list[dict[str, Any]]) -> int:
    return max((len(each["name"]) for each in found), default=0)


def _values(choice: dict[str, Any]) -> str:
    """`3x4` or, where values are listed, `product* multiply_add`: the default has a star."""
    if not choice["values"]:
        return f"{choice['default']}*"
    return " ".join(
        f"{value}*" if value == choice["default"] else str(value) for value in choice["values"]
    )


def _columns(rows: list[tuple[str, str, str]]) -> list[str]:
    from benchctl.report.table import align, cell_width

    names = max((cell_width(row[0]) for row in rows), default=0)
    values = max((cell_width(row[1]) for row in rows if cell_width(row[1]) <= 40), default=0)
    return [
        f"      {align(name, names, False)}  {align(value, values, False)}  {text}".rstrip()
        for name, value, text in rows
    ]


def _broken(each: dict[str, Any], width: int) -> list[str]:
    lines = [f"  {each['name']:<{width}}  broken: {each['error']}"]
    return lines + ([f"      {each['hint']}"] if each["hint"] else [])
