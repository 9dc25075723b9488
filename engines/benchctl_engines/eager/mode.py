"""What the eager engine is doing just now: recording, walking back, or neither."""

from __future__ import annotations


class GradientMode:
    """Whether operations are recorded; of a backward walk, whether it releases what it has used
    and whether it is plain: neither recorded nor watched by hooks, so that arrays will do.
    """

    __slots__ = ("plain", "recording", "releasing")

    def __init__(self) -> None:
        self.recording = True
        self.releasing = True
        self.plain = True


mode = GradientMode()
