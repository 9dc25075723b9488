"""docs/claims.md from the committed run of claims; before there is one, what will be measured."""

from __future__ import annotations

from pathlib import Path

from benchctl.claims.catalogue import CLAIMS
from benchctl.claims.evaluation import judge_run
from benchctl.claims.verdicts import MARGIN
from benchctl.report.claims import claim_markdown, claims_markdown, words_table
from benchctl.report.markdown import table_markdown
from benchctl.store.reader import load_run
from benchctl.store.record import Run

PAGE = Path("docs/claims.md")
RUN = Path("results/reference/claims.jsonl")
NOT_YET = "not yet measured"

_HEAD = f"""\
# The lecture's claims, each an experiment

`benchctl claims` runs every experiment below on the machine that it is asked on, within 15 minutes
on two cores, and prints for each claim what was measured and a verdict. This page is made from the
run that is committed here; `python -m benchctl.report.readme` renews it.

```sh
benchctl claims --dry-run                  # what would be measured, and within what time
benchctl claims --only winograd --dry-run  # one claim
```

`benchctl claims --report` also draws a page with a chart for each claim, as `benchctl report` does
for a store with such a run; `benchctl claims --from RUN` judges a stored run again.

A ratio of times speaks for a claim where its whole 95 % interval lies above {MARGIN:g}, against it
where none of it does, and for nothing where it holds {MARGIN:g}. Arms of one case took turns in
every round and are compared in pairs; two cases were measured one after the other and are compared
by ranks, so that what the machine did in between is in their ratio. A claim *holds here* if
everything that is judged speaks for it, *does not hold here* if nothing does, and *depends* if some
does. What frameworks or devices are missing is *not measured here*, with what to do about it. Peaks
of memory and lines of code are counted, not timed, and some experiments are checks: the text says
which.
"""


def claims_page(run: Run | None) -> str:
    """The page of a run, or without one the claims with their experiments."""
    lines = [_HEAD]
    if run is None:
        rows = [[claim.name, claim.says, claim.asks, NOT_YET] for claim in CLAIMS]
        titles = ["claim", "the deck says", "experiment", "verdict"]
        lines += table_markdown(words_table(titles, rows))
        for claim in CLAIMS:
            lines += ["", *claim_markdown(claim)]
    else:
        lines += claims_markdown(judge_run(run), run)
        lines += ["", f"The run: [{RUN.name}](../{RUN.as_posix()})."]
    return "\n".join(lines) + "\n"


def load_claims_run(root: Path) -> Run | None:
    """The committed run of a checkout, None where there is none; raises `StoreError`."""
    path = root / RUN
    return load_run(path) if path.is_file() else None


def write_claims_page(root: Path) -> Path:
    """Write the page of a checkout anew; returns its path."""
    path = root / PAGE
    path.write_text(claims_page(load_claims_run(root)), encoding="utf-8")
    return path
