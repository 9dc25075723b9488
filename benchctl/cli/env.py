"""`benchctl env`: the machine, the environment and the versions that a record would hold."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from benchctl.cli.options import threads_option
from benchctl.cli.request import usable_cores
from benchctl.cli.screen import write


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@threads_option
def env(as_json: bool, threads: int | None) -> int:
    """Show machine, environment and versions, as every run records them."""
    from benchctl.measure.environment import (
        git_facts,
        machine_facts,
        software_versions,
        volatile_facts,
    )

    facts: dict[str, Mapping[str, Any]] = {
        "machine": machine_facts(),
        "environment": volatile_facts(threads or usable_cores()),
        "versions": software_versions(),
        "git": git_facts(Path.cwd()),
    }
    if as_json:
        from benchctl.store.export import dump_json

        write([dump_json(facts)])
        return 0
    for title, values in facts.items():
        write([title, *(fact_lines(values) or ["  -"])])
    return 0


def fact_lines(values: Mapping[str, Any], indent: str = "  ") -> list[str]:
    """One line a fact; facts within facts are indented further."""
    width = max((len(str(name)) for name in values), default=0)
    lines = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            lines += [f"{indent}{name}", *fact_lines(value, indent + "  ")]
        else:
            lines.append(f"{indent}{name!s:<{width}}  {_fact(value)}".rstrip())
    return lines


def _fact(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_fact, value)) or "-"
    if isinstance(value, Mapping):
        return " ".join(f"{name}={_fact(each)}" for name, each in value.items())
    return "-" if value in (None, "") else str(value)
