"""The finished lines of one run file, taken one by one in their order, and the run they make."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

from benchctl.store.errors import RecordError
from benchctl.store.fields import Fields, SchemaError
from benchctl.store.record import ArmResult, ArmRound, ArmSpec, CaseResult, Run
from benchctl.store.schema import (
    Footer,
    decode_line,
    planned_arms,
    read_arm,
    read_footer,
    read_header,
    read_round,
)

Place = tuple[str, str]
"""Case id and arm id."""


@dataclass(frozen=True, slots=True)
class ArmLine:
    """What one `arm` line says."""

    case_id: str
    result: ArmResult


@dataclass(frozen=True, slots=True)
class RoundLine:
    """What one `round` line says; `rounds` by arm id."""

    case_id: str
    rounds: dict[str, ArmRound]


Entry = Run | ArmLine | RoundLine | Footer


class RunLines:
    """Reads lines against those before them: `read` checks one, `take` keeps what it says."""

    def __init__(self) -> None:
        self.size = 0
        """Bytes of the lines taken."""
        self.complete = False
        self.arm_lines = 0
        self.round_lines = 0
        self._header: Run | None = None
        self._arms: dict[Place, ArmSpec] = {}
        self._results: dict[Place, ArmResult] = {}
        self._rounds: defaultdict[Place, dict[int, ArmRound]] = defaultdict(dict)
        self._digest = hashlib.sha256()

    @classmethod
    def parse(cls, content: bytes, path: Path) -> RunLines:
        """All finished lines of a file; bytes after its last newline are ignored as torn.

        Raises `RecordError` for any other bad line, and where not even the header is finished.
        """
        lines = cls()
        finished = content.split(b"\n")[:-1]
        if not finished:
            raise RecordError(
                path, 1, "expected a header, received no finished line", "delete the file"
            )
        for number, text in enumerate(finished, start=1):
            line = text + b"\n"
            try:
                lines.take(line, lines.read(line))
            except SchemaError as error:
                raise RecordError(path, number, str(error)) from error
        return lines

    @property
    def header(self) -> Run:
        """The run as its header plans it."""
        if self._header is None:
            raise SchemaError("expected a header before any other line")
        return self._header

    def sha256(self) -> str:
        """The checksum of every line taken."""
        return self._digest.hexdigest()

    def read(self, line: bytes) -> Entry:
        """What a line says, newline included; raises `SchemaError`, changes nothing."""
        kind, fields = decode_line(line)
        if self.complete:
            raise SchemaError(f"expected nothing after the footer, received a line {kind!r}")
        if (kind == "header") != (self._header is None):
            raise SchemaError(f"expected one header, and that as line 1, received {kind!r}")
        match kind:
            case "header":
                return read_header(fields)
            case "arm":
                return self._read_arm(fields)
            case "round":
                return self._read_round(fields)
            case "footer":
                return self._read_footer(fields)
        raise SchemaError(f"expected a line of kind arm, round or footer, received {kind!r}")

    def take(self, line: bytes, entry: Entry) -> None:
        """Keep what `read` returned for this line."""
        match entry:
            case Run():
                self._header = entry
                self._arms = {
                    (case.id, arm.id): arm for case in entry.plan.cases for arm in entry.plan.arms
                }
            case ArmLine():
                self._results[entry.case_id, entry.result.arm.id] = entry.result
                self.arm_lines += 1
            case RoundLine():
                for arm_id, taken in entry.rounds.items():
                    self._rounds[entry.case_id, arm_id][taken.round] = taken
                self.round_lines += 1
            case Footer():
                self.complete = True
        self._digest.update(line)
        self.size += len(line)

    def run(self, path: Path | None = None) -> Run:
        """The run that the lines make."""
        cases = tuple(
            CaseResult(
                case, tuple(self._arm_result(case.id, arm) for arm in self._case_arms(case.id))
            )
            for case in self.header.plan.cases
        )
        return replace(self.header, cases=cases, complete=self.complete, path=path)

    def _case_arms(self, case_id: str) -> list[ArmSpec]:
        """The arms of a case in the plan's order: those planned and those measured anyway."""
        plan = self.header.plan
        planned = {arm.id for arm in planned_arms(plan, case_id)}
        return [
            arm
            for arm in plan.arms
            if arm.id in planned
            or (case_id, arm.id) in self._results
            or (case_id, arm.id) in self._rounds
        ]

    def _arm_result(self, case_id: str, arm: ArmSpec) -> ArmResult:
        rounds = self._rounds.get((case_id, arm.id), {})
        # Only an arm that passed its checks is timed, so rounds without an arm line mean "ok".
        otherwise = ArmResult(arm, status="ok" if rounds else "planned")
        result = self._results.get((case_id, arm.id), otherwise)
        return replace(result, rounds=tuple(rounds[number] for number in sorted(rounds)))

    def _planned_arm(self, case_id: str, arm_id: str) -> ArmSpec:
        arm = self._arms.get((case_id, arm_id))
        if arm is None:
            raise SchemaError(
                f"expected a case and an arm of the plan, received case {case_id!r}, arm {arm_id!r}"
            )
        return arm

    def _read_arm(self, fields: Fields) -> ArmLine:
        case_id = fields.text("case")
        return ArmLine(case_id, read_arm(fields, self._planned_arm(case_id, fields.text("arm"))))

    def _read_round(self, fields: Fields) -> RoundLine:
        case_id = fields.text("case")
        rounds = read_round(fields)
        for arm_id, taken in rounds.items():
            self._planned_arm(case_id, arm_id)
            if taken.round in self._rounds.get((case_id, arm_id), {}):
                raise SchemaError(
                    f"expected each round once, received round {taken.round} of {arm_id} "
                    f"in {case_id} a second time"
                )
        return RoundLine(case_id, rounds)

    def _read_footer(self, fields: Fields) -> Footer:
        footer = read_footer(fields)
        counts = (self.arm_lines, self.round_lines)
        if (footer.arm_lines, footer.round_lines) != counts:
            raise SchemaError(
                f"the footer expected {footer.arm_lines} arm and {footer.round_lines} round "
                f"lines before it, received {counts[0]} and {counts[1]}: the file was changed"
            )
        if footer.sha256 != self.sha256():
            raise SchemaError(
                f"the footer expected lines with the sha256 {footer.sha256}, received "
                f"{self.sha256()}: the file was changed after the run; take an unchanged copy"
            )
        return footer
