"""Kernels chosen by measuring: all that can compute a request take turns on arrays of its shapes.

Candidates are the rows of the kernel table that can, and of a library its first plans. Each run is
timed between two marks on the device, behind a spinning kernel that lets its launches queue, on a
cold cache. The lowest median wins, the rule's own choice where nothing is faster. What was chosen
is kept by device, driver, library versions and request, so that a later run measures nothing.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

import numpy as np

from ...contract import EngineOptions
from ...gpu.array import DeviceArray
from ...gpu.driver import DeviceError, Driver, NoPlanError, OutOfDeviceMemoryError
from ...kernels.code_cache import base_directory
from ...kernels.cuda_rows import candidates
from ...kernels.table import Kernel, KernelRequest, Prepared, select
from ...primitives.specs import TensorSpec, spec
from .choice_cache import Choice, ChoiceCache
from .clock import CudaClock
from .transfer import fill_repeating

ROUNDS = 5
"""Turns of each candidate; their median is compared."""

_NOISE_ELEMENTS = 1 << 18
"""Numbers drawn on the host; larger arrays repeat them."""

_SPARE_SPIN_SECONDS = 20e-6
"""How much longer than issuing takes the device is held."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A row, made ready with one of the plans that it has."""

    row: str
    plan: int
    prepared: Prepared


class CudaTuner:
    """Measures on one device; see `kernels.table.Tuner`."""

    def __init__(self, driver: Driver, cache: ChoiceCache) -> None:
        self._driver = driver
        self._cache = cache
        self._clock: CudaClock | None = None
        self._measured: set[str] = set()
        self._reused: set[str] = set()
        self._skipped: set[str] = set()

    def fastest(
        self, primitive: str, request: KernelRequest, bound: Collection[int]
    ) -> tuple[str, Prepared] | None:
        """The name and the kernel of the choice, None where there is nothing to choose among."""
        rows = candidates(primitive, request)
        if not rows or not all(each.size for each in (*request.inputs, *request.outputs)):
            return None
        key = request_words(primitive, request, bound)
        kept = self._cache.get(key)
        if kept is not None:
            found = _prepared_as(kept, rows, request)
            if found is not None:
                if key not in self._measured:
                    self._reused.add(key)
                return _named(found)
        tried = _in_turn(primitive, rows, request)
        if len(tried) < 2:
            return None
        found = self._measure(key, tried, request, bound)
        return None if found is None else _named(found)

    def seconds(
        self, primitive: str, request: KernelRequest, bound: Collection[int]
    ) -> float | None:
        """What the quickest kernel takes, None where it cannot be measured."""
        if not all(each.size for each in (*request.inputs, *request.outputs)):
            return None
        key = request_words(primitive, request, bound)
        if self._cache.get(key) is None:
            rows = candidates(primitive, request) or (select(primitive, "gpu", request),)
            self._measure(key, _in_turn(primitive, rows, request), request, bound)
        elif key not in self._measured:
            self._reused.add(key)
        kept = self._cache.get(key)
        return None if kept is None else kept.seconds

    def note(self) -> str:
        """What was measured, what was known, and what went wrong, as one sentence."""
        words = [f"{len(self._measured)} kernels measured"]
        if self._reused:
            words.append(f"{len(self._reused)} taken as measured before")
        words.append(f"kept in {self._cache.path}")
        if self._skipped:
            words.append(f"{len(self._skipped)} by rule, for want of memory to measure in")
        return "; ".join([", ".join(words), *self._cache.problems])

    def _measure(
        self,
        key: str,
        tried: list[Candidate],
        request: KernelRequest,
        bound: Collection[int],
    ) -> Candidate | None:
        """The quickest, kept under the key; None where there is no memory to measure in."""
        try:
            trial = _Trial(self._driver, self._device_clock(), request, bound)
            runs = trial.warmed(tried)
        except OutOfDeviceMemoryError:
            runs = []
        if not runs:
            self._skipped.add(key)
            return None
        for _ in range(ROUNDS):
            for run in runs:
                run.samples.append(trial.seconds(run))
        best = min(runs, key=lambda run: median(run.samples))
        found = best.candidate
        seconds = median(best.samples)
        choice = Choice(found.row, found.plan, found.prepared.detail, seconds, len(runs))
        self._cache.put(key, choice)
        self._measured.add(key)
        return found

    def _device_clock(self) -> CudaClock:
        if self._clock is None:
            self._clock = CudaClock(self._driver)
        return self._clock


@dataclass(slots=True)
class _Run:
    """A candidate on the arrays of a trial; `issue_seconds` is what issuing it takes the host."""

    candidate: Candidate
    prepared: Prepared
    arrays: tuple[DeviceArray, ...]
    issue_seconds: float = 0.0
    samples: list[float] = field(default_factory=list)

    def __call__(self) -> None:
        self.prepared.run(*self.arrays)


class _Trial:
    """Arrays of a request's shapes, and what times candidates on them."""

    def __init__(
        self, driver: Driver, clock: CudaClock, request: KernelRequest, bound: Collection[int]
    ) -> None:
        self._driver = driver
        self._clock = clock
        self._outputs = tuple(self._array(each) for each in request.outputs)
        self._inputs = tuple(self._noise(each) for each in request.inputs)
        self._bound = {place: self._inputs[place] for place in bound}
        self._room: DeviceArray | None = None

    def warmed(self, tried: Sequence[Candidate]) -> list[_Run]:
        """The candidates after their first runs, without those that the device has no room for."""
        bound = [(each, self._made_ready(each.prepared)) for each in tried]
        found = []
        for candidate, prepared in self._within_room(bound):
            workspace = (self._room,) if prepared.workspace_bytes else ()
            run = _Run(candidate, prepared, (*self._outputs, *self._inputs, *workspace))
            try:
                run()
                self._driver.synchronize()
                start = time.perf_counter()
                run()
                run.issue_seconds = time.perf_counter() - start
                self._driver.synchronize()
            except DeviceError:
                # A plan that was offered may still be refused: one candidate fewer.
                continue
            found.append(run)
        return found

    def _made_ready(self, prepared: Prepared) -> Prepared:
        return prepared.bind(self._bound) if self._bound and prepared.bind else prepared

    def _within_room(
        self, bound: list[tuple[Candidate, Prepared]]
    ) -> list[tuple[Candidate, Prepared]]:
        """Those whose workspace there is memory for; the largest of them is made."""
        while bound:
            most = max(prepared.workspace_bytes for _, prepared in bound)
            try:
                self._room = self._array(spec((most,), "uint8"))
            except OutOfDeviceMemoryError:
                bound = [each for each in bound if each[1].workspace_bytes < most]
            else:
                break
        return bound

    def seconds(self, run: _Run) -> float:
        """What one run takes on the device, its cache cold."""
        clock = self._clock
        clock.flush()
        clock.spin(2 * run.issue_seconds + _SPARE_SPIN_SECONDS)
        start = clock.mark()
        run()
        end = clock.mark()
        clock.synchronize()
        return end.seconds_since(start)

    def _array(self, made: TensorSpec) -> DeviceArray:
        allocation = self._driver.allocate(max(made.nbytes, 1))
        return DeviceArray(allocation.pointer, made, allocation)

    def _noise(self, made: TensorSpec) -> DeviceArray:
        """Standard normal numbers: on zeros a device computes faster. Integers are 0."""
        array = self._array(made)
        if not made.floating:
            self._driver.fill(array.pointer, made.nbytes, 0)
            return array
        count = min(made.size, _NOISE_ELEMENTS)
        numbers = np.random.default_rng(0).standard_normal(count, np.float32)
        first = array.viewed(spec((count,), made.dtype))
        fill_repeating(self._driver, first, numbers.astype(made.numpy_dtype), made.nbytes)
        return array


def _in_turn(primitive: str, rows: Sequence[Kernel], request: KernelRequest) -> list[Candidate]:
    """All candidates, that of the rule first."""
    preferred = select(primitive, "gpu", request).name
    ordered = sorted(rows, key=lambda row: row.name != preferred)
    return [each for row in ordered for each in _with_plans(row, request)]


def _with_plans(row: Kernel, request: KernelRequest) -> list[Candidate]:
    found = []
    for plan in range(row.plans):
        try:
            prepared = row.prepare(replace(request, plan=plan))
        except NoPlanError:
            break
        found.append(Candidate(row.name, plan, prepared))
    return found


def _prepared_as(
    choice: Choice, rows: Sequence[Kernel], request: KernelRequest
) -> Candidate | None:
    """The candidate of a choice; None where it is there no more, or stands for another plan."""
    for row in rows:
        if row.name == choice.row:
            try:
                prepared = row.prepare(replace(request, plan=choice.plan))
            except NoPlanError:
                return None
            if prepared.detail == choice.detail:
                return Candidate(row.name, choice.plan, prepared)
    return None


def _named(candidate: Candidate) -> tuple[str, Prepared]:
    return f"{candidate.row}, tuned", candidate.prepared


def request_words(primitive: str, request: KernelRequest, bound: Collection[int]) -> str:
    """A request in words, under which a choice is kept."""
    inputs = ", ".join(
        f"constant {each}" if place in bound else str(each)
        for place, each in enumerate(request.inputs)
    )
    attributes = ", ".join(f"{name}={value}" for name, value in sorted(request.attributes.items()))
    return f"{primitive}({inputs}; {attributes}) in {request.precision}"


def tuner_for(options: EngineOptions, driver: Driver) -> CudaTuner | None:
    """The tuner that an engine's options ask for, None where they leave kernels to the rule."""
    if options.switches.get("autotune") != "on":
        return None
    folder = base_directory() if options.cache_directory is None else Path(options.cache_directory)
    return CudaTuner(driver, ChoiceCache(folder, driver.facts))
