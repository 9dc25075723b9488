"""What a training of the GAN over epochs needs beside its step: shuffled images, checkpoints."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchctl_engines.contract import Array, Case
from benchctl_engines.layers import LayerError
from benchctl_engines.layers.weights import load_arrays, save_arrays

from ..datasets import Dataset, Iteration
from ..digits.files import DataError
from ..digits.sources import SYNTHETIC, load_images, scaled
from ..digits.strokes import CLASSES, draw_digits
from .networks import NOISE
from .workload import stored_shape

_ABOUT = "about"
_AHEAD = 2
"""Batches that are made while a step runs."""


class CheckpointError(ValueError):
    """A checkpoint that cannot be gone on from; the message says what to do."""


class ShuffledImages:
    """The same images every epoch, in another order; what is less than a batch is left out.

    Order and noise depend on seed, epoch and number alone, so that an epoch is the same after a
    pause. Raises `DataError` where there is not one batch.
    """

    def __init__(self, case: Case, seed: int, most: int) -> None:
        self._seed = seed
        self._batch: int = case["batch"]
        self._shape = stored_shape(self._batch, case["layout"])
        if case["data"] == SYNTHETIC:
            rng = np.random.default_rng([seed, 0])
            pixels = draw_digits(rng, rng.integers(0, CLASSES, most))
        else:
            pixels = load_images(case["data"])[:most]
        self._images = Dataset.from_arrays(pixels)
        self._count = len(pixels)
        self.batches = len(pixels) // self._batch
        if not self.batches:
            raise DataError(
                f"an epoch expected at least one batch of {self._batch} images, received "
                f"{len(pixels)}; choose a smaller batch, or more images"
            )

    def epoch(self, number: int) -> Iteration:
        """The inputs of each step of an epoch, which count from 1, made ahead by a thread."""
        # One generator: the order is drawn first, then the noise of one step after the other.
        rng = np.random.default_rng([self._seed, number])
        batches = self._images.shuffle(self._count, rng).batch(self._batch, drop_remainder=True)
        return batches.map(self._with_noise, rng).prefetch(_AHEAD).epoch()

    def _with_noise(self, images: tuple[Array], rng: np.random.Generator) -> dict[str, Array]:
        noise = rng.standard_normal((self._batch, NOISE), dtype=np.float32)
        return {"noise": noise, "real": scaled(images[0]).reshape(self._shape)}


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Everything that a training goes on from: the arrays after an epoch."""

    epoch: int
    parameters: Mapping[str, Array]


def save_checkpoint(path: Path, checkpoint: Checkpoint, about: Mapping[str, object]) -> None:
    """Write a checkpoint whole, in place of the last; `about` is what it belongs to."""
    text = json.dumps({**about, "epoch": checkpoint.epoch})
    save_arrays(path, {_ABOUT: np.array(text), **checkpoint.parameters})


def load_checkpoint(
    path: Path, expected: Mapping[str, Array], about: Mapping[str, object]
) -> Checkpoint:
    """The checkpoint of a file, for arrays like those expected; raises `CheckpointError`."""
    try:
        arrays = load_arrays(path)
    except LayerError as error:
        raise CheckpointError(f"{error}; begin anew in another folder") from error
    found = _read_about(path, arrays.pop(_ABOUT, None))
    for name, value in about.items():
        if found.get(name) != value:
            raise CheckpointError(
                f"{path} expected a training with {name} {value}, received one with "
                f"{found.get(name)}; give the same options, or begin anew in another folder"
            )
    for name, wanted in expected.items():
        array = arrays.get(name)
        if array is None or array.shape != wanted.shape or array.dtype != wanted.dtype:
            received = "none" if array is None else f"{array.dtype}{list(array.shape)}"
            raise CheckpointError(
                f"{path} expected {name} as {wanted.dtype}{list(wanted.shape)}, received "
                f"{received}; it is of another version, begin anew in another folder"
            )
    return Checkpoint(int(found["epoch"]), {name: arrays[name] for name in expected})


def _read_about(path: Path, text: Array | None) -> dict[str, int | str]:
    try:
        found = json.loads(str(text))
        if isinstance(found, dict) and int(found["epoch"]) >= 0:
            return found
    except (ValueError, KeyError, TypeError):
        pass
    raise CheckpointError(
        f"{path} expected a checkpoint of benchctl train, received another file; choose another "
        "folder"
    )
