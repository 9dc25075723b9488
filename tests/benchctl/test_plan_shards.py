"""Shards: disjoint, together everything, balanced, the same each time; and how one is named."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchctl.plan.errors import PlanError
from benchctl.plan.schedule import build_plan, estimate_seconds
from benchctl.plan.shards import SHARD, case_seconds, parse_shard, shard_plan
from benchctl.plan.suites import suite, suite_names
from benchctl.store.record import ArmSpec, CaseSpec, Plan

ARMS = (ArmSpec("static", "static"), ArmSpec("numpy", "numpy"))


def case(place: int, flops: int) -> CaseSpec:
    return CaseSpec(f"xyz[size={place}]", "xyz", {"size": place}, flops=flops)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Plans whose cases take from no time to hours, some with arms and rounds of their own."""
    flops = draw(st.lists(st.integers(0, 10**14), min_size=1, max_size=12))
    cases = tuple(case(place, each) for place, each in enumerate(flops))
    narrowed = draw(st.sets(st.sampled_from([each.id for each in cases])))
    settings = {
        "case_arms": {each: ["static"] for each in narrowed},
        "case_rounds": dict.fromkeys(narrowed, 3),
    }
    budget = draw(st.none() | st.floats(1, 100))
    return Plan(cases, ARMS, 10, 7, 2, "numpy", "slides", budget, settings)


def shards_of(plan: Plan, count: int) -> list[Plan]:
    """All shards that have a case; the others are refused."""
    found = []
    for index in range(1, count + 1):
        try:
            found.append(shard_plan(plan, index, count))
        except PlanError as error:
            assert "nothing to measure" in error.message
    return found


@given(plans(), st.integers(1, 15))
def test_shards_are_disjoint_and_together_everything(plan: Plan, count: int) -> None:
    shards = shards_of(plan, count)
    ids = [each.id for shard in shards for each in shard.cases]
    assert sorted(ids) == sorted(each.id for each in plan.cases)
    assert len(shards) == min(count, len(plan.cases))


@given(plans(), st.integers(1, 15))
def test_a_shard_keeps_the_plan_but_for_its_cases(plan: Plan, count: int) -> None:
    order = [each.id for each in plan.cases]
    for shard in shards_of(plan, count):
        own = [each.id for each in shard.cases]
        assert own == [each for each in order if each in own]
        settings = dict(shard.settings)
        named = settings.pop(SHARD)
        assert named["count"] == count and named["cases"] == order
        assert replace(shard, cases=plan.cases, settings=settings) == plan


@given(plans(), st.integers(1, 15))
def test_no_shard_exceeds_the_mean_by_more_than_one_case(plan: Plan, count: int) -> None:
    """Graham's bound for the longest case first; the estimate is the plan's own."""
    costs = [case_seconds(plan, each) for each in plan.cases]
    for shard in shards_of(plan, count):
        load = estimate_seconds(replace(shard, budget_seconds=None))
        assert load <= sum(costs) / count + max(costs) + 1e-6 * sum(costs)


@given(plans(), st.integers(1, 15))
def test_the_same_plan_gives_the_same_shards(plan: Plan, count: int) -> None:
    assert shards_of(plan, count) == shards_of(plan, count)


def test_equal_cases_are_dealt_out_evenly() -> None:
    plan = Plan(tuple(case(place, 10**9) for place in range(12)), ARMS, 10, 0, 1, "numpy")
    assert [len(shard.cases) for shard in shards_of(plan, 4)] == [3, 3, 3, 3]


def test_the_longest_case_stays_alone() -> None:
    plan = Plan((case(0, 10**9), case(1, 10**14), case(2, 10**9)), ARMS, 10, 0, 1, "numpy")
    assert sorted(len(shard.cases) for shard in shards_of(plan, 2)) == [1, 2]
    (long,) = (shard for shard in shards_of(plan, 2) if len(shard.cases) == 1)
    assert long.cases == (plan.cases[1],)


@pytest.mark.parametrize("name", suite_names())
def test_every_suite_can_be_split(name: str) -> None:
    plan = build_plan(suite(name).entries, suite=name)
    count = min(4, len(plan.cases))
    shards = shards_of(plan, count)
    assert sum(len(shard.cases) for shard in shards) == len(plan.cases)
    loads = [estimate_seconds(shard) for shard in shards]
    longest = max(case_seconds(plan, each) for each in plan.cases)
    assert max(loads) - min(loads) <= longest * (1 + 1e-9)


@pytest.mark.parametrize(("index", "count"), [(0, 3), (4, 3), (1, 0), (-1, 2)])
def test_a_shard_that_does_not_exist_is_refused(index: int, count: int) -> None:
    plan = Plan((case(0, 1), case(1, 1)), ARMS, 10, 0, 1, "numpy")
    with pytest.raises(PlanError, match="an index from 1 to the count"):
        shard_plan(plan, index, count)


def test_a_shard_without_cases_says_how_many_there_can_be() -> None:
    plan = Plan((case(0, 1), case(1, 1)), ARMS, 10, 0, 1, "numpy")
    with pytest.raises(PlanError) as caught:
        shard_plan(plan, 3, 3)
    assert "the plan has 2 cases" in caught.value.message
    assert caught.value.hint == "use at most 2 shards"


def test_a_shard_is_not_split_again() -> None:
    plan = Plan((case(0, 1), case(1, 1)), ARMS, 10, 0, 1, "numpy")
    with pytest.raises(PlanError, match="received a shard"):
        shard_plan(shard_plan(plan, 1, 2), 1, 2)


# Names of shards -----------------------------------------------------------------------------


@given(st.integers(1, 10**6), st.integers(0, 10**6))
def test_a_shard_is_named_by_index_and_count(index: int, more: int) -> None:
    assert parse_shard(f"{index}/{index + more}", {}) == (index, index + more)


@pytest.mark.parametrize(
    "text", ["", "1", "1/", "/2", "0/2", "3/2", "1/0", "-1/2", "1/2/3", "a/b", "1.0/2", "all"]
)
def test_any_other_text_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(PlanError) as caught:
        parse_shard(text, {})
    assert f'received "{text}"' in caught.value.message
    assert "--shard 1/3" in caught.value.hint


def slurm(task: int, count: int, first: int | None = None, step: int = 1) -> dict[str, str]:
    found = {"SLURM_ARRAY_TASK_ID": str(task), "SLURM_ARRAY_TASK_COUNT": str(count)}
    if first is not None:
        found |= {"SLURM_ARRAY_TASK_MIN": str(first), "SLURM_ARRAY_TASK_STEP": str(step)}
    return found


@given(st.integers(0, 50), st.integers(1, 5), st.integers(1, 20))
def test_every_task_of_an_array_has_its_shard(first: int, step: int, count: int) -> None:
    tasks = [first + step * place for place in range(count)]
    found = [parse_shard("auto", slurm(task, count, first, step)) for task in tasks]
    assert found == [(place, count) for place in range(1, count + 1)]


def test_an_array_without_a_first_task_counts_from_one() -> None:
    assert parse_shard("auto", slurm(2, 3)) == (2, 3)


@pytest.mark.parametrize(
    "environment",
    [slurm(9, 3, 1), slurm(2, 3, 1, 2), slurm(0, 3), {"SLURM_ARRAY_TASK_ID": "1"}],
    ids=["beyond the count", "between steps", "from 0", "no count"],
)
def test_an_array_that_is_no_range_is_refused(environment: dict[str, str]) -> None:
    with pytest.raises(PlanError, match="--shard auto expected"):
        parse_shard("auto", environment)


def test_nodes_of_a_pipeline_count_from_one() -> None:
    assert parse_shard("auto", {"CI_NODE_INDEX": "3", "CI_NODE_TOTAL": "4"}) == (3, 4)
    with pytest.raises(PlanError) as caught:
        parse_shard("auto", {"CI_NODE_INDEX": "0", "CI_NODE_TOTAL": "4"})
    assert "counts from 0" in caught.value.hint


def test_a_job_that_is_not_split_is_the_whole() -> None:
    assert parse_shard("auto", {"CI_NODE_TOTAL": "1"}) == (1, 1)


@pytest.mark.parametrize("environment", [{}, {"CI_NODE_TOTAL": "4"}, {"CI_NODE_INDEX": "x"}])
def test_an_environment_that_names_no_shard_is_refused(environment: dict[str, str]) -> None:
    with pytest.raises(PlanError, match="--shard auto expected"):
        parse_shard("auto", environment)


def test_the_environment_of_the_process_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLURM_ARRAY_TASK_ID", "CI_NODE_INDEX", "CI_NODE_TOTAL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CI_NODE_INDEX", "2")
    monkeypatch.setenv("CI_NODE_TOTAL", "2")
    assert parse_shard("auto") == (2, 2)
