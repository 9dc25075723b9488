"""The worker: one process that imports one engine and measures one case on it.

`python -m benchctl.measure.worker` answers requests (benchctl.measure.protocol) on its standard
input. Whatever the engine prints goes to standard error. NumPy is not imported before the engine
is: its import belongs to the engine's.
"""

from __future__ import annotations

import importlib
import os
import platform
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn, cast

from benchctl.measure.batches import BatchesRunner, Inputs, batch_name, draw_batches
from benchctl.measure.clock import Clock, ImportTimer, seconds_since
from benchctl.measure.feeding import FedStep, fed_warm_up
from benchctl.measure.memory import PeakMeter
from benchctl.measure.planted import worker_clock
from benchctl.measure.protocol import (
    INTERPRETER,
    WORKING_FOLDER,
    ArmFailure,
    Message,
    decode,
    encode,
    failure_from_error,
    failure_message,
    verification_message,
)
from benchctl.measure.sampler import SampleRule, Step, WarmUpRule, measure_round, warm_up
from benchctl.plan.registry import (
    file_of_reference,
    is_file_reference,
    load_installed_engine,
    load_workload,
    workload_reference,
)
from benchctl.store.record import STRICT

if TYPE_CHECKING:
    from benchctl.store.record import Verification
    from benchctl_engines.contract import Array, Availability, Engine, Program, Runner
    from benchctl_workloads import Workload

Handler = Callable[..., Message]
Report = Callable[[str], None]

_WITHOUT_GRAPH = {
    "static": "tells nothing of its graph",
    "eager": "runs operations as they are called and keeps no graph of the step",
    "manual": "calls a step that was written by hand: it has no graph",
    "peer": "is a framework, which keeps its graph to itself",
}
"""Why an engine of a paradigm has no graph to draw."""


def ignore_report(doing: str) -> None:
    """What a worker does with its progress where nobody listens."""


def find_engine(name: str) -> Engine:
    """The engine of an entry point, or of "package.module:factory"."""
    module, colon, factory = name.partition(":")
    if not colon:
        return load_installed_engine(name)
    engine: Engine = getattr(importlib.import_module(module), factory)()
    return engine


class WorkerService:
    """The requests of a worker as methods named `do_<request>`; each returns its result."""

    def __init__(
        self,
        clock: Clock,
        report: Report = ignore_report,
        find: Callable[[str], Engine] = find_engine,
    ) -> None:
        self._clock = clock
        self._report = report
        self._find = find
        self._doing = "start"
        self._memory = PeakMeter()
        self._engine: Engine | None = None
        self._runner: Runner | None = None
        self._workload: Workload | None = None
        self._case: Mapping[str, Any] = {}
        self._batches: list[Inputs] = []
        self._precision = STRICT
        self._watch: Any = None
        self._copy_seconds: tuple[float, ...] = ()
        self._fed: FedStep | None = None
        self._input_seed = 0
        self._steady = False

    def answer(self, request: Message) -> Message:
        """The answer to one request; every error becomes a failure."""
        fields = dict(request)
        name = str(fields.pop("op"))
        self._doing = name
        try:
            handler: Handler = getattr(self, f"do_{name}")
            return {"result": handler(**fields)}
        except Exception as error:
            doing = self._doing.replace("_", " ")
            return failure_message(failure_from_error(error, doing, self._user_file()))

    def close(self) -> None:
        """Let the feed and the engine release what they hold."""
        if self._fed is not None:
            self._fed.close()
            self._fed = None
        if self._runner is not None:
            self._runner.close()
            self._runner = None

    # Requests ----------------------------------------------------------------------------

    def do_import(self, engine: str, device: str) -> Message:
        """Import the engine and ask whether it can run here."""
        start = self._clock.now_ns()
        self._engine = self._find(engine)
        availability = self._engine.availability(device)
        seconds = seconds_since(self._clock, start)
        _require(availability)
        versions = dict(self._engine.versions())
        if os.environ.get(INTERPRETER):
            versions["python"] = platform.python_version()
        return {"import_seconds": seconds, "versions": versions}

    def do_prepare(
        self,
        workload: str,
        case: Mapping[str, Any],
        parameter_seed: int,
        input_seed: int,
        options: Mapping[str, Any],
    ) -> Message:
        """Build, compile and run the first step, each timed.

        Imports on the way are timed apart: `import_seconds` is to be added to those of `import`.
        """
        # Loaded before memory is measured: the harness's own need of it is not the engine's.
        import numpy.random  # noqa: F401

        from benchctl_engines.contract import EngineOptions, precision_availability

        engine = self._engine
        assert engine is not None, "prepare comes after import"
        self._workload, self._case = load_workload(workload), case
        self._precision = str(options.get("precision", STRICT))
        program = cast("Program", self._workload)
        _require(engine.supports(program, case))
        _require(precision_availability(engine, self._precision))
        self._memory.start()
        self._memory.pause()
        self._batches = self._draw_batches(input_seed)
        self._input_seed = input_seed
        parameters = draw_parameters(self._workload, case, parameter_seed)
        self._memory.resume()
        with ImportTimer(self._clock) as imports:
            elapsed = self._begin("build", imports)
            runner: Runner = engine.prepare(
                program, case, parameters, self._batches[0], EngineOptions(**options)
            )
            # Only the engine holds the parameters from here on: it may replace them.
            del parameters
            if len(self._batches) > 1:
                runner = BatchesRunner(runner, self._batches)
            self._runner = runner
            runner.build()
            build_seconds = elapsed()
            elapsed = self._begin("compile", imports)
            runner.compile()
            compile_seconds = elapsed()
            self._load_batches()
            elapsed = self._begin("first_run", imports)
            runner.step()
            first_run_seconds = elapsed()
        feed = getattr(self._workload, "feed", None)
        threads = int(options.get("threads", 1))
        self._fed = None if feed is None else FedStep(runner, feed, case, threads)
        return {
            "import_seconds": imports.seconds,
            "build_seconds": build_seconds,
            "compile_seconds": compile_seconds,
            "first_run_seconds": first_run_seconds,
        }

    def do_check(self, folder: str) -> Message:
        """Compare the outputs of the last step with the reference in `folder`."""
        from benchctl.measure.verification import load_reference, verify_outputs

        runner, workload = self._prepared()
        verification, problems = verify_outputs(
            runner.outputs(),
            load_reference(Path(folder)),
            workload,
            self._case,
            self._batches[0],
            self._precision,
        )
        if verification.ok:
            verification, problems = self._check_later_steps(Path(folder), verification)
        return {
            "verification": verification_message(verification),
            "problems": list(problems),
        }

    def _check_later_steps(
        self, folder: Path, verification: Verification
    ) -> tuple[Verification, tuple[str, ...]]:
        """The losses of the training steps after the first, where the reference has them."""
        from benchctl.measure.verification import load_later_losses, verify_later_losses

        runner, workload = self._prepared()
        expected = load_later_losses(folder)
        if not expected:
            return verification, ()

        def steps() -> Iterator[Mapping[str, Array]]:
            for _ in range(max(map(len, expected.values()))):
                runner.step()
                yield runner.outputs()

        self._doing = "later_steps"
        checks, problems = verify_later_losses(
            steps(), expected, workload, self._case, self._precision
        )
        return replace(
            verification, ok=not problems, checks=(*verification.checks, *checks)
        ), problems

    def do_warm_up(self, rule: Mapping[str, Any]) -> Message:
        """Run steps until they are steady."""
        if self._fed is not None:
            self._open_feed(self._fed, self._input_seed)
            self._fed.check_first(self._batches[0])
        step, own_rule = self._timed_step(WarmUpRule(**rule))
        done = warm_up(step, self._clock, own_rule)
        self._steady = done.steady
        return {"steps": done.steps, "seconds": done.seconds, "steady": done.steady}

    def do_load(self, seed: int) -> Message:
        """Draw the inputs of a round; their drawing counts as nobody's time or memory.

        Of a workload with a feed, begin the feed instead.
        """
        self._prepared()
        if self._fed is not None:
            self._open_feed(self._fed, seed)
            return {}
        self._memory.pause()
        self._batches = self._draw_batches(seed)
        self._memory.resume()
        self._load_batches()
        return {}

    def do_sample(self, warm_up_rule: Mapping[str, Any], rule: Mapping[str, Any]) -> Message:
        """The samples of one round, after a short warm-up on its inputs.

        Of a runner on a device with a clock of its own also what that clock says.
        """
        runner, _ = self._prepared()
        step, first = self._timed_step(WarmUpRule(**warm_up_rule))
        done, samples = measure_round(step, self._clock, first, SampleRule(**rule))
        # Once steady, a process stays so: later warm-ups are too short to tell.
        self._steady = self._steady or done.steady
        found: Message = {
            "nanoseconds": list(samples.nanoseconds),
            "loops": samples.loops,
            "steady": self._steady,
        }
        if (times := self._device_times(runner)) is not None:
            found["device"] = times
        return found

    def _open_feed(self, fed: FedStep, seed: int) -> None:
        """Begin a feed; what it draws for that is nobody's memory."""
        self._memory.pause()
        fed.open(seed)
        self._memory.resume()

    def _timed_step(self, rule: WarmUpRule) -> tuple[Step, WarmUpRule]:
        """What is timed as one step, and how it is warmed up."""
        runner, _ = self._prepared()
        return (runner.step, rule) if self._fed is None else (self._fed, fed_warm_up(rule))

    def _device_times(self, runner: Runner) -> Message | None:
        """What the clock of the runner's device says of a step; None where it has none."""
        from benchctl_engines.contract import AsynchronousRunner

        if not isinstance(runner, AsynchronousRunner):
            return None
        from benchctl.measure.device_timing import Watch, measure_device

        if self._watch is None:
            self._watch = Watch(self._clock)
        found = measure_device(runner, self._clock, self._watch)
        return asdict(replace(found, copy_in=self._copy_seconds))

    def do_energy(self, rule: Mapping[str, Any]) -> Message:
        """What steady steps cost in energy; a problem where the engine is on no GPU."""
        from benchctl.measure.energy import EnergyRule, measure_energy
        from benchctl_engines.contract import AsynchronousRunner

        runner, _ = self._prepared()
        if not isinstance(runner, AsynchronousRunner):
            return {"problem": "the engine gives no access to a GPU's clock and sensors"}
        return asdict(measure_energy(runner, self._clock, EnergyRule(**rule)))

    def do_facts(self) -> Message:
        """What the engine says of the prepared case."""
        runner, _ = self._prepared()
        facts = runner.facts()
        return {
            "kernels": list(facts.kernels),
            "notes": [*facts.notes, *([] if self._fed is None else [self._fed.note()])],
            "counts": {name: int(count) for name, count in facts.counts.items()},
            "source": facts.source,
        }

    def do_profile(self, steps: int) -> Message:
        """Where the steps' time goes, kernel call by kernel call."""
        from benchctl_engines.contract import ProfiledRunner

        runner, _ = self._prepared()
        if not isinstance(runner, ProfiledRunner):
            raise ArmFailure(
                "unavailable",
                "this engine does not tell the times of single kernels",
                "profile one that does: --engine static or --engine eager",
            )
        found = runner.profile(steps)
        return {
            "step_seconds": found.step_seconds,
            "launches": [asdict(each) for each in found.launches],
            "phases": dict(getattr(found, "phases", {})),
        }

    def do_graphs(self) -> Message:
        """The graph of the step, as it was recorded and as it runs."""
        from benchctl.measure.graph_message import graphs_message
        from benchctl_engines.contract import GraphRunner

        runner, _ = self._prepared()
        if not isinstance(runner, GraphRunner):
            assert self._engine is not None
            why = _WITHOUT_GRAPH[self._engine.paradigm]
            raise ArmFailure(
                "unavailable", f"{self._engine.name} {why}", "draw one that has: --engine static"
            )
        return graphs_message(runner.graphs())

    def do_save_outputs(self, folder: str) -> Message:
        """Write the outputs of the last step to `folder`."""
        from benchctl.measure.differences import save_outputs

        runner, _ = self._prepared()
        save_outputs(Path(folder), runner.outputs())
        return {}

    def do_difference(self, folder: str) -> Message:
        """Compare the outputs of the last step with those saved in `folder`."""
        from benchctl.measure.differences import largest_difference

        runner, _ = self._prepared()
        return {"difference": largest_difference(runner.outputs(), Path(folder))}

    def do_memory(self) -> Message:
        """The resident-set peak, above the level after import and as a whole; a GPU's too."""
        found: Message = {
            "above_import_bytes": self._memory.peak_above_start_bytes(),
            "peak_bytes": self._memory.peak_bytes(),
        }
        # Asked for by name: the engines of another revision may not know it.
        device_memory = getattr(self._runner, "device_memory", None)
        if device_memory is not None:
            found["device"] = asdict(device_memory())
        return found

    def do_device_limits(self, device: str) -> Message:
        """What the GPU does at best; nothing where the engine cannot tell."""
        device_limits = getattr(self._engine, "device_limits", None)
        return {} if device_limits is None else asdict(device_limits(device))

    def do_reference(
        self,
        workload: str,
        case: Mapping[str, Any],
        parameter_seed: int,
        input_seed: int,
        folder: str,
        steps: int = 1,
        later_seconds: float = 0.0,
    ) -> Message:
        """Compute the float64 reference of one step and write it to `folder`.

        Of a training step also the losses of those that follow, so that there are `steps` in all,
        or as many as fit into `later_seconds`.
        """
        from benchctl.measure.verification import losses, save_later_losses, save_reference
        from benchctl_workloads.reference import reference_steps

        self._workload, self._case = load_workload(workload), case
        inputs, *others = self._draw_batches(input_seed)
        parameters = draw_parameters(self._workload, case, parameter_seed)
        # One seed of a plan is that of the parameters and of every engine's random operations.
        reference = reference_steps(self._workload, case, parameters, inputs, seed=parameter_seed)
        start = self._clock.now_ns()
        outputs = next(reference)
        step_seconds = seconds_since(self._clock, start)
        if others:
            outputs = self._of_all_batches(outputs, others, parameters, parameter_seed)
        names = list(outputs)
        save_reference(Path(folder), outputs, parameters)
        if self._workload.step(case) == "training" and losses(outputs):
            del outputs, parameters
            fitting = int(later_seconds / step_seconds) if step_seconds > 0.0 else steps
            save_later_losses(Path(folder), islice(reference, min(steps - 1, fitting)))
        return {"outputs": names}

    # Parts -------------------------------------------------------------------------------

    def _begin(self, doing: str, imports: ImportTimer) -> Callable[[], float]:
        """Begin a phase; the result tells its seconds so far, imports left out."""
        self._doing = doing
        self._report(doing)
        imported_seconds = imports.seconds
        start = self._clock.now_ns()

        def elapsed_seconds() -> float:
            seconds = seconds_since(self._clock, start)
            return seconds - (imports.seconds - imported_seconds)

        return elapsed_seconds

    def _draw_batches(self, seed: int) -> list[Inputs]:
        import numpy as np

        assert self._workload is not None, "inputs come after the workload"
        return draw_batches(self._workload, self._case, np.random.default_rng(seed))

    def _load_batches(self) -> None:
        """Bring the inputs to where a step reads them; on a device that is timed apart."""
        from benchctl_engines.contract import AsynchronousRunner

        runner, _ = self._prepared()
        several: Any = self._batches
        start = self._clock.now_ns()
        runner.load(several if len(several) > 1 else several[0])
        if isinstance(runner, AsynchronousRunner):
            runner.device_clock().synchronize()
            self._copy_seconds = (seconds_since(self._clock, start),)

    def _of_all_batches(
        self,
        first: Mapping[str, Array],
        others: list[Inputs],
        parameters: Mapping[str, Array],
        seed: int,
    ) -> dict[str, Array]:
        """The reference of every batch, under the names that `BatchesRunner` gives outputs."""
        from benchctl_workloads.reference import reference_outputs

        assert self._workload is not None
        outputs = {batch_name(name, 0): array for name, array in first.items()}
        for place, inputs in enumerate(others, 1):
            found = reference_outputs(self._workload, self._case, parameters, inputs, seed)
            outputs |= {batch_name(name, place): array for name, array in found.items()}
        return outputs

    def _user_file(self) -> Path | None:
        """The file of a user's own workload."""
        reference = "" if self._workload is None else workload_reference(self._workload)
        return file_of_reference(reference) if is_file_reference(reference) else None

    def _prepared(self) -> tuple[Runner, Workload]:
        assert self._runner is not None and self._workload is not None, "prepare comes first"
        return self._runner, self._workload


def draw_parameters(workload: Workload, case: Mapping[str, Any], seed: int) -> dict[str, Array]:
    """The parameters that every arm begins with."""
    import numpy as np

    return workload.parameters(case, np.random.default_rng(seed))


def _require(availability: Availability) -> None:
    if not availability.ok:
        raise ArmFailure("unavailable", availability.reason, availability.hint)


def serve(requests: BinaryIO, replies: BinaryIO, clock: Clock) -> None:
    """Answer requests until `quit` or the end of the pipe."""

    def send(message: Message) -> None:
        replies.write(encode(message))
        replies.flush()

    def report(doing: str) -> None:
        send({"doing": doing.replace("_", " ")})

    service = WorkerService(clock, report)
    for line in requests:
        request = decode(line)
        if request["op"] == "quit":
            break
        send(service.answer(request))
    service.close()


def take_protocol_pipes() -> tuple[BinaryIO, BinaryIO]:
    """The pipes of the protocol, out of the reach of an engine that prints or reads."""
    requests = os.fdopen(os.dup(0), "rb")
    replies = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return requests, replies


def main() -> NoReturn:
    """Serve one session; Ctrl-C is the session's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if folder := os.environ.get(WORKING_FOLDER):
        os.chdir(folder)
    requests, replies = take_protocol_pipes()
    serve(requests, replies, worker_clock())
    sys.stdout.flush()
    sys.stderr.flush()
    # The engine has released what it held. Taking an interpreter with a compiler in it apart would
    # take longer than a round of measuring, every round.
    os._exit(0)


if __name__ == "__main__":
    main()
