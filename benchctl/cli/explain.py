"""`benchctl explain`: what an engine makes of a workload, and why it is as fast as it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import click

from benchctl.cli.exits import Exit
from benchctl.cli.options import (
    axis_option,
    complete_names,
    device_option,
    engine_option,
    precision_option,
    seed_option,
    threads_option,
)
from benchctl.cli.request import require_something_measurable
from benchctl.cli.screen import write
from benchctl.cli.single_arms import failures_of, plan_of_workload


@click.command()
@click.argument("name", metavar="WORKLOAD", shell_complete=complete_names)
@engine_option("Engine to explain, with switches; repeatable.  [default: static]")
@device_option
@precision_option
@axis_option
@seed_option
@threads_option
@click.option("--no-source", is_flag=True, help="Leave out the generated code.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def explain(
    name: str,
    engines: tuple[str, ...],
    device: str,
    precision: str,
    axes: tuple[str, ...],
    seed: int,
    threads: int | None,
    no_source: bool,
    as_json: bool,
) -> int:
    """Show what an engine makes of a workload: passes, kernels, counts, generated code.

    \b
    benchctl explain xyz
    benchctl explain xyz --engine static:fuse_elementwise=off
    benchctl explain vgg16 --engine eager -a image_size=32 --no-source
    """
    from benchctl.measure.session import explain as explain_arm

    plan = plan_of_workload(
        name,
        engines,
        device=device,
        precision=precision,
        axes=axes,
        seed=seed,
        threads=threads,
    )
    require_something_measurable(plan)
    documents = []
    for case in plan.cases:
        for arm in plan.arms:
            with failures_of(case, arm):
                facts = explain_arm(plan, case, arm)
            if as_json:
                documents.append({"case": case.id, "arm": arm.id, **facts})
                continue
            write([*([""] if documents else []), f"{case.id}  {arm.id}  {case.title}"])
            write(fact_lines(facts, with_source=not no_source))
            documents.append(facts)
    if as_json:
        from benchctl.store.export import dump_json

        write([dump_json({"cases": documents})])
    return int(Exit.OK)


def fact_lines(facts: Mapping[str, Any], with_source: bool = True) -> list[str]:
    """Notes, kernels in launch order, exact counts and generated code."""
    lines = section("notes", [f"  {text}" for text in facts["notes"]])
    lines += section("kernels, in launch order", kernel_lines(facts["kernels"]))
    width = max(map(len, facts["counts"]), default=0)
    counts = [f"  {name:<{width}}  {count:>15,}" for name, count in facts["counts"].items()]
    lines += section("counts", counts)
    if with_source and facts["source"]:
        lines += section("program", facts["source"].rstrip().splitlines())
    return lines or ["  the engine says nothing of this case"]


def section(title: str, lines: list[str]) -> list[str]:
    """A titled block; nothing where it would be empty."""
    return [f"{title}:", *lines] if lines else []


def kernel_lines(kernels: list[str]) -> list[str]:
    """One line a launch; equal launches in a row are counted, and many kernels summed up."""
    runs: list[tuple[str, int]] = []
    for kernel in kernels:
        if runs and runs[-1][0] == kernel:
            runs[-1] = (kernel, runs[-1][1] + 1)
        else:
            runs.append((kernel, 1))
    lines = [f"  {name}{f'  x {count}' if count > 1 else ''}" for name, count in runs]
    kinds = Counter(kernels)
    if len(kernels) > 20:
        most = ", ".join(f"{name} x {count}" for name, count in kinds.most_common(5))
        lines.append(f"  ({len(kernels)} launches of {len(kinds)} kernels: {most})")
    return lines
