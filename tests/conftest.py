"""What all tests share."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="module")
def objects_of_earlier_modules_are_left_alone() -> None:
    """The garbage collector looks at what this module makes.

    A measurement collects before each round; among all that a hundred modules have imported and
    made, each time would take a fifth of a second.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def files_need_not_outlive_the_machine() -> Iterator[None]:
    """Nothing waits for the disk: the tests of what is forced to it put calls of their own here."""
    with pytest.MonkeyPatch.context() as patched:
        # As strict about the descriptor as the real one.
        patched.setattr(os, "fsync", lambda descriptor: os.fstat(descriptor) and None)
        yield
