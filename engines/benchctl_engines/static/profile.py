"""Where a compiled step's time goes: a clock around each launch."""

from __future__ import annotations

from collections.abc import Callable

from ..contract import StepProfile
from ..devices.launch_clock import Call, LaunchClock, median_step_seconds, shape_words
from ..primitives.work import work_of
from .program import Launch, Program, launch_name


def profile_program(
    program: Program, step: Callable[[], None], steps: int, clock: LaunchClock | None = None
) -> StepProfile:
    """Times of the launches of `program`, which `step` runs.

    By the host's clock unless another is given.
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
            program.bound[name] = clock.timed(_call(launch), plain[name])
        for _ in range(steps):
            clock.run(step)
    finally:
        program.bound.update(plain)
    return clock.profile(step_seconds)


def _call(launch: Launch) -> Call:
    node = launch.node
    inputs = [each.spec for each in node.operands]
    outputs = [each.spec for each in node.outputs]
    work = work_of(node.primitive.name, inputs, outputs, node.attributes)
    return Call(launch.kernel, shape_words([outputs[0].shape]), work, str(node.origin))
