"""What machine code costs: each kernel text compiled once for all tests, and ahead of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache

import pytest

from benchctl_engines.devices.cuda import compiler
from benchctl_engines.devices.cuda.compiler import KernelCost

Wanted = tuple[str, int]
"""A text and the compute capability that it is compiled for."""

_asked: dict[Wanted, Future[tuple[KernelCost, ...]]] = {}


def wanted_by(items: Iterable[pytest.Item]) -> list[Wanted]:
    """What the tests that are to run want compiled: their parameters `text` and `architecture`."""
    given = [each.callspec.params for each in items if hasattr(each, "callspec")]
    return [
        (each["text"], each["architecture"])
        for each in given
        if {"text", "architecture"} <= set(each)
    ]


@contextmanager
def compiled_ahead(wanted: Iterable[Wanted]) -> Iterator[None]:
    """Within the block all of these are compiled in their order, beside whatever else is done."""
    asked = [_ask(*each) for each in wanted] if compiler.load_nvrtc() else []
    try:
        yield
    finally:
        # Tests that were interrupted do not wait for what nobody asks for any more.
        for each in asked:
            each.cancel()


def costs_of(text: str, architecture: int) -> tuple[KernelCost, ...]:
    """Registers, spills and shared memory of every kernel of a text; raises `DeviceError`."""
    return _ask(text, architecture).result()


def _ask(text: str, architecture: int) -> Future[tuple[KernelCost, ...]]:
    key = text, architecture
    if key not in _asked:
        _asked[key] = _threads().submit(_compile, *key)
    return _asked[key]


@cache
def _threads() -> ThreadPoolExecutor:
    # NVRTC needs nothing of the interpreter; a core is left to the tests that do.
    return ThreadPoolExecutor(max(1, len(os.sched_getaffinity(0)) - 1))


def _compile(text: str, architecture: int) -> tuple[KernelCost, ...]:
    return compiler.compile_cubin(text, architecture).kernels
