"""A comparison of two sides as a table, a sentence and next steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from benchctl.compare.pairs import Comparison, PairResult
from benchctl.plan.cases import short_ids
from benchctl.report import numbers
from benchctl.report.numbers import decimals_for, format_number
from benchctl.report.table import Column, Table
from benchctl.stats.geometric_mean import GeometricMean
from benchctl.stats.verdict import Verdict

SYMBOLS = {
    Verdict.SLOWER: "▲",
    Verdict.FASTER: "▼",
    Verdict.SAME: "=",
    Verdict.INCONCLUSIVE: "?",
}
_UNMEASURED = "-"
_ONE_PROCESS_NOTE = (
    "the two runs have no round in common: what the machine did between them is in the ratios"
)


def verdict_words(pair: PairResult) -> str:
    """`▲ slower`, `= same`, `? inconclusive`; `- not compared` where a side is missing."""
    if pair.judgement is None:
        return f"{_UNMEASURED} not compared"
    return f"{SYMBOLS[pair.verdict]} {pair.verdict.value}"


def ratio_words(ratio: float, low: float | None, high: float | None) -> str:
    """`1.052 [1.031, 1.074]`, with the digits that the interval supports."""
    if low is None or high is None:
        return f"about {format_number(ratio, decimals_for(ratio, None))}"
    decimals = max(decimals_for(ratio, (low, high)), 2)
    ends = f"{format_number(low, decimals)}, {format_number(high, decimals)}"
    return f"{format_number(ratio, decimals)} [{ends}]"


def log_ratio_words(estimate: float, low: float | None, high: float | None) -> str:
    """The same from logarithms."""
    return ratio_words(math.exp(estimate), ratio_of(low), ratio_of(high))


def ratio_of(log_ratio: float | None) -> float | None:
    """The ratio of a logarithm that may be missing."""
    return None if log_ratio is None else math.exp(log_ratio)


def seconds_words(seconds: float | None) -> str:
    """A time in its own unit; `-` where there is none."""
    return _UNMEASURED if seconds is None else numbers.format_seconds(seconds)


def comparison_table(comparison: Comparison) -> Table:
    """case | base | head | ratio [low, high] | verdict, the largest difference first."""
    several = len({each.label for each in comparison.pairs}) > 1
    titles = [Column("case", align_right=False)]
    titles += [Column("arm", align_right=False)] if several else []
    titles += [
        Column("base"),
        Column("head"),
        Column("ratio [95 % interval]"),
        Column("verdict", align_right=False),
    ]
    short = short_ids(pair.case.id for pair in comparison.pairs)
    rows = []
    for pair in comparison.pairs:
        row = [short[pair.case.id], *([pair.label] if several else [])]
        row += [seconds_words(pair.base_seconds), seconds_words(pair.head_seconds)]
        row += [_ratio(pair), verdict_words(pair)]
        rows.append(tuple(row))
    return Table(tuple(titles), tuple(rows))


def _ratio(pair: PairResult) -> str:
    judgement = pair.judgement
    if judgement is None:
        if pair.base_seconds and pair.head_seconds:
            return f"about {numbers.format_ratio(pair.head_seconds / pair.base_seconds)}"
        return _UNMEASURED
    return log_ratio_words(judgement.estimate, judgement.low, judgement.high)


def comparison_sentence(comparison: Comparison) -> str:
    """`2 slower, 1 faster, 9 same, 0 inconclusive; head takes 1.010x ... in the mean.`"""
    words = [
        f"{comparison.count(verdict)} {verdict.value}"
        for verdict in (Verdict.SLOWER, Verdict.FASTER, Verdict.SAME, Verdict.INCONCLUSIVE)
    ]
    sentence = f"{comparison.head_name} against {comparison.base_name}: {', '.join(words)}"
    return f"{sentence}.{_mean_words(comparison.mean)}"


def _mean_words(mean: GeometricMean | None) -> str:
    if mean is None:
        return ""
    ratio = ratio_words(mean.ratio, mean.low, mean.high)
    return f" Geometric mean of the ratios of {mean.cases} cases, each counted once: {ratio}."


def next_steps(comparison: Comparison) -> list[str]:
    """What to do about pairs that stayed open, and about what was not compared."""
    short = short_ids(pair.case.id for pair in comparison.pairs)
    lines = []
    for pair in comparison.pairs:
        name = f"{short[pair.case.id]} {pair.label}"
        if pair.judgement is None:
            lines.append(f"{name}: {pair.reason}")
        elif pair.verdict is Verdict.INCONCLUSIVE:
            lines.append(f"{name}: {_open_words(pair, comparison.paired)}")
    if comparison.only_base:
        lines.append(f"only in {comparison.base_name}: {', '.join(comparison.only_base)}")
    if comparison.only_head:
        lines.append(f"only in {comparison.head_name}: {', '.join(comparison.only_head)}")
    if not comparison.paired and any(each.judgement for each in comparison.pairs):
        lines.append(_ONE_PROCESS_NOTE)
    return lines


def _open_words(pair: PairResult, paired: bool) -> str:
    if not paired:
        return "measure both sides together for an answer: benchctl compare ... --on WORKLOAD"
    if pair.more_rounds is None:
        return "the difference lies on the margin: no number of rounds settles it"
    total = pair.rounds + pair.more_rounds
    return f"about {pair.more_rounds} more rounds: --rounds {total}{_duration(pair)}"


def _duration(pair: PairResult) -> str:
    """Roughly what the missing rounds take, from what a round's samples took."""
    taken = [
        sum(each.seconds) * each.loops for side in (pair.base, pair.head) for each in side.rounds
    ]
    if not taken or not pair.rounds or pair.more_rounds is None:
        return ""
    return f", {numbers.format_duration(pair.more_rounds * (sum(taken) / pair.rounds + 1.0))} more"


def comparison_markdown(comparison: Comparison) -> list[str]:
    """The same for Markdown, the sentence first."""
    from benchctl.report.markdown import table_markdown

    lines = [comparison_sentence(comparison), "", *table_markdown(comparison_table(comparison))]
    steps = next_steps(comparison)
    return [*lines, *(["", *(f"- {step}" for step in steps)] if steps else [])]


def comparison_document(comparison: Comparison) -> dict[str, Any]:
    """The comparison for programs; ratios are head / base, times seconds."""
    mean = comparison.mean
    return {
        "schema": "benchctl.comparison/1",
        "base": comparison.base_name,
        "head": comparison.head_name,
        "paired": comparison.paired,
        "pairs": [_pair_document(pair) for pair in comparison.pairs],
        "geometric_mean": None
        if mean is None
        else {"ratio": mean.ratio, "low": mean.low, "high": mean.high, "cases": mean.cases},
        "only_base": list(comparison.only_base),
        "only_head": list(comparison.only_head),
    }


def _pair_document(pair: PairResult) -> dict[str, Any]:
    judgement = pair.judgement
    return {
        "case": pair.case.id,
        "arm": pair.label,
        "base_seconds": pair.base_seconds,
        "head_seconds": pair.head_seconds,
        "rounds": pair.rounds,
        "verdict": None if judgement is None else judgement.verdict.value,
        "ratio": None if judgement is None else math.exp(judgement.estimate),
        "low": None if judgement is None else ratio_of(judgement.low),
        "high": None if judgement is None else ratio_of(judgement.high),
        "p_value": None if judgement is None else judgement.p_value,
        "more_rounds": pair.more_rounds,
        "reason": pair.reason,
        "base_status": pair.base.status,
        "head_status": pair.head.status,
    }


def comparison_lines(comparison: Comparison) -> list[str]:
    """The whole answer as text."""
    from benchctl.report.table import render_table

    lines = [*render_table(comparison_table(comparison)), "", comparison_sentence(comparison)]
    steps: Sequence[str] = next_steps(comparison)
    return [*lines, *(f"  {step}" for step in steps)]
