"""Findings in words, from numbers that are already there."""

from __future__ import annotations

import math
from collections.abc import Sequence

from benchctl.compare.findings import Finding, Notice
from benchctl.compare.summary import CaseSummary, Payback, Relative, Winner, one_off_seconds
from benchctl.report import numbers
from benchctl.stats.verdict import Verdict
from benchctl.store.record import TOLERANCE_FACTORS, ArmResult, OutputCheck

UNMEASURED = {
    "planned": "not measured",
    "unavailable": "n/a",
    "wrong": "wrong result",
    "crashed": "crashed",
    "timeout": "timed out",
}
"""Why an arm has no time, by its status."""

FAILURES = ("wrong", "crashed", "timeout")


def winner_sentence(winner: Winner) -> str:
    """`static is 2.3x (2.2 - 2.4) faster than numpy.`, or that no difference is shown."""
    interval = interval_of(winner.low, winner.high)
    if winner.significant:
        return f"{winner.arm_id} is {_ratio(winner)} faster than {winner.over_id}."
    if interval is None:
        return f"{unsure_sentence(winner.arm_id, winner.over_id, winner.ratio)}."
    if interval[0] > 1:
        # The interval of this pair alone excludes 1, but not with all pairs counted.
        return f"{unsure_sentence(winner.arm_id, winner.over_id, winner.ratio, interval)}."
    return (
        f"No difference is shown between {winner.arm_id} and {winner.over_id}: "
        f"the ratio lies in {numbers.format_ratio_ends(winner.ratio, interval)}."
    )


def unsure_sentence(
    faster: str, slower: str, ratio: float, interval: numbers.Interval | None = None
) -> str:
    """`static came out about 2.3x faster than numpy, from too few rounds to be sure`; no stop."""
    shown = numbers.format_ratio(ratio, interval)
    if float(shown.removesuffix("x")) == 1:
        return f"{faster} and {slower} came out about equal, from too few rounds to be sure"
    return f"{faster} came out about {shown} faster than {slower}, from too few rounds to be sure"


def _ratio(winner: Winner) -> str:
    interval = interval_of(winner.low, winner.high)
    if interval is None:
        return numbers.format_ratio(winner.ratio)
    return numbers.format_ratio_interval(winner.ratio, interval)


def relative_words(relative: Relative | None) -> str:
    """How an arm stands to the reference: `2.3x faster`, `3.2x slower`, `same`, `unclear`."""
    if relative is None:
        return "-"
    if relative.verdict is Verdict.SAME:
        return "same"
    if relative.verdict is Verdict.INCONCLUSIVE:
        return "unclear"
    interval = interval_of(relative.low, relative.high)
    if relative.ratio < 1:
        inverse = None if interval is None else (1 / interval[1], 1 / interval[0])
        return f"{numbers.format_ratio(1 / relative.ratio, inverse)} faster"
    return f"{numbers.format_ratio(relative.ratio, interval)} slower"


def interval_of(low: float | None, high: float | None) -> numbers.Interval | None:
    """Both ends together, or None where rounds were too few for an interval."""
    return None if low is None or high is None else (low, high)


def cold_sentence(case: CaseSummary) -> str:
    """`One cold run (build, compile, first run): static 402 ms, numpy 0.03 ms.`"""
    times = []
    for arm in case.arms:
        seconds = one_off_seconds(arm.result.phases_with("cold"))
        if seconds is not None:
            times.append(f"{arm.result.arm.id} {numbers.format_seconds(seconds)}")
    if not times:
        return ""
    return f"One cold run (build, compile, first run): {', '.join(times)}."


def payback_sentence(payback: Payback | None) -> str:
    """After how many steps the winner has made up for its preparation; empty where unknown."""
    if payback is None or payback.cold_steps is None:
        return ""
    if payback.cold_steps <= 1:
        return f"{payback.arm_id} is ahead of {payback.over_id} from the first step."
    steps = numbers.format_count(payback.cold_steps)
    sentence = f"{payback.arm_id} pays back its preparation after {steps} steps"
    if payback.warm_steps is None or payback.warm_steps >= payback.cold_steps:
        return f"{sentence}."
    if payback.warm_steps <= 1:
        return f"{sentence} (at once with a warm cache)."
    return f"{sentence} ({numbers.format_count(payback.warm_steps)} with a warm cache)."


def checking_words(result: ArmResult) -> str:
    """One arm's verification: `static ok 2e-8`, `numpy wrong`, `torch n/a`."""
    if result.verification is None:
        word = "not checked" if result.status == "ok" else UNMEASURED.get(result.status, "")
        return f"{result.arm.id} {word}"
    if not result.verification.ok:
        return f"{result.arm.id} wrong"
    error = numbers.format_error(result.verification.worst_relative_error)
    return f"{result.arm.id} ok {error}{tolerance_words(result.arm.precision)}"


def tolerance_words(precision: str) -> str:
    """How much further from float64 this precision may be than float32, where it may."""
    factor = TOLERANCE_FACTORS.get(precision, 1.0)
    return "" if factor == 1.0 else f" (tolerance of {precision}: {factor:g} times that of fp32)"


def wrong_sentences(result: ArmResult) -> list[str]:
    """One sentence for every output of an arm that differs from the reference."""
    if result.verification is None:
        return []
    reference = result.verification.reference
    return [
        _wrong_sentence(result.arm.id, check, reference)
        for check in result.verification.checks
        if not check.ok
    ]


def _wrong_sentence(arm_id: str, check: OutputCheck, reference: str) -> str:
    sentence = (
        f"{arm_id} {check.output} differs from the {reference} reference by "
        f"{numbers.format_error(check.max_error)} (tolerance {numbers.format_error(check.allowed)})"
    )
    if check.equals:
        return f"{sentence}; it equals {check.equals}"
    if check.where:
        return f"{sentence}; worst at [{', '.join(map(str, check.where))}]"
    return sentence


def failure_lines(result: ArmResult) -> list[str]:
    """Why an arm was not timed, as `wrong: ...`, `crashed: ...`, with its hint; else nothing."""
    return failures_lines([result])


def _is_measurably_wrong(result: ArmResult) -> bool:
    """Whether the wrong outputs are off by a number; missing and infinite ones are not."""
    checks = () if result.verification is None else result.verification.checks
    errors = [check.max_error for check in checks if not check.ok]
    return bool(errors) and all(map(math.isfinite, errors))


def failures_lines(results: Sequence[ArmResult]) -> list[str]:
    """The same of several arms; those that failed alike together."""
    lines: list[str] = []
    alike: dict[tuple[str, str, str], list[str]] = {}
    for result in results:
        if result.status in ("ok", "planned"):
            continue
        if result.status == "wrong" and _is_measurably_wrong(result):
            lines += [f"wrong: {sentence}" for sentence in wrong_sentences(result)]
            continue
        reason = result.message or "no reason was recorded"
        alike.setdefault((result.status, reason, result.hint), []).append(result.arm.id)
    for (status, reason, hint), arm_ids in alike.items():
        word = UNMEASURED[status]
        first, *more = reason.splitlines()
        lines.append(f"{word}: {', '.join(arm_ids)}: {first}")
        below = [*map(str.strip, more), *([hint] if hint else [])]
        lines += [" " * (len(word) + 2) + line for line in below]
    return lines


def notice_lines(notices: Sequence[Notice]) -> list[str]:
    """Warnings, those with the same remedy together, and below them what to do about it.

    What several arms have in common is said once, with all their names.
    """
    groups: dict[tuple[Finding, str], list[Notice]] = {}
    for notice in notices:
        groups.setdefault((notice.finding, notice.hint), []).append(notice)
    lines: list[str] = []
    for (_, hint), group in groups.items():
        lines += [f"warning: {text}" for text in dict.fromkeys(_texts(group))]
        lines.append(f"         {hint}")
    return lines


def _texts(group: Sequence[Notice]) -> list[str]:
    if not group[0].finding.sentence.startswith("{arm}:"):
        return [notice.text for notice in group]
    alike = [[other for other in group if other.details == each.details] for each in group]
    return [
        Notice(each[0].finding, ", ".join(other.arm_id for other in each), each[0].details).text
        for each in alike
    ]
