"""Real worker processes: what each way to fail looks like, and that none is left behind."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from measure_plans import (
    QUICK,
    RecordingObserver,
    fake_arm,
    fake_case,
    fake_plan,
    local_launcher,
    new_journal,
    results_of,
)

from benchctl.measure.clock import VirtualClock
from benchctl.measure.fake import FAKE_WORKLOAD
from benchctl.measure.protocol import ArmFailure
from benchctl.measure.session import explain, measure, verify
from benchctl.measure.settings import MeasureSettings, settings_of, worker_environment
from benchctl.measure.worker import WorkerService
from benchctl.measure.worker_client import ProcessWorker, request, tail_lines
from benchctl.store.journal import Journal
from benchctl.store.reader import load_run

SCRIPT = Path(__file__).with_name("interrupted_run.py")


def start_worker(cache: Path, **settings: object) -> ProcessWorker:
    return ProcessWorker(worker_environment(MeasureSettings(**settings), 1, cache))


@pytest.fixture(autouse=True)
def no_child_is_left():
    yield
    left = [each for each in psutil.Process().children(recursive=True) if is_worker(each)]
    assert left == []


def is_worker(process: psutil.Process) -> bool:
    try:
        running = process.status() != psutil.STATUS_ZOMBIE
        return running and "benchctl.measure.worker" in process.cmdline()
    except psutil.NoSuchProcess:
        return False


def test_every_fault_has_its_own_message_and_spoils_no_other_arm(tmp_path):
    faults = ["segfault", "exit", "memory", "error", "wrong"]
    arms = [fake_arm(fault, fault=fault) for fault in faults]
    arms += [fake_arm("noisy", fault="print"), fake_arm("slow", fault="slow", at="build")]
    arms += [fake_arm("late", fault="segfault", at="second_round")]
    missing = "benchctl.measure.fake:make_broken_engine"
    arms += [replace(fake_arm("missing"), engine=missing)]
    measure_settings = {**QUICK, "cache_directory": str(tmp_path / "cache"), "restart_every": 3}
    plan = fake_plan(*arms, rounds=3, settings={"measure": measure_settings})
    journal = new_journal(tmp_path, plan)
    measure(plan, journal, RecordingObserver(), settings=settings_of(plan))
    run = load_run(journal.path)
    assert run.complete
    results = results_of(run)
    expected = {
        "segfault": ("crashed", "was ended by SIGSEGV during first run"),
        "exit": ("crashed", "ended with exit status 0 during first run, without a result"),
        "memory": ("crashed", "out of memory during first run (unable to allocate 1.00 EiB)"),
        "error": ("crashed", "ValueError during first run: expected (3, 4), received (4, 3)"),
        "wrong": ("wrong", "y differs from the float64 reference by 3.1"),
        "late": ("crashed", "was ended by SIGSEGV during load"),
        "missing": ("unavailable", "No module named 'a_framework'"),
        "noisy": ("ok", ""),
        "slow": ("ok", ""),
    }
    for name, (status, message) in expected.items():
        assert results[name].status == status, name
        assert message in results[name].message
    assert any("about to touch a bad pointer" in note for note in results["segfault"].notes)
    assert any("die_by_segfault" in note for note in results["segfault"].notes)
    assert results["slow"].phases_with("cold").build_seconds >= 1.0
    counts = {name: len(result.rounds) for name, result in results.items() if result.rounds}
    assert counts == {"noisy": 3, "slow": 3, "late": 1}


def test_an_engine_that_stops_learning_after_its_first_step_is_wrong(tmp_path):
    arms = [fake_arm("learns"), fake_arm("stuck", fault="stuck")]
    plan = fake_plan(*arms, cases=(fake_case("training", elements=1),))
    settings = MeasureSettings(cache_directory=str(tmp_path / "cache"), cold=False)
    found = {arm.arm.id: arm for _, arm in verify(plan, RecordingObserver(), settings=settings)}
    assert found["learns"].status == "ok"
    outputs = [check.output for check in found["learns"].verification.checks]
    assert outputs == ["y", "parameter/w", "y of steps 2 to 5"]
    assert found["stuck"].status == "wrong"
    assert found["stuck"].message.startswith("y of steps 2 to 5 differs from the float64 reference")


def test_a_worker_that_hangs_is_ended_in_time(tmp_path):
    plan = fake_plan(fake_arm("hang", fault="hang"))
    settings = MeasureSettings(cache_directory=str(tmp_path), prepare_timeout_seconds=1.0)
    with pytest.raises(ArmFailure) as caught:
        explain(plan, plan.cases[0], plan.arms[0], settings=settings)
    assert caught.value.status == "timeout"
    assert caught.value.message == "no answer within 1 s during first run"


WAITING = """
import sys
from pathlib import Path
from benchctl.measure.settings import MeasureSettings, worker_environment
from benchctl.measure.worker_client import ProcessWorker, request
cache = Path(sys.argv[1])
worker = ProcessWorker(worker_environment(MeasureSettings(), 1, cache))
request(worker, "import", 60.0, engine="benchctl.measure.fake:make_engine", device="cpu")
case = {"elements": 4, "mode": "gradient"}
options = {"switches": {"fault": "slow"}}
workload = sys.argv[2]
fields = {"workload": workload, "case": case, "parameter_seed": 1, "input_seed": 1}
worker.post("prepare", 4.0, **fields, options=options)
print(worker.pid, flush=True)
print(sorted(worker.wait()), flush=True)
worker.stop(5.0)
"""


@pytest.mark.parametrize("both", [False, True], ids=["harness alone", "machine asleep"])
def test_standing_still_itself_is_not_the_workers_time(tmp_path, both):
    command = [sys.executable, "-c", WAITING, str(tmp_path), FAKE_WORKLOAD]
    harness = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert harness.stdout is not None
    worker = psutil.Process(int(harness.stdout.readline()))
    stopped = [psutil.Process(harness.pid), *([worker] if both else [])]
    for each in stopped:
        each.suspend()
    time.sleep(5.0)
    for each in reversed(stopped):
        each.resume()
    output, _ = harness.communicate(timeout=60)
    assert "first_run_seconds" in output, output


def test_standing_still_before_the_first_look_is_not_the_workers_time(tmp_path):
    """As where a machine falls asleep between a request and the wait for its answer."""
    worker = start_worker(tmp_path)
    request(worker, "import", 60.0, engine="benchctl.measure.fake:make_engine", device="cpu")
    worker.suspend()
    worker.post("memory", 1.0)
    time.sleep(2.0)
    worker.resume()
    assert worker.wait()["peak_bytes"] > 0
    worker.stop(5.0)


def test_a_suspended_worker_stands_still_and_can_be_ended(tmp_path):
    worker = start_worker(tmp_path)
    try:
        request(worker, "import", 60.0, engine="benchctl.measure.fake:make_engine", device="cpu")
        worker.suspend()
        wait_until(lambda: psutil.Process(worker.pid).status() == psutil.STATUS_STOPPED)
        worker.post("memory", 0.3)
        with pytest.raises(ArmFailure, match=r"no answer within 0\.3 s"):
            worker.wait()
    finally:
        worker.kill()
    assert not psutil.pid_exists(worker.pid)
    other = start_worker(tmp_path)
    request(other, "import", 60.0, engine="benchctl.measure.fake:make_engine", device="cpu")
    other.suspend()
    other.stop(5.0)
    assert not psutil.pid_exists(other.pid)


def test_a_worker_ignores_ctrl_c(tmp_path):
    worker = start_worker(tmp_path)
    try:
        engine = "benchctl.measure.fake:make_engine"
        request(worker, "import", 60.0, engine=engine, device="cpu")
        psutil.Process(worker.pid).send_signal(signal.SIGINT)
        answer = request(worker, "import", 60.0, engine=engine, device="cpu")
        assert answer["versions"] == {"fake": "1"}
    finally:
        worker.stop(5.0)


def test_a_worker_imports_nothing_of_its_own_before_the_engine():
    code = (
        "import sys, benchctl.measure.worker;"
        "print([name for name in ('numpy', 'psutil', 'click') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_answer_in_process_is_the_answer_of_a_process(tmp_path):
    engine = "benchctl.measure.fake:make_engine"
    near = local_launcher(VirtualClock())({})
    far = start_worker(tmp_path)
    fields = {
        "workload": fake_plan(fake_arm("a")).cases[0].workload,
        "case": {"elements": 3, "mode": "gradient"},
        "parameter_seed": 1,
        "input_seed": 2,
        "options": {"switches": {"step_us": "10"}},
    }
    try:
        for worker in (near, far):
            request(worker, "import", 60.0, engine=engine, device="cpu")
            request(worker, "prepare", 60.0, **fields)
        for op in ("facts",):
            assert request(near, op, 60.0) == request(far, op, 60.0)
        with pytest.raises(ArmFailure) as unknown:
            request(far, "dance", 60.0)
        assert "do_dance" in unknown.value.message
    finally:
        far.stop(5.0)


NOISY = """
import numpy as np
from benchctl_workloads import Outputs, Workload

class Noisy(Workload):
    name = "noisy"

    def inputs(self, case, rng):
        return {"x": rng.standard_normal(50, dtype="float32")}

    def program(self, ops, parameters, inputs, case):
        kept = ops.greater(ops.random_uniform((50,)), 0.5)
        return Outputs(values={"y": ops.where(kept, inputs["x"], 0.0)})
"""


@pytest.mark.parametrize(("seed", "ok"), [(7, True), (8, False)])
def test_the_reference_draws_the_random_numbers_of_the_plan_s_seed(tmp_path, seed, ok):
    workload = tmp_path / "noisy.py"
    workload.write_text(NOISY)
    arrays = {"workload": str(workload), "case": {}, "input_seed": 3}
    folder = tmp_path / "reference"
    folder.mkdir()
    service = WorkerService(VirtualClock())

    def result(op: str, **fields: object) -> dict[str, object]:
        answer = service.answer({"op": op, **fields})
        assert "result" in answer, answer
        return answer["result"]

    result("reference", **arrays, parameter_seed=7, folder=str(folder))
    result("import", engine="eager", device="cpu")
    result("prepare", **arrays, parameter_seed=seed, options={"seed": seed})
    assert result("check", folder=str(folder))["verification"]["ok"] is ok
    service.close()


def test_the_tail_of_a_crash_shows_where_it_happened():
    stack = [f'  File "deep.py", line {n} in f{n}' for n in range(40)]
    text = "\n".join(["hello", "Fatal Python error: Segmentation fault", "", *stack])
    lines = tail_lines(text)
    assert lines[:3] == ("hello", "Fatal Python error: Segmentation fault", stack[0])
    assert tail_lines("a\n\nb\n") == ("a", "b")


# Ctrl-C and worse ------------------------------------------------------------------------------


def start_run(tmp_path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, str(SCRIPT), str(tmp_path / "store"), str(tmp_path / "cache")]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path)


def run_until_round(tmp_path: Path, number: int) -> tuple[subprocess.Popen[str], Path, list[int]]:
    """A run that has stored some rounds: its process, file and workers."""
    process = start_run(tmp_path)
    assert process.stdout is not None
    path = Path(process.stdout.readline().strip())
    for line in process.stdout:
        if line.strip() == f"round {number}":
            break
    workers = [each.pid for each in psutil.Process(process.pid).children() if is_worker(each)]
    assert len(workers) == 2
    return process, path, workers


def wait_until(condition, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def none_runs(pids: list[int]) -> bool:
    """Whether all have ended; a zombie that nobody reaps has."""
    for pid in pids:
        try:
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                return False
        except psutil.NoSuchProcess:
            continue
    return True


def test_ctrl_c_keeps_finished_rounds_and_the_rest_can_be_measured(tmp_path):
    process, path, workers = run_until_round(tmp_path, 3)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert output.splitlines()[-1] == "interrupted"
    assert process.returncode == 0
    assert none_runs(workers)
    run = load_run(path)
    assert not run.complete
    done = {len(result.rounds) for result in results_of(run).values()}
    assert len(done) == 1
    stored = done.pop()
    assert stored >= 3

    rest = replace(run.plan, rounds=stored + 2)
    observer = RecordingObserver()
    measure(rest, Journal.resume(path), observer, done=run, settings=settings_of(rest))
    after = load_run(path)
    assert [total for _, _, total in observer.rounds] == [stored + 2] * 2
    for result in results_of(after).values():
        assert [taken.round for taken in result.rounds] == list(range(stored + 2))


def test_a_killed_run_leaves_its_rounds_and_no_workers(tmp_path):
    process, path, workers = run_until_round(tmp_path, 2)
    process.kill()
    process.communicate(timeout=60)
    wait_until(lambda: none_runs(workers))
    run = load_run(path)
    assert not run.complete
    assert all(len(result.rounds) >= 2 for result in results_of(run).values())
