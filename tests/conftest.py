"""What all tests share."""

from __future__ import annotations

import gc

import pytest


@pytest.fixture(autouse=True, scope="module")
def objects_of_earlier_modules_are_left_alone() -> None:
    """The garbage collector looks at what this module makes.

    A measurement collects before each round; among all that a hundred modules have imported and
    made, each time would take a fifth of a second.
    """
    gc.collect()
    gc.freeze()
