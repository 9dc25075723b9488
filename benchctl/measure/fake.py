"""A workload and an engine without arithmetic worth timing, to test the harness with.

An engine author uses them to see what benchctl makes of an engine that hangs, crashes or is wrong;
the harness's own tests use them under a virtual clock, where every sample is known beforehand.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np

from benchctl.measure.clock import Clock, WallClock
from benchctl_engines.contract import (
    AVAILABLE,
    Array,
    Availability,
    ByHand,
    Case,
    EngineOptions,
    Outputs,
    Program,
    RunnerFacts,
    Step,
    Switch,
)
from benchctl_workloads import Axis, Tolerance, Workload

FAKE_ENGINE = "benchctl.measure.fake:make_engine"
FAKE_WORKLOAD = f"{__file__}:FakeWorkload"

PLACES = ("build", "compile", "first_run", "warm_up", "second_round")
"""Where a fault may be planted; `second_round` is that of one process."""

_WARM_UP_STEP = 2
_SECOND_ROUND_LOAD = 3
_HANG_SECONDS = 3600.0


class FakeWorkload(Workload):
    """y = x * w and its gradients, or one SGD step on w: a handful of elements, known by heart."""

    name = "fake"
    axes: ClassVar[tuple[Axis, ...]] = (
        Axis("elements", 4),
        Axis("mode", "gradient", values=("forward", "gradient", "training")),
    )
    summary = "A few multiplications, to test the harness with"

    def inputs(self, case: Case, rng: np.random.Generator) -> dict[str, Array]:
        """x: [elements]."""
        return {"x": rng.standard_normal((case["elements"],), dtype=np.float32)}

    def parameters(self, case: Case, rng: np.random.Generator) -> dict[str, Array]:
        """w: [elements]."""
        return {"w": rng.standard_normal((case["elements"],), dtype=np.float32)}

    def program(
        self, ops: Any, parameters: Mapping[str, Any], inputs: Mapping[str, Any], case: Case
    ) -> Outputs:
        """y = x * w, and its sum as the objective."""
        y = ops.multiply(inputs["x"], parameters["w"])
        return Outputs({"y": y}, objective=ops.sum(y))

    def step(self, case: Case) -> Step:
        """The mode of the case."""
        mode: Step = case["mode"]
        return mode

    def differentiate(self, case: Case) -> tuple[str, ...]:
        """Both operands."""
        return ("x", "w")

    def by_hand(self, case: Case) -> ByHand:
        """The step in NumPy."""

        def step(parameters: dict[str, Array], inputs: Mapping[str, Array]) -> Mapping[str, Array]:
            return _fake_step(self, case, parameters, inputs)

        return step

    def reference(
        self, case: Case, parameters: Mapping[str, Array], inputs: Mapping[str, Array]
    ) -> dict[str, Array]:
        """The step in float64."""
        updated = dict(parameters)
        results = _fake_step(self, case, updated, inputs)
        if self.step(case) == "training":
            results |= {f"parameter/{name}": value for name, value in updated.items()}
        return results

    def tolerance(self, case: Case, output: str) -> Tolerance:
        """One product: a few units in the last place."""
        return Tolerance(relative=1e-6)

    def suspects(self, case: Case, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """What a careless step might return."""
        return {"x itself": inputs["x"]}


def _fake_step(
    workload: Workload, case: Case, parameters: dict[str, Array], inputs: Mapping[str, Array]
) -> dict[str, Array]:
    x, w = inputs["x"], parameters["w"]
    results: dict[str, Array] = {"y": np.multiply(x, w)}
    if workload.step(case) == "gradient":
        results |= {"grad_x": w.copy(), "grad_w": x.copy()}
    if workload.step(case) == "training":
        parameters["w"] = w - workload.learning_rate(case) * x
    return results


# Faults --------------------------------------------------------------------------------------


def hang(clock: Clock) -> None:
    """Answer never."""
    clock.sleep(_HANG_SECONDS)


def die_by_segfault(clock: Clock) -> None:
    """End as a bad pointer would."""
    sys.stderr.write("about to touch a bad pointer\n")
    sys.stderr.flush()
    os.kill(os.getpid(), signal.SIGSEGV)


def exit_quietly(clock: Clock) -> None:
    """End without a result and without an error."""
    os._exit(0)


def run_out_of_memory(clock: Clock) -> None:
    """Ask for more than there is."""
    raise MemoryError("unable to allocate 1.00 EiB")


def raise_error(clock: Clock) -> None:
    """Fail as an engine with a bug would."""
    raise ValueError("expected (3, 4), received (4, 3)")


def print_noise(clock: Clock) -> None:
    """Print to where the protocol might be, from Python and from below it."""
    print('{"result": {}}', flush=True)
    os.write(1, b'{"result": {}}\n')


def be_slow(clock: Clock) -> None:
    """Take a second."""
    clock.sleep(1.0)


FAULTS: dict[str, Callable[[Clock], None]] = {
    "hang": hang,
    "segfault": die_by_segfault,
    "exit": exit_quietly,
    "memory": run_out_of_memory,
    "error": raise_error,
    "print": print_noise,
    "slow": be_slow,
}
WRONG_RESULTS = ("wrong", "suspect", "nan", "shape", "missing", "stuck")


class FakeRunner:
    """A case on the fake engine: a step sleeps, its outputs are computed when asked for."""

    def __init__(
        self,
        engine: FakeEngine,
        workload: Program,
        case: Case,
        parameters: Mapping[str, Array],
        inputs: Mapping[str, Array],
        options: EngineOptions,
    ) -> None:
        self._engine = engine
        self._workload = workload
        self._case = case
        self._parameters = dict(parameters)
        self._inputs = dict(inputs)
        self._fault = options.switches.get("fault", "none")
        self._place = options.switches.get("at", "first_run")
        self._step_seconds = float(options.switches.get("step_us", "1000")) * 1e-6
        self._results: dict[str, Array] = {}
        self._steps = 0
        self._loads = 0

    def build(self) -> None:
        """Nothing but the fault planted here."""
        self._fail_at("build")

    def compile(self) -> None:
        """Nothing but the fault planted here."""
        self._fail_at("compile")

    def load(self, inputs: Mapping[str, Array]) -> None:
        """Take the inputs of the next steps."""
        self._inputs = dict(inputs)
        self._loads += 1
        if self._loads == _SECOND_ROUND_LOAD:
            self._fail_at("second_round")

    def step(self) -> None:
        """Let the time of a step pass."""
        self._steps += 1
        if self._steps == 1:
            self._fail_at("first_run")
        training = self._workload.step(self._case) == "training"
        if self._steps == 1 or (training and self._fault != "stuck"):
            by_hand = self._workload.by_hand(self._case)
            assert by_hand is not None, "the fake engine runs hand-written steps only"
            self._results = dict(by_hand(self._parameters, self._inputs))
        if self._steps == _WARM_UP_STEP:
            self._fail_at("warm_up")
        self._engine.clock.sleep(self._step_seconds)

    def outputs(self) -> dict[str, Array]:
        """Results of the step that was computed last, spoilt where a wrong result is planted."""
        results = {name: value.copy() for name, value in self._results.items()}
        if self._workload.step(self._case) == "training":
            results |= {f"parameter/{name}": each for name, each in self._parameters.items()}
        return _spoil(results, self._inputs, self._fault)

    def facts(self) -> RunnerFacts:
        """One kernel, and how many steps were done."""
        return RunnerFacts(
            kernels=("fake_sleep",),
            notes=("the fake engine computes its first step, and every step of a training",),
            counts={"steps": self._steps, "pool_peak_bytes": 64},
            source="sleep(step_seconds)",
        )

    def close(self) -> None:
        """Nothing is held."""

    def _fail_at(self, place: str) -> None:
        if place == self._place and self._fault in FAULTS:
            FAULTS[self._fault](self._engine.clock)


def _spoil(results: dict[str, Array], inputs: Mapping[str, Array], fault: str) -> dict[str, Array]:
    """Results with the fault of that name in `y`."""
    if fault == "wrong":
        results["y"] = results["y"] + np.float32(3.1)
    elif fault == "suspect":
        results["y"] = inputs["x"].copy()
    elif fault == "nan":
        results["y"][-1] = np.nan
    elif fault == "shape":
        results["y"] = results["y"][:, None]
    elif fault == "missing":
        del results["y"]
    return results


class FakeEngine:
    """An engine whose steps take as long as told, on any clock, with faults on request."""

    name = "fake"
    paradigm = "manual"

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or WallClock()

    def versions(self) -> Mapping[str, str]:
        """Its own."""
        return {"fake": "1"}

    def availability(self, device: str) -> Availability:
        """On the CPU only."""
        if device == "cpu":
            return AVAILABLE
        return Availability(False, f"the fake engine has no device {device!r}", "use --device cpu")

    def supports(self, workload: Program, case: Case) -> Availability:
        """Workloads with a hand-written step."""
        if workload.by_hand(case) is not None:
            return AVAILABLE
        return Availability(False, "the workload has no hand-written step", "write by_hand")

    def switches(self) -> Mapping[str, Switch]:
        """The fault, where it strikes, and the length of a step."""
        return {
            "fault": Switch("none", ("none", *FAULTS, *WRONG_RESULTS), "what goes wrong"),
            "at": Switch("first_run", PLACES, "where it goes wrong"),
            "step_us": Switch("1000", (), "microseconds of a step"),
        }

    def prepare(
        self,
        workload: Program,
        case: Case,
        parameters: Mapping[str, Array],
        inputs: Mapping[str, Array],
        options: EngineOptions,
    ) -> FakeRunner:
        """A runner with the faults that the switches ask for."""
        return FakeRunner(self, workload, case, parameters, inputs, options)


def make_engine() -> FakeEngine:
    """The factory behind `benchctl.measure.fake:make_engine`."""
    return FakeEngine()


def make_broken_engine() -> FakeEngine:
    """A factory that fails as one with a missing dependency does."""
    raise ModuleNotFoundError("No module named 'a_framework'")
