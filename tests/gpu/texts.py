"""Every CUDA text that a GPU may be given, by name: files, and what collectors generate.

A module `texts_<group>.py` beside this one adds generated text with

    @generated("elementwise")
    def elementwise_texts():
        yield "add float32", text

and is found by its name, so that one test compiles all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from pathlib import Path

import benchctl_engines

Collector = Callable[[], Iterable[tuple[str, str]]]

FOLDER = Path(benchctl_engines.__file__).parent / "kernels" / "cuda_text"

_GENERATED: dict[str, Collector] = {}


def generated(name: str) -> Callable[[Collector], Collector]:
    """Decorator of a function that yields (name, text)."""

    def register(collector: Collector) -> Collector:
        _GENERATED[name] = collector
        return collector

    return register


def all_texts() -> Iterator[tuple[str, str]]:
    """(name, text) of every file and of all that the collectors generate."""
    for path in sorted(FOLDER.glob("*.cu")):
        yield path.name, path.read_text()
    for module in sorted(Path(__file__).parent.glob("texts_*.py")):
        import_module(module.stem)
    for group, collector in _GENERATED.items():
        for name, text in collector():
            yield f"{group}: {name}", text
