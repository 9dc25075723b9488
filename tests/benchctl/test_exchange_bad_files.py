"""Files that are cut, foreign, or changed anywhere: one line that names the file, or a good run."""

from __future__ import annotations

import copy
import gzip
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from test_exchange_import import FILES, document, every_format, stored, written

from benchctl.cli import main
from benchctl.compare.summary import summarise
from benchctl.store.exchange.errors import ForeignFileError
from benchctl.store.exchange.formats import IMPORT_FORMATS
from benchctl.store.exchange.importing import READERS, import_file
from benchctl.store.exchange.writing import store_run
from benchctl.store.fields import SchemaError
from benchctl.store.reader import load_run


def refused(path: Path, name: str = "auto") -> ForeignFileError:
    with pytest.raises(ForeignFileError) as caught:
        import_file(path, name)
    message = caught.value.message
    assert str(path) in message and "\n" not in message
    assert caught.value.hint
    return caught.value


@every_format
def test_a_file_cut_anywhere_is_refused(name: str, tmp_path: Path) -> None:
    content = FILES[name].read_bytes().rstrip()
    path = tmp_path / "cut.json"
    for size in sorted({0, 1, len(content) // 3, len(content) // 2, len(content) - 1}):
        path.write_bytes(content[:size])
        assert "expected one JSON document" in refused(path).message


def test_a_foreign_object_is_named_by_its_keys(tmp_path: Path) -> None:
    message = refused(written(tmp_path, {"rows": [], "columns": []})).message
    assert "rows, columns" in message
    for name in IMPORT_FORMATS:
        assert name in message


@pytest.mark.parametrize("content", [[], [1, 2], "text", 3, None, True])
def test_a_document_that_is_no_object_is_refused(content: Any, tmp_path: Path) -> None:
    assert "expected a JSON object" in refused(written(tmp_path, content)).message


def test_our_own_files_are_told_from_others(tmp_path: Path) -> None:
    run = stored(FILES["pyperf"], tmp_path)
    assert run.path is not None
    assert "benchctl show" in refused(run.path).hint
    shown = CliRunner().invoke(main, ["show", "--store", str(tmp_path), "--json", "-"]).stdout
    path = tmp_path / "document.json"
    path.write_text(shown)
    assert "benchctl's own benchctl.document/1" in refused(path).message


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert "No such file" in refused(tmp_path / "none.json").message
    assert "cannot be read" in refused(tmp_path).message


@every_format
def test_a_file_of_another_format_is_refused_by_name(name: str, tmp_path: Path) -> None:
    other = IMPORT_FORMATS[(IMPORT_FORMATS.index(name) + 1) % len(IMPORT_FORMATS)]
    assert f"is no file of {name}: " in refused(FILES[other], name).message


@pytest.mark.parametrize(
    ("name", "change", "expected"),
    [
        ("pyperf", lambda data: data | {"version": "2.0"}, "pyperf's format 1.0, received '2.0'"),
        ("asv", lambda data: data | {"version": 1}, "asv's format 2, received 1"),
    ],
)
def test_another_version_is_refused_with_a_way_to_convert(
    name: str, change, expected: str, tmp_path: Path
) -> None:
    assert expected in refused(written(tmp_path, change(document(FILES[name])))).message


def test_packed_files_are_read_and_broken_ones_refused(tmp_path: Path) -> None:
    content = FILES["pyperf"].read_bytes()
    path = tmp_path / "pyperf.json.gz"
    path.write_bytes(gzip.compress(content))
    assert import_file(path).run.cases[0].case == import_file(FILES["pyperf"]).run.cases[0].case
    path.write_bytes(gzip.compress(content)[:-20])
    assert "cannot be unpacked" in refused(path).message


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


def places(node: Any, path: tuple = ()) -> list[tuple]:
    """The ways to every value below a JSON value."""
    found = []
    entries = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in entries if isinstance(node, dict | list) else ():
        found.append((*path, key))
        if isinstance(value, dict | list):
            found += places(value, (*path, key))
    return found


def shortened(name: str) -> Any:
    """The file with few values a list, so that a change hits every kind of place."""

    def cut(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: cut(value) for key, value in node.items()}
        if isinstance(node, list) and all(isinstance(each, int | float) for each in node):
            return node[:2]
        return [cut(each) for each in node] if isinstance(node, list) else node

    return cut(document(FILES[name]))


SHORT = {name: shortened(name) for name in IMPORT_FORMATS if FILES[name].is_file()}


@every_format
@settings(max_examples=120, deadline=None)
@given(st.data())
def test_any_changed_file_is_imported_or_refused(name: str, tmp_path_factory, data) -> None:
    """Never another error, and what is imported can be stored, read and summarised."""
    content = copy.deepcopy(SHORT[name])
    *way, last = data.draw(st.sampled_from(places(content)))
    node = content
    for key in way:
        node = node[key]
    if data.draw(st.booleans()):
        node[last] = data.draw(anything)
    else:
        del node[last]
    folder = tmp_path_factory.mktemp("changed")
    path = written(folder, content)
    wanted = data.draw(st.sampled_from([name, "auto"]))
    try:
        run = import_file(path, wanted).run
    except ForeignFileError as error:
        assert str(path) in error.message and "\n" not in error.message
        return
    summarise(load_run(store_run(folder, run)))


@every_format
@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.text(max_size=5), anything, max_size=4))
def test_any_object_is_refused_by_every_reader(name: str, content) -> None:
    with pytest.raises((SchemaError, OverflowError)):
        results = READERS[name].read(content, Path("results.json"))
        assert not results.benchmarks
        raise SchemaError("nothing in it")
