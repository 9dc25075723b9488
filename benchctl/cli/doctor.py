"""`benchctl doctor`: what on this machine disturbs measuring, and what is missing."""

from __future__ import annotations

import json
from pathlib import Path

import click

from benchctl.cli.options import store_option
from benchctl.cli.screen import write

COLOURS = {"ok": "green", "warn": "yellow", "missing": "red"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@store_option
def doctor(as_json: bool, store: Path) -> int:
    """Check this machine for what disturbs measuring; changes nothing.

    \b
    ok       nothing to do
    warn     figures may be noisier or lower than they could be
    missing  something optional is not there, such as a GPU
    """
    from benchctl.doctor.checks import run_checks
    from benchctl.report.table import Column, Table, render_table

    checks = run_checks(store)
    if as_json:
        rows = [
            {"name": each.name, "status": each.status, "found": each.found, "hint": each.hint}
            for each in checks
        ]
        write([json.dumps({"checks": rows}, indent=1, ensure_ascii=False)])
        return 0
    columns = tuple(Column(title, align_right=False) for title in ("check", "status", "found"))
    cells = tuple((each.name, each.status, each.found) for each in checks)
    heading, *lines = render_table(Table(columns, cells))
    write([heading])
    for each, line in zip(checks, lines, strict=True):
        status = click.style(each.status, fg=COLOURS.get(each.status))
        write([line.replace(each.status, status, 1) if each.status not in each.name else line])
        if each.hint and each.status != "ok":
            write([f"    {each.hint}"])
    return 0
