"""The machine's own noise floor: what gates of unchanged code found, kept in the store.

`<store>/noise/aa.jsonl` has one line an A/A gate, appended and forced to disk.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchctl.gate.outcomes import Ending, GateResult, Key, Outcome
from benchctl.stats.planner import robust_spread
from benchctl.store.errors import RecordError, StoreError

FILE = "noise/aa.jsonl"
SCHEMA = "benchctl.aa/1"
_CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Planted:
    """A slowdown that one case of a gate was given, and what the gate made of it.

    `share` is 0.05 for 5 %, `estimate` is of ln(head / base), `found` where the case was called
    regressed.
    """

    case: str
    share: float
    estimate: float | None
    found: bool


@dataclass(frozen=True, slots=True)
class AaGate:
    """One gate of unchanged code: how it ended, and how each case varied.

    `spreads` are standard deviations of a round's ln(head / base); `offsets` are the estimates of
    ln(head / base), which should be zero but for a slowdown that was `planted`.
    """

    machine_id: str
    started_utc: str
    seconds: float
    ending: str
    candidates: int
    regressed: int
    spreads: Mapping[str, float]
    offsets: Mapping[str, float]
    planted: Planted | None = None


@dataclass(frozen=True, slots=True)
class Power:
    """How many of the gates with a planted slowdown found it; `seconds` is the time of them all."""

    share: float
    gates: int
    found: int
    contaminated: int
    seconds: float

    @property
    def found_bound(self) -> float:
        """The lower 95 % bound of the share of such slowdowns that a gate finds."""
        return 1.0 - upper_bound(self.gates - self.found, self.gates)


@dataclass(frozen=True, slots=True)
class NoiseFloor:
    """What the A/A gates of one machine class say together.

    `red_bound` is the upper 95 % bound of the share of unchanged code that a gate calls regressed;
    `powers` has what became of planted slowdowns, the smallest first.
    """

    gates: int
    red: int
    contaminated: int
    candidates: int
    cases: int
    spreads: Mapping[str, float]
    seconds: float = 0.0
    powers: tuple[Power, ...] = ()

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


def aa_gate(
    result: GateResult,
    machine_id: str,
    started_utc: str,
    seconds: float,
    planted: tuple[Key, float] | None = None,
) -> AaGate:
    """What one gate of unchanged code found; `planted` is what was made slower, by what share."""
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
        planted=None if planted is None else _planted(result, *planted),
    )


def _planted(result: GateResult, key: Key, share: float) -> Planted:
    case = next((each for each in result.cases if each.key == key), None)
    return Planted(
        case=" ".join(key),
        share=share,
        estimate=None if case is None else case.estimate,
        found=case is not None and case.outcome is Outcome.REGRESSED,
    )


def append_aa(store: Path, gate: AaGate) -> Path:
    """Keep one A/A gate; raises `StoreError`."""
    path = store / FILE
    document: dict[str, Any] = {
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
    if gate.planted is not None:
        document["planted"] = asdict(gate.planted)
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
        planted = found.pop("planted", None)
        return AaGate(**found, planted=None if planted is None else Planted(**planted))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise RecordError(path, number, f"holds no A/A gate: {error}") from error


def noise_floor(gates: Sequence[AaGate], machine_id: str) -> NoiseFloor | None:
    """What the gates of one machine class say together, None where there is none."""
    own = [each for each in gates if each.machine_id == machine_id]
    if not own:
        return None
    unchanged = [each for each in own if each.planted is None]
    judged = [each for each in unchanged if not _is_contaminated(each)]
    names = dict.fromkeys(name for each in judged for name in each.spreads)
    spreads = {
        name: float(np.median([each.spreads[name] for each in judged if name in each.spreads]))
        for name in names
    }
    return NoiseFloor(
        gates=len(judged),
        red=sum(each.regressed > 0 for each in judged),
        contaminated=len(unchanged) - len(judged),
        candidates=sum(each.candidates for each in judged),
        cases=sum(len(each.spreads) for each in judged),
        spreads=spreads,
        seconds=sum(each.seconds for each in unchanged),
        powers=_powers(own),
    )


def _powers(gates: Sequence[AaGate]) -> tuple[Power, ...]:
    """What became of the planted slowdowns, size by size."""
    by_share: dict[float, list[tuple[AaGate, Planted]]] = {}
    for gate in gates:
        if gate.planted is not None:
            by_share.setdefault(gate.planted.share, []).append((gate, gate.planted))
    return tuple(
        Power(
            share=share,
            gates=sum(not _is_contaminated(gate) for gate, _ in own),
            found=sum(planted.found for gate, planted in own if not _is_contaminated(gate)),
            contaminated=sum(_is_contaminated(gate) for gate, _ in own),
            seconds=sum(gate.seconds for gate, _ in own),
        )
        for share, own in sorted(by_share.items())
    )


def _is_contaminated(gate: AaGate) -> bool:
    return gate.ending == Ending.CONTAMINATED.value
