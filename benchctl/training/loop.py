"""Training the GAN epoch by epoch on one engine, kept so that it can go on.

Every epoch runs on a runner of its own, prepared from the arrays that the last one left and with a
seed of its own: an epoch after a pause is the same, bit by bit, as without one.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from benchctl.measure.clock import Clock, seconds_since
from benchctl_engines.contract import Array, EngineOptions
from benchctl_workloads.digits.strokes import SIDE
from benchctl_workloads.gan.networks import NOISE, networks
from benchctl_workloads.gan.training import (
    Checkpoint,
    ShuffledImages,
    load_checkpoint,
    save_checkpoint,
)
from benchctl_workloads.gan.workload import DISCRIMINATOR_LOSS, GENERATOR_LOSS, Gan

if TYPE_CHECKING:
    from benchctl_engines.contract import Case, Engine, Program, Runner

CHECKPOINT_FILE = "checkpoint.npz"
LOSSES_FILE = "losses.csv"
PICTURES = 25
LOSSES = (GENERATOR_LOSS, DISCRIMINATOR_LOSS)
_COLUMNS = ("epoch", "step", *LOSSES)


@dataclass(frozen=True, slots=True)
class StepDone:
    """One step of an epoch: `number` of `count`, both counted from 1."""

    epoch: int
    number: int
    count: int
    generator_loss: float
    discriminator_loss: float
    step_seconds: float

    @property
    def step(self) -> int:
        """The number of the step in the whole training, counted from 1."""
        return (self.epoch - 1) * self.count + self.number


@dataclass(frozen=True, slots=True)
class EpochDone:
    """One epoch, kept: mean losses, and pictures [25, 28, 28] with their decisions [25].

    A decision above 0 takes the picture for a real one.
    """

    epoch: int
    generator_loss: float
    discriminator_loss: float
    images: Array
    decisions: Array
    seconds: float


class Training:
    """One training in one folder."""

    def __init__(
        self,
        engine: Engine,
        case: Case,
        folder: Path,
        clock: Clock,
        *,
        images: int,
        seed: int = 0,
        threads: int = 1,
    ) -> None:
        self._engine = engine
        self._case = case
        self._folder = folder
        self._clock = clock
        self._seed = seed
        self._threads = threads
        self._workload = Gan()
        self._images = ShuffledImages(case, seed, images)
        self._about = {**case, "seed": seed, "images": images}
        self._latest = Checkpoint(0, self._workload.parameters(case, np.random.default_rng(seed)))

    @property
    def epoch(self) -> int:
        """The last epoch that is finished and kept, 0 for none."""
        return self._latest.epoch

    @property
    def checkpoint(self) -> Path:
        """The file that the training goes on from."""
        return self._folder / CHECKPOINT_FILE

    @property
    def steps_per_epoch(self) -> int:
        """Batches that an epoch goes through."""
        return int(self._images.batches)

    def resume(self) -> None:
        """Go on from the checkpoint in the folder; raises `CheckpointError`."""
        self._latest = load_checkpoint(self.checkpoint, self._latest.parameters, self._about)

    def run(self, epochs: int, on_step: Callable[[StepDone], None]) -> Iterator[EpochDone]:
        """Train until `epochs` are done in all; each is kept before it is told."""
        self._folder.mkdir(parents=True, exist_ok=True)
        while self.epoch < epochs:
            yield self._run_epoch(self.epoch + 1, on_step)

    def _run_epoch(self, epoch: int, on_step: Callable[[StepDone], None]) -> EpochDone:
        start = self._clock.now_ns()
        losses: list[tuple[float, float]] = []
        with self._images.epoch(epoch) as batches:
            first = next(batches)
            runner = self._prepare(self._case, self._latest.parameters, first, epoch)
            try:
                for inputs in chain([first], batches):
                    losses.append(self._step(runner, inputs, epoch, len(losses) + 1, on_step))
                outputs = runner.outputs()
                parameters = {
                    name: np.array(outputs[f"parameter/{name}"]) for name in self._latest.parameters
                }
            finally:
                runner.close()
        images, decisions = self._look(parameters)
        self._keep_losses(epoch, losses)
        latest = Checkpoint(epoch, parameters)
        save_checkpoint(self.checkpoint, latest, self._about)
        self._latest = latest
        generator, discriminator = np.mean(losses, axis=0)
        seconds = seconds_since(self._clock, start)
        return EpochDone(epoch, float(generator), float(discriminator), images, decisions, seconds)

    def _step(
        self,
        runner: Runner,
        inputs: Mapping[str, Array],
        epoch: int,
        number: int,
        on_step: Callable[[StepDone], None],
    ) -> tuple[float, float]:
        runner.load(inputs)
        start = self._clock.now_ns()
        runner.step()
        seconds = seconds_since(self._clock, start)
        outputs = runner.outputs()
        generator, discriminator = (float(outputs[name]) for name in LOSSES)
        count = self._images.batches
        on_step(StepDone(epoch, number, count, generator, discriminator, seconds))
        return generator, discriminator

    def _look(self, parameters: Mapping[str, Array]) -> tuple[Array, Array]:
        """What the generator makes of the same noise each time, and what is thought of it."""
        case = {**self._case, "mode": "inference", "batch": PICTURES}
        noise = np.random.default_rng([self._seed, 0, 1]).standard_normal(
            (PICTURES, NOISE), dtype=np.float32
        )
        both = networks(case["width"], case["layout"])
        names = (*both.generator.parameter_specs, *both.discriminator.parameter_specs)
        inputs = {"noise": noise}
        runner = self._prepare(case, {name: parameters[name] for name in names}, inputs, 0)
        try:
            runner.load(inputs)
            runner.step()
            outputs = runner.outputs()
            images = np.array(outputs["images"]).reshape(PICTURES, SIDE, SIDE)
            return images, np.array(outputs["decisions"]).reshape(PICTURES)
        finally:
            runner.close()

    def _prepare(
        self, case: Case, parameters: Mapping[str, Array], inputs: Mapping[str, Array], epoch: int
    ) -> Runner:
        seed = int(np.random.SeedSequence([self._seed, epoch]).generate_state(1)[0])
        own = {name: np.array(array) for name, array in parameters.items()}
        options = EngineOptions(threads=self._threads, seed=seed)
        program = cast("Program", self._workload)
        runner = self._engine.prepare(program, case, own, inputs, options)
        runner.build()
        runner.compile()
        return runner

    def _keep_losses(self, epoch: int, losses: list[tuple[float, float]]) -> None:
        """The losses of every step so far, without those of epochs that were not kept."""
        path = self._folder / LOSSES_FILE
        rows: list[list[str]] = []
        if path.is_file():
            with path.open(newline="", encoding="utf-8") as file:
                rows = [row for row in csv.reader(file) if _epoch_of(row) in range(1, epoch)]
        rows += [
            [str(epoch), str(number), *map(repr, both)]
            for number, both in enumerate(losses, start=1)
        ]
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([_COLUMNS, *rows])


def _epoch_of(row: list[str]) -> int:
    return int(row[0]) if row and row[0].isdigit() else 0
