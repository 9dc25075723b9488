"""Exit codes: what a script may rely on."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """How a command ended; the text of each is shown by `benchctl --help`."""

    OK = 0
    REGRESSION = 1
    USAGE = 2
    INCONCLUSIVE = 3
    CONTAMINATED = 4
    FAILED = 5
    NOTHING_MEASURED = 6
    DEFECT = 70
    INTERRUPTED = 130
    BROKEN_PIPE = 141


MEANINGS = (
    (Exit.OK, "everything asked for was done"),
    (Exit.REGRESSION, "a confirmed regression (gate; compare with --fail-slower)"),
    (Exit.USAGE, "wrong usage or configuration, or an unreadable store"),
    (Exit.INCONCLUSIVE, "inconclusive (with --strict only)"),
    (Exit.CONTAMINATED, "the machine was disturbed: a control differs from itself"),
    (Exit.FAILED, "a case crashed, ran out of time or gave a wrong result, or the disk is full"),
    (Exit.NOTHING_MEASURED, "nothing was measured: device or engine missing, or an empty store"),
    (Exit.DEFECT, "a defect of benchctl itself"),
    (Exit.INTERRUPTED, "interrupted (Ctrl-C); finished rounds are kept"),
)
