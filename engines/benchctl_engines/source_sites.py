"""The user's own file and line, for error messages and for the origin of graph nodes."""

from __future__ import annotations

import linecache
import sys
from dataclasses import dataclass, replace
from pathlib import Path

_PACKAGE = str(Path(__file__).parent) + "/"


@dataclass(frozen=True, slots=True)
class Site:
    """A place in the user's source, and the passes that have touched what was made there."""

    file: str
    line: int
    passes: tuple[str, ...] = ()

    def touched_by(self, name: str) -> Site:
        """The same site with one more pass in its history."""
        return self if name in self.passes else replace(self, passes=(*self.passes, name))

    def __str__(self) -> str:
        return f"{Path(self.file).name}:{self.line}"

    def describe(self) -> str:
        """`file:line   source text`, with the passes that touched the node."""
        text = linecache.getline(self.file, self.line).strip()
        passes = f"   (after {', '.join(self.passes)})" if self.passes else ""
        return f"{self}   {text}{passes}".rstrip()


UNKNOWN = Site("<unknown>", 0)


def user_site() -> Site:
    """The innermost frame outside this package; source text is read only when printed."""
    frame = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if not file.startswith(_PACKAGE) and not file.startswith("<frozen"):
            return Site(file, frame.f_lineno)
        if frame.f_back is None:
            break
        frame = frame.f_back
    return UNKNOWN
