"""Where a compiled step's time goes: a clock around each launch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..contract import StepProfile
from ..devices.launch_clock import Call, LaunchClock, median_step_seconds, shape_words
from ..primitives.work import Work, work_of
from .program import Launch, Program, launch_name


def profile_program(
    program: Program,
    step: Callable[[], None],
    steps: int,
    clock: LaunchClock | None = None,
    phases: Sequence[str] = (),
) -> StepProfile:
    """Times of the launches of `program`, which `step` runs.

    By the host's clock unless another is given; `phases` are those of the launches, where known.
    """
    step_seconds = median_step_seconds(step, steps)
    clock = clock or LaunchClock()
    plain = {
        launch_name(index): program.bound[launch_name(index)]
        for index in range(len(program.launches))
    }
    try:
        for index, launch in enumerate(program.launches):
            name = launch_name(index)
            timed = clock.timed(_call(launch), plain[name])
            program.bound[name] = _entering(clock, phases[index], timed) if phases else timed
        for _ in range(steps):
            clock.run(step)
    finally:
        program.bound.update(plain)
    return clock.profile(step_seconds)


def _entering(clock: LaunchClock, phase: str, launch: Callable[..., Any]) -> Callable[..., Any]:
    def run(*arrays: Any) -> Any:
        clock.enter(phase)
        return launch(*arrays)

    return run


def _call(launch: Launch) -> Call:
    works = [
        work_of(
            node.primitive.name,
            [each.spec for each in node.operands],
            [each.spec for each in node.outputs],
            node.attributes,
        )
        for node in launch.nodes
    ]
    work = Work(sum(each.flops for each in works), sum(each.bytes_moved for each in works))
    shapes = shape_words([launch.node.outputs[0].spec.shape])
    if launch.others:
        shapes = f"{len(launch.nodes)} tensors"
    return Call(launch.kernel, shapes, work, str(launch.node.origin))
