"""Kernels chosen by measuring, on an emulated GPU whose clock is planted."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import product_rows as rows
import pytest
from cuda_runs import (
    ENGINES,
    WatchedDriver,
    assert_right,
    assert_same,
    drawn,
    emulated,
    stepped,
)
from emulator import EmulatedDriver
from test_every_engine import SMALL_HEADS

from benchctl.plan.arms import parse_arm
from benchctl.plan.errors import PlanError
from benchctl.plan.schedule import build_plan
from benchctl.plan.suites import SuiteEntry
from benchctl_engines.contract import EngineOptions, Outputs
from benchctl_engines.devices.cuda import autotune
from benchctl_engines.devices.cuda.autotune import ROUNDS, CudaTuner, request_words
from benchctl_engines.devices.cuda.choice_cache import Choice, ChoiceCache
from benchctl_engines.gpu.driver import DeviceError
from benchctl_engines.kernels.table import KernelRequest, prepared_kernel
from benchctl_engines.primitives.specs import spec
from benchctl_workloads import Workload
from benchctl_workloads.heads import Heads

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="g++ builds the kernels")

WINDOW = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "layout": "NHWC"}
OPERANDS = [
    rows.draw(0, 1, 8, 8, 4).astype(np.float32),
    rows.draw(1, 3, 3, 4, 4).astype(np.float32),
]
SLOW, QUICK = 5e-3, 1e-3
"""Far above what issuing takes the emulated host."""


def costs(quick: str):
    """A device on which all of a library's work is slow but what is named so."""

    def seconds(name: str) -> float:
        if not name.startswith("numpy_"):
            return 1e-6
        return QUICK if name == quick else SLOW

    return seconds


def tuned(driver, folder, operands=OPERANDS, bound=(), **changed):
    """(name, prepared, tuner) of a convolution under a tuner of its own."""
    tuner = CudaTuner(driver, ChoiceCache(folder, driver.facts))
    request = rows.request_of("conv2d", operands, driver, **WINDOW)
    request = replace(request, tuner=tuner, **changed)
    return (*prepared_kernel("conv2d", "gpu", request, bound), tuner)


@pytest.fixture
def driver():
    made = EmulatedDriver(2**28, plans_each=3)
    yield made
    made.check()


# ----- what is chosen -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("quick", "row", "detail"),
    [
        ("numpy_convolution", "cudnn", "numpy_convolution"),
        ("numpy_convolution 2", "cudnn", "numpy_convolution 2"),
        ("numpy_matmul", "im2col_gemm", "numpy_matmul"),
    ],
)
def test_the_quickest_is_taken_and_named(quick, row, detail, driver, tmp_path):
    driver.clock.device_seconds = costs(quick)
    name, prepared, tuner = tuned(driver, tmp_path)
    assert (name, prepared.detail) == (f"{row}, tuned", detail)
    request = rows.request_of("conv2d", OPERANDS, driver, **WINDOW)
    found = rows.run_prepared(driver, prepared, request, OPERANDS)
    assert rows.error_of(found, rows.reference(request, OPERANDS, "conv2d")) < 1e-5
    [kept] = json.loads(next(tmp_path.iterdir()).read_text())["choices"].values()
    assert (kept["row"], kept["detail"]) == (row, detail)
    # Winograd, three plans of the library, and columns.
    assert kept["tried"] == 5 and kept["seconds"] == pytest.approx(QUICK, rel=0.1)
    assert "1 kernels measured" in tuner.note()


def test_where_all_are_alike_the_rule_decides(driver, tmp_path):
    request = rows.request_of("conv2d", OPERANDS, driver, **WINDOW)
    expected = rows.chosen("conv2d", request).name
    driver.clock.device_seconds = lambda name: 0.0
    driver.clock.host_seconds = 0.0
    name, _, _ = tuned(driver, tmp_path)
    assert name == f"{expected}, tuned"


def test_every_candidate_has_its_turns_on_a_cold_cache(driver, tmp_path):
    tuned(driver, tmp_path)
    assert driver.issued.count("numpy_convolution 1") == 2 + ROUNDS
    assert driver.issued.count("benchctl_spin") == 5 * ROUNDS
    after_flush = [
        second
        for first, second in zip(driver.issued, driver.issued[1:], strict=False)
        if first == "fill"
    ]
    assert after_flush.count("benchctl_spin") == 5 * ROUNDS


def test_filters_that_never_change_are_no_part_of_the_time(driver, tmp_path):
    """Reordering them is what makes the library's plan slow, and is done once."""

    def seconds(name):
        return {"reorder_filters": 10 * SLOW, "numpy_convolution": QUICK}.get(name, SLOW)

    driver.clock.device_seconds = seconds
    anew, _, _ = tuned(driver, tmp_path / "anew")
    once, _, _ = tuned(driver, tmp_path / "once", bound=(1,))
    assert (anew, once) == ("im2col_gemm, tuned", "cudnn, tuned")


def test_products_have_plans_to_choose_among_as_well(driver, tmp_path):
    driver.clock.device_seconds = costs("numpy_matmul 1")
    tuner = CudaTuner(driver, ChoiceCache(tmp_path, driver.facts))
    operands = [rows.draw(0, 3, 5).astype(np.float32), rows.draw(1, 5, 2).astype(np.float32)]
    request = rows.request_of("matmul", operands, driver, transpose_a=False, transpose_b=False)
    name, prepared = prepared_kernel("matmul", "gpu", replace(request, tuner=tuner))
    assert (name, prepared.detail) == ("gemm, tuned", "numpy_matmul 1")


def test_where_there_is_no_choice_nothing_is_measured(driver, tmp_path):
    tuner = CudaTuner(driver, ChoiceCache(tmp_path, driver.facts))
    x = rows.draw(0, 3).astype(np.float32)
    made = spec(x.shape, "float32")
    request = KernelRequest((made,), (made,), driver=driver, tuner=tuner)
    assert prepared_kernel("relu", "gpu", request)[0] == "generated_loop"
    empty = [np.zeros((0, 8, 8, 4), np.float32), OPERANDS[1]]
    name, _, tuner = tuned(driver, tmp_path, empty)
    assert "tuned" not in name and "0 kernels measured" in tuner.note()
    assert not driver.issued


def test_a_candidate_that_fails_is_one_fewer(driver, tmp_path, monkeypatch):
    driver.clock.device_seconds = costs("numpy_convolution 1")
    issue = driver.issue

    def refuse(name, work):
        if name == "numpy_convolution 1":
            raise DeviceError("not supported after all")
        issue(name, work)

    monkeypatch.setattr(driver, "issue", refuse)
    name, prepared, _ = tuned(driver, tmp_path)
    assert prepared.detail != "numpy_convolution 1" and name.endswith("tuned")


def test_without_memory_for_a_trial_the_rule_decides(tmp_path):
    driver = EmulatedDriver(2 * 2**20 + 4096, plans_each=3)
    name, _, tuner = tuned(driver, tmp_path)
    assert "tuned" not in name
    assert "1 by rule, for want of memory" in tuner.note()
    assert not list(tmp_path.iterdir())


# ----- what is kept -------------------------------------------------------------------------------


def test_a_choice_that_is_kept_is_taken_and_nothing_is_measured(driver, tmp_path):
    driver.clock.device_seconds = costs("numpy_convolution 1")
    first, *_ = tuned(driver, tmp_path)
    driver.issued.clear()
    # Were it measured again, another would win.
    driver.clock.device_seconds = costs("numpy_convolution 2")
    again, prepared, tuner = tuned(driver, tmp_path)
    assert (again, prepared.detail) == (first, "numpy_convolution 1")
    assert not driver.issued
    assert "1 taken as measured before" in tuner.note()


@pytest.mark.parametrize("what", ["name", "driver", "architecture"])
def test_another_device_or_driver_is_measured_anew(what, tmp_path):
    for turn in (1, 2):
        driver = EmulatedDriver(2**28, plans_each=3)
        changed = {
            "name": {"name": f"GPU {turn}"},
            "driver": {"versions": {"cuda driver": f"13.{turn}"}},
            "architecture": {"architecture": 80 + turn},
        }
        driver.facts = replace(driver.facts, **changed[what])
        driver.clock.device_seconds = costs(f"numpy_convolution {turn}")
        _, prepared, _ = tuned(driver, tmp_path)
        assert prepared.detail == f"numpy_convolution {turn}"
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("what", ["shape", "precision", "constant", "layout"])
def test_another_request_is_measured_anew(what, driver, tmp_path):
    request = rows.request_of("conv2d", OPERANDS, driver, **WINDOW)
    wider = [np.zeros((2, 8, 8, 4), np.float32), OPERANDS[1]]
    others = {
        "shape": (rows.request_of("conv2d", wider, driver, **WINDOW), ()),
        "precision": (replace(request, precision="tf32"), ()),
        "constant": (request, (1,)),
        "layout": (
            rows.request_of(
                "conv2d", OPERANDS, driver, **{**WINDOW, "layout": "NHWC", "filter_layout": "NHWC"}
            ),
            (),
        ),
    }
    other, bound = others[what]
    assert request_words("conv2d", request, ()) != request_words("conv2d", other, bound)


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"schema": "benchctl.autotune/1"}', '{"schema": "x", "choices": {}}', "\x00"],
)
def test_a_file_that_cannot_be_read_is_ignored_with_a_note(content, driver, tmp_path):
    driver.clock.device_seconds = costs("numpy_convolution 1")
    path = ChoiceCache(tmp_path, driver.facts).path
    path.write_text(content)
    _, prepared, tuner = tuned(driver, tmp_path)
    assert prepared.detail == "numpy_convolution 1"
    assert f"{path} was not readable and is measured anew" in tuner.note()
    # It is whole again.
    assert "readable" not in tuned(driver, tmp_path)[2].note()


def test_a_choice_that_stands_for_another_plan_now_is_measured_anew(driver, tmp_path):
    driver.clock.device_seconds = costs("numpy_convolution 1")
    cache = ChoiceCache(tmp_path, driver.facts)
    key = request_words("conv2d", rows.request_of("conv2d", OPERANDS, driver, **WINDOW), ())
    for stale in (
        Choice("cudnn", 2, "numpy_convolution of yesterday", 1e-9, 5),
        Choice("cudnn", 7, "numpy_convolution 7", 1e-9, 5),
        Choice("gone", 0, "", 1e-9, 5),
    ):
        cache.put(key, stale)
        assert tuned(driver, tmp_path)[1].detail == "numpy_convolution 1"


def test_a_folder_that_cannot_be_written_costs_a_note_alone(driver, tmp_path):
    (tmp_path / "file").write_text("")
    name, _, tuner = tuned(driver, tmp_path / "file" / "below")
    assert name.endswith("tuned") and "cannot be written" in tuner.note()


def test_two_processes_keep_each_other_s_choices(driver, tmp_path):
    first, second = (ChoiceCache(tmp_path, driver.facts) for _ in range(2))
    choice = Choice("cudnn", 0, "", 1.0, 2)
    first.put("a", choice)
    second.put("b", choice)
    kept = ChoiceCache(tmp_path, driver.facts)
    assert kept.get("a") == kept.get("b") == choice and not kept.problems


# ----- engines ------------------------------------------------------------------------------------


class Chain(Workload):
    """Two convolutions, written in NCHW."""

    name = "chain"

    def inputs(self, case, rng):
        return {"x": rng.standard_normal((1, 4, 8, 8), dtype=np.float32)}

    def parameters(self, case, rng):
        return {
            name: rng.standard_normal((4, 4, 3, 3), dtype=np.float32)
            for name in ("first", "second")
        }

    def program(self, ops, parameters, inputs, case):
        window = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "layout": "NCHW"}
        between = ops.relu(ops.conv2d(inputs["x"], parameters["first"], **window))
        return Outputs({"y": ops.conv2d(between, parameters["second"], **window)})


def runner_of(engine, workload, case, parameters, inputs, folder, **switches):
    options = EngineOptions(
        device="gpu",
        threads=1,
        seed=3,
        switches={"autotune": "on", **switches},
        cache_directory=str(folder),
    )
    copies = {name: array.copy() for name, array in parameters.items()}
    runner = ENGINES[engine].prepare(workload, case, copies, inputs, options)
    runner.build()
    runner.compile()
    return runner


@pytest.mark.parametrize("engine", ["eager", "static"])
def test_an_engine_says_what_was_tuned_and_stays_right(engine, tmp_path):
    case, parameters, inputs = drawn(Chain(), {})
    notes = []
    for _ in range(2):
        with emulated(plans_each=2) as driver:
            runner = runner_of(engine, Chain(), case, parameters, inputs, tmp_path)
            assert_right(stepped(runner), Chain(), case, parameters, inputs, tmp_path / "found")
            facts = runner.facts()
            assert any(kernel.partition(" (")[0].endswith(", tuned") for kernel in facts.kernels)
            notes.append(next(note for note in facts.notes if " kernels measured" in note))
            if engine == "static":
                # Nothing of the measuring is in what is replayed.
                assert runner.replays() and driver.issued[-1] == "graph"
            runner.close()
    count = int(notes[0].partition(" kernels measured")[0])
    assert count >= 1
    assert notes[1].startswith(f"0 kernels measured, {count} taken as measured before")


def test_training_is_the_same_with_choices_that_are_kept(tmp_path):
    case, parameters, inputs = drawn(Heads(), {**SMALL_HEADS, "mode": "training"})
    found = []
    for _ in range(2):
        with emulated(plans_each=2):
            runner = runner_of("static", Heads(), case, parameters, inputs, tmp_path)
            found.append([stepped(runner) for _ in range(4)])
            runner.close()
    for first, second in zip(*found, strict=True):
        assert_same(first, second)


class LayoutDriver(WatchedDriver):
    """Its plans tell the order of their images."""

    def convolution(self, request):
        plan = super().convolution(request)
        plan.name = f"numpy_convolution {request.layout}"
        return plan


@pytest.mark.parametrize("quick", ["NCHW", "NHWC"])
def test_layouts_are_chosen_by_measuring_too(quick, tmp_path):
    """In strict float32, where the rule would leave all as it is written."""

    def seconds(name):
        if name.endswith(quick):
            return QUICK
        return SLOW if name.startswith("numpy_") else 1e-6

    case, parameters, inputs = drawn(Chain(), {})
    with emulated(make=LayoutDriver) as driver:
        driver.clock.device_seconds = seconds
        runner = runner_of("static", Chain(), case, parameters, inputs, tmp_path / "cache")
        assert_right(stepped(runner), Chain(), case, parameters, inputs, tmp_path / "found")
        counts = runner.facts().counts
        assert (counts["assign_layouts.moved"] > 0) is (quick == "NHWC")
        runner.close()


def test_it_is_off_unless_asked_for(tmp_path):
    case, parameters, inputs = drawn(Chain(), {})
    with emulated(plans_each=2):
        runner = runner_of("static", Chain(), case, parameters, inputs, tmp_path, autotune="off")
        assert not any("kernels measured" in note for note in runner.facts().notes)
        assert autotune.tuner_for(EngineOptions(), None) is None
        runner.close()


# ----- the command line ---------------------------------------------------------------------------


def test_an_option_switches_it_on_where_there_is_a_gpu_and_a_switch():
    arm = parse_arm("static", "gpu", "fp16", autotune=True)
    assert arm.id == "static:autotune=on@gpu/fp16" and arm.switches == {"autotune": "on"}
    assert parse_arm(arm.id) == arm
    assert parse_arm("static:capture=off@gpu", autotune=True).id == (
        "static:capture=off,autotune=on@gpu"
    )
    assert parse_arm("static:autotune=off@gpu", autotune=True).switches == {"autotune": "off"}
    assert parse_arm("numpy@gpu", autotune=True).id == "numpy@gpu"
    assert parse_arm("static", autotune=True).id == "static"
    with pytest.raises(PlanError, match="switch autotune of engine static is for device gpu"):
        parse_arm("static:autotune=on")
    with pytest.raises(PlanError, match="autotune expected an engine of ours on a GPU"):
        build_plan([SuiteEntry("xyz")], arms=("static", "numpy@gpu"), autotune=True)
