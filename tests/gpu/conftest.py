"""What the tests on an emulated GPU are given."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from compiled_texts import compiled_ahead, wanted_by
from cuda_runs import WatchedDriver, emulated


@pytest.fixture
def driver() -> Iterator[WatchedDriver]:
    """An emulated GPU that engines find; a module that needs another one says so itself."""
    with emulated() as made:
        yield made


@pytest.fixture(autouse=True, scope="session")
def texts_are_compiled(request: pytest.FixtureRequest) -> Iterator[None]:
    """NVRTC is at work on the other cores while the tests that need no machine code run."""
    with compiled_ahead(wanted_by(request.session.items)):
        yield
