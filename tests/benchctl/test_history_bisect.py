"""The search on synthetic histories: steps at any place, noise, failures, interruptions."""

from __future__ import annotations

import json
import math
import random
import subprocess
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchctl.gate.errors import GateError
from benchctl.history.bisect import (
    Compare,
    Evidence,
    Outcome,
    RevisionFailedError,
    Search,
    SearchResult,
    SearchRule,
    Side,
    Step,
)
from benchctl.history.files import HistoryFileError
from benchctl.history.revisions import describe_revision, revisions_between
from benchctl.history.saved_search import SavedSearch, SearchKey

RULE = SearchRule()


class Project:
    """Revisions with known times; compares them with noise, and counts what it is asked."""

    def __init__(
        self,
        levels: Sequence[float],
        *,
        spread: float = 0.015,
        failing: Collection[int] = (),
        seed: int = 0,
        stop_after: int | None = None,
    ) -> None:
        self.revisions = [f"r{index:03d}" for index in range(len(levels))]
        self.levels = dict(zip(self.revisions, levels, strict=True))
        self.failing = {self.revisions[index] for index in failing}
        self.spread = spread
        self.seed = seed
        self.stop_after = stop_after
        self.asked: list[tuple[str, str, int]] = []
        self.already: dict[str, int] = {}
        """Rounds of a revision that an earlier call has measured."""

    def compare(self, base: str, revision: str, rounds: int) -> list[float]:
        if self.stop_after is not None and len(self.asked) == self.stop_after:
            raise KeyboardInterrupt
        own = sum(count for _, name, count in self.asked if name == revision)
        before = self.already.get(revision, 0) + own
        self.asked.append((base, revision, rounds))
        for each in (base, revision):
            if each in self.failing:
                raise RevisionFailedError(each, "does not build")
        # The same rounds whatever was asked before, as the seed of a plan gives them.
        shift = math.log(self.levels[revision] / self.levels[base])
        return [
            shift + random.Random(f"{self.seed} {revision} {before + each}").gauss(0, self.spread)
            for each in range(rounds)
        ]

    def search(self, rule: SearchRule = RULE, **options) -> SearchResult:
        return Search(self.revisions, self.compare, rule, **options).run()


def stepped(count: int, first: int, factor: float) -> list[float]:
    """Levels of revisions that change at `first`."""
    return [1e-3 * (factor if index >= first else 1.0) for index in range(count)]


@st.composite
def planted(draw: st.DrawFn) -> tuple[int, int, float]:
    """How many revisions, which is the first changed one, and by how much."""
    count = draw(st.integers(2, 80))
    first = draw(st.integers(1, count - 1))
    factor = draw(st.sampled_from([0.5, 0.85, 0.93, 1.07, 1.2, 3.0]))
    return count, first, factor


@settings(max_examples=120, deadline=None)
@given(planted(), st.integers(0, 10**6))
def test_a_step_is_found_at_any_place(case: tuple[int, int, float], seed: int) -> None:
    count, first, factor = case
    project = Project(stepped(count, first, factor), seed=seed)
    result = project.search()
    assert result.outcome is Outcome.FOUND
    assert result.candidates == (project.revisions[first],)
    assert result.effect == pytest.approx(math.log(factor), abs=0.02)
    measured = {revision for _, revision, _ in project.asked}
    # The bad end, then one revision for each halving.
    assert len(measured) <= 1 + math.ceil(math.log2(count - 1)) if count > 2 else 1
    assert {base for base, _, _ in project.asked} == {project.revisions[0]}


@settings(max_examples=120, deadline=None)
@given(planted(), st.data())
def test_failing_revisions_leave_exactly_what_cannot_be_told_apart(
    case: tuple[int, int, float], data: st.DataObject
) -> None:
    count, first, factor = case
    inner = list(range(1, count - 1))
    failing = set(data.draw(st.lists(st.sampled_from(inner), unique=True))) if inner else set()
    project = Project(stepped(count, first, factor), failing=failing)
    result = project.search()
    # By hand: from the last good one that runs to the first bad one that does.
    low = max(index for index in range(first) if index not in failing)
    high = min(index for index in range(first, count) if index not in failing)
    assert result.candidates == tuple(project.revisions[low + 1 : high + 1])
    expected = Outcome.FOUND if high == low + 1 else Outcome.SEVERAL
    assert result.outcome is expected
    tried = [revision for _, revision, _ in project.asked if revision in project.failing]
    assert len(tried) == len(set(tried)), "a revision that fails is tried once"


@settings(max_examples=60, deadline=None)
@given(planted(), st.integers(1, 30), st.integers(0, 1000))
def test_a_second_call_continues_where_the_first_was_stopped(
    tmp_path_factory: pytest.TempPathFactory, case: tuple[int, int, float], stop: int, seed: int
) -> None:
    count, first, factor = case
    levels = stepped(count, first, factor)
    # So noisy that some steps need more rounds.
    settings_of_both = {"spread": 0.06, "seed": seed}
    whole = Project(levels, **settings_of_both)
    expected = whole.search()
    store = tmp_path_factory.mktemp("store")
    key = SearchKey("r000", whole.revisions[-1], "xyz[size=3x4]", "static", "machine", 2, 0)
    stopped = Project(levels, stop_after=stop, **settings_of_both)
    saved = SavedSearch.open(store, key)
    with suppress(KeyboardInterrupt):
        stopped.search(known=saved.known, save=saved.save)
    resumed = SavedSearch.open(store, key)
    again = Project(levels, **settings_of_both)
    again.already = {each.revision: each.rounds for each in resumed.known}
    result = again.search(known=resumed.known, save=resumed.save)
    assert (result.outcome, result.candidates) == (expected.outcome, expected.candidates)
    # What the first call measured is not measured again.
    assert stopped.asked + again.asked == whole.asked


def test_a_finished_search_asks_nothing_again(tmp_path: Path) -> None:
    key = SearchKey("r000", "r030", "xyz[size=3x4]", "static", "machine", 2, 0)
    project = Project(stepped(31, 11, 1.2), failing={15})
    saved = SavedSearch.open(tmp_path, key)
    first = project.search(known=saved.known, save=saved.save)
    count = len(project.asked)
    assert project.search(known=SavedSearch.open(tmp_path, key).known) == first
    assert len(project.asked) == count
    assert SavedSearch.open(tmp_path, key, fresh=True).known == ()


def test_an_unclear_step_doubles_its_rounds_up_to_the_limit() -> None:
    """Half of the whole change is 5 %: 12 rounds of 15 % noise do not tell."""
    project = Project([1.0, 1.0, 1.1, 1.1], spread=0.08, seed=2)
    result = project.search(SearchRule(rounds=12, most_rounds=192))
    asked = {
        name: [count for _, revision, count in project.asked if revision == name]
        for name in project.revisions[1:]
    }
    assert any(len(each) > 1 for each in asked.values())
    for each in asked.values():
        totals = [sum(each[: place + 1]) for place in range(len(each))]
        assert totals == [12, 24, 48, 96, 192][: len(totals)]
    assert result.candidates == ("r002",)


def test_what_stays_unclear_is_passed_over_like_a_failure() -> None:
    """The middle revision lies exactly half way: no number of rounds settles that."""
    levels = [1.0] * 5 + [math.sqrt(1.2)] + [1.2] * 5
    result = Project(levels, spread=0.01).search()
    assert result.outcome is Outcome.SEVERAL
    assert result.candidates == ("r005", "r006")
    sides = {step.evidence.revision: step.side for step in result.steps}
    assert sides["r005"] is Side.UNCLEAR
    assert next(s for s in result.steps if s.side is Side.UNCLEAR).evidence.rounds == 96


def test_of_two_steps_the_one_that_crosses_half_way_is_found() -> None:
    levels = [1.0] * 4 + [1.03] * 4 + [1.12] * 4
    result = Project(levels, spread=0.005).search()
    assert result.candidates == ("r008",)


def test_ends_that_do_not_differ_end_the_search_at_once() -> None:
    project = Project([1.0] * 50, spread=0.004)
    result = project.search()
    assert (result.outcome, result.candidates) == (Outcome.SAME, ())
    assert {revision for _, revision, _ in project.asked} == {"r049"}


def test_ends_that_cannot_be_told_apart_end_it_at_the_limit() -> None:
    result = Project([1.0, 1.0, 1.03], spread=0.3).search()
    assert (result.outcome, result.candidates) == (Outcome.UNCLEAR, ())
    assert result.steps[0].evidence.rounds == 96


def test_half_of_the_change_decides_and_not_the_margin() -> None:
    """With the margin as the border, a small part of the change would be taken for all of it.

    The planted fault: judging each revision by whether it differs from the good one at all.
    """
    levels = [1.0] * 4 + [1.06] * 4 + [1.4] * 4
    assert Project(levels, spread=0.005).search().candidates == ("r008",)

    def differs(values: Sequence[float]) -> bool:
        return sum(values) / len(values) > math.log(1.02)

    project = Project(levels, spread=0.005)
    low, high = 0, 11
    while high - low > 1:
        middle = (low + high) // 2
        changed = differs(project.compare("r000", project.revisions[middle], 12))
        low, high = (low, middle) if changed else (middle, high)
    assert high == 4


@pytest.mark.parametrize("end", [0, 9])
def test_an_end_that_fails_is_an_error_that_names_it(end: int) -> None:
    project = Project(stepped(10, 4, 1.2), failing={end})
    with pytest.raises(RevisionFailedError) as caught:
        project.search()
    assert caught.value.revision == project.revisions[end]
    assert caught.value.message == "does not build"


def test_rounds_that_give_no_value_stay_unclear() -> None:
    project = Project(stepped(6, 3, 1.2))

    def sparse(base: str, revision: str, rounds: int) -> list[float]:
        values = project.compare(base, revision, rounds)
        return [] if revision == "r002" else values

    result = Search(project.revisions, sparse, RULE).run()
    assert result.candidates == ("r002", "r003")


def test_every_step_is_observed_with_the_steps_left() -> None:
    seen: list[tuple[Step, int]] = []
    project = Project(stepped(33, 20, 1.2))
    result = project.search(observe=lambda step, left: seen.append((step, left)))
    assert [step for step, _ in seen] == list(result.steps)
    assert [left for _, left in seen] == [5, 4, 3, 2, 1, 0]


@pytest.mark.parametrize("revisions", [[], ["a"], ["a", "b", "a"]])
def test_a_search_needs_different_revisions(revisions: list[str]) -> None:
    with pytest.raises(ValueError, match="two or more different"):
        Search(revisions, Project([1.0]).compare, RULE)


def test_a_rule_that_could_never_decide_is_refused() -> None:
    with pytest.raises(ValueError, match="needs at least"):
        SearchRule(rounds=6, most_rounds=24)
    with pytest.raises(ValueError, match="at most 10, received 12"):
        SearchRule(rounds=12, most_rounds=10)
    assert SearchRule(rounds=12, most_rounds=12).looks == (12,)
    assert SearchRule(rounds=12, most_rounds=40).looks == (12, 24, 40)


def test_a_step_errs_no_more_often_than_its_share() -> None:
    """A revision exactly half way is on neither side: whoever decides has erred."""
    wrong = 0
    searches = 1000
    for seed in range(searches):
        project = Project([1.0, math.sqrt(1.2), 1.2], spread=0.02, seed=seed)
        # The effect is known, so that only the step in the middle can err.
        known = Evidence("r002", 12, (math.log(1.2),) * 12)
        result = project.search(SearchRule(12, 24), known=[known])
        (middle,) = [step for step in result.steps if step.evidence.revision == "r001"]
        wrong += middle.side is not Side.UNCLEAR
    # 1 % over both looks: more than 22 of 1000 has a chance below 1 in 1000.
    assert wrong <= 22


# The saved file ------------------------------------------------------------------------------

KEY = SearchKey("good", "bad", "xyz[size=3x4]", "static", "machine", 2, 0)
EVIDENCE = Evidence("r001", 12, (0.1, 0.2), "")


def test_evidence_is_read_again_and_searches_are_kept_apart(tmp_path: Path) -> None:
    saved = SavedSearch.open(tmp_path, KEY)
    failed = Evidence("r002", failure="does not build\nat all")
    saved.save(EVIDENCE)
    saved.save(failed)
    more = replace(EVIDENCE, rounds=24, log_ratios=(0.1, 0.2, 0.3))
    saved.save(more)
    assert SavedSearch.open(tmp_path, KEY).known == (more, failed)
    for other in (
        replace(KEY, arm_id="numpy"),
        replace(KEY, machine_id="other"),
        replace(KEY, threads=1),
        replace(KEY, bad="worse"),
    ):
        assert SavedSearch.open(tmp_path, other).known == ()


@pytest.mark.parametrize(
    "change",
    [
        lambda document: document.update(schema="benchctl.bisect/9"),
        lambda document: document["key"].update(arm_id="numpy"),
        lambda document: document["evidence"][0].update(log_ratios=["fast"]),
        lambda document: document["evidence"][0].update(rounds=-1),
        lambda document: document.pop("evidence"),
    ],
)
def test_an_unreadable_search_is_named_and_not_overwritten(tmp_path: Path, change) -> None:
    saved = SavedSearch.open(tmp_path, KEY)
    saved.save(EVIDENCE)
    document = json.loads(saved.path.read_text())
    change(document)
    saved.path.write_text(json.dumps(document))
    before = saved.path.read_bytes()
    for fresh in (False, True):
        with pytest.raises(HistoryFileError, match=saved.path.name):
            SavedSearch.open(tmp_path, KEY, fresh=fresh)
    assert saved.path.read_bytes() == before


# Revisions -----------------------------------------------------------------------------------


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    answer = subprocess.run(
        ["git", "-C", str(folder), *identity, *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    return answer.stdout.strip()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five commits on main, and a branch of two that was merged as the last but one."""
    folder = tmp_path_factory.mktemp("project")
    git(folder, "init", "--quiet", "--initial-branch=main")
    for number in range(3):
        git(folder, "commit", "--quiet", "--allow-empty", "-m", f"main {number}")
    git(folder, "checkout", "--quiet", "-b", "topic")
    for number in range(2):
        git(folder, "commit", "--quiet", "--allow-empty", "-m", f"topic {number}")
    git(folder, "checkout", "--quiet", "main")
    git(folder, "merge", "--quiet", "--no-ff", "-m", "merge topic", "topic")
    git(folder, "commit", "--quiet", "--allow-empty", "-m", "main 3")
    return folder


def test_revisions_between_follow_the_first_parent(project: Path) -> None:
    revisions = revisions_between(project, "HEAD~3", "HEAD")
    subjects = [describe_revision(project, each).subject for each in revisions]
    assert subjects == ["main 1", "main 2", "merge topic", "main 3"]
    assert all(len(each) == 40 for each in revisions)
    assert describe_revision(project, revisions[0]).day.count("-") == 2
    assert describe_revision(project, "0" * 40).subject == ""


@pytest.mark.parametrize(
    ("good", "bad", "expected"),
    [
        ("HEAD", "HEAD~1", "does not lie before"),
        ("HEAD", "main", "no revision lies between"),
        ("nowhere", "HEAD", "no revision 'nowhere'"),
        ("--all", "HEAD", "no revision"),
    ],
)
def test_revisions_that_cannot_be_searched_are_errors(
    project: Path, good: str, bad: str, expected: str
) -> None:
    with pytest.raises(GateError, match=expected):
        revisions_between(project, good, bad)


def test_the_callable_has_the_promised_shape() -> None:
    """`Project.compare` is what the searches above were given."""
    compare: Compare = Project([1.0, 1.2]).compare
    assert len(compare("r000", "r001", 7)) == 7
