"""Run functions of a user's program that fail, and print what Python shows of each.

`python -m benchctl.claims.mistakes PROGRAM FUNCTION...`; warnings count as shown. A line with a
record separator stands before each.
"""

from __future__ import annotations

import contextlib
import io
import runpy
import sys
import traceback
import warnings

SEPARATOR = "\x1e"


def shown_by(function: object) -> str:
    """What the terminal would show after a call that fails, or that only warns."""
    screen = io.StringIO()
    with contextlib.redirect_stderr(screen), warnings.catch_warnings():
        warnings.simplefilter("always")
        try:
            function()  # type: ignore[operator]
        except Exception:
            traceback.print_exc()
    return screen.getvalue()


def main(path: str, names: list[str]) -> None:
    """Print a separator and what was shown, function by function."""
    space = runpy.run_path(path)
    for name in names:
        sys.stdout.write(f"{SEPARATOR}{shown_by(space[name])}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
