"""Keras: one layer API on every engine of ours, its lines beside the plain version's."""

from __future__ import annotations

from benchctl.claims.claim import ROUNDS, STEADY, Claim, Facts
from benchctl.claims.evidence import Evidence, missing
from benchctl.claims.verdicts import Observation, Ratio, outcome_of_count
from benchctl.plan.suites import SuiteEntry
from benchctl.store.record import Plan

WORKLOAD = "layer_api"
ENGINES = ("static", "eager", "numpy", "torch", "tf-function")
OURS = ("static", "eager")
SOURCES = {
    "layers": "benchctl_workloads.layer_api.with_layers",
    "plain": "benchctl_workloads.layer_api.plain",
    "by hand": "benchctl_workloads.by_hand.digit_classifier",
}


def probe(plan: Plan) -> Facts:
    """Lines of code of each version of the network."""
    from benchctl.claims.lines_of_code import lines_of_module

    return {version: lines_of_module(module) for version, module in SOURCES.items()}


def judge(evidence: Evidence) -> tuple[Observation, ...]:
    """Fewer lines, right results on every engine; what the layers cost is shown beside them."""
    found = [_lines(evidence, "plain", judged=True), _lines(evidence, "by hand", judged=False)]
    layered, plain = (evidence.cases(WORKLOAD, style=style) for style in ("layers", "plain"))
    for case in layered:
        for engine in ENGINES:
            judged = engine in OURS
            found.append(evidence.verified(f"{engine} with layers", case, engine, judged=judged))
    if layered and plain:
        for engine in OURS:
            what = f"{engine}: with layers / plain"
            found.append(evidence.times_of_cases(what, layered[0], plain[0], engine, judged=False))
    else:
        found.append(missing("one network with layers and without", *evidence.skipped))
    return tuple(found)


def _lines(evidence: Evidence, version: str, *, judged: bool) -> Observation:
    few, many = evidence.facts.get("layers"), evidence.facts.get(version)
    what = f"lines of the network, {version} / with layers"
    if not few or not many:
        return missing(what, "the lines were not counted", judged=judged)
    ratio = many / few
    seen = f"{many} against {few}"
    return Observation(what, outcome_of_count(ratio), Ratio(ratio), seen, judged=judged)


CLAIM = Claim(
    name="layers",
    says="Keras: fast prototyping, several backends, friendly",
    asks=(
        "one classifier of digits in layers and in plain operations: lines of code, results on "
        "every engine, and time"
    ),
    rule=(
        "the network takes fewer lines in layers, and both our engines compute with them what "
        "float64 gives"
    ),
    kind="count",
    judge=judge,
    entries=(
        SuiteEntry(
            WORKLOAD,
            {"style": ("layers", "plain")},
            arms=ENGINES,
            rounds=ROUNDS,
            measure=STEADY,
        ),
    ),
    probe=probe,
)
