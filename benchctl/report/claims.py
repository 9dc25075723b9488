"""Claims in words and tables: verdict, what was observed, what to do where nothing was."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchctl.claims.claim import Claim
from benchctl.claims.evaluation import Judged
from benchctl.claims.verdicts import MARGIN, Observation, Outcome, Verdict
from benchctl.report import numbers
from benchctl.report.markdown import escape, table_markdown
from benchctl.report.table import Column, Table, render_table
from benchctl.report.text import INDENT, machine_words
from benchctl.report.wording import join_words, plural, sentence_case
from benchctl.store.record import Run

KINDS = {
    "timing": "timed: a ratio counts with its whole 95 % interval",
    "count": "counted, not timed: there is no interval",
    "check": "a check, not a timing",
}
MOST_NAMED = 3
"""How many observations a verdict that depends names on either side."""
_OUTCOMES = {
    Outcome.FOR: "for",
    Outcome.AGAINST: "against",
    Outcome.UNDECIDED: "undecided",
    Outcome.MISSING: "-",
}


# Words ---------------------------------------------------------------------------------------


def verdict_words(judged: Judged) -> str:
    """`holds here`, `depends: holds for ...; not for ...`, `not measured here: why; what to do`."""
    verdict = judged.verdict
    if verdict is Verdict.DEPENDS:
        holds = _named(judged.with_outcome(Outcome.FOR))
        fails = _named(judged.with_outcome(Outcome.AGAINST))
        return f"depends: holds for {holds}; not for {fails}"
    if verdict is Verdict.UNDECIDED:
        return f"not decided here: {_undecided(judged)}"
    if verdict is Verdict.NOT_MEASURED:
        return f"not measured here: {gap_words(judged)}"
    return str(verdict.value)


def gap_words(judged: Judged) -> str:
    """Why nothing was seen, what to do about it, and what measures it then."""
    return f"{reason_words(judged)}; then {command_of(judged)}"


def reason_words(judged: Judged) -> str:
    """Why nothing was seen, and what to do about it."""
    gap = judged.gap
    if gap is None:
        return "nothing was observed"
    return f"{gap.reason}; {gap.hint}" if gap.hint else gap.reason


def command_of(judged: Judged) -> str:
    """What measures a claim."""
    return f"benchctl claims --only {judged.claim.name}"


def _named(observations: Sequence[Observation]) -> str:
    names = [each.what for each in observations[:MOST_NAMED]]
    left = len(observations) - len(names)
    return join_words([*names, f"{left} more"] if left else names)


def _undecided(judged: Judged) -> str:
    """The observations whose intervals hold the margin, and how many rounds more they take."""
    open_ones = judged.with_outcome(Outcome.UNDECIDED)
    if unreached := [each for each in open_ones if each.ratio is None]:
        return f"{_named(unreached)}: {unreached[0].reason}; {unreached[0].hint}"
    if any(each.ratio is not None and each.ratio.low is None for each in open_ones):
        return f"{_named(open_ones)} has too few rounds for an interval"
    lacking = [each.ratio.more_rounds for each in open_ones if each.ratio is not None]
    most = max((each for each in lacking if each is not None), default=None)
    more = "" if most is None else f"; about {most} more rounds would decide"
    return f"{_named(open_ones)} lies on both sides of {MARGIN:g}{more}"


def observation_words(observation: Observation) -> str:
    """What was seen: a ratio with its interval, a text, or why there is neither."""
    ratio = observation.ratio
    if observation.unseen:
        return f"not measured: {observation.reason}" if observation.reason else "not measured"
    if ratio is None:
        return observation.seen
    if ratio.low is None or ratio.high is None:
        text = numbers.format_ratio(ratio.value)
    else:
        text = numbers.format_ratio_interval(ratio.value, (ratio.low, ratio.high))
    return f"{text}, {observation.seen}" if observation.seen else text


def outcome_word(observation: Observation) -> str:
    """What it says of the claim: `for`, `against`, `undecided`; what is `shown` decides nothing."""
    if observation.unseen:
        return _OUTCOMES[Outcome.MISSING]
    return _OUTCOMES[observation.outcome] if observation.judged else "shown"


def result_words(judged: Judged) -> str:
    """The judged observations that were seen, the first few of them, in one line."""
    seen = [each for each in judged.observations if each.judged and not each.unseen]
    words = [f"{each.what}: {observation_words(each)}" for each in seen[:MOST_NAMED]]
    left = len(seen) - len(words)
    if left:
        words.append(f"and {left} more")
    return "; ".join(words) if words else "nothing was observed"


# Tables --------------------------------------------------------------------------------------


def words_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table of texts, all aligned to the left."""
    columns = tuple(Column(title, align_right=False) for title in titles)
    return Table(columns, tuple(tuple(row) for row in rows))


def summary_table(judged: Sequence[Judged]) -> Table:
    """One row a claim."""
    rows = [
        [each.claim.name, each.claim.says, each.claim.asks, result_words(each), verdict_words(each)]
        for each in judged
    ]
    titles = ["claim", "the deck says", "experiment", "measured", "verdict"]
    return words_table(titles, rows)


def observation_table(judged: Judged) -> Table:
    """One row an observation."""
    rows = [
        [each.what, observation_words(each), outcome_word(each)] for each in judged.observations
    ]
    titles = ["observed", "result", "says"]
    return words_table(titles, rows)


def claims_lines(judged: Sequence[Judged], run: Run) -> list[str]:
    """All claims for the terminal."""
    lines = [f"the lecture's claims on {machine_words(run)}"]
    for each in judged:
        claim = each.claim
        lines += [
            "",
            f"{claim.name}: {verdict_words(each)}",
            f"{INDENT}the deck says: {claim.says}",
            f"{INDENT}experiment: {claim.asks} ({KINDS[claim.kind]})",
            f"{INDENT}holds if: {claim.rule}",
            *render_table(observation_table(each), INDENT * 2),
        ]
    return [*lines, "", INDENT + counted_verdicts(judged)]


def counted_verdicts(judged: Sequence[Judged]) -> str:
    """`14 claims: 5 hold here, 3 do not, ...`."""
    counts = [
        (sum(each.verdict is verdict for each in judged), verdict.value) for verdict in Verdict
    ]
    told = ", ".join(f"{count} {word}" for count, word in counts if count)
    return f"{plural(len(judged), 'claim')}: {told}"


def claims_markdown(judged: Sequence[Judged], run: Run) -> list[str]:
    """All claims as Markdown: one table, then a section each."""
    lines = [
        f"Measured {run.started_utc[:10]} on {escape(machine_words(run))}.",
        "",
        *table_markdown(summary_table(judged)),
    ]
    for each in judged:
        lines += ["", *claim_markdown(each.claim), "", f"**{escape(verdict_words(each))}**", ""]
        lines += table_markdown(observation_table(each))
    return lines


def claim_markdown(claim: Claim) -> list[str]:
    """What a claim is, before anything was measured."""
    return [
        f"### {claim.name}",
        "",
        f"> {escape(claim.says)}",
        "",
        f"{escape(sentence_case(claim.asks))}. Holds if {escape(claim.rule)}. "
        f"({escape(sentence_case(KINDS[claim.kind]))}.)",
    ]


# The document --------------------------------------------------------------------------------


def claims_document(judged: Sequence[Judged], run: Run) -> dict[str, Any]:
    """The verdicts as one JSON document."""
    return {
        "run": run.run_id,
        "margin": MARGIN,
        "claims": [
            {
                "name": each.claim.name,
                "says": each.claim.says,
                "experiment": each.claim.asks,
                "rule": each.claim.rule,
                "kind": each.claim.kind,
                "verdict": each.verdict.value,
                "words": verdict_words(each),
                "observations": [_observation_document(one) for one in each.observations],
            }
            for each in judged
        ],
    }


def _observation_document(observation: Observation) -> dict[str, Any]:
    ratio = observation.ratio
    return {
        "what": observation.what,
        "outcome": observation.outcome.value,
        "judged": observation.judged,
        "ratio": None if ratio is None else ratio.value,
        "interval": None if ratio is None or ratio.low is None else [ratio.low, ratio.high],
        "seen": observation.seen,
        "reason": observation.reason,
        "hint": observation.hint,
    }
