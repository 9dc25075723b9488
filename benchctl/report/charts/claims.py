"""One picture a claim: ratios as bars with their intervals, checks as marks with what was seen."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from matplotlib.axes import Axes

from benchctl.claims.evaluation import Judged, judge_run
from benchctl.claims.verdicts import MARGIN, Observation, Verdict
from benchctl.report.charts import parts, style
from benchctl.report.charts.chart import Chart, MissingChart
from benchctl.report.claims import (
    KINDS,
    command_of,
    counted_verdicts,
    observation_table,
    observation_words,
    outcome_word,
    reason_words,
    summary_table,
    verdict_words,
)
from benchctl.report.wording import foot_words, sentence_case
from benchctl.store.record import Run

OVERVIEW = "claims"
_LABEL_COLUMNS = 46
_SEEN_COLUMNS = 70
_MARK = 0.03
"""Length of the mark of a check, as a share of the axis."""
_LOOKS = {
    "for": style.Look(style.BLUE),
    "against": style.Look(style.VERMILION, hatch="///"),
    "undecided": style.Look(style.YELLOW, hatch="....", hatch_color=style.EDGE),
    "shown": style.Look(style.MUTED, hollow=True, hatch_color=style.MUTED),
}
_WORDS = {
    "for": "speaks for the claim",
    "against": "speaks against it",
    "undecided": "undecided",
    "shown": "shown beside it",
}
_VERDICT_LOOKS = {
    Verdict.HOLDS: _LOOKS["for"],
    Verdict.FAILS: _LOOKS["against"],
    Verdict.DEPENDS: style.Look(style.PURPLE, hatch="xxx"),
    Verdict.UNDECIDED: _LOOKS["undecided"],
    Verdict.NOT_MEASURED: _LOOKS["shown"],
}


def claim_sections(run: Run) -> tuple[Chart | MissingChart, ...]:
    """The overview of a run of claims, then one section a claim."""
    judged = judge_run(run)
    return (draw_overview(judged, run), *(draw_claim(each, run) for each in judged))


@style.styled
def draw_overview(judged: Sequence[Judged], run: Run) -> Chart:
    """All claims with their verdicts."""
    figure = style.new_figure(1.4 + 0.3 * len(judged))
    (axes,) = style.panels(figure, 1)
    for place, each in enumerate(judged):
        _mark(axes, place, _VERDICT_LOOKS[each.verdict])
        says = textwrap.shorten(each.claim.says, 88, placeholder=" ...")
        parts.end_label(axes, _MARK, place, f"{each.verdict.value}:  {says}")
    _rows_of_text(axes, [each.claim.name for each in judged])
    headline = counted_verdicts(judged)
    style.finish(figure, headline, foot_words([run]))
    return Chart(
        OVERVIEW,
        "The lecture's claims",
        headline,
        f"A list of the claims with a mark for each verdict. {headline}.",
        figure,
        summary_table(judged),
        (
            "A verdict needs every judged observation. A ratio of times speaks for a claim where "
            f"its whole 95 % interval lies above {MARGIN:g}, against it where none of it does.",
        ),
        (run,),
    )


@style.styled
def draw_claim(judged: Judged, run: Run) -> Chart | MissingChart:
    """What was observed of one claim; what measures it where nothing was."""
    name, topic = f"claim-{judged.claim.name}", f"Claim: {judged.claim.says}"
    seen = [each for each in judged.observations if not each.unseen]
    if judged.verdict is Verdict.NOT_MEASURED or not seen:
        return MissingChart(name, topic, reason_words(judged), command_of(judged))
    figure = style.new_figure(1.7 + 0.36 * len(seen))
    (axes,) = style.panels(figure, 1)
    if any(each.ratio is not None for each in seen):
        _draw_ratios(axes, seen)
    else:
        _draw_checks(axes, seen)
    words = list(dict.fromkeys(outcome_word(each) for each in seen))
    handles = parts.arm_handles({_WORDS[word]: _LOOKS[word] for word in words})
    headline = f"{judged.claim.name}: {verdict_words(judged)}"
    style.finish(figure, headline, foot_words([run]), handles)
    return Chart(
        name,
        topic,
        headline,
        f"One row for each observation. {headline}.",
        figure,
        observation_table(judged),
        _notes(judged),
        (run,),
    )


def _notes(judged: Judged) -> tuple[str, ...]:
    claim = judged.claim
    return (
        f"{sentence_case(claim.asks)}.",
        f"Holds if {claim.rule} ({KINDS[claim.kind]}).",
    )


def _draw_ratios(axes: Axes, seen: Sequence[Observation]) -> None:
    """Bars from 0, the margin as a line; a check among them has a mark and its words."""
    ratios = [each.ratio for each in seen if each.ratio is not None]
    longest = max(1.0, *(max(each.value, each.high or 0.0) for each in ratios))
    for place, each in enumerate(seen):
        look, ratio = _LOOKS[outcome_word(each)], each.ratio
        if ratio is None:
            _mark(axes, place, look, _MARK * longest)
            parts.end_label(axes, _MARK * longest, place, _short(observation_words(each)))
            continue
        parts.bars(axes, [place], [ratio.value], look)
        if ratio.low is not None and ratio.high is not None:
            parts.whiskers(axes, place, ratio.low, ratio.high)
        end = max(ratio.value, ratio.high or 0.0)
        parts.end_label(axes, end, place, observation_words(each))
    parts.row_labels(axes, range(len(seen)), [_wrapped(each.what) for each in seen])
    axes.axvline(MARGIN, color=style.INK, linewidth=0.9)
    axes.set_xlim(0, longest / 0.55)
    axes.set_xlabel(f"ratio; beyond the line at {MARGIN:g} it speaks for the claim")


def _draw_checks(axes: Axes, seen: Sequence[Observation]) -> None:
    for place, each in enumerate(seen):
        _mark(axes, place, _LOOKS[outcome_word(each)])
        parts.end_label(axes, _MARK, place, _short(observation_words(each)))
    _rows_of_text(axes, [_wrapped(each.what) for each in seen])


def _mark(axes: Axes, place: int, look: style.Look, length: float = _MARK) -> None:
    parts.bars(axes, [place], [length], look, height=0.6)


def _rows_of_text(axes: Axes, names: Sequence[str]) -> None:
    """Rows without a scale: what counts are the words."""
    parts.row_labels(axes, range(len(names)), names)
    axes.set_xlim(0, 1)
    axes.set_xticks([])
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)


def _wrapped(text: str) -> str:
    return "\n".join(textwrap.wrap(text, _LABEL_COLUMNS)[:2])


def _short(text: str) -> str:
    return textwrap.shorten(text, _SEEN_COLUMNS, placeholder=" ...")
