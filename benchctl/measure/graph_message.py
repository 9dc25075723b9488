"""The graphs of a step as they travel from a worker to its session."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from benchctl.measure.protocol import Message
from benchctl_engines.contract import (
    GraphBuffer,
    GraphOperation,
    GraphTensor,
    GraphView,
    StepGraphs,
)

_TUPLES = ("inputs", "outputs", "parts")


def graphs_message(graphs: StepGraphs) -> Message:
    """Both graphs as plain values."""
    return asdict(graphs)


def read_graphs(message: Mapping[str, Any]) -> StepGraphs:
    """Graphs that have travelled."""
    return StepGraphs(_view(message["before"]), _view(message["after"]))


def _view(message: Mapping[str, Any]) -> GraphView:
    return GraphView(
        tensors=tuple(
            GraphTensor(**{**each, "shape": tuple(each["shape"])}) for each in message["tensors"]
        ),
        operations=tuple(
            GraphOperation(**{**each, **{name: tuple(each[name]) for name in _TUPLES}})
            for each in message["operations"]
        ),
        outputs=dict(message["outputs"]),
        buffers=tuple(GraphBuffer(**each) for each in message["buffers"]),
        arena_bytes=message["arena_bytes"],
    )
