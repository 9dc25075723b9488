"""`benchctl train gan`: train over epochs, watch the losses, look at what comes out."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from benchctl.cli.errors import CliError
from benchctl.cli.exits import Exit
from benchctl.cli.options import axis_option, seed_option, threads_option
from benchctl.cli.screen import is_live, note, write
from benchctl.cli.writable import not_written, require_writable_folder

if TYPE_CHECKING:
    from benchctl.graphs.event_file import ScalarLog
    from benchctl.training.loop import EpochDone, StepDone, Training

_DEFAULT_IMAGES = 10_000
_OTHER_FOLDER = "choose another folder: --out DIR"
_OTHER_LOG = "choose another folder: --tensorboard DIR"


@click.command()
@click.argument("name", metavar="WORKLOAD", type=click.Choice(["gan"]))
@click.option(
    "--engine",
    type=click.Choice(["static", "eager"]),
    default="static",
    show_default=True,
    help="Engine to train on.",
)
@click.option(
    "--epochs",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    metavar="N",
    help="Epochs in all, those before a pause included.",
)
@click.option(
    "--out",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    metavar="DIR",
    help="Folder of pictures, losses and the checkpoint.",
)
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in the folder.")
@click.option(
    "--images",
    type=click.IntRange(min=1),
    default=_DEFAULT_IMAGES,
    show_default=True,
    metavar="N",
    help="Images of an epoch, at most as many as there are.",
)
@click.option(
    "--tensorboard",
    "log_folder",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Also log losses and times of the steps for TensorBoard.",
)
@axis_option
@seed_option
@threads_option
def train(
    name: str,
    engine: str,
    epochs: int,
    folder: Path,
    resume: bool,
    images: int,
    log_folder: Path | None,
    axes: tuple[str, ...],
    seed: int,
    threads: int | None,
) -> int:
    """Train the lecture's DCGAN and draw what it makes of noise after every epoch.

    Each epoch leaves a picture, the losses of its steps and a checkpoint, from which --resume goes
    on to the same result, bit by bit, as without a pause. Ctrl-C keeps the last finished epoch.

    \b
    benchctl train gan --out digits --epochs 20
    benchctl train gan --out digits --epochs 40 --resume
    benchctl train gan --out clothes -a data=fashion --images 60000 --engine eager
    benchctl train gan --out digits --tensorboard logs
    """
    from benchctl.cli.request import usable_cores

    count = usable_cores() if threads is None else threads
    require_writable_folder(folder, _OTHER_FOLDER)
    if log_folder is not None:
        require_writable_folder(log_folder, _OTHER_LOG)
    with _library_threads(count):
        training = _training(engine, axes, folder, images, seed, count)
        _begin(training, resume)
        if training.epoch >= epochs:
            note(f"{training.checkpoint} has {training.epoch} epochs already; raise --epochs")
        with _scalar_log(log_folder if training.epoch < epochs else None, training) as log:
            _run(training, epochs, folder, log)
    return int(Exit.OK)


@contextmanager
def _library_threads(count: int) -> Iterator[None]:
    import threadpoolctl

    limits: Any = threadpoolctl.threadpool_limits
    with limits(count):
        yield


def _training(
    engine: str, axes: tuple[str, ...], folder: Path, images: int, seed: int, threads: int
) -> Training:
    from benchctl.measure.clock import WallClock
    from benchctl.plan.registry import load_installed_engine
    from benchctl.training.loop import Training
    from benchctl_workloads.digits.files import DataError

    found = load_installed_engine(engine)
    case = _one_case(axes)
    here = found.availability("cpu")
    if not here.ok:
        raise CliError(here.reason, here.hint, Exit.NOTHING_MEASURED)
    try:
        return Training(found, case, folder, WallClock(), images=images, seed=seed, threads=threads)
    except DataError as error:
        raise CliError(str(error)) from error


def _one_case(axes: tuple[str, ...]) -> dict[str, Any]:
    from benchctl.plan.cases import expand_cases, parse_axes
    from benchctl_workloads.gan.workload import Gan

    cases = expand_cases(Gan(), parse_axes(axes))
    if len(cases) != 1 or cases[0].step != "training":
        raise CliError(
            f"train expected one case of mode=training, received {len(cases)}, "
            f"the first of mode={cases[0].parameters['mode']}",
            "name one value of each axis, such as -a batch=64",
        )
    return dict(cases[0].parameters)


def _begin(training: Training, resume: bool) -> None:
    from benchctl_workloads.gan.training import CheckpointError

    there = training.checkpoint.is_file()
    if there and not resume:
        raise CliError(
            f"{training.checkpoint} is there already",
            "go on from it: --resume; or choose another folder: --out DIR",
        )
    if resume and not there:
        raise CliError(
            f"--resume expected {training.checkpoint}, which is not there",
            "leave --resume out to begin, or name the folder of the training",
        )
    if resume:
        try:
            training.resume()
        except CheckpointError as error:
            raise CliError(str(error)) from error


def _scalar_log(
    folder: Path | None, training: Training
) -> AbstractContextManager[ScalarLog | None]:
    if folder is None:
        return nullcontext()
    from benchctl.graphs.event_file import ScalarLog

    try:
        return ScalarLog(folder, training.epoch * training.steps_per_epoch + 1)
    except OSError as error:
        raise not_written(folder, error, _OTHER_LOG) from error


def _run(training: Training, epochs: int, folder: Path, log: ScalarLog | None) -> None:
    from benchctl.training.pictures import save_pictures

    live = is_live()

    def on_step(done: StepDone) -> None:
        if live:
            _show_step(done)
        if log is not None:
            log.write(done.step, _scalars(done))

    try:
        for done in training.run(epochs, on_step):
            path = folder / f"digits-{done.epoch:04d}.png"
            save_pictures(path, done.images, done.decisions, f"epoch {done.epoch}")
            if live:
                _clear()
            write([_epoch_line(done, path)])
            if log is not None:
                real = {"decisions/taken_for_real": _taken_for_real(done)}
                log.write(done.epoch * training.steps_per_epoch, real)
    except KeyboardInterrupt:
        if live:
            _clear()
        kept = f"epoch {training.epoch} is kept in {training.checkpoint}; --resume goes on"
        note(kept if training.epoch else "no epoch is finished, nothing is kept")
        raise
    except OSError as error:
        raise not_written(folder, error, _OTHER_FOLDER, Exit.FAILED) from error


def _scalars(done: StepDone) -> dict[str, float]:
    return {
        "loss/generator": done.generator_loss,
        "loss/discriminator": done.discriminator_loss,
        "time/step_seconds": done.step_seconds,
    }


def _show_step(done: StepDone) -> None:
    text = (
        f"epoch {done.epoch}  step {done.number}/{done.count}  "
        f"generator {done.generator_loss:.3f}  discriminator {done.discriminator_loss:.3f}  "
        f"{done.step_seconds:.2f} s"
    )
    sys.stderr.write(f"\r{text:<78}")
    sys.stderr.flush()


def _clear() -> None:
    sys.stderr.write(f"\r{'':<78}\r")
    sys.stderr.flush()


def _epoch_line(done: EpochDone, path: Path) -> str:
    return (
        f"epoch {done.epoch:>3}  generator {done.generator_loss:.4f}  "
        f"discriminator {done.discriminator_loss:.4f}  taken for real {_taken_for_real(done):.0%}  "
        f"{done.seconds:.1f} s  {path}"
    )


def _taken_for_real(done: EpochDone) -> float:
    """The share of the epoch's pictures that the discriminator takes for real ones."""
    return float((done.decisions > 0).mean())
