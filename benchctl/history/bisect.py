"""The revision at which a time changed: a binary search whose steps are paired comparisons.

Every revision is compared with the good one, never with its neighbour: the question is on which
side of half the whole change it lies, which is the same however small the steps in between are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from benchctl.stats.planner import minimum_rounds
from benchctl.stats.signed_rank import confidence_interval, hodges_lehmann
from benchctl.stats.verdict import DEFAULT_MARGIN, Verdict, judge

Compare = Callable[[str, str, int], Sequence[float]]
"""(base revision, revision, rounds) -> ln(time / base time) of each round.

Raises `RevisionFailedError` for a revision that cannot be built or run.
"""


class RevisionFailedError(Exception):
    """A revision cannot be built or run; `message` says why."""

    def __init__(self, revision: str, message: str) -> None:
        super().__init__(f"{revision}: {message}")
        self.revision = revision
        self.message = message


@dataclass(frozen=True, slots=True)
class SearchRule:
    """How many rounds a step takes and what it may err.

    A step that is not clear after `rounds` gets twice as many, up to `most_rounds`; `alpha` is its
    error over all these looks. The ends must differ by more than `margin`, a fraction of the time.
    Raises ValueError where the first look could not decide, whatever is measured.
    """

    rounds: int = 12
    most_rounds: int = 96
    alpha: float = 0.01
    margin: float = DEFAULT_MARGIN

    def __post_init__(self) -> None:
        if self.rounds > self.most_rounds:
            raise ValueError(
                f"the rounds of a step expected at most {self.most_rounds}, received {self.rounds}"
            )
        needed = minimum_rounds(self.confidence)
        if self.rounds < needed:
            raise ValueError(
                f"a step at {self.alpha:.0%} over {len(self.looks)} looks needs at least {needed} "
                f"rounds, received {self.rounds}"
            )

    @property
    def looks(self) -> tuple[int, ...]:
        """Numbers of rounds at which a step is judged: doubled up to the limit."""
        looks = []
        rounds = self.rounds
        while rounds < self.most_rounds:
            looks.append(rounds)
            rounds *= 2
        return (*looks, self.most_rounds)

    @property
    def confidence(self) -> float:
        """The confidence of one look, so that all of them together err with `alpha`."""
        return 1 - self.alpha / len(self.looks)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was measured of one revision against the good one, in `rounds` rounds asked for.

    `failure` says why it could not be measured.
    """

    revision: str
    rounds: int = 0
    log_ratios: tuple[float, ...] = ()
    failure: str = ""


class Side(Enum):
    """What a comparison says of a revision."""

    UNCHANGED = "unchanged"
    CHANGED = "changed"
    UNCLEAR = "unclear"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Step:
    """One revision of the search: what was measured, and what it says."""

    evidence: Evidence
    side: Side


class Outcome(Enum):
    """How a search ended."""

    FOUND = "found"
    SEVERAL = "several"
    SAME = "same"
    UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The revisions that may be the first changed one, oldest first, and the steps to them.

    One of them is FOUND; SEVERAL remain where those between failed or stayed unclear. There are
    none where the ends are the SAME or it is UNCLEAR whether they differ. `effect` is
    ln(time at the bad revision / time at the good one), with the interval of one look.
    """

    outcome: Outcome
    candidates: tuple[str, ...]
    effect: float | None
    interval: tuple[float, float] | None
    steps: tuple[Step, ...]


def steps_left(low: int, high: int) -> int:
    """About how many steps a search between two positions takes."""
    return math.ceil(math.log2(max(1, high - low)))


class Search:
    """A search over `revisions`, oldest first: the first is good, the last bad.

    `known` is the evidence of an earlier call, and `save` gets every new one as soon as it is
    measured; together they let a second call go on where the first ended.
    """

    def __init__(
        self,
        revisions: Sequence[str],
        compare: Compare,
        rule: SearchRule,
        known: Iterable[Evidence] = (),
        save: Callable[[Evidence], None] = lambda evidence: None,
        observe: Callable[[Step, int], None] = lambda step, left: None,
    ) -> None:
        if len(revisions) < 2 or len(set(revisions)) < len(revisions):
            raise ValueError(
                f"a search expected two or more different revisions, received {len(revisions)}"
            )
        self._revisions = tuple(revisions)
        self._compare = compare
        self._rule = rule
        self._evidence = {each.revision: each for each in known}
        self._save = save
        self._observe = observe
        self._steps: list[Step] = []

    def run(self) -> SearchResult:
        """Search; raises `RevisionFailedError` where the good or the bad revision fails."""
        low, high = 0, len(self._revisions) - 1
        ends = self._step(high, self._judge_ends, steps_left(low, high))
        values = ends.evidence.log_ratios
        if ends.side is Side.FAILED:
            raise RevisionFailedError(ends.evidence.revision, ends.evidence.failure)
        if ends.side is not Side.CHANGED:
            same = ends.side is Side.UNCHANGED
            return self._result(Outcome.SAME if same else Outcome.UNCLEAR, (), values)
        half_way = hodges_lehmann(values) / 2
        passed_over: set[int] = set()
        while (index := _nearest_to_middle(low, high, passed_over)) is not None:
            step = self._step(
                index, _judge_against(half_way, self._rule), steps_left(low, high) - 1
            )
            if step.side is Side.CHANGED:
                high = index
            elif step.side is Side.UNCHANGED:
                low = index
            else:
                passed_over.add(index)
        candidates = self._revisions[low + 1 : high + 1]
        found = Outcome.FOUND if len(candidates) == 1 else Outcome.SEVERAL
        return self._result(found, candidates, values)

    def _result(
        self, outcome: Outcome, candidates: tuple[str, ...], values: Sequence[float]
    ) -> SearchResult:
        return SearchResult(
            outcome=outcome,
            candidates=candidates,
            effect=hodges_lehmann(values) if values else None,
            interval=confidence_interval(values, self._rule.confidence) if values else None,
            steps=tuple(self._steps),
        )

    def _step(self, index: int, judge_values: Callable[[Sequence[float]], Side], left: int) -> Step:
        """Measure a revision until it is clear or the rounds are used up."""
        evidence = self._evidence.get(self._revisions[index], Evidence(self._revisions[index]))
        side = Side.UNCLEAR
        for rounds in self._rule.looks:
            if evidence.rounds < rounds and not evidence.failure:
                evidence = self._measure(evidence, rounds - evidence.rounds)
            side = Side.FAILED if evidence.failure else judge_values(evidence.log_ratios)
            if side is not Side.UNCLEAR:
                break
        step = Step(evidence, side)
        self._steps.append(step)
        self._observe(step, left)
        return step

    def _measure(self, evidence: Evidence, rounds: int) -> Evidence:
        good = self._revisions[0]
        try:
            values = tuple(map(float, self._compare(good, evidence.revision, rounds)))
        except RevisionFailedError as error:
            if error.revision == good:
                raise
            found = replace(evidence, failure=error.message or "no reason was given")
        else:
            found = replace(
                evidence,
                rounds=evidence.rounds + rounds,
                log_ratios=evidence.log_ratios + values,
            )
        self._evidence[evidence.revision] = found
        self._save(found)
        return found

    def _judge_ends(self, values: Sequence[float]) -> Side:
        """Whether the bad revision differs from the good one by more than the margin at all."""
        if not values:
            return Side.UNCLEAR
        verdict = judge(values, self._rule.margin, self._rule.confidence).verdict
        if verdict is Verdict.INCONCLUSIVE:
            return Side.UNCLEAR
        return Side.UNCHANGED if verdict is Verdict.SAME else Side.CHANGED


def _judge_against(half_way: float, rule: SearchRule) -> Callable[[Sequence[float]], Side]:
    """On which side of half the whole change the values of a revision lie."""

    def judge_values(values: Sequence[float]) -> Side:
        # Turned so that more is nearer to the bad revision, whichever way the change goes.
        beyond = [math.copysign(1.0, half_way) * (value - half_way) for value in values]
        interval = confidence_interval(beyond, rule.confidence)
        if interval is None or interval[0] <= 0 <= interval[1]:
            return Side.UNCLEAR
        return Side.CHANGED if interval[0] > 0 else Side.UNCHANGED

    return judge_values


def _nearest_to_middle(low: int, high: int, passed_over: set[int]) -> int | None:
    """The next position to measure: the middle, or the nearest that was not passed over."""
    middle = (low + high) // 2
    left = (index for index in range(low + 1, high) if index not in passed_over)
    return min(left, key=lambda index: (abs(index - middle), index), default=None)
