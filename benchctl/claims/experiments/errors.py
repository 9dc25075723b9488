"""Declarative code is hard to debug: do errors name the user's own file and line?"""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import shorten
from typing import Any

from benchctl.claims.claim import ROUNDS, STEADY, Claim, Facts
from benchctl.claims.evidence import Evidence, missing
from benchctl.claims.experiments.frameworks import gap_of, told_gap
from benchctl.claims.user_programs import MISTAKES, last_words, mistakes_of, names_line
from benchctl.claims.verdicts import Observation, outcome_of_check
from benchctl.plan.suites import SuiteEntry
from benchctl.store.record import Plan

WORKLOAD = "debugging"
DECLARATIVE = ("static", "tf-function", "tf-graph", "jax")
IMPERATIVE = ("eager", "numpy", "torch")
MOST_WORDS = 120
"""Characters of a message that are shown."""
_WORDS = {"wrong_shape": "a wrong shape", "nan": "a NaN", "missing_feed": "a missing feed"}


def probe(plan: Plan) -> Facts:
    """What each engine shows of each mistake."""
    return {
        engine: gap_of(engine) or mistakes_of(f"errors_{engine.replace('-', '_')}", plan)
        for engine in (*DECLARATIVE, *IMPERATIVE)
    }


def judge(evidence: Evidence) -> tuple[Observation, ...]:
    """A mistake whose line is not named speaks for the claim, on engines that declare."""
    found = [
        _mistake(evidence.facts, engine, mistake)
        for engine in (*DECLARATIVE, *IMPERATIVE)
        for mistake in MISTAKES
    ]
    for case in evidence.cases(WORKLOAD):
        for engine in ("static", "eager"):
            what = f"{engine} that looks for NaNs / {engine}"
            found.append(evidence.times(what, case, f"{engine}:check_nan=on", engine, judged=False))
    return tuple(found)


def _mistake(facts: Mapping[str, Any], engine: str, mistake: str) -> Observation:
    what = f"{engine}: {_WORDS[mistake]}"
    told, judged = facts.get(engine, {}), engine in DECLARATIVE
    if mistake not in told:
        return missing(what, *told_gap(facts, engine), judged=judged)
    message = last_words(told[mistake]) or "nothing was shown"
    words = shorten(message, MOST_WORDS, placeholder=" ...")
    named = names_line(told[mistake])
    place = f"{told[mistake]['file']}:{told[mistake]['line']}" if named else "line not named"
    return Observation(what, outcome_of_check(not named), seen=f"{place}: {words}", judged=judged)


CLAIM = Claim(
    name="errors",
    says="declarative code is hard to debug",
    asks=(
        "a wrong shape, a NaN and a missing feed in a program of each engine, which is asked to "
        "look for NaNs where it can; beside it what looking costs"
    ),
    rule="an engine that declares first does not name file and line of every mistake",
    kind="check",
    judge=judge,
    entries=(
        SuiteEntry(
            WORKLOAD,
            {},
            arms=("static", "static:check_nan=on", "eager", "eager:check_nan=on"),
            rounds=ROUNDS,
            measure=STEADY,
        ),
    ),
    probe=probe,
)
