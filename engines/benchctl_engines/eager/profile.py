"""Where an eager step's time goes: a clock around each kernel call.

Under a hook every call goes through its plan, so remembered tapes and generated pullbacks, which
call kernels on their own, stand aside; that costs time between kernels and none within them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ..contract import StepProfile
from ..devices.cpu import Device
from ..devices.launch_clock import Call, LaunchClock, median_step_seconds, shape_words
from ..primitives.work import work_of


class _Onlooker:
    """A hook that does nothing but being there."""

    def before(self, *call: Any) -> None:
        pass

    def after(self, *call: Any) -> None:
        pass


def profile_steps(
    device: Device, step: Callable[[], None], steps: int, clock: LaunchClock | None = None
) -> StepProfile:
    """Times of the kernel calls of `step` on a device; the host's clock unless another is given."""
    step_seconds = median_step_seconds(step, steps)
    clock = clock or LaunchClock()
    onlooker = _Onlooker()
    device.hooks.append(onlooker)
    try:
        # Every plan that the step needs exists after this one, and can be given the clock.
        step()
        with _clocked(device, clock):
            for _ in range(steps):
                clock.run(step)
    finally:
        device.hooks.remove(onlooker)
    return clock.profile(step_seconds)


@contextmanager
def _clocked(device: Device, clock: LaunchClock) -> Iterator[None]:
    plans = list(device.plans.values())
    plain = [plan.run for plan in plans]
    try:
        for plan in plans:
            plan.run = clock.timed(_call(plan), plan.run)
        yield
    finally:
        for plan, run in zip(plans, plain, strict=True):
            plan.run = run


def _call(plan: Any) -> Call:
    if hasattr(plan, "call"):
        # A launch over many tensors knows itself.
        made: Call = plan.call
        return made
    work = work_of(plan.primitive.name, plan.input_specs, plan.specs, plan.attributes)
    return Call(plan.kernel, shape_words([plan.specs[0].shape]), work)
