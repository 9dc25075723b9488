"""Readers of the files in which MNIST and its relatives come: idx, gzipped or not, npz and csv.

Nothing is unpickled, and no more is read than the header of a file promises.
"""

from __future__ import annotations

import gzip
import math
import zipfile
import zlib
from pathlib import Path
from typing import IO, cast

import numpy as np

from benchctl_engines.contract import Array

from .strokes import SIDE

IMAGE_ARRAYS = ("x_train", "images")
"""Names of the array of images in an npz file, the first that is there."""
MOST_BYTES = 1 << 30
_GZIP = b"\x1f\x8b"
_ZIP = b"PK"
_IDX_BYTES = 8
"""The type of whole numbers from 0 to 255 in an idx file."""


class DataError(ValueError):
    """Images that are not there or cannot be read: what was expected, received, and what to do."""


def read_images(path: Path) -> Array:
    """The images of an idx file (gzipped or not) or of an npz file: uint8 [N, 28, 28].

    The content decides which it is, not the name. Raises `DataError`.
    """
    try:
        with path.open("rb") as file:
            begin = file.read(2)
        images = _read_npz(path) if begin == _ZIP else read_idx(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    return _checked(path, images)


def read_idx(path: Path) -> Array:
    """The array of an idx file of bytes, gzipped or not; raises `DataError`.

    The header is two zeros, the type, the number of sizes and the sizes, as big-endian words.
    """
    with path.open("rb") as plain:
        is_gzip = plain.read(2) == _GZIP
    try:
        with _opened(path, is_gzip) as stream:
            return _idx_array(path, stream)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(
            f"{path} expected a whole gzip file, received a damaged one: {error}; fetch it again"
        ) from error


def _opened(path: Path, is_gzip: bool) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(path, "rb")) if is_gzip else path.open("rb")


def _idx_array(path: Path, stream: IO[bytes]) -> Array:
    head = stream.read(4)
    if len(head) < 4 or head[:2] != b"\0\0":
        raise DataError(
            f"{path} expected an idx file, which begins with two zeros, or an npz file, received "
            f"one that begins with {head[:4].hex(' ') or 'nothing'}; images of MNIST are in "
            "train-images-idx3-ubyte.gz"
        )
    if head[2] != _IDX_BYTES:
        raise DataError(
            f"{path} expected bytes (type 08), received type {head[2]:02x}; pixels are 0 to 255"
        )
    words = stream.read(4 * head[3])
    if len(words) < 4 * head[3]:
        raise DataError(f"{path} expected {head[3]} sizes, received a file that ends before them")
    sizes = tuple(int(size) for size in np.frombuffer(words, ">u4"))
    expected = math.prod(sizes)
    if expected > MOST_BYTES:
        raise DataError(
            f"{path} expected at most {MOST_BYTES} pixels, received sizes {sizes}; take a part"
        )
    content = stream.read(expected + 1)
    if len(content) != expected:
        received = "more" if len(content) > expected else str(len(content))
        raise DataError(
            f"{path} expected {expected} bytes after its header, which says {sizes}, received "
            f"{received}; fetch it again"
        )
    return np.frombuffer(content, np.uint8).reshape(sizes)


def _read_npz(path: Path) -> Array:
    try:
        with np.load(path, allow_pickle=False) as archive:
            for name in IMAGE_ARRAYS:
                if name in archive.files:
                    return np.asarray(archive[name])
            received = ", ".join(archive.files) or "none"
    except (ValueError, zipfile.BadZipFile, EOFError, zlib.error) as error:
        raise DataError(
            f"{path} expected plain arrays in an npz file, received something else: {error}"
        ) from error
    raise DataError(
        f"{path} expected an array {' or '.join(IMAGE_ARRAYS)}, received {received}; save the "
        "images under one of these names with numpy.savez"
    )


def read_csv(path: Path) -> Array:
    """Images of a csv file, gzipped or not, one a line with its label behind: uint8 [N, 28, 28]."""
    try:
        table = np.loadtxt(path, delimiter=",", dtype=np.float32, ndmin=2)
    except (ValueError, OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} expected numbers with commas between them: {error}") from error
    if table.shape[1] != SIDE * SIDE + 1:
        raise DataError(
            f"{path} expected {SIDE * SIDE} pixels and a label a line, received "
            f"{table.shape[1]} numbers"
        )
    return _checked(path, table[:, :-1].astype(np.uint8).reshape(-1, SIDE, SIDE))


def _checked(path: Path, images: Array) -> Array:
    if images.dtype != np.uint8 or images.ndim != 3 or images.shape[1:] != (SIDE, SIDE):
        raise DataError(
            f"{path} expected images uint8[N, {SIDE}, {SIDE}], received "
            f"{images.dtype}{list(images.shape)}; labels are in a file of their own"
        )
    if not len(images):
        raise DataError(f"{path} expected images, received a file with none")
    return images
