"""The machine's own noise floor: what gates of unchanged code found, kept in the store.

`<store>/noise/aa.jsonl` has one line an A/A gate, appended and forced to disk.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchctl.gate.outcomes import Ending, GateResult, Outcome
from benchctl.stats.planner import robust_spread
from benchctl.store.errors import RecordError, StoreError

FILE = "noise/aa.jsonl"
SCHEMA = "benchctl.aa/1"
_CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class AaGate:
    """One gate of unchanged code: how it ended, and how each case varied.

    `spreads` are standard deviations of a round's ln(head / base); `offsets` are the estimates of
    ln(head / base), which should be zero.
    """

    machine_id: str
    started_utc: str
    seconds: float
    ending: str
    candidates: int
    regressed: int
    spreads: Mapping[str, float]
    offsets: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class NoiseFloor:
    """What the A/A gates of one machine class say together.

    `red_bound` is the upper 95 % bound of the share of unchanged code that a gate calls regressed.
    """

    gates: int
    red: int
    contaminated: int
    candidates: int
    cases: int
    spreads: Mapping[str, float]

    @property
    def red_bound(self) -> float:
        """Clopper and Pearson's upper bound; 1 - 0.05^(1 / n) where nothing was red."""
        return upper_bound(self.red, self.gates)


def upper_bound(events: int, trials: int, confidence: float = _CONFIDENCE) -> float:
    """The largest rate at which `events` or fewer of `trials` are not too unlikely.

    Source: Clopper and Pearson 1934; found by bisection on the binomial tail.
    """
    if trials == 0 or events >= trials:
        return 1.0
    low, high = events / trials, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if _binomial_tail(events, trials, middle) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def _binomial_tail(events: int, trials: int, rate: float) -> float:
    return sum(
        math.comb(trials, k) * rate**k * (1 - rate) ** (trials - k) for k in range(events + 1)
    )


def aa_gate(result: GateResult, machine_id: str, started_utc: str, seconds: float) -> AaGate:
    """What one gate of unchanged code found."""
    measured = [each for each in result.cases if each.pair is not None and each.pair.log_ratios]
    return AaGate(
        machine_id=machine_id,
        started_utc=started_utc,
        seconds=seconds,
        ending=result.ending.value,
        candidates=len(result.candidates),
        regressed=len(result.of(Outcome.REGRESSED)),
        spreads={
            " ".join(each.key): robust_spread(list(each.pair.log_ratios.values()))
            for each in measured
            if each.pair is not None
        },
        offsets={
            " ".join(each.key): each.estimate for each in measured if each.estimate is not None
        },
    )


def append_aa(store: Path, gate: AaGate) -> Path:
    """Keep one A/A gate; raises `StoreError`."""
    path = store / FILE
    document = {
        "schema": SCHEMA,
        "machine_id": gate.machine_id,
        "started_utc": gate.started_utc,
        "seconds": round(gate.seconds, 3),
        "ending": gate.ending,
        "candidates": gate.candidates,
        "regressed": gate.regressed,
        "spreads": dict(gate.spreads),
        "offsets": dict(gate.offsets),
    }
    line = json.dumps(document, separators=(",", ":")).encode() + b"\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            # A line torn by a crash was never finished: it makes way.
            os.ftruncate(descriptor, path.read_bytes().rfind(b"\n") + 1)
            os.write(descriptor, line)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise StoreError(f"cannot append to {path}: {error.strerror or error}") from error
    return path


def load_aa(store: Path) -> list[AaGate]:
    """All A/A gates of a store, oldest first; raises `RecordError` naming the line.

    A last line without its newline was never finished and is ignored.
    """
    path = store / FILE
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RecordError(path, 0, f"cannot be read: {error.strerror or error}") from error
    finished = content[: content.rfind(b"\n") + 1].splitlines()
    return [_read_line(path, number, line) for number, line in enumerate(finished, 1)]


def _read_line(path: Path, number: int, line: bytes) -> AaGate:
    try:
        found: dict[str, Any] = json.loads(line)
        schema = found.pop("schema")
        if schema != SCHEMA:
            raise ValueError(f"expected schema {SCHEMA}, received {schema}")
        return AaGate(**found)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise RecordError(path, number, f"holds no A/A gate: {error}") from error


def noise_floor(gates: Sequence[AaGate], machine_id: str) -> NoiseFloor | None:
    """What the gates of one machine class say together, None where there is none."""
    own = [each for each in gates if each.machine_id == machine_id]
    if not own:
        return None
    judged = [each for each in own if each.ending != Ending.CONTAMINATED.value]
    names = dict.fromkeys(name for each in judged for name in each.spreads)
    spreads = {
        name: float(np.median([each.spreads[name] for each in judged if name in each.spreads]))
        for name in names
    }
    return NoiseFloor(
        gates=len(judged),
        red=sum(each.regressed > 0 for each in judged),
        contaminated=len(own) - len(judged),
        candidates=sum(each.candidates for each in judged),
        cases=sum(len(each.spreads) for each in judged),
        spreads=spreads,
    )
