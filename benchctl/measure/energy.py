"""What a step costs in energy on a GPU: the counter of the card over blocks of steady steps.

The sensor behind it looks at the power a part of the time only (about a quarter on A100 and H100,
arXiv 2312.02741), so a block lasts five seconds and more, blocks begin at shifted moments, and
their spread says what a figure is worth; a single call has none. Where a card has no counter, its
power is read between pieces of a block and summed up. Pure functions of a runner and clocks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchctl.measure.clock import Clock, seconds_since
from benchctl.store.record import EnergyUse

if TYPE_CHECKING:
    from benchctl_engines.contract import AsynchronousRunner, DeviceClock

COUNTER, SAMPLED = "counter", "sampled power"

NOT_TOLD = (
    "the card tells neither its energy nor its power, or nvidia-ml-py is not installed "
    "(pip install nvidia-ml-py; benchctl doctor)"
)


@dataclass(frozen=True, slots=True)
class EnergyRule:
    """How long is measured: `blocks` of at least `block_seconds`, after an idle time.

    Each block begins `shift_seconds` later than the one before it would have. A piece is as many
    steps as take about `piece_seconds`, at most `most_steps`, since a stream queues no more.
    """

    blocks: int = 3
    block_seconds: float = 5.0
    idle_seconds: float = 2.0
    shift_seconds: float = 0.037
    piece_seconds: float = 0.1
    most_steps: int = 400


def measure_energy(
    runner: AsynchronousRunner, host: Clock, rule: EnergyRule | None = None
) -> EnergyUse:
    """Joules a step of each block, and the power of the idle card; a problem where none is told."""
    rule = rule or EnergyRule()
    device = runner.device_clock()
    device.synchronize()
    meter = _meter(device)
    if meter is None:
        return EnergyUse(problem=NOT_TOLD)
    idle = _idle_watts(meter, host, rule)
    piece = _steps_of_a_piece(runner, device, host, rule)
    joules, steps, seconds = [], [], []
    for block in range(rule.blocks):
        host.sleep(block * rule.shift_seconds)
        done, start = 0, host.now_ns()
        meter.begin(start)
        while seconds_since(host, start) < rule.block_seconds:
            for _ in range(piece):
                runner.issue()
            device.synchronize()
            done += piece
            meter.look(host.now_ns())
        seconds.append(seconds_since(host, start))
        joules.append(meter.joules() / done)
        steps.append(done)
    return EnergyUse(tuple(joules), tuple(steps), tuple(seconds), idle, meter.source)


def _steps_of_a_piece(
    runner: AsynchronousRunner, device: DeviceClock, host: Clock, rule: EnergyRule
) -> int:
    """Steps that take about as long as a piece; the first also warms the card up."""
    step_seconds = math.inf
    for _ in range(3):
        start = host.now_ns()
        runner.issue()
        device.synchronize()
        step_seconds = min(step_seconds, seconds_since(host, start))
    return max(1, min(rule.most_steps, round(rule.piece_seconds / max(step_seconds, 1e-9))))


def _idle_watts(meter: Meter, host: Clock, rule: EnergyRule) -> float:
    start = host.now_ns()
    meter.begin(start)
    while seconds_since(host, start) < rule.idle_seconds:
        host.sleep(rule.piece_seconds)
        meter.look(host.now_ns())
    return meter.joules() / seconds_since(host, start)


class Meter:
    """Energy since `begin`: a counter read at both ends, or power summed up between looks."""

    def __init__(self, source: str, read: Callable[[], float]) -> None:
        self.source = source
        self._read = read
        self._last = 0.0
        self._last_ns = 0
        self._joules = 0.0

    def begin(self, now_ns: int) -> None:
        """From here on it counts."""
        self._last, self._last_ns, self._joules = self._read(), now_ns, 0.0

    def look(self, now_ns: int) -> None:
        """Count what was used since the last look."""
        value = self._read()
        if self.source == COUNTER:
            self._joules += value - self._last
        else:
            # Between two readings the power is taken to change evenly.
            self._joules += 0.5 * (value + self._last) * (now_ns - self._last_ns) / 1e9
        self._last, self._last_ns = value, now_ns

    def joules(self) -> float:
        """What was used up to the last look."""
        return self._joules


def _meter(device: DeviceClock) -> Meter | None:
    """What the sensors of a device allow; None where they tell neither energy nor power."""
    state = device.state()
    if state.energy_joules is not None:
        return Meter(COUNTER, lambda: _told(device.state().energy_joules))
    if state.power_watts is not None:
        return Meter(SAMPLED, lambda: _told(device.state().power_watts))
    return None


def _told(value: float | None) -> float:
    """What a sensor said; one that falls silent makes the block's figure no number."""
    return math.nan if value is None else value
