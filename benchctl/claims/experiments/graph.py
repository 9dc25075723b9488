"""A program is a graph: a constant prints as a tensor without a value, a session gives 1."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from benchctl.claims.claim import Claim, Facts
from benchctl.claims.evidence import Evidence, checked, missing
from benchctl.claims.experiments.frameworks import gap_of, told_gap
from benchctl.claims.user_programs import printed_lines
from benchctl.claims.verdicts import Observation
from benchctl.store.record import Plan

PROGRAMS = {"static": "printing_static", "eager": "printing_eager", "tf-graph": "printing_tf_graph"}
_WITHOUT_VALUE = re.compile(r'<?(tf\.)?Tensor\(?\s?[\'"][^\'"]+[\'"],? shape=\(\),? dtype=\w+\)?>?')


def probe(plan: Plan) -> Facts:
    """What the programs print, engine by engine."""
    return {
        engine: gap_of(engine) or printed_lines(program, plan)
        for engine, program in PROGRAMS.items()
    }


def judge(evidence: Evidence) -> tuple[Observation, ...]:
    """In a graph no value is printed; eager prints one, and is shown beside it."""
    observations = [
        _prints(evidence.facts, "static", without_value=True),
        _runs_to_one(evidence.facts, "static"),
        _prints(evidence.facts, "tf-graph", without_value=True),
        _prints(evidence.facts, "eager", without_value=False),
    ]
    return tuple(observations)


def _prints(facts: Mapping[str, Any], engine: str, *, without_value: bool) -> Observation:
    what = f"{engine}: print(constant(1))"
    lines = facts.get(engine, {}).get("lines")
    judged = engine == "static"
    if not lines:
        return missing(what, *told_gap(facts, engine), judged=judged)
    bare = _WITHOUT_VALUE.fullmatch(lines[0]) is not None
    return checked(what, bare is without_value, lines[0], judged=judged)


def _runs_to_one(facts: Mapping[str, Any], engine: str) -> Observation:
    what = f"{engine}: session.run(constant(1))"
    lines = facts.get(engine, {}).get("lines")
    if not lines:
        return missing(what, *told_gap(facts, engine))
    return checked(what, lines[-1] == "1", lines[-1])


CLAIM = Claim(
    name="graph",
    says=(
        "a program is a graph of nodes and edges; a = constant(1) prints as a tensor without a "
        "value, a session gives 1"
    ),
    asks="the same lines on the static engine, on TensorFlow's graphs and, for contrast, on eager",
    rule="the static engine prints name, shape and dtype and no value, and its session gives 1",
    kind="check",
    judge=judge,
    probe=probe,
)
