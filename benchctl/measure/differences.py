"""Outputs of two engines compared with each other, without holding both in memory."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchctl_engines.contract import Array

_INDEX_FILE = "outputs.json"
_CHUNK_ELEMENTS = 1 << 20


def save_outputs(folder: Path, outputs: Mapping[str, Array]) -> None:
    """Write every output to a file of its own."""
    names = list(outputs)
    for number, name in enumerate(names):
        np.save(folder / f"{number}.npy", outputs[name])
    (folder / _INDEX_FILE).write_text(json.dumps(names))


def largest_difference(outputs: Mapping[str, Array], folder: Path) -> float:
    """The largest |output - saved| / max |saved| over all outputs; NaN where one has a NaN alone.

    Raises `KeyError` where an output was not saved.
    """
    names = json.loads((folder / _INDEX_FILE).read_text())
    worst = 0.0
    for number, name in enumerate(names):
        saved = np.load(folder / f"{number}.npy", mmap_mode="r")
        worst = max(worst, _difference(np.asarray(outputs[name]), saved), key=_nan_last)
    return worst


def _nan_last(value: float) -> float:
    return float("inf") if value != value else value


def _difference(output: Array, saved: Array) -> float:
    if output.dtype.kind != "f":
        return float(np.mean(output != saved)) if output.size else 0.0
    one, other = output.reshape(-1), saved.reshape(-1)
    worst = scale = 0.0
    for start in range(0, one.size, _CHUNK_ELEMENTS):
        part, expected = (
            one[start : start + _CHUNK_ELEMENTS],
            other[start : start + _CHUNK_ELEMENTS],
        )
        same = (part == expected) | (np.isnan(part) & np.isnan(expected))
        differences = np.where(same, 0.0, np.abs(part - expected))
        worst = max(worst, float(differences.max()), key=_nan_last)
        scale = max(scale, float(np.nanmax(np.abs(expected), initial=0.0)))
    return worst / scale if scale else worst
