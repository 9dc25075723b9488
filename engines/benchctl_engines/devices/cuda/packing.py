"""Arguments of a kernel as bytes, one place of eight bytes each."""

from __future__ import annotations

import struct
from functools import cache

_FORMATS = {"P": "Q", "i": "i4x", "q": "q", "f": "f4x", "d": "d"}

PLACE_BYTES = 8


@cache
def packer(signature: str) -> struct.Struct:
    """What packs the arguments of a signature such as "PPfi"; see `driver.Module`."""
    return struct.Struct("<" + "".join(_FORMATS[letter] for letter in signature))
