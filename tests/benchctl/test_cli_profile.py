"""`benchctl profile` and `benchctl ablate` as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from benchctl.cli import main
from benchctl.measure.differences import largest_difference, save_outputs
from benchctl.measure.limits import MachineLimits, measure_gemm_rate, measure_here
from benchctl.plan.arms import parse_arm
from benchctl.plan.ladder import ALL_OFF, ladder, passes_of
from benchctl.plan.registry import load_engine
from benchctl.report.profile import kernel_rows, launch_rows, profile_table, trace_document
from benchctl_engines.contract import EngineOptions
from benchctl_workloads.workload import make_case
from benchctl_workloads.xyz import Xyz

PNG = b"\x89PNG\r\n\x1a\n"


def benchctl(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


@pytest.fixture(autouse=True)
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits measured with arrays that take no time."""
    quick = measure_here(1, side=64, array_bytes=2**16)
    monkeypatch.setattr("benchctl.measure.limits.measure_limits", lambda *_: quick)


def test_profile_prints_kernels_and_saves_both_files(tmp_path: Path) -> None:
    done = benchctl("profile", "xyz", "--steps", "3", "--store", str(tmp_path))
    assert done.exit_code == 0, done.output
    assert "fused_loop:generated_loop" in done.stdout
    assert "outside kernels" in done.stdout
    files = sorted((tmp_path / "profiles").iterdir())
    assert [each.suffix for each in files] == [".png", ".json"]
    assert files[0].read_bytes().startswith(PNG)
    events = json.loads(files[1].read_text())["traceEvents"]
    complete = [each for each in events if each["ph"] == "X"]
    assert [each["name"] for each in complete] == ["fused_loop:generated_loop"]
    assert all(each["dur"] > 0 and each["ts"] >= 0 for each in complete)


def test_profile_as_json_adds_up(tmp_path: Path) -> None:
    axes = ("-a", "image_size=32", "-a", "width=16", "-a", "mode=training")
    engines = ("--engine", "eager", "--engine", "static")
    done = benchctl("profile", "vgg16", *axes, *engines, "--json", "--store", str(tmp_path))
    assert done.exit_code == 0, done.output
    profiles = json.loads(done.stdout)["profiles"]
    assert [each["arm"] for each in profiles] == ["eager", "static"]
    counts = [len(each["launches"]) for each in profiles]
    assert counts[0] > counts[1] > 20
    for each in profiles:
        assert list(each["phases"]) == ["forward", "backward", "update"]
        assert {launch["phase"] for launch in each["launches"]} == set(each["phases"])
    for each in profiles:
        assert all(Path(path).is_file() for path in each["files"])
        starts = [launch["start_seconds"] for launch in each["launches"]]
        assert starts == sorted(starts)


def test_an_engine_that_cannot_be_profiled_says_what_can(tmp_path: Path) -> None:
    done = benchctl("profile", "xyz", "--engine", "numpy", "--store", str(tmp_path))
    assert done.exit_code == 6
    assert "does not tell the times of single kernels" in done.stderr
    assert "--engine static" in done.stderr


def test_an_unknown_workload_and_an_unwritable_folder(tmp_path: Path) -> None:
    assert benchctl("profile", "xzy").exit_code == 2
    blocked = tmp_path / "store"
    blocked.write_text("a file")
    done = benchctl("profile", "xyz", "--store", str(blocked))
    assert done.exit_code != 0
    assert "Traceback" not in done.output


SOME = ("simplify_algebra", "fuse_elementwise")


@pytest.mark.slow
def test_ablate_measures_every_rung(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two passes: each rung takes three processes or more. The next test has all of them."""
    monkeypatch.setattr("benchctl.plan.ladder.passes_of", lambda *_: SOME)
    done = benchctl("ablate", "xyz", "--rounds", "1", "--store", str(tmp_path), "--json")
    assert done.exit_code == 0, done.output
    (document,) = json.loads(done.stdout)["ablations"]
    rungs = {each["rung"]["label"]: each for each in document["rungs"]}
    assert len(rungs) == 2 + 2 * len(SOME)
    assert all(each["seconds"] > 0 for each in rungs.values())
    off, on = rungs["static, all passes off"], rungs[f"+ {SOME[-1]}"]
    assert off["ratio"] is None and off["difference"] == 0
    assert on["launches"] == 1 < off["launches"] == rungs["eager"]["launches"]
    assert on["bytes_moved"] < off["bytes_moved"]
    assert all(each["difference"] < 1e-5 for each in rungs.values())
    (chart,) = (tmp_path / "ablations").glob("*.png")
    assert chart.read_bytes().startswith(PNG)
    assert len(list((tmp_path / "runs").rglob("*.jsonl"))) == 1


def test_every_rung_of_every_pass_computes_the_same() -> None:
    workload = Xyz()
    case = make_case(workload, {"size": "7x5"})
    inputs = workload.inputs(case, np.random.default_rng(1))
    passes = passes_of(load_engine("static").switches())
    rungs = ladder(passes)
    assert len(rungs) == 2 + 2 * len(passes)
    launches: dict[str, int] = {}
    for rung in rungs:
        arm = parse_arm(rung.arm)
        options = EngineOptions(switches=arm.switches)
        runner = load_engine(arm.engine).prepare(workload, case, {}, inputs, options)
        runner.build()
        runner.compile()
        runner.load(inputs)
        runner.step()
        for name, expected in workload.reference(case, {}, inputs).items():
            np.testing.assert_allclose(runner.outputs()[name], expected, rtol=1e-5, atol=1e-5)
        launches[rung.label] = runner.facts().counts.get("launches", 0)
        runner.close()
    assert launches[f"+ {passes[-1]}"] == 1 < launches["static, all passes off"]
    assert launches["all but fuse_elementwise"] > 1


def test_the_ladder_has_each_pass_once_on_and_once_off() -> None:
    rungs = ladder(["first", "second"])
    assert [each.arm for each in rungs] == [
        "eager",
        ALL_OFF,
        f"{ALL_OFF},first=on",
        "static",
        "static:first=off",
        "static:second=off",
    ]
    passes = passes_of(load_engine("static").switches())
    assert "fuse_elementwise" in passes
    gpu_only = {"gather_updates", "capture"}
    assert not {"passes", "entry", "check_nan", "poison", *gpu_only} & set(passes)
    on_a_gpu = passes_of(load_engine("static").switches(), "gpu:1/tf32")
    assert on_a_gpu == (*passes, "gather_updates", "capture")


def test_equal_kernels_are_summed_and_rates_follow() -> None:
    launches = [
        {"kernel": "a", "shapes": "2", "seconds": 2e-6, "start_seconds": 0.0},
        {"kernel": "b", "shapes": "2", "seconds": 1e-6, "start_seconds": 2e-6},
        {"kernel": "a", "shapes": "2", "seconds": 4e-6, "start_seconds": 3e-6},
    ]
    launches = [
        {**each, "flops": 3000, "bytes_moved": 600, "origin": "f.py:1"} for each in launches
    ]
    first, second = kernel_rows(launches)
    assert (first.kernel, first.calls, first.flops) == ("a", 2, 6000)
    assert first.flops_per_second == pytest.approx(1e9)
    assert first.bytes_per_second == pytest.approx(2e8)
    assert (second.kernel, second.calls) == ("b", 1)
    assert [row.kernel for row in launch_rows(launches)] == ["a", "b", "a"]
    limits = MachineLimits(1, 2e9, 4e8, 1e-9)
    table = profile_table([first, second], 1e-5, limits, by_launch=False)
    assert table.rows[0][4:] == ("60.0%", "1.0", "50%", "0.2", "50%", "50%")
    assert table.rows[-1][3:5] == ("3.0", "30.0%")
    events = trace_document(launches, "t")["traceEvents"][1:]
    assert [each["ts"] for each in events] == pytest.approx([0.0, 2.0, 3.0])


def test_differences_are_relative_to_the_largest_element(tmp_path: Path) -> None:
    saved = {"y": np.array([1.0, -4.0, 2.0]), "labels": np.array([1, 2])}
    save_outputs(tmp_path, saved)
    assert largest_difference(saved, tmp_path) == 0
    changed = {**saved, "y": np.array([1.0, -4.0, 2.4])}
    assert largest_difference(changed, tmp_path) == pytest.approx(0.1)
    broken = {**saved, "y": np.array([1.0, np.nan, 2.0])}
    assert np.isnan(largest_difference(broken, tmp_path))
    with pytest.raises(KeyError):
        largest_difference({"y": saved["y"]}, tmp_path)


def test_the_rate_of_a_product_is_positive() -> None:
    assert measure_gemm_rate(32, repeats=1) > 0
