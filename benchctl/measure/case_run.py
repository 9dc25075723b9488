"""One case: the reference, the check of every arm, then rounds interleaved over the arms."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import psutil

from benchctl.measure.arm import ArmRun, CaseContext
from benchctl.measure.budget import Deadline
from benchctl.measure.clock import seconds_since
from benchctl.measure.observer import Observer
from benchctl.measure.protocol import ArmFailure
from benchctl.measure.worker_client import request
from benchctl.plan.order import round_orders
from benchctl.plan.schedule import arms_of_case, rounds_of_case
from benchctl.stats.planner import minimum_rounds
from benchctl.store.record import ArmResult, ArmRound, CaseResult

CONTEXT_BYTES = 768 * 2**20
"""What a process takes of a GPU beside its arrays: its context and the libraries' own memory."""


class RoundLog(Protocol):
    """Where results go as they come: the journal of a run."""

    def append_arm(self, case_id: str, result: ArmResult) -> None:
        """Keep all of an arm but its rounds."""

    def append_rounds(self, case_id: str, rounds: Mapping[str, ArmRound]) -> None:
        """Keep one finished round."""


class CaseRun:
    """The arms of one case from the check to the last round.

    `done` holds what an interrupted run has measured before: arms that failed stay failed, and
    finished rounds are not repeated.
    """

    def __init__(
        self, context: CaseContext, log: RoundLog, observer: Observer, done: CaseResult | None
    ) -> None:
        self.case = context.case
        self._context = context
        self._settings = context.settings
        self._clock = context.clock
        self._log = log
        self._observer = observer
        known = {} if done is None else {each.arm.id: each for each in done.arms}
        self.arms = {
            arm.id: ArmRun(context, known.get(arm.id, ArmResult(arm)))
            for arm in arms_of_case(context.plan, self.case.id)
        }
        self.planned_rounds = rounds_of_case(context.plan, self.case.id)
        self._orders = round_orders(list(self.arms), self.planned_rounds, context.input_seed(0))
        self.finished_rounds = {each.round for arm in self._alive() for each in arm.result.rounds}

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to measure."""
        return not self._alive() or len(self.finished_rounds) >= self.planned_rounds

    @property
    def has_results(self) -> bool:
        """Whether the case was measured at all, or cannot be."""
        return not self._alive() or bool(self.finished_rounds)

    def measure(self, deadline: Deadline) -> None:
        """Check the arms, then measure their rounds until they are done or the time is up."""
        self._observer.case_started(self.case, [arm.result.arm for arm in self.arms.values()])
        if not self.is_complete:
            with self._workers_ended():
                self.check()
                self._measure_rounds(deadline)
        self._observer.case_finished(self.case)

    # The check ---------------------------------------------------------------------------

    def check(self) -> None:
        """Check every arm that was not checked before against the float64 reference."""
        unchecked = [arm for arm in self._alive() if arm.result.status == "planned"]
        if not unchecked or not (self._settings.check_outputs or self._settings.cold):
            return
        with tempfile.TemporaryDirectory(prefix="benchctl-reference-") as folder:
            reference = Path(folder) if self._settings.check_outputs else None
            if reference is not None:
                try:
                    self._compute_reference(reference)
                except ArmFailure as failure:
                    self._fail_without_reference(unchecked, failure)
                    return
            for arm in unchecked:
                if self._attempt(arm, lambda arm: arm.check(reference)):
                    self._log.append_arm(self.case.id, arm.result)
                    self._observer.arm_checked(self.case, arm.result)

    def _compute_reference(self, folder: Path) -> None:
        settings = self._settings
        # Of two subjects the later, the head, brings the workload whose results are right.
        arm = [each.result.arm for each in self.arms.values()][-1]
        worker = self._context.launch(self._context.reference_environment(arm))
        try:
            arrays = self._context.arrays(round_number=0)
            timeout_seconds = settings.reference_timeout_seconds
            fields = {
                **arrays,
                "folder": str(folder),
                "steps": settings.check_steps,
                "later_seconds": settings.check_seconds,
            }
            request(worker, "reference", timeout_seconds, **fields)
            worker.stop(settings.stop_timeout_seconds)
        except BaseException:
            worker.kill()
            raise

    def _fail_without_reference(self, arms: Sequence[ArmRun], failure: ArmFailure) -> None:
        for arm in arms:
            message = f"nothing to check against, the float64 reference failed: {failure.message}"
            self._fail(arm, ArmFailure(failure.status, message, failure.hint, failure.notes))

    # Rounds ------------------------------------------------------------------------------

    def _measure_rounds(self, deadline: Deadline) -> None:
        together = self._fits_in_memory()
        begin_ns = self._clock.now_ns()
        done = 0
        for number, order in enumerate(self._orders):
            if number in self.finished_rounds:
                continue
            if deadline.is_due(done, len(self.finished_rounds), self._least_rounds()):
                self._observer.note(
                    f"{self.case.id}: the time budget ended after {len(self.finished_rounds)} of "
                    f"{self.planned_rounds} rounds"
                )
                break
            if together:
                self._renew_workers(number)
            self._measure_round(number, order, together)
            if not self._alive():
                break
            done += 1
            each_seconds = seconds_since(self._clock, begin_ns) / done
            deadline.round_seconds = each_seconds
            left = self.planned_rounds - len(self.finished_rounds)
            self._observer.round_finished(
                self.case,
                len(self.finished_rounds),
                self.planned_rounds,
                deadline.at_most(left * each_seconds),
            )
        for arm in self._alive():
            if self._settings.energy and arm.result.arm.device.startswith("gpu"):
                self._measure_energy(arm)
            if not arm.running or self._attempt(arm, ArmRun.finish_worker):
                self._log.append_arm(self.case.id, arm.result)

    def _measure_energy(self, arm: ArmRun) -> None:
        """What steps cost in energy, with the worker that is there or a new one."""
        if not arm.running:
            self._start_together([arm], number=0)
        if self._is_alive(arm):
            self._attempt(arm, ArmRun.measure_energy)

    def _least_rounds(self) -> int:
        """The rounds that a budget should not cut: more arms need more for an answer."""
        comparisons = max(1, len(self.arms) - 1)
        more = minimum_rounds(comparisons=comparisons) - minimum_rounds()
        return self._settings.minimum_rounds + more

    def _measure_round(self, number: int, order: Sequence[str], together: bool) -> None:
        """One round of every arm that still runs; kept as a whole."""
        taken: dict[str, ArmRound] = {}
        alive = [self.arms[name] for name in order if self._is_alive(self.arms[name])]
        for position, arm in enumerate(alive):
            if not together:
                self._start_alone(arm, number)
            if not self._is_alive(arm):
                continue

            with self._failing(arm):
                taken[arm.id] = arm.measure_round(number, position)
            if not together and arm.running:
                self._attempt(arm, ArmRun.finish_worker)
        if taken:
            self._log.append_rounds(self.case.id, taken)
            self.finished_rounds.add(number)

    def measure_fresh_round(self, number: int) -> None:
        """One round of every arm, each in a process of its own that ends with the round."""
        order = self._orders[number]
        with self._workers_ended():
            self._start_together(self._alive(), number)
            for arm in self._alive():
                if not arm.has_started and self._attempt(arm, ArmRun.keep_warm_start):
                    self._log.append_arm(self.case.id, arm.result)
            self._measure_round(number, order, together=True)
            for arm in self._alive():
                self._attempt(arm, ArmRun.finish_worker)

    def end_rounds(self) -> None:
        """Keep what the last processes said of themselves."""
        for arm in self._alive():
            self._log.append_arm(self.case.id, arm.result)

    # Workers -----------------------------------------------------------------------------

    def _renew_workers(self, number: int) -> None:
        """Start the workers that are missing, and replace those that have done their rounds."""
        for arm in self._alive():
            if arm.running and arm.restart_is_due():
                self._attempt(arm, ArmRun.finish_worker)
        missing = [arm for arm in self._alive() if not arm.running]
        cheap = [arm for arm in missing if self._starts_cheaply(arm)]
        for arm in missing:
            if arm not in cheap:
                self._start_alone(arm, number)
        self._start_together(cheap, number)

    def _starts_cheaply(self, arm: ArmRun) -> bool:
        return arm.has_started and arm.start_seconds <= self._settings.cheap_start_seconds

    def _start_alone(self, arm: ArmRun, number: int) -> None:
        """Start a worker while no other runs; the phases of the arm's first one are kept.

        A first worker that had to compile into the cache leaves its place to one that need not.
        """
        if arm.has_started:
            self._start_together([arm], number)
            return
        cache = self._settings.cache_folder
        files_before = count_files(cache)
        self._start_together([arm], number)
        if self._is_alive(arm) and count_files(cache) > files_before:
            arm.stop()
            self._start_together([arm], number)
        if self._is_alive(arm) and self._attempt(arm, ArmRun.keep_warm_start):
            self._log.append_arm(self.case.id, arm.result)

    def _start_together(self, arms: Sequence[ArmRun], number: int) -> None:
        """Start workers side by side up to their first step, then warm up one after another."""
        cache = self._settings.cache_folder
        for arm in arms:
            arm.launch(cache)
        ready = [a for a in arms if self._attempt(a, lambda arm: arm.wait_import(cache, number))]
        ready = [arm for arm in ready if self._attempt(arm, ArmRun.wait_prepare_and_suspend)]
        for arm in ready:
            self._attempt(arm, ArmRun.warm_up)

    def _fits_in_memory(self) -> bool:
        """Whether the workers of all arms can be kept side by side, on their GPU too."""
        needed_bytes = sum(arm.peak_bytes for arm in self._alive())
        free_bytes = psutil.virtual_memory().available
        if needed_bytes > self._settings.memory_share * free_bytes:
            self._note_too_large(needed_bytes, "than is free")
            return False
        devices = dict.fromkeys(arm.result.arm.device for arm in self._alive())
        return all(self._fits_on_device(device) for device in devices)

    def _fits_on_device(self, device: str) -> bool:
        """Whether what the arms hold of a GPU, each in its own process, fits there together."""
        found = [arm.device_memory for arm in self._alive() if arm.result.arm.device == device]
        held = [each["held_bytes"] + CONTEXT_BYTES for each in found if each is not None]
        if len(held) < 2:
            return True
        # What was free beside a worker, and what that worker held, is there for all.
        free = [each["free_bytes"] for each in found if each is not None]
        room_bytes = min(map(sum, zip(free, held, strict=True)))
        if sum(held) <= self._settings.memory_share * room_bytes:
            return True
        than = f"than the {room_bytes / 2**30:.1f} GiB free on {device} allow"
        self._note_too_large(sum(held), than)
        return False

    def _note_too_large(self, needed_bytes: int, than: str) -> None:
        self._observer.note(
            f"{self.case.id}: the engines need {needed_bytes / 2**30:.1f} GiB together, "
            f"more {than}; each round starts their processes anew, one at a time"
        )

    @contextmanager
    def _workers_ended(self) -> Iterator[None]:
        """No worker outlives the block, suspended or not."""
        try:
            yield
        finally:
            for arm in self.arms.values():
                arm.kill()

    # Failures ----------------------------------------------------------------------------

    @contextmanager
    def _failing(self, arm: ArmRun) -> Iterator[None]:
        """A failure within the block is that arm's alone; the block ends there."""
        try:
            yield
        except ArmFailure as failure:
            self._fail(arm, failure)

    def _attempt(self, arm: ArmRun, action: Callable[[ArmRun], object]) -> bool:
        """Do something with an arm; whether it worked."""
        with self._failing(arm):
            action(arm)
        return self._is_alive(arm)

    def _fail(self, arm: ArmRun, failure: ArmFailure) -> None:
        arm.fail(failure)
        self._log.append_arm(self.case.id, arm.result)
        self._observer.arm_failed(self.case, arm.result)

    def _alive(self) -> list[ArmRun]:
        return [arm for arm in self.arms.values() if self._is_alive(arm)]

    def _is_alive(self, arm: ArmRun) -> bool:
        return arm.result.status in ("planned", "ok")


def count_files(folder: Path) -> int:
    """How many files lie in a folder and below."""
    return sum(len(files) for _, _, files in os.walk(folder))
