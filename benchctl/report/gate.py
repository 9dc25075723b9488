"""A gate's result: text, Markdown for a step summary, JUnit XML and a document for programs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

from benchctl.gate.noise import NoiseFloor
from benchctl.gate.outcomes import CaseOutcome, Ending, GateResult, Key, Outcome
from benchctl.plan.cases import short_ids
from benchctl.report.comparison import log_ratio_words, ratio_of, seconds_words
from benchctl.report.markdown import escape, table_markdown
from benchctl.report.table import Column, Table, render_table

SYMBOLS = {
    Outcome.REGRESSED: "▲",
    Outcome.FAILED: "✗",
    Outcome.QUARANTINED: "(▲)",
    Outcome.UNCONFIRMED: "△",
    Outcome.INCONCLUSIVE: "?",
    Outcome.IMPROVED: "▼",
    Outcome.SAME: "=",
    Outcome.NEW: "+",
    Outcome.REMOVED: "-",
    Outcome.UNAVAILABLE: "·",
}
# GitHub cuts a step summary at 1 MiB; a reader is lost long before.
MOST_SUMMARY_ROWS = 50
_NOTHING = "-"


def ending_sentence(result: GateResult) -> str:
    """The verdict in one sentence."""
    against = f"{result.head} against {result.base}"
    names = case_names(result)
    regressed = result.of(Outcome.REGRESSED)
    if result.ending is Ending.REGRESSION:
        worst = max(regressed, key=lambda each: each.estimate or 0.0)
        return f"REGRESSION: {against}: {_counted(regressed)} slower, the worst {names[worst.key]}."
    if result.ending is Ending.CONTAMINATED:
        disturbed = dict.fromkeys(each.name for each in result.controls if each.contaminated)
        return (
            f"CONTAMINATED: {against}: {', '.join(disturbed)} differs from itself, so this machine "
            "was disturbed and nothing can be said."
        )
    if result.ending is Ending.FAILED:
        failed = result.of(Outcome.FAILED)
        return f"FAILED: {against}: {_counted(failed)} could not be measured."
    if result.ending is Ending.NOTHING_MEASURED:
        return f"NOTHING MEASURED: {against}."
    words = [f"{len(result.of(each))} {each.value}" for each in Outcome if result.of(each)]
    head = "CLEAN" if result.ending is Ending.CLEAN else "INCONCLUSIVE"
    return f"{head}: {against}: {', '.join(words)}."


def _counted(cases: Sequence[CaseOutcome]) -> str:
    return f"{len(cases)} case{'' if len(cases) == 1 else 's'}"


def case_names(result: GateResult) -> dict[Key, str]:
    """A name for each case: its short id and its engine."""
    short = short_ids(case.key[0] for case in result.cases)
    return {case.key: f"{short[case.key[0]]} {case.key[1]}".rstrip() for case in result.cases}


def outcome_table(result: GateResult) -> Table:
    """case | base | head | ratio [95 % interval] | outcome; what is wrong first."""
    names = case_names(result)
    rows = []
    for case in result.cases:
        pair = case.pair
        rows.append(
            (
                names[case.key],
                seconds_words(None if pair is None else pair.base_seconds),
                seconds_words(None if pair is None else pair.head_seconds),
                _ratio(case),
                f"{SYMBOLS[case.outcome]} {case.outcome.value}",
            )
        )
    columns = (
        Column("case", align_right=False),
        Column("base"),
        Column("head"),
        Column("ratio [95 % interval]"),
        Column("outcome", align_right=False),
    )
    return Table(columns, tuple(rows))


def _ratio(case: CaseOutcome) -> str:
    if case.estimate is None:
        return _NOTHING
    return log_ratio_words(case.estimate, *(case.interval or (None, None)))


def detail_lines(result: GateResult) -> list[str]:
    """Why cases failed, which counts changed, what the controls said."""
    names = case_names(result)
    lines = []
    for case in result.cases:
        name = names[case.key]
        if case.reason:
            lines.append(f"{name}: {case.reason}")
        for each in case.counts:
            lines.append(f"{name}: {each.name} {each.base:,} -> {each.head:,}")
    for control in result.controls:
        off = math.expm1(control.judgement.estimate)
        state = "disturbed" if control.contaminated else "undisturbed"
        lines.append(f"control ({control.stage}) {control.name}: {off:+.1%}, {state}")
    return lines


def rule_sentence(result: GateResult, cases: int) -> str:
    """What the gate promises."""
    rule = result.rule
    return (
        f"A case is called regressed where {rule.screen_rounds} rounds make it a candidate and "
        f"{rule.confirm_rounds} fresh rounds show it slower by more than {rule.margin:.1%}; on "
        f"unchanged code at most {rule.confirm_alpha:.0%} of gates over these {cases} cases say so "
        "by chance."
    )


def noise_sentence(floor: NoiseFloor | None) -> str:
    """How often this machine's own A/A gates were wrong, or how to find out."""
    if floor is None or not floor.gates:
        return "No A/A run stands behind this machine yet: benchctl aa measures its noise floor."
    return (
        f"On machines of this class {floor.gates} A/A gates found {floor.red} regressions where "
        f"nothing had changed: at most {floor.red_bound:.0%} with 95 % confidence."
    )


def gate_lines(result: GateResult, floor: NoiseFloor | None, command: str) -> list[str]:
    """The whole answer as text."""
    lines = [ending_sentence(result), "", *render_table(outcome_table(result))]
    lines += ["", *(f"  {line}" for line in detail_lines(result))]
    lines += ["", f"  {rule_sentence(result, len(result.cases))}", f"  {noise_sentence(floor)}"]
    return [*lines, f"  again: {command}"]


def gate_markdown(
    result: GateResult, floor: NoiseFloor | None, command: str, machine: str
) -> list[str]:
    """For a step summary: the verdict first, the table folded away where nothing is wrong."""
    table = outcome_table(result)
    kept = Table(table.columns, table.rows[:MOST_SUMMARY_ROWS])
    body = ["", *table_markdown(kept), ""]
    left_out = len(table.rows) - len(kept.rows)
    if left_out:
        body += [f"{left_out} more cases are in the JSON document.", ""]
    body += [f"- {escape(line)}" for line in detail_lines(result)[:MOST_SUMMARY_ROWS]]
    if result.ending is Ending.CLEAN:
        body = ["<details><summary>all cases</summary>", *body, "", "</details>"]
    return [
        f"## benchctl gate: {escape(ending_sentence(result))}",
        "",
        *body,
        "",
        escape(rule_sentence(result, len(result.cases))),
        escape(noise_sentence(floor)),
        "",
        f"Machine: {escape(machine)}. To repeat: `{command}`",
    ]


def gate_document(result: GateResult, floor: NoiseFloor | None, command: str) -> dict[str, Any]:
    """The gate for programs; ratios are head / base, times seconds."""
    return {
        "schema": "benchctl.gate/1",
        "ending": result.ending.value,
        "base": result.base,
        "head": result.head,
        "command": command,
        "rule": {
            "margin": result.rule.margin,
            "screen_rounds": result.rule.screen_rounds,
            "screen_alpha": result.rule.screen_alpha,
            "confirm_rounds": result.rule.confirm_rounds,
            "confirm_alpha": result.rule.confirm_alpha,
        },
        "cases": [_case_document(case) for case in result.cases],
        "controls": [
            {
                "stage": each.stage,
                "name": each.name,
                "ratio": math.exp(each.judgement.estimate),
                "contaminated": each.contaminated,
            }
            for each in result.controls
        ],
        "noise_floor": None
        if floor is None
        else {"gates": floor.gates, "red": floor.red, "red_bound": floor.red_bound},
    }


def _case_document(case: CaseOutcome) -> dict[str, Any]:
    low, high = case.interval or (None, None)
    pair = case.pair
    return {
        "case": case.key[0],
        "arm": case.key[1],
        "outcome": case.outcome.value,
        "base_seconds": None if pair is None else pair.base_seconds,
        "head_seconds": None if pair is None else pair.head_seconds,
        "ratio": ratio_of(case.estimate),
        "low": ratio_of(low),
        "high": ratio_of(high),
        "p_value": case.p_value,
        "counts": [
            {"name": each.name, "base": each.base, "head": each.head} for each in case.counts
        ],
        "reason": case.reason,
    }


def junit_xml(result: GateResult, seconds: float) -> str:
    """One test a case: regressed and failed cases fail, those that say nothing are skipped."""
    failures = len(result.of(Outcome.REGRESSED))
    errors = len(result.of(Outcome.FAILED)) + (result.ending is Ending.CONTAMINATED)
    suite = ElementTree.Element(
        "testsuite",
        name="benchctl gate",
        tests=str(len(result.cases)),
        failures=str(failures),
        errors=str(errors),
        time=f"{seconds:.1f}",
    )
    for case in result.cases:
        test = ElementTree.SubElement(
            suite, "testcase", classname=case.key[0], name=case.key[1] or case.key[0]
        )
        words = f"{case.outcome.value}: ratio {_ratio(case)} {case.reason}".strip()
        if case.outcome is Outcome.REGRESSED:
            ElementTree.SubElement(test, "failure", message=words)
        elif case.outcome is Outcome.FAILED:
            ElementTree.SubElement(test, "error", message=words)
        elif case.outcome in _SAYING_NOTHING:
            ElementTree.SubElement(test, "skipped", message=words)
    if result.ending is Ending.CONTAMINATED:
        test = ElementTree.SubElement(suite, "testcase", classname="machine", name="controls")
        ElementTree.SubElement(test, "error", message=ending_sentence(result))
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True)


_SAYING_NOTHING = (
    Outcome.QUARANTINED,
    Outcome.UNCONFIRMED,
    Outcome.INCONCLUSIVE,
    Outcome.REMOVED,
    Outcome.UNAVAILABLE,
)
