"""`benchctl bisect`: the revision at which a case became slower or faster."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from benchctl.cli.errors import CliError
from benchctl.cli.exits import Exit
from benchctl.cli.options import (
    axis_option,
    complete_names,
    device_option,
    engine_option,
    seed_option,
    store_option,
    threads_option,
)
from benchctl.cli.request import Request, make_plan, require_something_measurable
from benchctl.cli.screen import note, write

if TYPE_CHECKING:
    from benchctl.history.bisect import SearchResult, SearchRule, Step
    from benchctl.history.saved_search import SavedSearch
    from benchctl.store.record import Plan

DEFAULT_ENGINE = "static"
_REVISION_DIGITS = 10


@dataclass(frozen=True, slots=True)
class Question:
    """What is searched: one case on one arm, over the revisions of a folder."""

    plan: Plan
    folder: Path
    revisions: tuple[str, ...]
    rule: SearchRule

    @property
    def subject(self) -> str:
        """The case and the arm."""
        return f"{self.plan.cases[0].id} on {self.plan.arms[0].id}"


@click.command()
@click.argument("name", metavar="WORKLOAD", shell_complete=complete_names)
@click.option("--good", required=True, metavar="REV", help="A revision before the change.")
@click.option(
    "--bad", default="HEAD", show_default=True, metavar="REV", help="A revision after the change."
)
@engine_option("Engine to measure, with switches.  [default: static]")
@device_option
@axis_option
@click.option(
    "--rounds",
    type=click.IntRange(min=1),
    default=12,
    show_default=True,
    metavar="N",
    help="Rounds of a step; one that is not clear gets twice as many.",
)
@click.option(
    "--most-rounds",
    type=click.IntRange(min=1),
    default=96,
    show_default=True,
    metavar="N",
    help="Rounds after which a step stays unclear.",
)
@click.option("--fresh", is_flag=True, help="Forget what an earlier call has measured.")
@seed_option
@threads_option
@store_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def bisect(
    name: str,
    good: str,
    bad: str,
    engines: tuple[str, ...],
    device: str,
    axes: tuple[str, ...],
    rounds: int,
    most_rounds: int,
    fresh: bool,
    seed: int,
    threads: int | None,
    store: Path,
    as_json: bool,
) -> int:
    """Find the revision at which a case became slower or faster.

    A binary search: each step measures one revision and the good one side by side, in paired
    rounds. Revisions that do not build or run are passed over. What is measured is kept in the
    store, so that the same command goes on where it was interrupted.

    \b
    benchctl bisect xyz --good v0.1.0
    benchctl bisect vgg16 --engine eager -a batch=1 --good 1a2b3c4 --bad 5d6e7f8
    """
    from benchctl.history.bisect import Outcome, SearchRule

    try:
        rule = SearchRule(rounds=rounds, most_rounds=max(rounds, most_rounds))
    except ValueError as error:
        raise CliError(str(error), "give more rounds: --rounds N") from error
    request = Request(
        names=(name,),
        engines=engines or (DEFAULT_ENGINE,),
        device=device,
        axes=axes,
        seed=seed,
        threads=threads,
        cold=False,
    )
    question = make_question(make_plan(request), good, bad, rule)
    result = answer(question, open_search(store, question, fresh))
    if as_json:
        from benchctl.store.export import dump_json

        write([dump_json(result_document(question, result))])
    else:
        write(result_lines(question, result))
    return int(Exit.OK if result.outcome is Outcome.FOUND else Exit.INCONCLUSIVE)


def make_question(plan: Plan, good: str, bad: str, rule: SearchRule) -> Question:
    """The search that was asked for; raises `CliError` or `GateError` where it is none."""
    from benchctl.history.revisions import revisions_between

    if len(plan.cases) != 1 or len(plan.arms) != 1:
        count = f"{len(plan.cases)} cases and {len(plan.arms)} arms"
        hint = "choose one: -a axis=value for the case, --engine for the arm"
        raise CliError(f"bisect expected one case on one arm, received {count}", hint)
    require_something_measurable(plan)
    folder = Path.cwd()
    return Question(plan, folder, revisions_between(folder, good, bad), rule)


def open_search(store: Path, question: Question, fresh: bool) -> SavedSearch:
    """What an earlier call has measured of the same question on this machine."""
    from benchctl.history.saved_search import SavedSearch, SearchKey
    from benchctl.measure.environment import machine_facts

    plan, revisions = question.plan, question.revisions
    key = SearchKey(
        good=revisions[0],
        bad=revisions[-1],
        case_id=plan.cases[0].id,
        arm_id=plan.arms[0].id,
        machine_id=str(machine_facts()["id"]),
        threads=plan.threads,
        seed=plan.seed,
    )
    return SavedSearch.open(store, key, fresh=fresh)


def answer(question: Question, saved: SavedSearch) -> SearchResult:
    """Search, saying every step on stderr."""
    from benchctl.history.bisect import RevisionFailedError, Search
    from benchctl.history.comparing import make_comparison

    known = len(saved.known)
    count = len(question.revisions) - 1
    note(f"{question.subject}: {count} revisions after {_short(question.revisions[0])}")
    if known:
        note(f"going on with what is known of {known} from {saved.path}")
    try:
        with make_comparison(question.plan, question.folder) as compare:
            search = Search(
                question.revisions,
                compare,
                question.rule,
                saved.known,
                saved.save,
                _step_note(question),
            )
            return search.run()
    except RevisionFailedError as error:
        raise CliError(
            f"{_short(error.revision)} cannot be measured: {error.message}",
            "both ends of a search must build and run: choose others with --good and --bad",
            Exit.FAILED,
        ) from error


def _step_note(question: Question) -> Callable[[Step, int], None]:
    def tell(step: Step, left: int) -> None:
        then = f", about {left} to go" if left > 0 else ""
        note(f"  {_short(step.evidence.revision)}  {step_words(step)}{then}")

    return tell


def step_words(step: Step) -> str:
    """What a comparison with the good revision showed: `changed, 5.1 % slower in 12 rounds`."""
    from benchctl.history.bisect import Side
    from benchctl.report.trends import effect_words
    from benchctl.stats.signed_rank import hodges_lehmann

    evidence = step.evidence
    if step.side is Side.FAILED:
        return f"passed over: {evidence.failure.partition(chr(10))[0]}"
    effect = hodges_lehmann(evidence.log_ratios) if evidence.log_ratios else 0.0
    return f"{step.side.value}: {effect_words(effect)} in {evidence.rounds} rounds"


def result_lines(question: Question, result: SearchResult) -> list[str]:
    """The answer in a sentence, and the revisions it is about."""
    from benchctl.history.bisect import Outcome
    from benchctl.history.revisions import describe_revision
    from benchctl.report.trends import effect_words

    good, bad = _short(question.revisions[0]), _short(question.revisions[-1])
    if result.outcome is Outcome.SAME:
        return [f"{question.subject}: {bad} is as fast as {good}, within the margin."]
    if result.outcome is Outcome.UNCLEAR or result.effect is None:
        return [
            f"{question.subject}: no difference between {good} and {bad} is shown in "
            f"{question.rule.most_rounds} rounds; --most-rounds gives more."
        ]
    change = effect_words(result.effect, *(result.interval or (None, None)))
    commits = [describe_revision(question.folder, each) for each in result.candidates]
    listed = [f"  {_short(each.revision)}  {each.day}  {each.subject}" for each in commits]
    if result.outcome is Outcome.FOUND:
        return [f"{question.subject}: {change} at {bad}, first at", *listed]
    return [
        f"{question.subject}: {change} at {bad}, first at one of {len(listed)}; those between "
        "could not be measured or stayed unclear:",
        *listed,
    ]


def result_document(question: Question, result: SearchResult) -> dict[str, Any]:
    """The answer and every step as plain data; ratios are time / time at the good revision."""
    return {
        "schema": "benchctl.bisect-document/1",
        "case": question.plan.cases[0].id,
        "arm": question.plan.arms[0].id,
        "good": question.revisions[0],
        "bad": question.revisions[-1],
        "revisions": len(question.revisions) - 1,
        "outcome": result.outcome.value,
        "candidates": list(result.candidates),
        "ratio": None if result.effect is None else math.exp(result.effect),
        "interval": None
        if result.interval is None
        else [math.exp(each) for each in result.interval],
        "steps": [
            {
                "revision": step.evidence.revision,
                "side": step.side.value,
                "rounds": step.evidence.rounds,
                "log_ratios": list(step.evidence.log_ratios),
                "failure": step.evidence.failure,
            }
            for step in result.steps
        ],
    }


def _short(revision: str) -> str:
    return revision[:_REVISION_DIGITS]
