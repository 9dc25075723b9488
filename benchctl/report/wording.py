"""Findings in words for charts and pages; which words are used follows from the numbers."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import PurePath

from benchctl.report import numbers
from benchctl.report.findings import Crossing, Interval, Speedup
from benchctl.report.sentences import unsure_sentence
from benchctl.report.text import machine_words
from benchctl.store.record import Run


def ratio_words(ratio: float, interval: Interval | None) -> str:
    """`4.1x (3.9 - 4.3)`, or `about 4.1x` where there is no interval."""
    if interval is None:
        return f"about {numbers.format_ratio(ratio)}"
    return numbers.format_ratio_interval(ratio, interval)


def speedup_sentence(speedup: Speedup, where: str = "") -> str:
    """`static is 4.1x (3.9 - 4.3) faster than numpy at 3x4`, or that none is shown; no stop."""
    place = f" {where}" if where else ""
    if not speedup.significant:
        interval = speedup.interval
        if interval is None or interval[0] > 1:
            slower = f"{speedup.slower}{place}"
            return unsure_sentence(speedup.faster, slower, speedup.ratio, interval)
        return f"no difference is shown between {speedup.faster} and {speedup.slower}{place}"
    ratio = ratio_words(speedup.ratio, speedup.interval)
    return f"{speedup.faster} is {ratio} faster than {speedup.slower}{place}"


def crossing_sentence(crossing: Crossing) -> str:
    """`static overtakes numpy near 200 elements (between 3x4 and 64x64)`, without a stop."""
    return (
        f"{crossing.overtaker} overtakes {crossing.overtaken} near "
        f"{numbers.format_count(crossing.elements)} elements "
        f"(between {crossing.before.size} and {crossing.after.size})"
    )


def sentence_case(text: str) -> str:
    """The text with a capital first, whatever it starts with."""
    return text[:1].upper() + text[1:]


def capitalised(sentence: str) -> str:
    """The sentence unchanged where it starts with an arm's name; those are written as typed."""
    first = sentence.partition(" ")[0]
    starters = ("no", "one", "the", "in", "about", "from")
    return sentence_case(sentence) if first in starters else sentence


def share_words(share: float) -> str:
    """A share of a whole: `56 %`, or `almost all` where rounding would say it is the whole."""
    return "almost all" if 0.995 <= share < 1 else f"{share:.0%}".replace("%", " %")


def command_words(run: Run) -> str:
    """The command as it was typed; of the program its name alone."""
    program, *rest = run.command or ("",)
    return shlex.join([PurePath(program).name, *rest]) if program else ""


def join_words(words: Sequence[str], last: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {last} {words[-1]}"


def plural(count: int, noun: str) -> str:
    """`1 case`, `2 cases`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def foot_words(runs: Sequence[Run]) -> str:
    """Machine, date and the newest run's id: what stands at the foot of every chart."""
    if not runs:
        return ""
    latest = runs[-1]
    dates = sorted({run.started_utc[:10] for run in runs})
    date = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    more = f" and {len(runs) - 1} more" if len(runs) > 1 else ""
    return f"{machine_words(latest)}  |  {date}  |  run {latest.run_id}{more}"
