"""docs/results-format.md names the keys that are really written."""

from __future__ import annotations

import json
import re
from pathlib import Path

from record_factory import EAGER, NUMPY, make_run, write_run

from benchctl.compare.summary import summarise
from benchctl.report.published import SCHEMA as PUBLISHED_SCHEMA
from benchctl.store.export import DOCUMENT_SCHEMA, run_document
from benchctl.store.record import SCHEMA

PAGE = (Path(__file__).parents[2] / "docs" / "results-format.md").read_text(encoding="utf-8")


def code_in(text: str) -> set[str]:
    return set(re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text))


def row_of(name: str) -> str:
    """The last cell of the row of one kind of line."""
    found = re.search(rf"^\| `{name}` \|.*\| (.+) \|$", PAGE, re.MULTILINE)
    assert found is not None, name
    return found[1]


def test_every_key_of_every_line_is_named(tmp_path: Path) -> None:
    path = write_run(tmp_path, make_run(arms=(EAGER, NUMPY))).path
    assert path is not None
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    kinds = {line["kind"]: line for line in lines}
    assert set(kinds) == {"header", "arm", "round", "footer"}
    assert set(kinds["header"]) - {"kind"} <= code_in(row_of("header"))
    assert set(kinds["arm"]) - {"kind", "case", "arm"} <= code_in(row_of("arm"))
    (arm_round, *_) = kinds["round"]["arms"].values()
    assert set(arm_round) == code_in(row_of("round"))
    assert "sha256" in code_in(row_of("footer"))
    assert set(kinds["arm"]["phases"][0]) <= code_in(PAGE)


def test_every_key_of_the_document_is_named() -> None:
    run = make_run(arms=(EAGER, NUMPY))
    entry = run_document(run, summarise(run))["cases"][0]
    section = PAGE.split("## The document for programs")[1].split("\n## ")[0]
    first_cells = re.findall(r"^\| (`.+?`) \|", section, re.MULTILINE)
    assert code_in(" ".join(first_cells)) == set(entry)


def test_schemas_are_those_in_use() -> None:
    for schema in (SCHEMA, DOCUMENT_SCHEMA, PUBLISHED_SCHEMA):
        assert f"`{schema}`" in PAGE
