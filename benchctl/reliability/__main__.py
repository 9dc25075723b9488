"""`python -m benchctl.reliability`: every promise simulated, as a Markdown table."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable

import click

from benchctl.reliability.promise import Limit, Outcome, Promise
from benchctl.reliability.promises import PROMISES
from benchctl.report.markdown import table_markdown
from benchctl.report.table import Column, Table

QUICK_EFFORT = 0.1
NOT_PROMISED = "not promised"
BROKEN = 1

COLUMNS = (
    Column("promise", align_right=False),
    Column("simulated", align_right=False),
    Column("limit"),
    Column("figure"),
    Column("allowed for chance"),
    Column("runs"),
    Column("kept", align_right=False),
)


@click.command()
@click.option("--quick", is_flag=True, help="A tenth of the runs.")
@click.option("--seed", default=0, show_default=True, help="Seed of all simulations.")
def main(quick: bool, seed: int) -> None:
    """Simulate what benchctl's statistics promise and print the figures as Markdown.

    Seconds go to standard error. Exit code 1 where a promise is broken.
    """
    outcomes = []
    for promise in PROMISES:
        begin = time.perf_counter()
        outcome = promise.simulate(seed, QUICK_EFFORT if quick else 1.0)
        seconds = time.perf_counter() - begin
        click.echo(f"{seconds:6.1f} s  {promise.name}: {promise.conditions}", err=True)
        outcomes.append((promise, outcome))
    for line in table_markdown(promise_table(outcomes)):
        click.echo(line)
    sys.exit(0 if all(outcome.ok for _, outcome in outcomes) else BROKEN)


def promise_table(outcomes: Iterable[tuple[Promise, Outcome]]) -> Table:
    """One row a promise."""
    return Table(COLUMNS, tuple(_row(promise, outcome) for promise, outcome in outcomes))


def _row(promise: Promise, outcome: Outcome) -> tuple[str, ...]:
    decimals = _decimals(outcome.limit)
    figure = _range(outcome.lowest, outcome.highest, decimals)
    allowance = "-" if outcome.allowance == 0 else f"{100 * outcome.allowance:.{decimals}f} %"
    kept = "yes" if outcome.ok else "NO"
    return (
        promise.name,
        promise.conditions,
        limit_words(outcome.limit),
        figure,
        allowance,
        f"{outcome.runs}",
        "-" if outcome.limit is None else kept,
    )


def limit_words(limit: Limit | None) -> str:
    """A limit such as `at most 5 %`."""
    if limit is None:
        return NOT_PROMISED
    if limit.low == 0:
        return f"at most {100 * limit.high:g} %"
    if limit.high == 1:
        return f"at least {100 * limit.low:g} %"
    return f"{100 * limit.low:g} to {100 * limit.high:g} %"


def _decimals(limit: Limit | None) -> int:
    """Figures that are held against one percent or less need one more."""
    return 2 if limit is not None and limit.high <= 0.01 else 1


def _range(lowest: float, highest: float, decimals: int) -> str:
    low, high = (f"{100 * each:.{decimals}f}" for each in (lowest, highest))
    return f"{low} %" if low == high else f"{low} to {high} %"


if __name__ == "__main__":
    main(prog_name="python -m benchctl.reliability")
