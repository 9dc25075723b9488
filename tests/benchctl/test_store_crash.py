"""Whatever ends the writer, every finished round is there and every file loads."""

import errno
import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from store_samples import CASE, planned_run, round_of

from benchctl.store.journal import Journal, StoreError
from benchctl.store.reader import load_run, load_store

HERE = Path(__file__).parent

# Appends rounds until it is ended; prints the number of each once it is stored.
ENDLESS_WRITER = """
import sys
from pathlib import Path
from store_samples import CASE, planned_run, round_of
from benchctl.store.journal import Journal
from benchctl.store.reader import load_run

store, path = Path(sys.argv[1]), Path(sys.argv[2])
if path.exists():
    rounds = load_run(path).cases[0].arms[0].rounds
    number = rounds[-1].round + 1 if rounds else 0
    journal = Journal.resume(path)
else:
    number, journal = 0, Journal.create(store, planned_run(path.stem))
while True:
    journal.append_rounds(CASE, round_of(number, samples=range(300)))
    print(number, flush=True)
    number += 1
"""

# Fills whatever there is; prints the rounds stored, then the error.
FILLING_WRITER = """
import json, sys
from pathlib import Path
from store_samples import CASE, planned_run, round_of
from benchctl.store.journal import Journal, StoreError

journal = Journal.create(Path(sys.argv[1]), planned_run("full"))
stored = []
try:
    for number in range(10_000):
        journal.append_rounds(CASE, round_of(number, samples=range(200)))
        stored.append(number)
except StoreError as error:
    print(json.dumps({"stored": stored, "message": error.message, "hint": error.hint}))
    print(journal.path.read_bytes().decode(), end="")
"""

CROWDED_WRITER = """
import sys
from pathlib import Path
from store_samples import CASE, planned_run, round_of
from benchctl.store.journal import Journal

for repeat in range(20):
    with Journal.create(Path(sys.argv[1]), planned_run()) as journal:
        for number in range(3):
            journal.append_rounds(CASE, round_of(number))
        journal.finish()
"""

LIMIT_FILE_SIZE = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
"""


def environment():
    paths = [str(HERE), str(HERE.parents[1])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1"}


def start(script, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )


@pytest.mark.slow
def test_sigkill_at_random_points_loses_no_finished_round(tmp_path):
    chance = random.Random(20261105)
    path = tmp_path / "runs" / "2026" / "11" / "killed.jsonl"
    stored = []
    for _ in range(40):
        writer = start(ENDLESS_WRITER, tmp_path, path)
        first = writer.stdout.readline()
        time.sleep(chance.uniform(0, 0.03))
        writer.kill()
        rest, _ = writer.communicate()
        stored += [int(line) for line in (first + rest).splitlines()]
        runs, errors = load_store(tmp_path)
        assert errors == []
        loaded = [taken.round for taken in runs[0].cases[0].arms[0].rounds]
        assert set(stored) <= set(loaded)
        assert len(loaded) - len(stored) <= 40
    assert len(stored) >= 40
    assert all(len(arm.rounds[-1].seconds) == 300 for arm in runs[0].cases[0].arms)


def test_a_killed_creation_leaves_no_run_without_a_header(tmp_path, monkeypatch):
    def stop(descriptor, data):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "write", stop)
    with pytest.raises(KeyboardInterrupt):
        Journal.create(tmp_path, planned_run())
    monkeypatch.undo()
    assert load_store(tmp_path) == ([], [])
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def check_filled(output):
    """The writer stopped with advice, and all it had stored is in the file it shows."""
    report, *lines = output.splitlines(keepends=True)
    found = json.loads(report)
    stored = [json.loads(line)["round"] for line in lines[1:]]
    assert len(found["stored"]) > 3
    assert stored == found["stored"]
    assert lines[-1].endswith("\n")
    return found


def test_a_limit_on_file_size_loses_no_finished_round(tmp_path):
    writer = start(LIMIT_FILE_SIZE + FILLING_WRITER, tmp_path)
    output, _ = writer.communicate(timeout=60)
    found = check_filled(output)
    assert "ulimit -f" in found["hint"] or "free space" in found["hint"]
    run = load_run(tmp_path / "runs" / "2026" / "11" / "full.jsonl")
    assert [taken.round for taken in run.cases[0].arms[0].rounds] == found["stored"]


def test_a_full_disk_loses_no_finished_round(tmp_path):
    """On a file system of 64 KiB that only the writer's process sees."""
    if shutil.which("unshare") is None:
        pytest.skip("no unshare to mount a small file system with")
    private = ["unshare", "--mount", "--map-root-user", "sh", "-c"]
    mount = f"mount -t tmpfs -o size=64k none {tmp_path}"
    if subprocess.run([*private, mount], capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system is not allowed here")
    writer = subprocess.run(
        [*private, f'{mount} && exec "$@"', "sh", sys.executable, "-c", FILLING_WRITER, tmp_path],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=60,
        check=True,
    )
    found = check_filled(writer.stdout)
    assert "No space left" in found["message"] or "bytes were written" in found["message"]
    assert "free space on its disk" in found["hint"]
    assert "--store" in found["hint"]


def failing_write(code):
    def write(descriptor, data):
        raise OSError(code, os.strerror(code))

    return write


def short_write(descriptor, data, whole=os.write):
    return whole(descriptor, bytes(data)[: len(data) // 2])


@pytest.mark.parametrize(
    ("name", "fault", "hint"),
    [
        ("write", failing_write(errno.ENOSPC), "free space"),
        ("write", failing_write(errno.EDQUOT), "free space"),
        ("write", failing_write(errno.EFBIG), "ulimit -f"),
        ("write", failing_write(errno.EIO), "check the disk"),
        ("write", short_write, "free space"),
        ("fsync", failing_write(errno.ENOSPC), "free space"),
    ],
)
def test_a_failed_append_leaves_the_run_as_it_was_and_can_be_repeated(
    tmp_path, monkeypatch, name, fault, hint
):
    if name == "fsync":
        reported = fault

        def fault(descriptor):
            reported(descriptor, b"")

    with Journal.create(tmp_path, planned_run()) as journal:
        journal.append_rounds(CASE, round_of(0))
        before = journal.path.read_bytes()
        monkeypatch.setattr(os, name, fault)
        with pytest.raises(StoreError, match=hint) as caught:
            journal.append_rounds(CASE, round_of(1))
        assert str(journal.path) in caught.value.message
        assert journal.path.read_bytes() == before
        monkeypatch.undo()
        journal.append_rounds(CASE, round_of(1))
        journal.finish()
    run = load_run(journal.path)
    assert run.complete
    assert [taken.round for taken in run.cases[0].arms[0].rounds] == [0, 1]


def test_an_interrupted_append_is_taken_away_by_the_next(tmp_path, monkeypatch):
    whole = os.write

    def interrupted(descriptor, data):
        whole(descriptor, data[: len(data) // 2])
        raise KeyboardInterrupt

    with Journal.create(tmp_path, planned_run()) as journal:
        journal.append_rounds(CASE, round_of(0))
        monkeypatch.setattr(os, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            journal.append_rounds(CASE, round_of(1))
        monkeypatch.undo()
        assert len(load_run(journal.path).cases[0].arms[0].rounds) == 1
        journal.append_rounds(CASE, round_of(1))
        journal.finish()
    assert len(load_run(journal.path).cases[0].arms[0].rounds) == 2


def test_two_writers_at_once_never_collide(tmp_path):
    writers = [start(CROWDED_WRITER, tmp_path) for _ in range(2)]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0]
    runs, errors = load_store(tmp_path)
    assert errors == []
    assert len({run.run_id for run in runs}) == 40
    assert all(run.complete and len(run.cases[0].arms[1].rounds) == 3 for run in runs)


def test_a_drawn_id_that_is_taken_is_drawn_again(tmp_path, monkeypatch):
    drawn = iter(["aaaaaaaa", "aaaaaaaa", "bbbbbbbb"])
    monkeypatch.setattr("benchctl.store.locations.secrets.token_hex", lambda size: next(drawn))
    paths = []
    for _ in range(2):
        with Journal.create(tmp_path, planned_run()) as journal:
            paths.append(journal.path)
    assert [path.stem[-8:] for path in paths] == ["aaaaaaaa", "bbbbbbbb"]


def test_a_run_has_one_writer(tmp_path):
    with (
        Journal.create(tmp_path, planned_run()) as journal,
        pytest.raises(StoreError, match="another process"),
    ):
        Journal.resume(journal.path)
    Journal.resume(journal.path).close()


def test_a_store_that_cannot_be_made_says_what_to_do(tmp_path):
    (tmp_path / "results").write_text("a file, not a folder")
    with pytest.raises(StoreError, match=r"cannot create .*--store"):
        Journal.create(tmp_path / "results", planned_run())
    with pytest.raises(StoreError, match=r"cannot resume .*No such file"):
        Journal.resume(tmp_path / "none.jsonl")
