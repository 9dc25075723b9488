"""From idea to service, in several languages: a step as ONNX, run by another runtime."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchctl.claims.claim import Claim, Facts
from benchctl.claims.evidence import Evidence, checked, missing
from benchctl.claims.experiments.frameworks import gap_of, told_gap
from benchctl.claims.experiments.networks import SMALL, VGG, case_words
from benchctl.claims.verdicts import Observation
from benchctl.report.numbers import format_error
from benchctl.store.record import CaseSpec, Plan

RUNTIME = "onnxruntime"
_STEPS: tuple[tuple[str, Mapping[str, tuple[str, ...]]], ...] = (
    ("xyz", SMALL),
    ("vgg16", {**VGG, "layout": ("NCHW",), "mode": ("inference",)}),
    ("vgg16", {**VGG, "layout": ("NCHW",), "mode": ("training",)}),
)


def _cases() -> list[CaseSpec]:
    from benchctl.plan.cases import expand_cases

    return [case for workload, axes in _STEPS for case in expand_cases(workload, axes)]


def probe(plan: Plan) -> Facts:
    """Write each step as a model, run it elsewhere, compare with float64."""
    if gap := gap_of(RUNTIME):
        return {RUNTIME: gap}
    return {case.id: {"title": case_words(case), **_exported(case, plan)} for case in _cases()}


def _exported(case: CaseSpec, plan: Plan) -> dict[str, Any]:
    from benchctl.measure.model_export import export_step
    from benchctl.plan.registry import load_engine
    from benchctl_engines.contract import ModelEngine

    engine = load_engine(RUNTIME)
    assert isinstance(engine, ModelEngine)
    try:
        found = export_step(engine, case, plan.seed, plan.threads)
    except ValueError as error:
        return {"failed": str(error)}
    return {
        "ok": found.verification.ok,
        "error": found.verification.worst_relative_error,
        "nodes": len(found.model.operations),
    }


def judge(evidence: Evidence) -> tuple[Observation, ...]:
    """Same numbers in ONNX Runtime as in float64, step by step."""
    steps = [told for told in evidence.facts.values() if "title" in told]
    if not steps:
        what = "steps of the static graph in ONNX Runtime"
        return (missing(what, *told_gap(evidence.facts, RUNTIME)),)
    found = []
    for told in steps:
        what = f"ONNX Runtime: {told['title']}"
        if "failed" in told:
            found.append(checked(what, False, str(told["failed"])))
            continue
        seen = f"{told['nodes']} nodes, off by {format_error(float(told['error']))}"
        found.append(checked(what, bool(told["ok"]), seen))
    return tuple(found)


CLAIM = Claim(
    name="export",
    says="from idea to service, in several languages",
    asks="steps of the static graph exported to ONNX, training too, and run by ONNX Runtime",
    rule="the other runtime gives the numbers of float64 for every step",
    kind="check",
    judge=judge,
    probe=probe,
)
