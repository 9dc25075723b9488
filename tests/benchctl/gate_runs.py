"""Synthetic runs of a gate: any ratio between base and head, controls that behave or do not."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace

from record_factory import MACHINE

from benchctl.gate.config import EXACT_COUNTS
from benchctl.gate.decide import GateRule
from benchctl.gate.outcomes import GateResult
from benchctl.gate.plans import is_control, pair_plan
from benchctl.gate.run import GateRequest, run_gate
from benchctl.plan.schedule import arms_of_case
from benchctl.plan.subjects import MARK, Subject
from benchctl.plan.suites import SuiteEntry
from benchctl.store.record import ArmResult, ArmRound, CaseResult, Plan, Run

SUBJECTS = (Subject("base"), Subject("head"))
SIZES = ("3x4", "10x10", "32x32")


def screen_plan(rounds: int = 12, sizes=SIZES, arms=("numpy",), seed: int = 0) -> Plan:
    entry = SuiteEntry("xyz", {"size": sizes})
    return pair_plan([entry], SUBJECTS, arms=arms, rounds=rounds, seed=seed, threads=1)


class FakeMachine:
    """Measures plans: head / base is `ratios` by case id, control / itself is `control`.

    `statuses` gives arms, by id, another end than "ok"; `counts` their counts. `spread` is that of
    every time; `confirm` changes any of these from the second run on.
    """

    def __init__(self, ratios: Mapping[str, float] | None = None, **settings) -> None:
        self.settings = {
            "control": 1.0,
            "statuses": {},
            "counts": {},
            "spread": 0.005,
            "lost_rounds": 0,
            **settings,
            "ratios": ratios or {},
        }
        self.later = self.settings.pop("confirm", {})
        self.plans: list[Plan] = []

    def __call__(self, plan: Plan) -> Run:
        settings = {**self.settings, **(self.later if self.plans else {})}
        self.plans.append(plan)
        source = random.Random(f"{plan.seed} {len(self.plans)}")
        cases = tuple(
            CaseResult(
                case,
                tuple(
                    self._arm(case, arm, plan.rounds, settings, source)
                    for arm in arms_of_case(plan, case.id)
                ),
            )
            for case in plan.cases
        )
        return Run(
            f"run{len(self.plans)}",
            "2026-11-05T12:00:00Z",
            plan,
            MACHINE,
            {},
            {},
            {},
            (),
            cases,
            complete=True,
        )

    @staticmethod
    def _arm(case, arm, rounds, settings, source) -> ArmResult:
        status = settings["statuses"].get(arm.id, "ok")
        result = ArmResult(arm, status, message="" if status == "ok" else f"{arm.id} {status}")
        if status != "ok":
            return result
        ratio = 1.0
        if arm.id.endswith(f"{MARK}head"):
            ratio = settings["control"] if is_control(case) else settings["ratios"].get(case.id, 1)
        taken = tuple(
            ArmRound(
                number,
                (1e-3 * ratio * (1 + source.gauss(0, settings["spread"])),),
                10,
                process=number,
            )
            for number in range(rounds - settings["lost_rounds"])
        )
        return replace(result, rounds=taken, counts=settings["counts"].get(arm.id, {}))


CASES = [case.id for case in screen_plan().cases if not is_control(case)]


def scripted_gate(**machine) -> GateResult:
    """What a gate says on a `FakeMachine`."""
    request = GateRequest(GateRule(), "main", "mine", EXACT_COUNTS)
    result, _ = run_gate(screen_plan(), request, FakeMachine(**machine), lambda _: None)
    return result
