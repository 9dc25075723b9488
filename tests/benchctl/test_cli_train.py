"""`benchctl train`: what an epoch leaves behind, going on after a pause, and what is refused."""

from __future__ import annotations

import csv
import threading
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from benchctl.cli import main
from benchctl.training import loop
from benchctl.training.pictures import save_pictures
from benchctl_workloads.datasets.prefetch import THREAD_NAME

SMALL = ("-a", "width=2", "-a", "batch=8", "--images", "26", "--threads", "1", "--seed", "4")


def train(folder: Path, *more: object, epochs: int = 2, small: tuple[str, ...] = SMALL) -> Result:
    arguments = ["train", "gan", "--out", folder, "--epochs", epochs, *small, *more]
    return CliRunner().invoke(main, [str(each) for each in arguments])


def arrays_of(folder: Path) -> dict[str, bytes]:
    with np.load(folder / "checkpoint.npz", allow_pickle=False) as archive:
        return {name: archive[name].tobytes() for name in archive.files}


def rows_of(folder: Path) -> list[list[str]]:
    with (folder / "losses.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two epochs of three steps on the static engine."""
    folder = tmp_path_factory.mktemp("train") / "straight"
    done = train(folder)
    assert done.exit_code == 0, done.output
    assert [line.split()[:2] for line in done.stdout.splitlines()] == [
        ["epoch", "1"],
        ["epoch", "2"],
    ]
    return folder


def test_an_epoch_leaves_a_picture_its_losses_and_a_checkpoint(straight: Path) -> None:
    names = sorted(each.name for each in straight.iterdir())
    assert names == ["checkpoint.npz", "digits-0001.png", "digits-0002.png", "losses.csv"]
    assert (straight / "digits-0002.png").read_bytes().startswith(b"\x89PNG")
    head, *rows = rows_of(straight)
    assert head == ["epoch", "step", "generator_loss", "discriminator_loss"]
    assert [row[:2] for row in rows] == [[e, s] for e in "12" for s in "123"]
    assert all(0.0 < float(loss) < 10.0 for row in rows for loss in row[2:])


def test_a_pause_changes_no_bit(straight: Path, tmp_path: Path) -> None:
    assert train(tmp_path, epochs=1).exit_code == 0
    assert arrays_of(tmp_path) != arrays_of(straight)
    again = train(tmp_path, "--resume")
    assert again.exit_code == 0 and again.stdout.startswith("epoch   2")
    assert arrays_of(tmp_path) == arrays_of(straight)
    assert rows_of(tmp_path) == rows_of(straight)
    for name in ("digits-0001.png", "digits-0002.png"):
        assert (tmp_path / name).read_bytes() == (straight / name).read_bytes()
    over = train(tmp_path, "--resume")
    assert over.exit_code == 0 and "has 2 epochs already" in over.stderr


def test_ctrl_c_keeps_the_last_epoch(
    straight: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = loop.Training._step
    calls = []

    def interrupted(self, *arguments):
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return step(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(loop.Training, "_step", interrupted)
        stopped = train(tmp_path)
    assert stopped.exit_code == 130
    assert THREAD_NAME not in {each.name for each in threading.enumerate()}
    assert "epoch 1 is kept" in stopped.stderr and "--resume goes on" in stopped.stderr
    assert train(tmp_path, "--resume").exit_code == 0
    assert arrays_of(tmp_path) == arrays_of(straight) and rows_of(tmp_path) == rows_of(straight)


def test_both_engines_train_alike(straight: Path, tmp_path: Path) -> None:
    assert train(tmp_path, "--engine", "eager").exit_code == 0
    ours, theirs = (
        np.array([row[2:] for row in rows_of(folder)[1:]], float) for folder in (tmp_path, straight)
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_a_checkpoint_of_another_training_is_refused(straight: Path) -> None:
    before = arrays_of(straight)
    there = train(straight)
    assert there.exit_code == 2 and "is there already" in there.stderr
    other = train(straight, "--resume", "-a", "width=3", small=SMALL[2:])
    assert other.exit_code == 2
    assert "expected a training with width 3, received one with 2" in other.stderr
    seed = train(straight, "--resume", "--seed", "5")
    assert seed.exit_code == 2 and "with seed 5, received one with 4" in seed.stderr
    assert arrays_of(straight) == before


def not_an_archive(path: Path) -> None:
    path.write_bytes(b"no archive")


def pickled(path: Path) -> None:
    np.savez(path, about=np.array({"epoch": 1}, dtype=object))


def of_another_tool(path: Path) -> None:
    np.savez(path, weights=np.zeros(3))


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (not_an_archive, "expected plain arrays"),
        (pickled, "expected plain arrays"),
        (of_another_tool, "expected a checkpoint of benchctl train"),
    ],
)
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path, write, words: str) -> None:
    write(tmp_path / "checkpoint.npz")
    done = train(tmp_path, "--resume")
    assert done.exit_code == 2 and words in done.stderr, done.stderr


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--resume",), "which is not there"),
        (("-a", "mode=inference"), "the first of mode=inference"),
        (("-a", "layout=NHWC,NCHW"), "received 2"),
        (("-a", "data=fasion"), "Did you mean fashion?"),
        (("--images", "7"), "at least one batch of 8 images, received 7"),
        (("--engine", "numpy"), "static"),
    ],
)
def test_what_cannot_be_trained_is_refused(tmp_path: Path, more, words: str) -> None:
    done = train(tmp_path / "new", *more)
    assert done.exit_code == 2 and words in done.stderr, done.stderr
    assert not (tmp_path / "new").exists()


def test_pictures_are_the_same_file_for_the_same_arrays(tmp_path: Path) -> None:
    images = np.random.default_rng(0).uniform(-1, 1, (5, 28, 28))
    for name in ("one.png", "two.png"):
        save_pictures(tmp_path / name, images, np.arange(5.0), "five")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert len(list(tmp_path.iterdir())) == 2
