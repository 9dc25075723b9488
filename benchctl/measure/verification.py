"""Outputs of an engine against the float64 reference, without a second copy of large arrays.

The reference lies in a folder, one .npy file an array, and is mapped rather than read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchctl.measure.batches import output_of
from benchctl.store.record import STRICT, TOLERANCE_FACTORS, OutputCheck, Verification
from benchctl_engines.contract import Array, Case
from benchctl_workloads import Tolerance, Workload

PARAMETER_PREFIX = "parameter/"
_CHUNK_ELEMENTS = 1 << 20
_INDEX_FILE = "index.json"
_LATER_FILE = "later.json"
LATER_STEPS_FACTOR = 10.0
LATER_STEPS_SHARE = 0.01
"""How much further from float64 a loss may be after several updates, each made of the last's."""
MOST_RELATIVE_TOLERANCE = 0.5
"""No wider factor makes a result right that is off by more than this of the largest value."""
UNIT_ROUNDOFFS = {"fp16": 2.0**-11, "bf16": 2.0**-8}
"""Half the distance from 1 to the next number, by the precision that results are stored at."""
LEAST_ROUNDOFFS = 16.0
"""No tolerance is narrower than so many roundings of a stored result."""
_MOST_PROBLEMS = 6


@dataclass(frozen=True, slots=True)
class Reference:
    """What outputs are compared with: arrays by output name, mapped from files.

    Of a trained parameter `expected` holds the update, old value minus new, and `before` the old.
    """

    expected: Mapping[str, Array]
    before: Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class Difference:
    """The worst element of a comparison; `where` is its index."""

    max_error: float
    where: tuple[int, ...]
    largest_expected: float


# The reference as files ----------------------------------------------------------------------


def save_reference(
    folder: Path, outputs: Mapping[str, Array], parameters: Mapping[str, Array]
) -> None:
    """Write the float64 outputs of a step that began with `parameters`.

    Updates are stored as float32: they are compared at a tolerance far above its rounding.
    """
    index: list[dict[str, Any]] = []
    for number, (name, output) in enumerate(outputs.items()):
        entry: dict[str, Any] = {"name": name, "file": f"{number}.npy"}
        before = parameters.get(name.removeprefix(PARAMETER_PREFIX))
        if name.startswith(PARAMETER_PREFIX) and before is not None:
            update = np.subtract(before, output, dtype=np.float64).astype(np.float32)
            np.save(folder / entry["file"], update)
            entry["before"] = f"{number}-before.npy"
            np.save(folder / entry["before"], before)
        else:
            np.save(folder / entry["file"], np.asarray(output))
        index.append(entry)
    (folder / _INDEX_FILE).write_text(json.dumps(index))


def load_reference(folder: Path) -> Reference:
    """The arrays that `save_reference` wrote, mapped from their files."""
    index = json.loads((folder / _INDEX_FILE).read_text())
    expected = {each["name"]: _mapped(folder / each["file"]) for each in index}
    before = {each["name"]: _mapped(folder / each["before"]) for each in index if "before" in each}
    return Reference(expected, before)


def _mapped(path: Path) -> Array:
    array: Array = np.load(path, mmap_mode="r")
    return array


def losses(outputs: Mapping[str, Array]) -> dict[str, float]:
    """The single floating numbers among the outputs of a training step."""
    return {
        name: float(output.reshape(()))
        for name, output in ((name, np.asarray(each)) for name, each in outputs.items())
        if output.size == 1 and output.dtype.kind == "f" and not name.startswith(PARAMETER_PREFIX)
    }


def save_later_losses(folder: Path, steps: Iterable[Mapping[str, Array]]) -> None:
    """Write the losses of the float64 steps that follow the first."""
    found = [losses(outputs) for outputs in steps]
    names = found[0] if found else ()
    values = {name: [each[name] for each in found] for name in names}
    (folder / _LATER_FILE).write_text(json.dumps(values))


def load_later_losses(folder: Path) -> dict[str, Array]:
    """By output, its value in the second step and those after it; empty where none were saved."""
    file = folder / _LATER_FILE
    found = json.loads(file.read_text()) if file.exists() else {}
    return {name: np.array(values) for name, values in found.items()}


# Comparison ----------------------------------------------------------------------------------


def verify_outputs(
    outputs: Mapping[str, Array],
    reference: Reference,
    workload: Workload,
    case: Case,
    inputs: Mapping[str, Array],
    precision: str = STRICT,
) -> tuple[Verification, tuple[str, ...]]:
    """All reference outputs against those of an engine, and every difference in words.

    The workload's tolerances are those of strict float32; see `allowed_at` for other precisions.
    """
    suspects: Mapping[str, Array] | None = None
    checks = []
    problems = []
    for name, expected in reference.expected.items():
        strict = workload.tolerance(case, output_of(name))
        tolerance = allowed_at(precision, strict)
        actual = outputs.get(name)
        problem = _mismatch(name, actual, expected, outputs)
        if actual is None or problem:
            checks.append(_failed_check(name))
            problems.append(problem)
            continue
        check = replace(
            check_output(name, actual, expected, tolerance, reference.before.get(name)),
            absolute=strict.relative == 0.0 < strict.absolute,
        )
        if not check.ok:
            if suspects is None:
                suspects = workload.suspects(case, inputs)
            check = _with_suspect(check, actual, suspects, tolerance)
            problems.append(describe_check(check))
        checks.append(check)
    return Verification(not problems, tuple(checks)), tuple(problems)


def verify_later_losses(
    steps: Iterable[Mapping[str, Array]],
    expected: Mapping[str, Array],
    workload: Workload,
    case: Case,
    precision: str = STRICT,
) -> tuple[tuple[OutputCheck, ...], tuple[str, ...]]:
    """The losses of further training steps against those of float64, and differences in words.

    An update that is wrong in a way its own tolerance hides, or is not made, shows here. Training
    makes rounding grow from step to step, as it makes the losses move: so they may be off by a
    hundredth of what those of float64 move, beside the tolerance of a loss. An update that is not
    made costs all of that.
    """
    found = [losses(outputs) for outputs in steps]
    checks = []
    for name, values in expected.items():
        actual = np.array([each.get(name, math.nan) for each in found])
        tolerance = allowed_at(precision, workload.tolerance(case, name))
        moved = float(np.ptp(values)) if np.all(np.isfinite(values)) else 0.0
        allowed = Tolerance(
            LATER_STEPS_FACTOR * tolerance.relative,
            LATER_STEPS_FACTOR * tolerance.absolute + LATER_STEPS_SHARE * moved,
        )
        label = f"{name} of steps 2 to {len(values) + 1}"
        checks.append(check_output(label, actual, values, allowed))
    problems = tuple(describe_check(check) for check in checks if not check.ok)
    return tuple(checks), problems


def allowed_at(precision: str, tolerance: Tolerance) -> Tolerance:
    """The tolerance of products computed at another precision than strict float32.

    TF32 keeps 10 of 23 bits of each factor: 1e-3 is to it what 1e-5 is to float32. Halves round
    every stored result besides, one after another through the layers of a network: for binary16,
    with as many bits, 1e-2 or 20 unit roundoffs of 2^-11; bfloat16 has 3 bits fewer, so eight times
    that. A tolerance that counts the roundings of float32 itself, of which it allows 16 roundoffs,
    allows 16 of theirs. A tolerance that is wide already, such as that of an update behind many
    ReLUs, grows to half the largest value and no further.
    """
    factor = TOLERANCE_FACTORS[precision]
    if factor == 1.0:
        return tolerance
    widest = max(tolerance.relative, MOST_RELATIVE_TOLERANCE)
    least = LEAST_ROUNDOFFS * UNIT_ROUNDOFFS.get(precision, 0.0)
    relative = max(min(factor * tolerance.relative, widest), least)
    return Tolerance(relative, factor * tolerance.absolute)


def check_output(
    name: str, actual: Array, expected: Array, tolerance: Tolerance, before: Array | None = None
) -> OutputCheck:
    """One output of the right shape against the reference; with `before`, its update instead.

    Comparing new values would hide a wrong gradient: an update is often a thousandth of what it
    changes. `before` minus the new float32 value carries the rounding of that value, at most half
    a unit in its last place, and the engine's own subtraction carries as much again: hence four
    times epsilon of the largest old value on top of the tolerance.
    """
    difference = worst_difference(actual, expected, before)
    # A workload may give NumPy's numbers, which no JSON can carry.
    allowed = float(tolerance.relative * difference.largest_expected + tolerance.absolute)
    if before is not None:
        epsilon = float(np.finfo(before.dtype).eps) if before.dtype.kind == "f" else 0.0
        allowed += 4.0 * epsilon * _largest(before)
    error = difference.max_error
    return OutputCheck(
        output=name,
        ok=error <= allowed,
        max_error=error,
        allowed=allowed,
        relative_error=_relative(error, difference.largest_expected),
        where=difference.where,
    )


def worst_difference(actual: Array, expected: Array, before: Array | None = None) -> Difference:
    """The largest absolute difference, in float64; with `before`, that of before - actual.

    A NaN on either side, or an infinity that the other side lacks, differs by infinity.
    """
    worst, place, largest = -1.0, 0, 0.0
    for start, got, want in _chunks(actual, expected, before):
        finite = np.isfinite(want)
        largest = max(largest, float(np.max(np.abs(want), where=finite, initial=0.0)))
        with np.errstate(invalid="ignore", over="ignore"):
            error = np.abs(got - want)
        error[got == want] = 0.0
        error[np.isnan(error)] = np.inf
        index = int(np.argmax(error))
        if error[index] > worst:
            worst, place = float(error[index]), start + index
    if worst < 0.0:
        return Difference(0.0, (), largest)
    where = tuple(int(each) for each in np.unravel_index(place, actual.shape))
    return Difference(worst, where, largest)


def _chunks(
    actual: Array, expected: Array, before: Array | None
) -> Iterator[tuple[int, Array, Array]]:
    """Corresponding parts in float64, flat and in row-major order, with where they start."""
    got, want = actual.reshape(-1), expected.reshape(-1)
    old = None if before is None else before.reshape(-1)
    for start in range(0, got.size, _CHUNK_ELEMENTS):
        part = slice(start, start + _CHUNK_ELEMENTS)
        value = got[part].astype(np.float64)
        if old is not None:
            value = old[part].astype(np.float64) - value
        yield start, value, want[part].astype(np.float64)


def _largest(array: Array) -> float:
    """The largest finite magnitude."""
    flat = array.reshape(-1)
    parts = (flat[i : i + _CHUNK_ELEMENTS] for i in range(0, flat.size, _CHUNK_ELEMENTS))
    return max(
        (float(np.max(np.abs(part), where=np.isfinite(part), initial=0.0)) for part in parts),
        default=0.0,
    )


def _relative(error: float, largest: float) -> float:
    if error == 0.0:
        return 0.0
    return error / largest if largest > 0.0 else math.inf


# Differences in words ------------------------------------------------------------------------


def describe_check(check: OutputCheck) -> str:
    """A wrong output in words."""
    index = f" at {list(check.where)}" if check.where else ""
    if math.isinf(check.max_error):
        text = f"{check.output} is not finite{index} where the float64 reference is"
    else:
        text = (
            f"{check.output} differs from the float64 reference by {check.max_error:.2g}{index} "
            f"(tolerance {check.allowed:.2g})"
        )
    return f"{text}; it equals {check.equals}" if check.equals else text


def join_problems(problems: tuple[str, ...]) -> str:
    """Several differences as one message, the first of them where there are many."""
    shown = "; ".join(problems[:_MOST_PROBLEMS])
    more = len(problems) - _MOST_PROBLEMS
    return f"{shown}; and {more} more" if more > 0 else shown


def _mismatch(
    name: str, actual: Array | None, expected: Array, outputs: Mapping[str, Array]
) -> str:
    """Why an output cannot be compared at all, empty where it can."""
    if actual is None:
        received = ", ".join(outputs) or "none"
        return f"output {name} is missing (received {received})"
    if actual.shape != expected.shape:
        return f"{name} expected shape {expected.shape}, received {actual.shape}"
    if actual.dtype.kind not in "fiub":
        return f"{name} expected numbers, received dtype {actual.dtype}"
    return ""


def _failed_check(name: str) -> OutputCheck:
    return OutputCheck(name, False, math.inf, 0.0, math.inf)


def _with_suspect(
    check: OutputCheck, actual: Array, suspects: Mapping[str, Array], tolerance: Tolerance
) -> OutputCheck:
    """The check with the name of the suspect that the output matches, if there is one."""
    for name, suspect in suspects.items():
        array = np.asarray(suspect)
        same_shape = array.shape == actual.shape
        if same_shape and check_output(name, actual, array, tolerance).ok:
            return replace(check, equals=name)
    return check
