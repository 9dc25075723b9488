"""TensorBoard's files, written byte by byte: framed records of protocol buffers.

A record is its length, a checksum of the length, the bytes, and a checksum of the bytes (TFRecord:
CRC-32C of Castagnoli, rotated and shifted by a constant). A message is a row of fields, each with
its number and the way its value is stored. Only what TensorBoard reads is here.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

_POLYNOMIAL = 0x82F63B78
"""Of CRC-32C, bits reversed."""
_MASK_DELTA = 0xA282EAD8
_VERSION = "brain.Event:2"
_START = 1
"""SessionLog.START: what an earlier file says of this step or later ones is void."""


def _table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return tuple(table)


_TABLE = _table()


def checksum(data: bytes) -> int:
    """The masked CRC-32C of a record."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


def record(data: bytes) -> bytes:
    """A framed record."""
    length = struct.pack("<Q", len(data))
    sums = (struct.pack("<I", checksum(part)) for part in (length, data))
    return length + next(sums) + data + next(sums)


# ----- protocol buffers -------------------------------------------------------------------------


def varint(number: int) -> bytes:
    """A whole number in groups of 7 bits, the lowest first; negative ones as 64 bits."""
    number &= 0xFFFFFFFFFFFFFFFF
    groups = bytearray()
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    groups.append(number)
    return bytes(groups)


def integer(field: int, value: int) -> bytes:
    """A field of a whole number."""
    return varint(field << 3) + varint(value)


def delimited(field: int, value: str | bytes) -> bytes:
    """A field of text, bytes, or another message."""
    value = value.encode() if isinstance(value, str) else value
    return varint(field << 3 | 2) + varint(len(value)) + value


def double(field: int, value: float) -> bytes:
    """A field of a float of 64 bits."""
    return varint(field << 3 | 1) + struct.pack("<d", value)


def single(field: int, value: float) -> bytes:
    """A field of a float of 32 bits."""
    return varint(field << 3 | 5) + struct.pack("<f", value)


# ----- events -----------------------------------------------------------------------------------


def event(wall_seconds: float, body: bytes, step: int = 0) -> bytes:
    """tensorflow.Event, framed: the time, the step, and one field of what happened."""
    return record(double(1, wall_seconds) + integer(2, step) + body)


def event_file(wall_seconds: float, bodies: Iterable[bytes]) -> bytes:
    """A whole file of events of one moment, version first."""
    every = (delimited(3, _VERSION), *bodies)
    return b"".join(event(wall_seconds, body) for body in every)


class ScalarLog:
    """Numbers of a training, step by step, in a new file of a folder; readable while it grows.

    `first_step` is where this part of the training begins: TensorBoard drops what an interrupted
    part wrote of it before. Raises OSError where the folder cannot be written.
    """

    def __init__(self, folder: Path, first_step: int, now: Callable[[], float] = time.time) -> None:
        self._now = now
        folder.mkdir(parents=True, exist_ok=True)
        # TensorBoard reads the files of a folder in the order of their names.
        path = folder / f"events.out.tfevents.{round(now() * 1e6):020d}"
        self._file: BinaryIO = path.open("xb")
        self._write(delimited(3, _VERSION), 0)
        self._write(delimited(7, integer(1, _START)), first_step)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """The values of a step by name; names with one first part share a group of charts."""
        summary = b"".join(
            delimited(1, delimited(1, name) + single(2, value)) for name, value in values.items()
        )
        self._write(delimited(5, summary), step)

    def _write(self, body: bytes, step: int) -> None:
        self._file.write(event(self._now(), body, step))
        self._file.flush()

    def __enter__(self) -> ScalarLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
