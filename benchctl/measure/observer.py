"""Who is told of a measurement's progress; nothing of it is measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from benchctl.store.record import ArmResult, ArmSpec, CaseSpec, Plan


class Observer(Protocol):
    """Is told what happens, between samples and never during one."""

    def plan_started(self, plan: Plan) -> None:
        """The first case comes next."""

    def case_started(self, case: CaseSpec, arms: Sequence[ArmSpec]) -> None:
        """The arms are checked next."""

    def arm_checked(self, case: CaseSpec, result: ArmResult) -> None:
        """An arm agrees with the reference; its cold phases are known."""

    def arm_failed(self, case: CaseSpec, result: ArmResult) -> None:
        """An arm will not be measured any more; its status, message and hint say why."""

    def round_finished(
        self, case: CaseSpec, done: int, total: int, seconds_left: float | None
    ) -> None:
        """A round is stored; `seconds_left` is an estimate for the rest of the case."""

    def case_finished(self, case: CaseSpec) -> None:
        """Nothing more comes of this case."""

    def note(self, text: str) -> None:
        """Something that the user should know, one sentence."""


class SilentObserver:
    """Hears everything and says nothing."""

    def plan_started(self, plan: Plan) -> None:
        """Nothing."""

    def case_started(self, case: CaseSpec, arms: Sequence[ArmSpec]) -> None:
        """Nothing."""

    def arm_checked(self, case: CaseSpec, result: ArmResult) -> None:
        """Nothing."""

    def arm_failed(self, case: CaseSpec, result: ArmResult) -> None:
        """Nothing."""

    def round_finished(
        self, case: CaseSpec, done: int, total: int, seconds_left: float | None
    ) -> None:
        """Nothing."""

    def case_finished(self, case: CaseSpec) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""
