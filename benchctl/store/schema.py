"""The lines of a run file, and the dataclasses they stand for.

A file is a header, then `arm` and `round` lines in the order they were measured, then a footer.
Times are integer nanoseconds in the file: a sample is that of its whole inner loop, so that
nothing is lost where a step takes less than a nanosecond.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast, get_args

from benchctl.store.fields import Fields, SchemaError, finite, plain, shown
from benchctl.store.record import (
    SCHEMA,
    STEP_PHASES,
    STRICT,
    ArmResult,
    ArmRound,
    ArmSpec,
    ArmStatus,
    CaseResult,
    CaseSpec,
    DeviceTimes,
    EnergyUse,
    Memory,
    OutputCheck,
    Phases,
    Plan,
    Run,
    Verification,
)

NANOSECONDS = 1e9
PHASES = ("import", "build", "compile", "first_run")
DEVICE_TIMES = ("cold", "warm", "wall", "issue", "replay", "copy_in")


@dataclass(frozen=True, slots=True)
class Footer:
    """The last line of a complete run; `sha256` is that of every byte before it."""

    arm_lines: int
    round_lines: int
    sha256: str


def loop_nanoseconds(seconds: float, loops: int) -> int:
    """The time of a whole inner loop from the seconds of one step."""
    total = seconds * loops * NANOSECONDS
    if not math.isfinite(total):
        raise SchemaError(f"a sample expected finite seconds, received {seconds!r}")
    return round(total)


def step_seconds(nanoseconds: int, loops: int) -> float:
    """The seconds of one step from the time of a whole inner loop."""
    return nanoseconds / (loops * NANOSECONDS)


def encode_line(document: Mapping[str, Any]) -> bytes:
    """One line of the file with the newline that marks it as finished."""
    text = json.dumps(document, separators=(",", ":"), allow_nan=False)
    return text.encode("ascii") + b"\n"


def decode_line(line: bytes) -> tuple[str, Fields]:
    """The kind of a line and its keys; raises `SchemaError` where it is no JSON object."""
    try:
        document = json.loads(line)
    except (ValueError, RecursionError) as error:
        text = line.decode("utf-8", "backslashreplace").strip()
        raise SchemaError(f"expected one JSON object, received {shown(text)}") from error
    fields = Fields(document, "a line")
    return fields.text("kind"), fields


# Header: what was planned, where, with what.


def header_document(run: Run) -> dict[str, Any]:
    """The header of a run; its results are no part of it."""
    return {
        "kind": "header",
        "schema": SCHEMA,
        "run_id": run.run_id,
        "started_utc": run.started_utc,
        "plan": _plan_document(run.plan),
        "machine": plain(run.machine, "machine"),
        "environment": plain(run.environment, "environment"),
        "versions": plain(run.versions, "versions"),
        "git": plain(run.git, "git"),
        "command": list(run.command),
    }


def read_header(fields: Fields) -> Run:
    """A run with nothing measured yet, its cases and arms in the plan's order."""
    _check_schema(fields.text("schema", "none"))
    plan = _read_plan(fields.child("plan", "the plan"))
    return Run(
        run_id=fields.text("run_id"),
        started_utc=fields.text("started_utc"),
        plan=plan,
        machine=fields.mapping("machine"),
        environment=fields.mapping("environment"),
        versions=fields.text_mapping("versions"),
        git=fields.mapping("git"),
        command=fields.texts("command"),
        cases=tuple(
            CaseResult(case, tuple(ArmResult(arm) for arm in planned_arms(plan, case.id)))
            for case in plan.cases
        ),
        complete=False,
    )


def planned_arms(plan: Plan, case_id: str) -> tuple[ArmSpec, ...]:
    """The arms of one case: all of the plan's, or those that `case_arms` narrows them to."""
    by_case = plan.settings.get("case_arms", {})
    if not isinstance(by_case, Mapping):
        raise SchemaError(f"'case_arms' expected arm ids by case id, received {shown(by_case)}")
    narrowed = by_case.get(case_id)
    if not isinstance(narrowed, list | tuple | None):
        raise SchemaError(f"'case_arms' expected lists of arm ids, received {shown(narrowed)}")
    return plan.arms if narrowed is None else tuple(a for a in plan.arms if a.id in narrowed)


def _check_schema(schema: str) -> None:
    if schema == SCHEMA:
        return
    family, _, version = schema.partition("/")
    own_family, _, own_version = SCHEMA.partition("/")
    if family != own_family or not version.isdecimal():
        raise SchemaError(f"expected a run of schema {SCHEMA}, received schema {shown(schema)}")
    if int(version) > int(own_version):
        raise SchemaError(
            f"expected schema {SCHEMA}, received the newer {schema}: "
            "upgrade with pip install --upgrade benchctl"
        )
    raise SchemaError(
        f"expected schema {SCHEMA}, received the older {schema}: "
        "read it with the benchctl that wrote it, or measure again"
    )


def _plan_document(plan: Plan) -> dict[str, Any]:
    return {
        "cases": [
            {
                "id": case.id,
                "workload": case.workload,
                "parameters": plain(case.parameters, f"parameters of {case.id}"),
                "title": case.title,
                "step": case.step,
                "flops": case.flops,
                "bytes_moved": case.bytes_moved,
                "parameter_count": case.parameter_count,
            }
            for case in plan.cases
        ],
        "arms": [
            {
                "id": arm.id,
                "engine": arm.engine,
                "device": arm.device,
                "switches": dict(arm.switches),
                **({"subject": arm.subject} if arm.subject else {}),
                **({"precision": arm.precision} if arm.precision != STRICT else {}),
            }
            for arm in plan.arms
        ],
        "rounds": plan.rounds,
        "seed": plan.seed,
        "threads": plan.threads,
        "reference_arm": plan.reference_arm,
        "suite": plan.suite,
        "budget_seconds": plan.budget_seconds,
        "settings": plain(plan.settings, "settings"),
    }


def _read_plan(fields: Fields) -> Plan:
    return Plan(
        cases=tuple(_read_case(each) for each in fields.children("cases", "a case")),
        arms=tuple(_read_arm_spec(each) for each in fields.children("arms", "an arm")),
        rounds=fields.whole("rounds"),
        seed=fields.whole("seed"),
        threads=fields.whole("threads"),
        reference_arm=fields.text("reference_arm"),
        suite=fields.text("suite", ""),
        budget_seconds=fields.optional_number("budget_seconds"),
        settings=fields.mapping("settings"),
    )


def _read_case(fields: Fields) -> CaseSpec:
    parameters = fields.mapping("parameters")
    for name, value in parameters.items():
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise SchemaError(f"parameter {name} expected text or a number, received {value!r}")
    return CaseSpec(
        id=fields.text("id"),
        workload=fields.text("workload"),
        parameters=parameters,
        title=fields.text("title", ""),
        step=fields.text("step", "forward"),
        flops=fields.whole("flops", 0),
        bytes_moved=fields.whole("bytes_moved", 0),
        parameter_count=fields.whole("parameter_count", 0),
    )


def _read_arm_spec(fields: Fields) -> ArmSpec:
    return ArmSpec(
        id=fields.text("id"),
        engine=fields.text("engine"),
        device=fields.text("device", "cpu"),
        switches=fields.text_mapping("switches"),
        subject=fields.text("subject", ""),
        precision=fields.text("precision", STRICT),
    )


# Arm: everything measured of one arm of one case but its rounds.


def arm_document(case_id: str, result: ArmResult) -> dict[str, Any]:
    """The line of an arm; a later line of the same arm replaces it."""
    checked, on_device = result.verification, result.memory.on_device
    return {
        "kind": "arm",
        "case": case_id,
        "arm": result.arm.id,
        "status": result.status,
        "message": result.message,
        "hint": result.hint,
        "verification": None if checked is None else _verification_document(checked),
        "phases": [_phases_document(each) for each in result.phases],
        "memory": {
            "resident_above_import": result.memory.resident_above_import,
            "engine_peak": result.memory.engine_peak,
            **({} if on_device is None else {"on_device": on_device}),
        },
        "kernels": list(result.kernels),
        "notes": list(result.notes),
        "counts": plain(result.counts, "counts"),
        "versions": plain(result.versions, "versions"),
        **({} if result.energy is None else {"energy": _energy_document(result.energy)}),
    }


def read_arm(fields: Fields, arm: ArmSpec) -> ArmResult:
    """What an arm line says of `arm`, without rounds."""
    status = fields.text("status")
    if status not in get_args(ArmStatus):
        expected = ", ".join(get_args(ArmStatus))
        raise SchemaError(f"'status' of an arm expected one of {expected}, received {status!r}")
    memory = fields.child("memory", "the memory of an arm") if fields.has("memory") else None
    checked = fields.has("verification")
    return ArmResult(
        arm=arm,
        status=cast(ArmStatus, status),
        message=fields.text("message", ""),
        hint=fields.text("hint", ""),
        verification=(
            _read_verification(fields.child("verification", "a verification")) if checked else None
        ),
        phases=tuple(
            _read_phases(each) for each in fields.children("phases", "phases", optional=True)
        ),
        memory=Memory()
        if memory is None
        else Memory(
            memory.optional_whole("resident_above_import"),
            memory.optional_whole("engine_peak"),
            memory.optional_whole("on_device"),
        ),
        kernels=fields.texts("kernels"),
        notes=fields.texts("notes"),
        counts=fields.whole_mapping("counts"),
        energy=(
            _read_energy(fields.child("energy", "the energy of an arm"))
            if fields.has("energy")
            else None
        ),
        versions=fields.text_mapping("versions"),
    )


def _verification_document(verification: Verification) -> dict[str, Any]:
    return {
        "ok": verification.ok,
        "reference": verification.reference,
        "checks": [
            {
                "output": check.output,
                "ok": check.ok,
                "max_error": finite(check.max_error),
                "allowed": finite(check.allowed),
                "relative_error": finite(check.relative_error),
                "where": plain(check.where, "where"),
                "equals": check.equals,
                **({"absolute": True} if check.absolute else {}),
            }
            for check in verification.checks
        ],
    }


def _read_verification(fields: Fields) -> Verification:
    return Verification(
        ok=fields.flag("ok"),
        reference=fields.text("reference", "float64"),
        checks=tuple(
            OutputCheck(
                output=check.text("output"),
                ok=check.flag("ok"),
                max_error=check.number("max_error"),
                allowed=check.number("allowed"),
                relative_error=check.number("relative_error"),
                where=check.wholes("where", optional=True),
                equals=check.text("equals", ""),
                absolute=check.flag("absolute", False),
            )
            for check in fields.children("checks", "a check")
        ),
    )


def _phases_document(phases: Phases) -> dict[str, Any]:
    document: dict[str, Any] = {"cache": phases.cache}
    for name in PHASES:
        seconds = getattr(phases, f"{name}_seconds")
        document[f"{name}_ns"] = None if seconds is None else loop_nanoseconds(seconds, 1)
    return document


def _read_phases(fields: Fields) -> Phases:
    found = {name: fields.optional_whole(f"{name}_ns") for name in PHASES}
    seconds = {
        f"{name}_seconds": None if each is None else step_seconds(each, 1)
        for name, each in found.items()
    }
    return Phases(fields.text("cache"), **seconds)


def _energy_document(energy: EnergyUse) -> dict[str, Any]:
    return {
        "joules_per_step": [finite(each) for each in energy.joules_per_step],
        "steps": list(energy.steps),
        "block_ns": [loop_nanoseconds(each, 1) for each in energy.seconds],
        "idle_watts": None if energy.idle_watts is None else finite(energy.idle_watts),
        "source": energy.source,
        "problem": energy.problem,
    }


def _read_energy(fields: Fields) -> EnergyUse:
    return EnergyUse(
        joules_per_step=fields.numbers("joules_per_step"),
        steps=fields.wholes("steps", optional=True),
        seconds=tuple(step_seconds(each, 1) for each in fields.wholes("block_ns", optional=True)),
        idle_watts=fields.optional_number("idle_watts"),
        source=fields.text("source", ""),
        problem=fields.text("problem", ""),
    )


# Round: the samples of every arm of one case in one round.


def round_document(case_id: str, number: int, rounds: Mapping[str, ArmRound]) -> dict[str, Any]:
    """The line of one finished round, by arm id."""
    return {
        "kind": "round",
        "case": case_id,
        "round": number,
        "arms": {
            arm_id: {
                "ns": [loop_nanoseconds(each, taken.loops) for each in taken.seconds],
                "loops": taken.loops,
                "steady": taken.steady,
                "position": taken.position,
                "process": taken.process,
                **({} if taken.device is None else {"device": _device_document(taken.device)}),
            }
            for arm_id, taken in rounds.items()
        },
    }


def read_round(fields: Fields) -> dict[str, ArmRound]:
    """The samples of one round, by arm id."""
    number = fields.whole("round")
    return {
        arm_id: _read_arm_round(each, number)
        for arm_id, each in fields.named_children("arms", "arm").items()
    }


def _read_arm_round(fields: Fields, number: int) -> ArmRound:
    loops = fields.whole("loops", least=1)
    return ArmRound(
        round=number,
        seconds=tuple(step_seconds(each, loops) for each in fields.wholes("ns")),
        loops=loops,
        steady=fields.flag("steady", True),
        position=fields.whole("position", 0),
        process=fields.whole("process", 0),
        device=(
            _read_device(fields.child("device", "the device times"))
            if fields.has("device")
            else None
        ),
    )


def _device_document(times: DeviceTimes) -> dict[str, Any]:
    document: dict[str, Any] = {
        f"{name}_ns": _nanoseconds(getattr(times, name)) for name in DEVICE_TIMES
    }
    document["marks"] = list(times.marks)
    if times.phases:
        document["phases_ns"] = {name: _nanoseconds(each) for name, each in times.phases.items()}
    return document


def _nanoseconds(seconds: Sequence[float]) -> list[int]:
    return [loop_nanoseconds(each, 1) for each in seconds]


def _read_device(fields: Fields) -> DeviceTimes:
    phases = fields.child("phases_ns", "the phases of a step") if fields.has("phases_ns") else None
    return DeviceTimes(
        **{name: _read_times(fields, f"{name}_ns") for name in DEVICE_TIMES},
        marks=fields.texts("marks"),
        phases={
            name: times
            for name in STEP_PHASES
            if phases is not None and (times := _read_times(phases, name))
        },
    )


def _read_times(fields: Fields, key: str) -> tuple[float, ...]:
    return tuple(step_seconds(each, 1) for each in fields.wholes(key, optional=True))


# Footer: the mark of a complete run.


def footer_document(footer: Footer) -> dict[str, Any]:
    """The last line of a complete run."""
    return {
        "kind": "footer",
        "arm_lines": footer.arm_lines,
        "round_lines": footer.round_lines,
        "sha256": footer.sha256,
    }


def read_footer(fields: Fields) -> Footer:
    """What the last line of a complete run says of those before it."""
    return Footer(fields.whole("arm_lines"), fields.whole("round_lines"), fields.text("sha256"))
