"""The reader: strict about finished lines, forgiving about a torn last one, and it finds runs."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_samples import CASE, arm_result, planned_run, round_of

from benchctl.store.journal import Journal
from benchctl.store.reader import (
    NoSuchRunError,
    RecordError,
    find_run,
    load_run,
    load_store,
)


def write_sample(store, *, finish=True, run_id="", started="2026-11-05T12:00:00Z"):
    run = replace(planned_run(run_id), started_utc=started)
    with Journal.create(store, run) as journal:
        journal.append_arm(CASE, arm_result(run.plan.arms[0]))
        journal.append_rounds(CASE, round_of(0))
        journal.append_rounds(CASE, round_of(1))
        if finish:
            journal.finish()
    return journal.path


def stored_rounds(run):
    return [[taken.round for taken in arm.rounds] for arm in run.cases[0].arms]


def rewrite_line(path, index, change):
    """Change the JSON object of one line by `change`."""
    lines = path.read_text().splitlines(keepends=True)
    document = json.loads(lines[index])
    change(document)
    lines[index] = json.dumps(document) + "\n"
    path.write_text("".join(lines))


@pytest.mark.parametrize("finish", [False, True])
def test_truncation_anywhere_in_the_last_record_loses_nothing_finished(tmp_path, finish):
    path = write_sample(tmp_path, finish=finish)
    content = path.read_bytes()
    last = content.rindex(b"\n", 0, len(content) - 1) + 1
    kept = [[0, 1], [0, 1]] if finish else [[0], [0]]
    for size in range(last, len(content)):
        path.write_bytes(content[:size])
        run = load_run(path)
        assert stored_rounds(run) == kept
        assert not run.complete
    path.write_bytes(content)
    assert load_run(path).complete is finish


def test_zeros_that_a_power_cut_left_at_the_end_are_a_torn_line(tmp_path):
    path = write_sample(tmp_path, finish=False)
    with path.open("ab") as file:
        file.write(b"\0" * 512)
    assert stored_rounds(load_run(path)) == [[0, 1], [0, 1]]


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_any_changed_byte_of_a_complete_run_is_noticed(tmp_path_factory, data):
    path = write_sample(tmp_path_factory.mktemp("store"))
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 2))
    content[place] = data.draw(st.integers(0, 255).filter(lambda byte: byte != content[place]))
    path.write_bytes(content)
    with pytest.raises(RecordError) as caught:
        load_run(path)
    assert f"{path}, line " in str(caught.value)


def values_below(document):
    """Every (container, key) of a JSON document."""
    keys = document if isinstance(document, dict) else range(len(document))
    for key in keys:
        yield document, key
        if isinstance(document[key], dict | list):
            yield from values_below(document[key])


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_wrong_value_anywhere_is_a_record_error_or_harmless(tmp_path_factory, data):
    path = write_sample(tmp_path_factory.mktemp("store"), finish=False)
    documents = [json.loads(line) for line in path.read_text().splitlines()]
    index = data.draw(st.integers(0, len(documents) - 1))
    container, key = data.draw(st.sampled_from(list(values_below(documents[index]))))
    container[key] = data.draw(
        st.sampled_from([None, True, -1, 1.5, "text", [], [None], {}, {"a": None}, 10**30])
    )
    path.write_text("".join(json.dumps(each) + "\n" for each in documents))
    try:
        load_run(path)
    except RecordError as error:
        assert error.line > index
        assert "expected" in str(error)


@pytest.mark.parametrize(
    ("line", "key", "value", "expected"),
    [
        (0, "schema", "benchctl.run/2", "newer benchctl.run/2"),
        (0, "schema", "benchctl.run/0", "older benchctl.run/0"),
        (0, "schema", "pytest-benchmark/1", "expected a run of schema benchctl.run/1"),
        (0, "kind", "arm", "one header"),
        (0, "run_id", None, "'run_id', which is missing"),
        (1, "status", "fine", "one of ok, planned"),
        (1, "arm", "torch", "arm 'torch'"),
        (2, "case", "other", "case 'other'"),
        (2, "round", 1.5, "a whole number, received 1.5"),
        (3, "round", 0, "a second time"),
        (3, "kind", "header", "one header"),
        (3, "kind", "sample", "kind arm, round or footer"),
        (4, "arm_lines", 7, "7 arm and 2 round"),
        (4, "sha256", "0" * 64, "changed after the run"),
    ],
)
def test_a_bad_line_is_named_with_what_was_expected(tmp_path, line, key, value, expected):
    path = write_sample(tmp_path)
    rewrite_line(path, line, lambda document: document.__setitem__(key, value))
    with pytest.raises(RecordError) as caught:
        load_run(path)
    assert (caught.value.path, caught.value.line) == (path, line + 1)
    assert f"{path}, line {line + 1}: " in str(caught.value)
    assert expected in str(caught.value)


def test_a_torn_line_that_is_not_the_last_is_an_error(tmp_path):
    path = write_sample(tmp_path, finish=False)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], lines[2][:40] + b"\n", lines[3]]))
    with pytest.raises(RecordError, match="line 3: expected one JSON object"):
        load_run(path)


def test_a_line_after_the_footer_is_an_error(tmp_path):
    path = write_sample(tmp_path)
    with path.open("a") as file:
        file.write('{"kind":"round"}\n')
    with pytest.raises(RecordError, match="line 6: expected nothing after the footer"):
        load_run(path)


@pytest.mark.parametrize("content", [b"", b'{"kind":"header"'])
def test_a_file_without_a_finished_header_says_so(tmp_path, content):
    path = tmp_path / "empty.jsonl"
    path.write_bytes(content)
    with pytest.raises(RecordError, match="no finished line"):
        load_run(path)


def test_a_missing_file_is_a_record_error(tmp_path):
    with pytest.raises(RecordError, match="No such file"):
        load_run(tmp_path / "none.jsonl")


def test_keys_that_a_later_version_adds_are_ignored(tmp_path):
    path = write_sample(tmp_path, finish=False)
    before = load_run(path)
    documents = [json.loads(line) for line in path.read_text().splitlines()]
    documents[0]["colour"] = "blue"
    documents[0]["plan"]["cases"][0]["tags"] = ["new"]
    documents[0]["plan"]["arms"][0]["nice"] = 5
    documents[1]["verification"]["checks"][0]["ulp"] = 3
    documents[1]["phases"][0]["link_ns"] = 12
    documents[2]["temperature"] = 41.5
    documents[2]["arms"]["static"]["clock_mhz"] = [3000]
    path.write_text("".join(json.dumps(each) + "\n" for each in documents))
    # As text, because the nan of a check equals nothing.
    assert repr(load_run(path)) == repr(before)


def test_keys_with_a_default_may_be_missing(tmp_path):
    path = write_sample(tmp_path, finish=False)
    rewrite_line(path, 2, lambda document: document["arms"]["static"].pop("position"))
    rewrite_line(path, 1, lambda document: document.pop("verification"))
    arm = load_run(path).cases[0].arms[0]
    assert (arm.rounds[0].position, arm.verification) == (0, None)


def test_a_bad_file_does_not_hide_the_others(tmp_path):
    late = write_sample(tmp_path, started="2026-12-01T00:00:00Z")
    early = write_sample(tmp_path, started="2026-01-31T23:59:59Z")
    bad = write_sample(tmp_path)
    bad.write_text("not a run\n")
    runs, errors = load_store(tmp_path)
    assert [run.path for run in runs] == [early, late]
    assert [(error.path, error.line) for error in errors] == [(bad, 1)]


def test_a_folder_of_run_files_is_a_store(tmp_path):
    path = write_sample(tmp_path / "store")
    moved = path.rename(tmp_path / path.name)
    runs, errors = load_store(tmp_path)
    assert ([run.path for run in runs], errors) == ([moved], [])


def test_an_empty_or_missing_store_holds_nothing(tmp_path):
    assert load_store(tmp_path) == ([], [])
    assert load_store(tmp_path / "nowhere") == ([], [])


def test_runs_are_found_by_last_path_id_and_part_of_an_id(tmp_path):
    early = write_sample(tmp_path, started="2026-01-31T23:59:59Z")
    late = write_sample(tmp_path)
    for text, path in [
        ("last", late),
        (str(early), early),
        (early.stem, early),
        ("20260131", early),
        (late.stem[-8:], late),
    ]:
        assert find_run(tmp_path, text).path == path


def test_an_exact_id_wins_over_a_longer_one(tmp_path):
    short = write_sample(tmp_path, run_id="base")
    write_sample(tmp_path, run_id="base2")
    assert find_run(tmp_path, "base").path == short


@pytest.mark.parametrize(
    ("text", "expected"), [("2026", "fits 2 runs"), ("1999", "no run '1999'.*the newest: 2026")]
)
def test_none_or_several_fitting_runs_are_listed(tmp_path, text, expected):
    write_sample(tmp_path)
    write_sample(tmp_path)
    with pytest.raises(NoSuchRunError, match=expected):
        find_run(tmp_path, text)


def test_an_empty_store_says_how_to_measure(tmp_path):
    for text in ("last", "2026"):
        with pytest.raises(NoSuchRunError, match="benchctl run xyz"):
            find_run(tmp_path, text)
