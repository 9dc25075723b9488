"""Define and run against define by run: the same kernels, the bits compared, the passes' ladder."""

from __future__ import annotations

from contextlib import suppress

from benchctl.claims.claim import Claim, Facts
from benchctl.claims.evidence import Evidence, checked, missing
from benchctl.claims.experiments.networks import LARGE, SMALL, case_words, product, vgg16
from benchctl.claims.verdicts import Observation
from benchctl.plan.ladder import ALL_OFF, ENGINE, ladder, passes_of
from benchctl.plan.registry import load_engine
from benchctl.store.record import CaseResult, Plan

ARMS = ("static", "eager", ALL_OFF)


def _rungs() -> tuple[str, ...]:
    """The arms of the ladder between all passes off and all on."""
    rungs = ladder(passes_of(load_engine(ENGINE).switches()))
    return tuple(rung.arm for rung in rungs if rung.kind == "with" and rung.arm != ENGINE)


RUNGS = _rungs()


def probe(plan: Plan) -> Facts:
    """The largest difference of eager from static with every pass off, case by case."""
    from benchctl.measure.session import ArmFailure, differences
    from benchctl.plan.schedule import arms_of_case

    found: dict[str, float] = {}
    for case in plan.cases:
        arms = {arm.id: arm for arm in arms_of_case(plan, case.id)}
        if ALL_OFF in arms and "eager" in arms:
            # An engine that cannot run the case is told by the case itself.
            with suppress(ArmFailure, KeyError):
                others = differences(plan, case, arms[ALL_OFF], [arms["eager"]])
                found[case.id] = others["eager"]
    return found


def judge(evidence: Evidence) -> tuple[Observation, ...]:
    """eager / static of every case; the same bits without passes; what each pass adds."""
    observations: list[Observation] = []
    for case in evidence.run.cases:
        if not evidence.has(case, ALL_OFF):
            continue
        title = case_words(case.case)
        observations.append(evidence.times(f"eager / static: {title}", case, "eager", "static"))
        what = f"eager and static without passes give the same bits: {title}"
        difference = evidence.facts.get(case.case.id)
        if difference is None:
            observations.append(missing(what, "not compared", judged=False))
        else:
            seen = f"largest difference {float(difference):g}"
            same = float(difference) == 0
            observations.append(checked(what, same, seen, judged=False))
        observations += _ladder(evidence, case)
    return tuple(observations)


def _ladder(evidence: Evidence, case: CaseResult) -> list[Observation]:
    """Each rung against all passes off; nothing where the ladder was not measured."""
    steps = [arm for arm in RUNGS if evidence.has(case, arm)]
    if not steps:
        return []
    names = [arm.rpartition(",")[2].removesuffix("=on") for arm in steps]
    rungs = [(f"passes up to {name}", arm) for name, arm in zip(names, steps, strict=True)]
    return [
        evidence.times(f"all passes off / {words}", case, ALL_OFF, arm, judged=False)
        for words, arm in (*rungs, ("all passes on", ENGINE))
    ]


CLAIM = Claim(
    name="paradigms",
    says="define and run against define by run",
    asks=(
        "the same program on our static and our eager engine, which share primitives and kernels; "
        "with passes off their bits are compared, and a ladder shows what each pass buys"
    ),
    rule="a step of the graph is faster than the same step run as it is written, in every case",
    kind="timing",
    judge=judge,
    entries=(
        product(SMALL, *ARMS),
        product(LARGE, *ARMS),
        vgg16("inference", *ARMS),
        vgg16("training", *ARMS, *RUNGS),
    ),
    probe=probe,
)
