"""What the tests on an emulated GPU are given."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cuda_runs import WatchedDriver, emulated


@pytest.fixture
def driver() -> Iterator[WatchedDriver]:
    """An emulated GPU that engines find; a module that needs another one says so itself."""
    with emulated() as made:
        yield made
