"""What the eager engine is doing just now: recording, walking back, or neither."""

from __future__ import annotations

from typing import Any


class GradientMode:
    """Whether operations are recorded; of a backward walk, whether it releases what it has used
    and whether it is plain: neither recorded nor watched by hooks, so that arrays will do.
    """

    __slots__ = ("assigned", "assignments", "plain", "recording", "releasing")

    def __init__(self) -> None:
        # How many arrays were assigned to, and by array which assignment was its last.
        self.assignments = 0
        self.assigned: dict[int, tuple[Any, int]] = {}
        self.recording = True
        self.releasing = True
        self.plain = True


mode = GradientMode()
