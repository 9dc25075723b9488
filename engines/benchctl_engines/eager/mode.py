"""What the eager engine is doing just now: recording, walking back, or neither."""

from __future__ import annotations

from typing import Any


class GradientMode:
    """Whether operations are recorded; of a backward walk, whether it releases what it has used
    and whether it is plain: neither recorded nor watched by hooks, so that arrays will do.
    """

    __slots__ = ("assigned", "last_assignment", "plain", "recording", "releasing")

    def __init__(self) -> None:
        # When an array was last assigned to, as a place in the sequence of the tape's entries:
        # of all, and by array.
        self.last_assignment = 0
        self.assigned: dict[int, tuple[Any, int]] = {}
        self.recording = True
        self.releasing = True
        self.plain = True


mode = GradientMode()
