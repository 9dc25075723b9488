"""Engines on an emulated GPU: what the tests of them share."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from emulator import EmulatedDriver

from benchctl.measure.clock import NANOSECONDS
from benchctl.measure.verification import load_reference, save_reference, verify_outputs
from benchctl_engines.contract import EngineOptions
from benchctl_engines.devices.cuda.opened import use_driver
from benchctl_engines.eager.engine import make_engine as make_eager
from benchctl_engines.static.engine import make_engine as make_static
from benchctl_workloads.reference import reference_outputs
from benchctl_workloads.workload import make_case

ENGINES = {"eager": make_eager(), "static": make_static()}
OFF = {"passes": "off"}
PLAIN = {"capture": "off"}


class WatchedDriver(EmulatedDriver):
    """Counts what a step must not do: allocate, wait, copy to or from the host."""

    def __init__(self, *arguments, **named) -> None:
        super().__init__(*arguments, **named)
        self.waits = self.to_host = self.to_device = 0

    def synchronize(self) -> None:
        self.waits += 1
        super().synchronize()

    def copy_to_host(self, host, pointer) -> None:
        self.to_host += 1
        super().copy_to_host(host, pointer)

    def copy_to_device(self, pointer, host) -> None:
        self.to_device += 1
        super().copy_to_device(pointer, host)

    def counts(self) -> dict[str, int]:
        """What was done so far."""
        return {
            "allocations": self.memory.allocations,
            "waits": self.waits,
            "to_host": self.to_host,
            "to_device": self.to_device,
        }

    def since(self, before: dict[str, int]) -> dict[str, int]:
        """What was done since, without what was not."""
        found = {name: count - before[name] for name, count in self.counts().items()}
        return {name: count for name, count in found.items() if count}


class DriverClock:
    """The harness's clock on the emulated host's time."""

    def __init__(self, driver: EmulatedDriver) -> None:
        self._clock = driver.clock

    def now_ns(self) -> int:
        return round(self._clock.now * NANOSECONDS)

    def sleep(self, seconds: float) -> None:
        self._clock.now += seconds

    def ticks(self, count: int) -> Iterator[None]:
        yield from [None] * count


@contextmanager
def emulated(*arguments, index: int = 0, make=WatchedDriver, **named) -> Iterator[WatchedDriver]:
    """An emulated GPU that engines find as `gpu`; its memory is looked at afterwards."""
    driver = make(*arguments, index=index, **named)
    use_driver(index, driver)
    try:
        yield driver
        gc.collect()
        driver.check()
    finally:
        use_driver(index, None)


def drawn(workload, given, seed=5):
    """(case, parameters, inputs) of a workload."""
    case = make_case(workload, given)
    rng = np.random.default_rng(seed)
    return case, workload.parameters(case, rng), workload.inputs(case, rng)


def prepared(
    name, workload, case, parameters, inputs, switches=(), device="gpu", precision="fp32", seed=3
):
    """A runner that has been built and compiled."""
    copies = {each: array.copy() for each, array in parameters.items()}
    options = EngineOptions(
        device=device, threads=1, seed=seed, switches=dict(switches), precision=precision
    )
    runner = ENGINES[name].prepare(workload, case, copies, inputs, options)
    runner.build()
    runner.compile()
    return runner


def stepped(runner):
    """The outputs of one more step, as arrays of their own."""
    runner.step()
    return {name: np.array(each) for name, each in runner.outputs().items()}


def assert_right(outputs, workload, case, parameters, inputs, folder, precision="fp32"):
    """As the harness judges it before it times anything."""
    folder.mkdir(exist_ok=True)
    save_reference(
        folder, reference_outputs(workload, case, parameters, inputs, seed=3), parameters
    )
    found, problems = verify_outputs(
        outputs, load_reference(folder), workload, case, inputs, precision
    )
    assert found.ok, problems


def assert_same(found, expected):
    """Every bit."""
    assert list(found) == list(expected)
    different = [
        name for name in found if np.asarray(found[name]).tobytes() != expected[name].tobytes()
    ]
    assert not different
