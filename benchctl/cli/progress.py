"""Progress on stderr, drawn only between samples: no thread of ours wakes while one is taken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchctl.cli.screen import is_live, note
from benchctl.report.numbers import format_duration
from benchctl.report.sentences import UNMEASURED, checking_words, failure_lines
from benchctl.report.text import workload_words

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from benchctl.store.record import ArmResult, ArmSpec, CaseSpec, Plan

CASE_WIDTH = 26


def make_observer(plan: Plan, quiet: bool = False) -> Bar | Lines:
    """A bar for a terminal; for a file or CI one line when a case is done, if not `quiet`."""
    return Bar(plan, quiet) if is_live() else Lines(plan, quiet)


class Lines:
    """One line a finished case: what a log can use."""

    def __init__(self, plan: Plan, quiet: bool = False) -> None:
        self.quiet = quiet
        self.cases = len(plan.cases)
        self.finished = 0
        # By case: the rounds of several may be interleaved.
        self.rounds: dict[str, int] = {}
        self.states: dict[str, dict[str, str]] = {}

    def plan_started(self, plan: Plan) -> None:
        """Nothing to say before the first case."""

    def case_started(self, case: CaseSpec, arms: Sequence[ArmSpec]) -> None:
        """Begin with nothing known."""
        self.rounds[case.id] = 0
        self.states[case.id] = {}

    def arm_checked(self, case: CaseSpec, result: ArmResult) -> None:
        """Remember an arm whose results were compared."""
        self.states[case.id][result.arm.id] = checking_words(result)

    def round_finished(
        self, case: CaseSpec, done: int, total: int, seconds_left: float | None
    ) -> None:
        """Count rounds."""
        self.rounds[case.id] = done

    def arm_failed(self, case: CaseSpec, result: ArmResult) -> None:
        """Remember why an arm is not timed."""
        words = UNMEASURED.get(result.status, "")
        self.states[case.id][result.arm.id] = f"{result.arm.id} {words}"

    def case_finished(self, case: CaseSpec) -> None:
        """Say how the case went."""
        self.finished += 1
        if self.quiet or self.cases == 1:
            return
        count = self.rounds[case.id]
        rounds = f"{count} round{'' if count == 1 else 's'}"
        said = "; ".join(filter(None, (", ".join(self.states[case.id].values()), rounds)))
        note(f"[{self.finished}/{self.cases}] {case.id}: {said}")

    def note(self, text: str) -> None:
        """Pass on what the measuring has to say."""
        note(f"note: {text}")

    def stop(self) -> None:
        """Nothing is open."""


class Bar:
    """A bar with rounds done and time left; redrawn in its callbacks only."""

    def __init__(self, plan: Plan, quiet: bool = False) -> None:
        self.quiet = quiet
        self.cases = len(plan.cases)
        self.finished = 0
        self.progress, self.task = _make_bar()

    def plan_started(self, plan: Plan) -> None:
        """Show the bar."""
        self.progress.start()
        self.progress.refresh()

    def case_started(self, case: CaseSpec, arms: Sequence[ArmSpec]) -> None:
        """Name the case and what is being done."""
        where = f"[{self.finished + 1}/{self.cases}] " if self.cases > 1 else ""
        name = shorten(f"{workload_words(case.workload)} {case.title}")
        self._draw(case=where + name, doing="checking", done=0, total=1)

    def arm_checked(self, case: CaseSpec, result: ArmResult) -> None:
        """Show the check of an arm."""
        self._draw(doing=f"checking  {checking_words(result)}")

    def round_finished(
        self, case: CaseSpec, done: int, total: int, seconds_left: float | None
    ) -> None:
        """Move the bar."""
        left = "" if seconds_left is None else f"{format_duration(seconds_left)} left"
        self._draw(doing=f"{done} of {total} rounds  {left}", done=done, total=total)

    def arm_failed(self, case: CaseSpec, result: ArmResult) -> None:
        """Say at once why an arm is not timed."""
        for line in failure_lines(result)[:2] if not self.quiet else ():
            self._print(line)

    def case_finished(self, case: CaseSpec) -> None:
        """Keep a line of each case where there are several."""
        self.finished += 1
        if self.cases > 1 and not self.quiet:
            self._print(f"[{self.finished}/{self.cases}] {case.id} done")

    def note(self, text: str) -> None:
        """Pass on what the measuring has to say."""
        self._print(f"note: {text}")

    def stop(self) -> None:
        """Take the bar away."""
        self.progress.stop()

    def _draw(
        self,
        doing: str,
        case: str | None = None,
        done: int | None = None,
        total: int | None = None,
    ) -> None:
        if case is not None:
            self.progress.update(self.task, case=case)
        self.progress.update(self.task, completed=done, total=total, doing=doing)
        self.progress.refresh()

    def _print(self, text: str) -> None:
        self.progress.console.print(text, markup=False, highlight=False, soft_wrap=True)


def _make_bar() -> tuple[Progress, TaskID]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    progress = Progress(
        TextColumn("  {task.fields[case]}", markup=False),
        BarColumn(bar_width=16),
        TextColumn("{task.fields[doing]}", markup=False),
        console=Console(stderr=True),
        auto_refresh=False,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    return progress, progress.add_task("", total=1, case="", doing="starting")


def shorten(text: str) -> str:
    """`text` cut to a width that leaves room for the bar."""
    return text if len(text) <= CASE_WIDTH else text[: CASE_WIDTH - 3] + "..."
