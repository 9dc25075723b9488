"""The passes in their one order, each with its switch and its report."""

from __future__ import annotations

import time
from collections.abc import Callable

from ..launch import Target
from ..step_graph import PassReport, StepGraph, pruned
from ..switches import PassSwitches
from .assign_layouts import assign_layouts, why_as_written
from .fold_constants import fold_constants
from .fuse_elementwise import fuse_elementwise
from .fuse_epilogues import fuse_epilogues
from .fuse_updates import fuse_updates
from .keep_old_states import keep_old_states
from .merge_common import merge_common
from .prune_bodies import prune_bodies
from .schedule import schedule, written_order
from .simplify_algebra import simplify_algebra

FUSIONS = ("fuse_epilogues", "fuse_updates", "fuse_elementwise")

_Pass = Callable[[StepGraph], tuple[StepGraph, dict[str, int]]]


def optimise(
    step: StepGraph, switches: PassSwitches, target: Target
) -> tuple[StepGraph, list[PassReport]]:
    """The step after all passes that are switched on, with a report of each.

    A pass that fails stops the compilation: a step is never run half optimised.
    """
    reports: list[PassReport] = []

    def apply(name: str, run: _Pass, current: StepGraph) -> StepGraph:
        before = len(current.operations)
        if switches.check_nan and name in FUSIONS:
            # A fused launch stands for several of the user's lines.
            reason = ("off, so that check_nan can name single operations",)
            reports.append(PassReport(name, False, before, before, 0.0, reason))
            return current
        if name == "assign_layouts" and (why := why_as_written(target)):
            reports.append(PassReport(name, False, before, before, 0.0, (why,)))
            return current
        if not getattr(switches, name):
            reports.append(PassReport(name, False, before, before))
            return current
        start = time.perf_counter()
        result, counts = run(current)
        reports.append(
            PassReport(
                name,
                True,
                before,
                len(result.operations),
                time.perf_counter() - start,
                (),
                counts,
            )
        )
        return result

    def fold(current: StepGraph) -> tuple[StepGraph, dict[str, int]]:
        return fold_constants(current, target, switches.check_nan)

    def assign(current: StepGraph) -> tuple[StepGraph, dict[str, int]]:
        return assign_layouts(current, target)

    def fuse(current: StepGraph) -> tuple[StepGraph, dict[str, int]]:
        return fuse_epilogues(current, target)

    def update(current: StepGraph) -> tuple[StepGraph, dict[str, int]]:
        gathers = target.driver is not None and switches.gather_updates
        return fuse_updates(current, target, join=gathers and switches.fuse_elementwise)

    def group(current: StepGraph) -> tuple[StepGraph, dict[str, int]]:
        return fuse_elementwise(current, target)

    before = len(step.operations)
    step = prune_bodies(pruned(step.nodes, step.fetches))
    reports.append(PassReport("prune", True, before, len(step.operations)))
    step = apply("fold_constants", fold, step)
    step = apply("simplify_algebra", simplify_algebra, step)
    step = apply("merge_common", merge_common, step)
    step = apply("assign_layouts", assign, step)
    step = apply("fuse_epilogues", fuse, step)
    step = apply("fuse_updates", update, step)
    step = apply("fuse_elementwise", group, step)
    step = keep_old_states(step)
    step = apply("schedule", schedule, step)
    return (step if switches.schedule else written_order(step)), reports
