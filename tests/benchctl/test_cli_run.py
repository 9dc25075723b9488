"""`run` and `verify`: plans, failures, interruption, resuming; scripted measuring, one real run."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from record_factory import EAGER, NUMPY, FakeArm, make_case, make_run, wrong

from benchctl.cli import main
from benchctl.measure import session
from benchctl.store.errors import StoreError
from benchctl.store.reader import load_store
from benchctl.store.record import ArmResult, Plan

Measure = Callable[..., None]


def invoke(store: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["run", *arguments, "--store", str(store)])


def scripted(
    arms: Sequence[FakeArm], end: BaseException | None = None, after_rounds: int = 99
) -> Measure:
    """A `measure` that journals synthetic arms, and may end early with an error."""

    def measure(plan: Plan, journal, observer, *, done=None, budget_seconds=None, **_) -> None:
        observer.plan_started(plan)
        for case in plan.cases:
            ids = {arm.id for arm in plan.arms}
            made = make_run((case,), [arm for arm in arms if arm.id in ids], rounds=12)
            observer.case_started(case, plan.arms)
            results = made.cases[0].arms
            finished = 0
            if done is not None:
                kept = next(each for each in done.cases if each.case.id == case.id)
                finished = max((len(arm.rounds) for arm in kept.arms), default=0)
            for result in results:
                journal.append_arm(case.id, result)
                told = observer.arm_checked if result.status == "ok" else observer.arm_failed
                told(case, result)
            for number in range(finished, 12):
                if number == after_rounds and end is not None:
                    raise end
                taken = {arm.arm.id: arm.rounds[number] for arm in results if arm.rounds}
                if taken:
                    journal.append_rounds(case.id, taken)
                    observer.round_finished(case, number + 1, 12, 1.0)
            observer.case_finished(case)
        journal.finish()

    return measure


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def use(*arms: FakeArm, **how) -> None:
        monkeypatch.setattr(session, "measure", scripted(arms, **how))

    return use


TWO = ("--engine", "eager", "--engine", "numpy")


def test_a_run_is_stored_and_shown(scripts, tmp_path: Path) -> None:
    scripts(EAGER, NUMPY)
    result = invoke(tmp_path, "xyz", *TWO)
    assert result.exit_code == 0, result.output
    assert "numpy is 3.2" in result.stdout
    assert "benchctl report" in result.stdout
    assert "benchctl explain xyz --engine" in result.stdout
    (run,), problems = load_store(tmp_path)
    assert run.complete and not problems
    assert str(run.path) in result.stdout
    assert run.plan.cases[0].workload == "xyz"


def test_json_has_stdout_to_itself(scripts, tmp_path: Path) -> None:
    scripts(EAGER, wrong("numpy"))
    result = invoke(tmp_path, "xyz", *TWO, "--json", "-")
    assert result.exit_code == 5
    assert {entry["arm"] for entry in json.loads(result.stdout)["cases"]} == {"eager", "numpy"}
    assert "wrong: numpy grad_x differs" in result.stderr


@pytest.mark.parametrize("status", ["crashed", "timeout"])
def test_failed_arms_end_with_5_and_their_own_word(scripts, tmp_path: Path, status: str) -> None:
    scripts(NUMPY, FakeArm("eager", status=status, message="killed by SIGKILL", hint="free memory"))
    result = invoke(tmp_path, "xyz", *TWO)
    assert result.exit_code == 5
    word = {"crashed": "crashed", "timeout": "timed out"}[status]
    assert f"{word}: eager: killed by SIGKILL" in result.stdout
    assert "free memory" in result.stdout


def test_nothing_measured_ends_with_6(scripts, tmp_path: Path) -> None:
    missing = [
        FakeArm(name, status="unavailable", message="not installed") for name in ("eager", "numpy")
    ]
    scripts(*missing)
    assert invoke(tmp_path, "xyz", *TWO).exit_code == 6


def test_ctrl_c_keeps_rounds_and_its_command_finishes_the_run(scripts, tmp_path: Path) -> None:
    scripts(EAGER, NUMPY, end=KeyboardInterrupt(), after_rounds=4)
    result = invoke(tmp_path, "xyz", *TWO)
    assert result.exit_code == 130
    (run,), _ = load_store(tmp_path)
    assert not run.complete
    assert "interrupted: 4 finished rounds kept" in result.stderr
    command = next(line for line in result.stderr.splitlines() if "--resume" in line).split()
    arguments = command[1 : command.index("measures")]

    scripts(EAGER, NUMPY)
    resumed = CliRunner().invoke(main, arguments)
    assert resumed.exit_code == 0, resumed.output
    (run,), _ = load_store(tmp_path)
    assert run.complete
    assert all(len(arm.rounds) == 12 for arm in run.cases[0].arms)
    again = CliRunner().invoke(main, arguments)
    assert again.exit_code == 2 and "is complete" in again.stderr


def test_resume_without_a_name_takes_the_newest_incomplete_run(scripts, tmp_path: Path) -> None:
    nothing = CliRunner().invoke(main, ["run", "--store", str(tmp_path), "--resume"])
    assert nothing.exit_code == 2 and "no incomplete run" in nothing.stderr
    scripts(NUMPY, end=KeyboardInterrupt(), after_rounds=2)
    invoke(tmp_path, "xyz", "--engine", "numpy")
    scripts(NUMPY)
    assert CliRunner().invoke(main, ["run", "--store", str(tmp_path), "--resume"]).exit_code == 0


def test_a_full_disk_ends_with_5_and_keeps_what_was_stored(scripts, tmp_path: Path) -> None:
    scripts(NUMPY, end=StoreError("no space left on the disk", "free some"), after_rounds=3)
    result = invoke(tmp_path, "xyz", "--engine", "numpy")
    assert result.exit_code == 5
    assert "error: no space left on the disk" in result.stderr
    assert "3 finished rounds kept" in result.stderr
    (run,), problems = load_store(tmp_path)
    assert len(run.cases[0].arms[0].rounds) == 3 and not problems


def test_a_defect_keeps_rounds_too(scripts, tmp_path: Path) -> None:
    scripts(NUMPY, end=RuntimeError("surprise"), after_rounds=3)
    result = invoke(tmp_path, "xyz", "--engine", "numpy")
    assert result.exit_code == 70
    assert "RuntimeError: surprise" in result.stderr and "--debug" in result.stderr
    assert "3 finished rounds kept" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("option", "value"), [("--rounds", ["20"]), ("--seed", ["1"]), ("--dry-run", [])]
)
def test_resume_refuses_what_the_stored_plan_has_decided(
    scripts, tmp_path: Path, option: str, value: list[str]
) -> None:
    scripts(NUMPY, end=KeyboardInterrupt(), after_rounds=3)
    assert invoke(tmp_path, "xyz", "--engine", "numpy").exit_code == 130
    result = invoke(tmp_path, "--resume", option, *value)
    assert result.exit_code == 2
    assert f"leave out {option}" in result.stderr
    (run,), _ = load_store(tmp_path)
    assert len(run.cases[0].arms[0].rounds) == 3


def test_a_disk_that_is_full_from_the_start_ends_with_5(tmp_path: Path, monkeypatch) -> None:
    def refuse(descriptor: int, line: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("benchctl.store.journal.os.write", refuse)
    result = invoke(tmp_path, "xyz", "--engine", "numpy")
    assert result.exit_code == 5
    assert "No space left on device" in result.stderr
    assert "try again" in result.stderr and "resume" not in result.stderr


def test_an_unwritable_store_is_a_matter_of_usage(scripts, tmp_path: Path) -> None:
    scripts(NUMPY)
    (tmp_path / "runs").write_text("a file where a folder is needed")
    result = invoke(tmp_path, "xyz", "--engine", "numpy")
    assert result.exit_code == 2
    assert "--store" in result.stderr or "runs" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["vgg17"], ["vgg17", "Did you mean vgg16?", "xyz", "./my_workload.py"]),
        (["xyz", "--engine", "numpi"], ["numpi", "Did you mean numpy?", "eager"]),
        (["xyz", *TWO, "-a", "sise=3x4"], ["sise", "Did you mean size?", "expression"]),
        (["xyz", *TWO, "-a", "expression=prod"], ["prod", "Did you mean product?", "multiply_add"]),
        (["xyz", *TWO, "-a", "expression"], ["name=value", "expression"]),
        (["xyz", *TWO, "--device", "gpuu"], ["gpuu", "cpu, gpu or gpu:N"]),
        (["--suite", "slide"], ["slide", "Did you mean slides?"]),
        (["./nowhere.py"], ["nowhere.py"]),
        (["xyz", "--budget", "soon"], ["soon", "30s"]),
        (["xyz", *TWO, "--reference", "static"], ["static", "eager"]),
        ([], ["benchctl run xyz"]),
    ],
    ids=str,
)
def test_usage_errors_name_choices_and_exit_2(
    tmp_path: Path, arguments: list[str], expected: list[str]
) -> None:
    result = invoke(tmp_path, *arguments)
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("error: ")
    for text in expected:
        assert text in result.stderr
    assert not (tmp_path / "runs").exists()


def test_no_gpu_is_one_line_with_a_way_out(tmp_path: Path, monkeypatch) -> None:
    from benchctl.plan import registry
    from benchctl_engines.contract import Availability

    engine = registry.load_engine("eager")
    missing = Availability(False, "no CUDA device: no driver", "--device cpu measures here")
    monkeypatch.setattr(type(engine), "availability", lambda self, device: missing)
    result = invoke(tmp_path, "vgg16", "--engine", "eager", "--device", "gpu")
    assert result.exit_code == 6
    assert result.stderr == "error: no CUDA device: no driver\n       --device cpu measures here\n"
    assert not (tmp_path / "runs").exists()


def test_dry_run_shows_the_plan_and_runs_nothing(tmp_path: Path) -> None:
    result = invoke(
        tmp_path,
        "xyz",
        *TWO,
        "-a",
        "size=3x4,10x10",
        "--rounds",
        "7",
        "--threads",
        "1",
        "--dry-run",
    )
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "xyz  expression product, dtype float32, legacy_seed none"
    cases = [line for line in lines if line.startswith(("  3x4 ", "  10x10 "))]
    assert len(cases) == 2
    assert all("eager, numpy" in line and line.endswith(" 7") for line in cases)
    assert "about" in result.stdout and "nothing was run" in result.stdout
    assert not (tmp_path / "runs").exists()


def test_axes_reach_the_workloads_of_a_suite_that_have_them(tmp_path: Path) -> None:
    result = invoke(tmp_path, "smoke", *TWO, "-a", "size=5x5", "--dry-run")
    xyz = [line for line in result.stdout.splitlines() if line.startswith("xyz")]
    assert len(xyz) == 1 and "size 5x5" in xyz[0]
    assert "vgg16  " in result.stdout


def test_keep_blas_override_reaches_the_settings(scripts, tmp_path: Path) -> None:
    scripts(NUMPY)
    invoke(tmp_path, "xyz", "--engine", "numpy", "--keep-blas-override")
    (run,), _ = load_store(tmp_path)
    assert run.plan.settings["measure"] == {"keep_blas_override": True}


def test_verify_names_wrong_outputs(monkeypatch) -> None:
    def verify(plan: Plan, observer) -> list[tuple[object, ArmResult]]:
        made = make_run((make_case(),), (EAGER, wrong("numpy")))
        return [(plan.cases[0], arm) for arm in made.cases[0].arms]

    monkeypatch.setattr(session, "verify", verify)
    result = CliRunner().invoke(main, ["verify", "xyz", *TWO])
    assert result.exit_code == 5
    assert "eager ok 2e-8" in result.stdout
    assert "wrong: numpy grad_x differs from the float64 reference by 3.1" in result.stdout
    document = json.loads(CliRunner().invoke(main, ["verify", "xyz", *TWO, "--json"]).stdout)
    assert [entry["status"] for entry in document["cases"]] == ["ok", "wrong"]


def test_a_real_run_of_one_engine_leaves_a_complete_record(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *RUN,
            "xyz",
            "--engine",
            "numpy",
            "--rounds",
            "2",
            "--store",
            str(tmp_path),
            "--json",
            "-",
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (entry,) = json.loads(done.stdout)["cases"]
    assert entry["verification"]["ok"] and entry["median_seconds"] > 0
    (run,), _ = load_store(tmp_path)
    assert run.complete


def test_a_real_run_that_is_told_to_end_keeps_its_rounds(tmp_path: Path) -> None:
    command = [*RUN, "xyz", "--engine", "numpy", "--rounds", "5000", "--store", str(tmp_path)]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not stored_rounds(tmp_path):
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130, told
    assert "--resume" in told
    assert stored_rounds(tmp_path) >= 1


RUN = [sys.executable, "-m", "benchctl", "run"]


def stored_rounds(store: Path) -> int:
    runs, _ = load_store(store)
    return sum(len(arm.rounds) for run in runs for case in run.cases for arm in case.arms)


HANGING = """
import time
from benchctl_workloads import Axis, Outputs, Workload

class Hanging(Workload):
    name = "hanging"
    axes = (Axis("n", 4),)

    def inputs(self, case, rng):
        return {"x": rng.standard_normal((3, 4), dtype="float32")}

    def program(self, ops, parameters, inputs, case):
        return Outputs({"y": ops.relu(inputs["x"])})

    def by_hand(self, case):
        def step(parameters, inputs):
            time.sleep(600)
            return {}
        return step
"""


def test_an_engine_that_hangs_is_given_up_after_the_time_given(tmp_path: Path) -> None:
    file = tmp_path / "hanging.py"
    file.write_text(HANGING)
    # The other engine compiles nothing, so that a short time is enough for it.
    arguments = ["--engine", "eager", "--engine", "numpy", "--rounds", "2", "--timeout", "4s"]
    result = invoke(tmp_path / "store", str(file), *arguments)
    assert result.exit_code == 5
    assert "timed out: numpy: no answer within 4 s" in result.stdout
    assert "--timeout" in result.stdout
    (run,), _ = load_store(tmp_path / "store")
    eager, numpy = run.cases[0].arms
    assert (eager.status, len(eager.rounds)) == ("ok", 2)
    assert numpy.status == "timeout"
