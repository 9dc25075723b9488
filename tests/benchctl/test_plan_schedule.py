"""Plans: arms and rounds of every case, the reference, suites, and the estimate."""

from __future__ import annotations

import json
import math

import pytest

from benchctl.plan import arms as arms_module
from benchctl.plan.errors import PlanError, UnknownNameError
from benchctl.plan.schedule import (
    CostModel,
    arms_of_case,
    build_plan,
    estimate_seconds,
    plan_of_case,
    rounds_of_case,
)
from benchctl.plan.suites import SuiteEntry, suite, suite_names
from benchctl.stats.planner import minimum_rounds
from benchctl_engines.contract import Switch

SMALL = SuiteEntry("xyz", {"size": ("3x4", "10x10")})


class FakeEngine:
    def switches(self):
        return {
            "entry": Switch("session", ("session", "callable"), "how a step is called"),
            "capture": Switch("on", ("on", "off"), "replay a recorded step"),
            "autotune": Switch("off", ("on", "off"), "measure kernels"),
        }


@pytest.fixture
def fake_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any engine exists: plans do not depend on what can run here."""
    monkeypatch.setattr(arms_module, "load_engine", lambda name: FakeEngine())


def arm_ids(plan, case_id: str) -> list[str]:
    return [arm.id for arm in arms_of_case(plan, case_id)]


@pytest.mark.usefixtures("fake_engines")
class TestBuildPlan:
    def test_defaults_are_the_three_own_engines_against_numpy(self) -> None:
        plan = build_plan([SMALL], seed=3, threads=2, budget_seconds=5.0)
        assert [arm.id for arm in plan.arms] == ["static", "eager", "numpy"]
        assert plan.reference_arm == "numpy"
        assert [case.parameters["size"] for case in plan.cases] == ["3x4", "10x10"]
        assert (plan.seed, plan.threads, plan.budget_seconds) == (3, 2, 5.0)
        for case in plan.cases:
            assert arms_of_case(plan, case.id) == plan.arms
            assert rounds_of_case(plan, case.id) == plan.rounds

    def test_default_rounds_can_tell_all_arms_apart(self) -> None:
        large = SuiteEntry("vgg16", {"image_size": ("224",)})
        plan = build_plan([SMALL, large])
        for case in plan.cases:
            assert rounds_of_case(plan, case.id) >= minimum_rounds(0.95, len(plan.arms) - 1)
        assert rounds_of_case(plan, plan.cases[-1].id) < rounds_of_case(plan, plan.cases[0].id)

    def test_entries_have_their_own_arms_and_rounds(self) -> None:
        other = SuiteEntry("heads", arms=("eager", "static:entry=callable"), rounds=9)
        plan = build_plan([SuiteEntry("xyz", arms=("static", "eager"), rounds=12), other])
        first, second = (case.id for case in plan.cases)
        assert arm_ids(plan, first) == ["static", "eager"]
        assert arm_ids(plan, second) == ["eager", "static:entry=callable"]
        assert (rounds_of_case(plan, first), rounds_of_case(plan, second)) == (12, 9)
        assert plan.rounds == 12
        assert plan.reference_arm == "static"

    def test_what_the_user_gives_replaces_that_of_the_entries(self) -> None:
        entry = SuiteEntry("xyz", arms=("static", "eager"), rounds=12)
        plan = build_plan([entry], arms=["numpy", "eager"], rounds=4, device="gpu")
        assert [arm.id for arm in plan.arms] == ["numpy@gpu", "eager@gpu"]
        assert plan.rounds == 4
        assert plan.reference_arm == "numpy@gpu"

    def test_a_case_of_two_entries_runs_once_on_the_arms_of_both(self) -> None:
        plan = build_plan(
            [SuiteEntry("xyz", arms=("static",)), SuiteEntry("xyz", arms=("eager", "static"))]
        )
        assert len(plan.cases) == 1
        assert arm_ids(plan, plan.cases[0].id) == ["static", "eager"]

    def test_an_arm_given_twice_runs_once(self) -> None:
        assert len(build_plan([SMALL], arms=["eager", "eager"]).arms) == 1

    @pytest.mark.parametrize("wanted", ["eager", "eager@gpu"])
    def test_the_reference_can_be_chosen(self, wanted: str) -> None:
        plan = build_plan([SMALL], arms=["numpy@gpu", "eager@gpu"], reference=wanted)
        assert plan.reference_arm == "eager@gpu"

    def test_a_reference_that_does_not_take_part_is_refused(self) -> None:
        with pytest.raises(UnknownNameError, match=r'"eagr"\. Did you mean eager\?'):
            build_plan([SMALL], reference="eagr")

    def test_nothing_to_measure_is_refused(self) -> None:
        with pytest.raises(PlanError, match="at least one workload"):
            build_plan([])

    def test_measure_settings_of_a_case_come_on_top_of_those_of_the_plan(self) -> None:
        own = SuiteEntry("heads", measure={"cold": False})
        plan = build_plan([SMALL, own], settings={"measure": {"restart_every": 3}})
        first, *_, last = (case.id for case in plan.cases)
        assert plan_of_case(plan, first).settings["measure"] == {"restart_every": 3}
        assert plan_of_case(plan, last).settings["measure"] == {
            "restart_every": 3,
            "cold": False,
        }

    @pytest.mark.parametrize("name", suite_names())
    def test_settings_survive_a_record(self, name: str) -> None:
        settings = build_plan(suite(name).entries).settings
        assert json.loads(json.dumps(settings)) == settings


@pytest.mark.usefixtures("fake_engines")
class TestEstimate:
    def test_more_of_anything_takes_longer(self) -> None:
        base = estimate_seconds(build_plan([SMALL], rounds=10))
        assert estimate_seconds(build_plan([SMALL], rounds=20)) > base
        assert estimate_seconds(build_plan([SMALL], rounds=10, arms=["static"])) < base
        large = SuiteEntry("xyz", {"size": ("3x4", "4096x4096")})
        assert estimate_seconds(build_plan([large], rounds=10)) > base

    def test_a_budget_is_the_most_it_takes(self) -> None:
        assert estimate_seconds(build_plan([SMALL], budget_seconds=1.0)) == 1.0

    def test_a_step_is_bound_by_arithmetic_or_by_memory(self) -> None:
        model = CostModel(
            flops_per_second_per_thread=1e9, bytes_per_second=1e9, step_overhead_seconds=0.0
        )
        (vgg,) = build_plan([SuiteEntry("vgg16")]).cases
        assert model.step_seconds(vgg, 2) == vgg.flops / 2e9
        (heads,) = build_plan([SuiteEntry("heads")]).cases
        assert model.step_seconds(heads, 4) == heads.bytes_moved / 1e9


@pytest.mark.parametrize("name", suite_names())
def test_a_suite_is_a_plan_of_the_real_engines_and_workloads(name: str) -> None:
    plan = build_plan(suite(name).entries, suite=name, threads=2)
    everything = {"xyz", "vgg16", "layout", "heads"}
    of_some = {
        "slides": everything | {"gan", "input_pipeline"},
        "peers": {"xyz", "vgg16", "layout"},
        "layers": {"layout"},
        "dcgan": {"gan"},
        "gpu": {"xyz", "layout", "vgg16"},
        "gpu-quick": {"xyz", "layout", "vgg16"},
    }
    workloads = of_some.get(name, everything)
    assert {case.workload for case in plan.cases} == workloads
    ours = {"gpu": "numpy@gpu", "gpu-quick": "static@gpu"}
    reference = "numpy" if "xyz" in workloads else "static"
    assert plan.reference_arm == ours.get(name, reference)
    for case in plan.cases:
        rivals = max(1, len(arms_of_case(plan, case.id)) - 1)
        assert rounds_of_case(plan, case.id) >= minimum_rounds(0.95, rivals)
    assert math.isfinite(estimate_seconds(plan))


def test_slides_feeds_every_chart() -> None:
    entries = suite("slides").entries

    def values(workload: str, axis: str) -> set[str]:
        return {
            value
            for entry in entries
            if entry.workload == workload
            for value in entry.axes.get(axis, ())
        }

    from benchctl.plan.registry import load_workload

    swept = {axis.name: axis for axis in load_workload("xyz").axes}["size"].sweep
    assert values("xyz", "size") == set(swept)
    layers = {axis.name: axis for axis in load_workload("layout").axes}["layer"].values
    assert values("layout", "layer") == set(layers)
    assert values("layout", "direction") == {"forward", "backward"}
    assert values("vgg16", "mode") == {"inference", "training"}
    assert values("heads", "head") == values("vgg16", "head") == {"fc", "conv"}
    assert values("layout", "layout") == values("vgg16", "layout") == {"NCHW", "NHWC"}


def test_an_unknown_suite_is_named() -> None:
    with pytest.raises(UnknownNameError, match=r'no suite "slide"\. Did you mean slides\?'):
        suite("slide")
