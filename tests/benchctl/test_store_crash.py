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
from measure_plans import (
    RecordingObserver,
    fake_arm,
    fake_plan,
    local_launcher,
    new_journal,
    virtual_settings,
)
from store_samples import CASE, arm_result, planned_run, round_of

from benchctl.measure.clock import VirtualClock
from benchctl.measure.session import measure
from benchctl.store.errors import DiskFullError, RecordError
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

# Forks a writer of a whole run for every point and ends it there by SIGKILL; prints for each the id
# of its run and what it had told by then: every round once it was stored, at last "finished".
ENDED_WRITERS = """
import json, os, random, signal, sys, time
from pathlib import Path
from store_samples import CASE, arm_result, planned_run, round_of
from benchctl.store.journal import Journal

store, mode, what, points, seed = Path(sys.argv[1]), *sys.argv[2:4], *map(int, sys.argv[4:6])
whole_write = os.write
CALLS = ("open", "write", "fsync", "ftruncate", "rename", "mkdir")
if what == "measure":
    # Before the forks, so that no writer spends its time on it.
    import numpy.random, benchctl.measure.verification, benchctl_workloads.reference
    from measure_plans import local_launcher, new_journal, virtual_settings
    from benchctl.measure.clock import VirtualClock
    from benchctl.measure.observer import SilentObserver
    from benchctl.measure.session import measure
    from test_store_crash import fake_measurement


def write_journal(run_id, tell):
    run = planned_run(run_id)
    with Journal.create(store, run) as journal:
        for arm in run.plan.arms:
            journal.append_arm(CASE, arm_result(arm))
        for number in range(12):
            journal.append_rounds(CASE, round_of(number, samples=range(number, number + 40)))
            tell(number)
        journal.append_arm(CASE, arm_result(run.plan.arms[0]))
        journal.finish()
    tell("finished")


def measure_fakes(run_id, tell):
    class Telling:
        def __init__(self, journal):
            self.append_arm, self.close = journal.append_arm, journal.close
            self.journal = journal

        def append_rounds(self, case_id, rounds):
            self.journal.append_rounds(case_id, rounds)
            tell(next(iter(rounds.values())).round)

        def finish(self):
            self.journal.finish()
            tell("finished")

    clock = VirtualClock(read_ns=70, tick_ns=9)
    plan = fake_measurement()
    settings = virtual_settings(store / "cache", cold=False)
    journal = Telling(new_journal(store, plan, run_id))
    launch = local_launcher(clock)
    measure(plan, journal, SilentObserver(), settings=settings, launch=launch, clock=clock)


def end():
    os.kill(os.getpid(), signal.SIGKILL)


def end_after_bytes(limit):
    written = 0

    def write(descriptor, data):
        nonlocal written
        if written + len(data) > limit:
            whole_write(descriptor, bytes(data)[: limit - written])
            end()
        written += len(data)
        return whole_write(descriptor, data)

    os.write = write


def end_before_call(number):
    done = 0

    def counted(call):
        def count(*arguments, **keywords):
            nonlocal done
            if done == number:
                end()
            done += 1
            return call(*arguments, **keywords)

        return count

    for name in CALLS:
        setattr(os, name, counted(getattr(os, name)))


def start(run_id, prepare):
    told, telling = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            prepare()
            writers = {"journal": write_journal, "measure": measure_fakes}
            writers[what](run_id, lambda said: whole_write(telling, f"{said} ".encode()))
        except BaseException as error:
            whole_write(2, f"{error!r}\\n".encode())
            os._exit(1)
        os._exit(0)
    os.close(telling)
    return child, told


def finish(run_id, child, told):
    with os.fdopen(told) as pipe:
        said = pipe.read().split()
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "the writer failed"
    print(json.dumps({"run_id": run_id, "told": said}))
    return os.WIFSIGNALED(status)


begin = time.monotonic()
finish("undisturbed", *start("undisturbed", lambda: None))
whole_seconds = time.monotonic() - begin
(path,) = store.rglob("undisturbed.jsonl")
size = path.stat().st_size
chance = random.Random(seed)
if mode == "calls":
    number = 0
    while finish(f"run-{number}", *start(f"run-{number}", lambda: end_before_call(number))):
        number += 1
for point in range(points):
    run_id = f"run-{point}"
    if mode == "bytes":
        limit = chance.randrange(size)
        finish(run_id, *start(run_id, lambda: end_after_bytes(limit)))
    if mode == "moments":
        child, told = start(run_id, lambda: None)
        time.sleep(chance.uniform(0, whole_seconds))
        os.kill(child, signal.SIGKILL)
        finish(run_id, child, told)
"""

# Waits for the others, then tries to write runs whose ids they try too; prints those it wrote.
RACING_CREATOR = """
import sys, time
from pathlib import Path
from store_samples import CASE, planned_run, round_of
from benchctl.store.journal import Journal, StoreError

store, go = Path(sys.argv[1]), Path(sys.argv[2])
print("ready", flush=True)
while not go.exists():
    pass
for repeat in range(30):
    try:
        journal = Journal.create(store, planned_run(f"same-{repeat}"))
    except StoreError as error:
        assert "is there already" in error.message, error
        continue
    with journal:
        for number in range(3):
            journal.append_rounds(CASE, round_of(number))
        journal.finish()
    print(journal.run_id)
"""

# Adds the round that is missing, whoever added the one before, until there are thirty.
RACING_RESUMER = """
import sys, time
from pathlib import Path
from store_samples import CASE, round_of
from benchctl.store.journal import Journal, StoreError
from benchctl.store.reader import load_run

path, own, number = Path(sys.argv[1]), 0, 0
while number < 30:
    try:
        with Journal.resume(path) as journal:
            number = len(load_run(path).cases[0].arms[0].rounds)
            if number < 30:
                journal.append_rounds(CASE, round_of(number))
                own += 1
    except StoreError as error:
        assert "another process" in error.message, error
    time.sleep(0.001)
print(own)
"""

SAMPLE_WRITER = """
import sys
from pathlib import Path
from store_samples import CASE, planned_run, round_of
from benchctl.store.journal import Journal

with Journal.create(Path(sys.argv[1]), planned_run("there")) as journal:
    for number in range(3):
        journal.append_rounds(CASE, round_of(number))
"""

# Tries to write where it may not; prints what it was told, and how many rounds can be read.
REFUSED_WRITER = """
import json, sys
from pathlib import Path
from store_samples import planned_run
from benchctl.store.journal import Journal, StoreError
from benchctl.store.reader import load_store

store = Path(sys.argv[1])
(run,), errors = load_store(store)
told = []
for action in (
    lambda: Journal.create(store, planned_run("new")),
    lambda: Journal.resume(run.path),
):
    try:
        action()
    except StoreError as error:
        told.append([error.message, error.hint])
rounds = len(run.cases[0].arms[0].rounds)
print(json.dumps({"told": told, "rounds": rounds, "errors": len(errors)}))
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


# SIGKILL anywhere in a run ----------------------------------------------------------------------


@pytest.fixture
def without_waiting(monkeypatch):
    """Nothing forced to disk and no garbage collected, where neither is what a test is about."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    monkeypatch.setattr("gc.collect", lambda: 0)


def fake_measurement():
    """A plan of two fake arms, measured under a virtual clock."""
    return fake_plan(fake_arm("a", step_us=900), fake_arm("b", step_us=1500), rounds=6)


def ended_writers(store, mode, what="journal", points=0, seed=0):
    """Run ids with what each writer had told before it was ended."""
    store.mkdir(exist_ok=True)
    temporary = store / "temporary"
    temporary.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", ENDED_WRITERS, *map(str, (store, mode, what, points, seed))],
        capture_output=True,
        text=True,
        env={**environment(), "TMPDIR": str(temporary), "OPENBLAS_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {each["run_id"]: each["told"] for each in map(json.loads, done.stdout.splitlines())}


def samples_of(run):
    return [[(taken.round, taken.seconds) for taken in arm.rounds] for arm in run.cases[0].arms]


def check_ended(store, ended):
    """Every file loads and has every round told, whole; beside these at most the one underway.

    Returns the runs that are there, by id.
    """
    runs, errors = load_store(store)
    assert errors == []
    by_id = {run.run_id: run for run in runs}
    whole = samples_of(by_id["undisturbed"])
    assert by_id["undisturbed"].complete
    for run_id, told in ended.items():
        rounds = len([each for each in told if each != "finished"])
        if run_id not in by_id:
            assert told == []
            continue
        run = by_id[run_id]
        for arm, whole_arm in zip(samples_of(run), whole, strict=True):
            assert rounds <= len(arm) <= rounds + 1
            assert arm == whole_arm[: len(arm)]
        assert run.complete or "finished" not in told
    return by_id


def finish_journal(run):
    """Append what an ended run lacks."""
    with Journal.resume(run.path) as journal:
        for number in range(len(run.cases[0].arms[0].rounds), 12):
            journal.append_rounds(CASE, round_of(number, samples=range(number, number + 40)))
        journal.finish()
    return load_run(run.path)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["bytes", "moments"])
def test_sigkill_at_a_hundred_random_points_each_loses_no_round(tmp_path, without_waiting, mode):
    """After any number of bytes, and at any moment: 200 points in all."""
    ended = ended_writers(tmp_path, mode, points=100, seed=20261126)
    assert len(ended) == 101
    runs = check_ended(tmp_path, ended)
    lengths = {len(run.cases[0].arms[0].rounds) for run in runs.values()}
    assert len(lengths) > 5
    for run in runs.values():
        if not run.complete:
            finished = finish_journal(run)
            assert finished.complete
            assert samples_of(finished) == samples_of(runs["undisturbed"])


def test_sigkill_before_every_system_call_loses_no_round(tmp_path):
    ended = ended_writers(tmp_path, "calls")
    assert len(ended) >= 40
    runs = check_ended(tmp_path, ended)
    # Ended before the header had its name: no run, and nothing that looks like one.
    assert 3 < len(ended) - len(runs) < 12
    assert sum(run.complete for run in runs.values()) >= 2


@pytest.mark.slow
def test_a_measurement_that_is_killed_anywhere_is_resumed_without_a_loss(tmp_path, without_waiting):
    ended = ended_writers(tmp_path, "bytes", "measure", points=40, seed=7)
    runs = check_ended(tmp_path, ended)
    whole = samples_of(runs["undisturbed"])
    killed = [run for run in runs.values() if not run.complete]
    assert len(killed) > 20
    for run in killed:
        before = samples_of(run)
        clock = VirtualClock(read_ns=70, tick_ns=9)
        measure(
            run.plan,
            Journal.resume(run.path),
            RecordingObserver(),
            done=run,
            settings=virtual_settings(tmp_path / "cache", cold=False),
            launch=local_launcher(clock),
            clock=clock,
        )
        after = load_run(run.path)
        assert after.complete
        assert [arm[: len(old)] for arm, old in zip(samples_of(after), before, strict=True)] == (
            before
        )
        assert [[number for number, _ in arm] for arm in samples_of(after)] == [
            [number for number, _ in arm] for arm in whole
        ]


# Truncation -------------------------------------------------------------------------------------


def whole_lines(tmp_path):
    """The path and the lines of a finished run with every kind of line."""
    run = planned_run("cut")
    with Journal.create(tmp_path, run) as journal:
        journal.append_arm(CASE, arm_result(run.plan.arms[0]))
        for number in range(3):
            journal.append_rounds(CASE, round_of(number))
        journal.finish()
    return journal.path, journal.path.read_bytes().splitlines(keepends=True)


def test_a_file_that_is_cut_anywhere_has_all_rounds_before_the_cut(tmp_path):
    path, lines = whole_lines(tmp_path)
    content = b"".join(lines)
    for size in range(len(content) + 1):
        path.write_bytes(content[:size])
        finished = lines[: content[:size].count(b"\n")]
        if not finished:
            with pytest.raises(RecordError, match="line 1: expected a header"):
                load_run(path)
            continue
        run = load_run(path)
        rounds = sum(b'"kind":"round"' in line for line in finished)
        assert [len(arm.rounds) for arm in run.cases[0].arms] == [rounds, rounds]
        assert run.complete == (len(finished) == len(lines))


@pytest.mark.parametrize(("kept", "rounds"), [(2, 0), (3, 0), (5, 2), (6, 3)])
def test_a_run_whose_last_record_is_cut_anywhere_is_resumed(
    tmp_path, without_waiting, kept, rounds
):
    """The last record is an arm, the first round, the last round, the footer."""
    path, lines = whole_lines(tmp_path)
    content = b"".join(lines[:kept])
    for size in range(len(content) - len(lines[kept - 1]), len(content)):
        path.write_bytes(content[:size])
        with Journal.resume(path) as journal:
            for number in range(rounds, 4):
                journal.append_rounds(CASE, round_of(number))
            journal.finish()
        run = load_run(path)
        assert run.complete
        assert [taken.round for taken in run.cases[0].arms[1].rounds] == [0, 1, 2, 3]


# Two writers ------------------------------------------------------------------------------------


def test_of_several_writers_of_one_run_one_writes_it(tmp_path):
    go = tmp_path / "go"
    writers = [start(RACING_CREATOR, tmp_path, go) for _ in range(4)]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    go.touch()
    wrote = [name for writer in writers for name in writer.communicate(timeout=60)[0].split()]
    assert [writer.returncode for writer in writers] == [0] * 4
    assert sorted(wrote) == sorted(f"same-{repeat}" for repeat in range(30))
    runs, errors = load_store(tmp_path)
    assert errors == []
    assert sorted(run.run_id for run in runs) == sorted(wrote)
    assert all(run.complete and len(run.cases[0].arms[0].rounds) == 3 for run in runs)
    assert not list(tmp_path.rglob("*.partial"))


def test_several_writers_take_turns_with_one_run(tmp_path):
    with Journal.create(tmp_path, planned_run("shared")) as journal:
        pass
    writers = [start(RACING_RESUMER, journal.path) for _ in range(3)]
    own = [int(writer.communicate(timeout=60)[0]) for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    assert sum(own) == 30
    run = load_run(journal.path)
    assert [taken.round for taken in run.cases[0].arms[0].rounds] == list(range(30))


# Stores that cannot be written -------------------------------------------------------------------


def check_refused(output, reason):
    """Both ways to write were refused with a way out, and reading went on."""
    found = json.loads(output)
    assert (found["rounds"], found["errors"]) == (3, 0)
    assert len(found["told"]) == 2
    for message, hint in found["told"]:
        assert message.startswith(("cannot create ", "cannot resume "))
        assert message.endswith(reason)
        assert "--store" in hint


def test_a_read_only_file_system_is_read_and_not_written(tmp_path):
    """On a file system that only the writer's process sees."""
    if shutil.which("unshare") is None:
        pytest.skip("no unshare to mount a file system with")
    mount = f"mount -t tmpfs -o size=1m none {tmp_path}"
    protect = f"mount -o remount,ro {tmp_path}"
    private = ["unshare", "--mount", "--map-root-user", "sh", "-c"]
    tried = subprocess.run([*private, f"{mount} && {protect}"], capture_output=True, check=False)
    if tried.returncode:
        pytest.skip("mounting a file system is not allowed here")
    script = f'{mount} && "$1" -c "$2" "$4" && {protect} && exec "$1" -c "$3" "$4"'
    done = subprocess.run(
        [*private, script, "sh", sys.executable, SAMPLE_WRITER, REFUSED_WRITER, str(tmp_path)],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    check_refused(done.stdout, "Read-only file system")


def test_a_folder_without_leave_to_write_is_read_and_not_written(tmp_path):
    """Root may write anywhere, so it gives that up in a user namespace of its own."""
    as_nobody = ["unshare", "--user"] if os.geteuid() == 0 else []
    if as_nobody and (
        shutil.which("unshare") is None
        or subprocess.run([*as_nobody, "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("root cannot give up its rights here")
    subprocess.run([sys.executable, "-c", SAMPLE_WRITER, tmp_path], env=environment(), check=True)
    (path,) = tmp_path.rglob("*.jsonl")
    path.chmod(0o444)
    path.parent.chmod(0o555)
    try:
        done = subprocess.run(
            [*as_nobody, sys.executable, "-c", REFUSED_WRITER, tmp_path],
            capture_output=True,
            text=True,
            env=environment(),
            timeout=60,
            check=False,
        )
    finally:
        path.parent.chmod(0o755)
    assert done.returncode == 0, done.stderr
    check_refused(done.stdout, "Permission denied")


def full_after(limit):
    """A write as on a disk with room for so many bytes: the last one is cut short."""
    written = 0

    def write(descriptor, data, whole=os.write):
        nonlocal written
        room = limit - written
        if room <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        done = whole(descriptor, bytes(data)[:room])
        written += done
        return done

    return write


def telling_rounds(journal):
    """The numbers of the rounds that the journal has stored, as they come."""
    told, append = [], journal.append_rounds

    def append_and_tell(case_id, rounds):
        append(case_id, rounds)
        told.append(next(iter(rounds.values())).round)

    journal.append_rounds = append_and_tell
    return told


def measure_into(journal, folder, done=None):
    clock = VirtualClock(read_ns=70, tick_ns=9)
    measure(
        fake_measurement(),
        journal,
        RecordingObserver(),
        done=done,
        settings=virtual_settings(folder / "cache", cold=False),
        launch=local_launcher(clock),
        clock=clock,
    )


def test_a_measurement_on_a_disk_that_fills_up_is_resumed_once_there_is_room(
    tmp_path, without_waiting, monkeypatch
):
    journal = new_journal(tmp_path, fake_measurement(), "whole")
    measure_into(journal, tmp_path)
    _, *lines = journal.path.read_bytes().splitlines(keepends=True)
    most = int(0.9 * sum(map(len, lines)))
    whole = samples_of(load_run(journal.path))
    chance = random.Random(5)
    for point in range(12):
        journal = new_journal(tmp_path, fake_measurement(), f"full-{point}")
        told = telling_rounds(journal)
        with monkeypatch.context() as patched:
            patched.setattr(os, "write", full_after(chance.randrange(most)))
            with pytest.raises(DiskFullError, match="No space left on device"):
                measure_into(journal, tmp_path)
        kept = load_run(journal.path)
        assert not kept.complete
        stored = len(kept.cases[0].arms[0].rounds)
        assert told == list(range(stored))
        measure_into(Journal.resume(journal.path), tmp_path, done=kept)
        after = load_run(journal.path)
        assert after.complete
        assert [len(arm) for arm in samples_of(after)] == [len(arm) for arm in whole]
        assert [arm[:stored] for arm in samples_of(after)] == [arm[:stored] for arm in whole]
