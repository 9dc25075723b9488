"""A reader of TensorBoard's event files that shares nothing with the writer."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

Message = dict[int, list[int | float | bytes]]


def crc32c(data: bytes) -> int:
    """CRC-32C bit by bit, most significant bit first on reflected input, as in RFC 3720, B.4."""

    def reflected(value: int, width: int) -> int:
        return int(f"{value:0{width}b}"[::-1], 2)

    remainder = 0xFFFFFFFF
    for byte in data:
        remainder ^= reflected(byte, 8) << 24
        for _ in range(8):
            high = remainder & 0x80000000
            remainder = (remainder << 1) & 0xFFFFFFFF
            if high:
                remainder ^= 0x1EDC6F41
    return reflected(remainder ^ 0xFFFFFFFF, 32)


def unmasked(stored: int) -> int:
    """The checksum behind TFRecord's mask."""
    rotated = (stored - 0xA282EAD8) % 2**32
    return (rotated << 15 | rotated >> 17) % 2**32


def records(data: bytes) -> Iterator[bytes]:
    """The records of a file, their checksums checked."""
    place = 0
    while place < len(data):
        head = data[place : place + 8]
        (size,) = struct.unpack("<Q", head)
        (head_sum,) = struct.unpack_from("<I", data, place + 8)
        body = data[place + 12 : place + 12 + size]
        (body_sum,) = struct.unpack_from("<I", data, place + 12 + size)
        assert unmasked(head_sum) == crc32c(head), "checksum of a length"
        assert unmasked(body_sum) == crc32c(body), "checksum of a record"
        yield body
        place += 16 + size


def message(data: bytes) -> Message:
    """The fields of a protocol buffer by number, in order."""
    fields: Message = {}
    place = 0

    def number() -> int:
        nonlocal place
        value = shift = 0
        while True:
            byte = data[place]
            place += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while place < len(data):
        key = number()
        kind = key & 7
        value: int | float | bytes
        if kind == 0:
            value = number()
        elif kind == 1:
            (value,) = struct.unpack_from("<d", data, place)
            place += 8
        elif kind == 5:
            (value,) = struct.unpack_from("<f", data, place)
            place += 4
        else:
            assert kind == 2, f"wire type {kind}"
            size = number()
            value = data[place : place + size]
            assert len(value) == size
            place += size
        fields.setdefault(key >> 3, []).append(value)
    return fields


def events(path: Path) -> list[Message]:
    """All events of a file."""
    return [message(each) for each in records(path.read_bytes())]


def text(value: object) -> str:
    """A field of text."""
    assert isinstance(value, bytes)
    return value.decode()


def inside(fields: Message, *numbers: int) -> Message:
    """The message in a message in a message."""
    for number in numbers:
        (part,) = fields[number]
        assert isinstance(part, bytes)
        fields = message(part)
    return fields
