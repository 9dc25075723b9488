"""`merge`: shards and resumed parts become one run; whatever differs is refused with its reason."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from record_factory import EAGER, NUMPY, STATIC, FakeArm, make_case, make_run, write_run

from benchctl.cli.group import LazyGroup
from benchctl.compare.summary import summarise
from benchctl.plan.shards import shard_plan
from benchctl.store.exchange.errors import MergeError
from benchctl.store.exchange.merge import merge_runs
from benchctl.store.exchange.writing import store_run
from benchctl.store.reader import load_run, load_store
from benchctl.store.record import CaseResult, Memory, Run

VERBS = {
    "merge": ("benchctl.cli.merge:merge", "Merge."),
    "show": ("benchctl.cli.show:show", "Show."),
}
CASES = tuple(make_case(expression="product", size=f"{size}x{size}") for size in (3, 10, 32))
OTHER_MACHINE = {"id": "ba9876543210", "cpu": "Other CPU", "cores": 4}


def invoke(*arguments: str | Path) -> Result:
    group = LazyGroup(name="benchctl", verbs=VERBS)
    return CliRunner().invoke(group, [str(each) for each in arguments])


def whole_run(**how) -> Run:
    return make_run(CASES, **how)


def shard_runs(run: Run, count: int) -> list[Run]:
    """The runs that the shards of a run's plan would have made, with the same samples."""
    shards = []
    for index in range(1, count + 1):
        plan = shard_plan(run.plan, index, count)
        ids = [case.id for case in plan.cases]
        cases = tuple(case for case in run.cases if case.case.id in ids)
        run_id = f"{run.run_id[:-8]}{index:08x}"
        shards.append(replace(run, run_id=run_id, plan=plan, cases=cases))
    return shards


def resumed_parts(run: Run, rounds: Sequence[set[int]]) -> list[Run]:
    """Incomplete runs of one plan, each with some of the rounds; processes count from 0 in each."""
    parts = []
    for index, own in enumerate(rounds, start=1):
        cases = tuple(
            replace(
                case,
                arms=tuple(
                    replace(arm, rounds=tuple(each for each in arm.rounds if each.round in own))
                    for arm in case.arms
                ),
            )
            for case in run.cases
        )
        run_id = f"{run.run_id[:-8]}{index:08x}"
        parts.append(replace(run, run_id=run_id, cases=cases, complete=False))
    return parts


def samples(run: Run) -> dict[tuple[str, str, int], tuple[float, ...]]:
    return {
        (case.case.id, arm.arm.id, taken.round): taken.seconds
        for case in run.cases
        for arm in case.arms
        for taken in arm.rounds
    }


# What makes one run --------------------------------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 3), st.randoms(use_true_random=False))
def test_shards_in_any_order_make_the_whole(count: int, source: random.Random) -> None:
    run = whole_run()
    shards = shard_runs(run, count)
    source.shuffle(shards)
    merged = merge_runs(shards)
    assert merged.cases == run.cases
    assert merged.complete
    assert dataclasses.asdict(merged.plan) == dataclasses.asdict(
        replace(run.plan, settings=dict(run.plan.settings))
    )


def test_the_merged_run_is_stored_and_says_what_the_whole_would_say(tmp_path: Path) -> None:
    run = write_run(tmp_path / "whole", whole_run())
    shards = [write_run(tmp_path / "shards", each) for each in shard_runs(run, 2)]
    merged = load_run(store_run(tmp_path / "merged", merge_runs(shards)))
    whole = summarise(run)
    for case, expected in zip(summarise(merged).cases, whole.cases, strict=True):
        assert case.winner == expected.winner
        assert [arm.median_seconds for arm in case.arms] == [
            arm.median_seconds for arm in expected.arms
        ]


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 2), min_size=12, max_size=12))
def test_resumed_parts_make_the_whole(owners: list[int]) -> None:
    run = whole_run()
    rounds = [{place for place, each in enumerate(owners) if each == owner} for owner in range(3)]
    merged = merge_runs(resumed_parts(run, rounds))
    assert samples(merged) == samples(run)
    assert [arm.rounds for case in merged.cases for arm in case.arms] == [
        tuple(sorted(arm.rounds, key=lambda taken: taken.round))
        for case in merged.cases
        for arm in case.arms
    ]


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 2), min_size=12, max_size=12))
def test_rounds_share_a_process_only_where_they_did(owners: list[int]) -> None:
    run = whole_run()
    rounds = [{place for place, each in enumerate(owners) if each == owner} for owner in range(3)]
    merged = merge_runs(resumed_parts(run, rounds))
    before = {taken.round: taken.process for taken in run.cases[0].arms[0].rounds}
    after = {taken.round: taken.process for taken in merged.cases[0].arms[0].rounds}
    for one in before:
        for other in before:
            shared = owners[one] == owners[other] and before[one] == before[other]
            assert (after[one] == after[other]) == shared


def test_peaks_are_the_largest_and_notes_are_kept() -> None:
    first, second = resumed_parts(whole_run(), [{0, 1}, set(range(2, 12))])

    def with_memory(run: Run, peak: int | None, note: str) -> Run:
        def change(case: CaseResult) -> CaseResult:
            arms = [replace(arm, memory=Memory(peak), notes=(note,)) for arm in case.arms]
            return replace(case, arms=tuple(arms))

        return replace(run, cases=tuple(change(case) for case in run.cases))

    merged = merge_runs([with_memory(first, 10, "a"), with_memory(second, 7, "b")])
    assert merged.cases[0].arms[0].memory == Memory(10)
    assert merged.cases[0].arms[0].notes == ("a", "b")


def test_a_failure_of_one_part_is_that_of_the_whole() -> None:
    run = whole_run()
    first, second = resumed_parts(run, [{0, 1}, set(range(2, 12))])
    case = second.cases[0]
    broken = replace(case.arms[0], status="crashed", message="ended by signal 11")
    second = replace(
        second, cases=(replace(case, arms=(broken, *case.arms[1:])), *second.cases[1:])
    )
    arm = merge_runs([first, second]).cases[0].arms[0]
    assert (arm.status, arm.message) == ("crashed", "ended by signal 11")
    assert len(arm.rounds) == 12


def test_every_part_is_named_with_its_facts() -> None:
    run = whole_run()
    shards = shard_runs(run, 2)
    busy = replace(shards[1], environment={**run.environment, "load_average": [9.0, 1.0, 1.0]})
    merged = merge_runs([shards[0], busy])
    assert [part["run_id"] for part in merged.environment["parts"]] == [
        shards[0].run_id,
        shards[1].run_id,
    ]
    assert merged.environment["load_average"] == (9.0, 1.0, 1.0)
    assert merged.command[:2] == ("benchctl", "merge")


# What is refused -----------------------------------------------------------------------------


def changed_arm_versions(run: Run) -> Run:
    def change(case: CaseResult) -> CaseResult:
        return replace(case, arms=tuple(replace(arm, versions={"numpy": "9"}) for arm in case.arms))

    return replace(run, cases=tuple(change(case) for case in run.cases))


def without_static(run: Run) -> Run:
    def change(case: CaseResult) -> CaseResult:
        first, *rest = case.arms
        return replace(case, arms=(replace(first, status="unavailable", rounds=()), *rest))

    return replace(run, cases=tuple(change(case) for case in run.cases))


PLANTED: dict[str, tuple[Callable[[Run], Run], str]] = {
    "seed": (lambda run: replace(run, plan=replace(run.plan, seed=9)), "seeds differ: .* has 9"),
    "rounds": (
        lambda run: replace(run, plan=replace(run.plan, rounds=9)),
        "numbers of rounds differ",
    ),
    "threads": (
        lambda run: replace(run, plan=replace(run.plan, threads=9)),
        "numbers of threads differ",
    ),
    "reference": (
        lambda run: replace(run, plan=replace(run.plan, reference_arm="eager")),
        "reference engines differ: .* 'eager'",
    ),
    "engines": (
        lambda run: replace(run, plan=replace(run.plan, arms=run.plan.arms[:2])),
        "engines differ: .* 'static, numpy', .* 'static, numpy, eager'",
    ),
    "switches": (
        lambda run: replace(
            run,
            plan=replace(
                run.plan,
                arms=(replace(run.plan.arms[0], switches={"prune": "off"}), *run.plan.arms[1:]),
            ),
        ),
        "engines differ: .*prune=off",
    ),
    "cases": (
        lambda run: replace(run, plan=replace(run.plan, cases=run.plan.cases[:1])),
        "cases differ",
    ),
    "settings": (
        lambda run: replace(run, plan=replace(run.plan, settings={"measure": {"cold": False}})),
        "settings differ",
    ),
    "budget": (
        lambda run: replace(run, plan=replace(run.plan, budget_seconds=5.0)),
        "budgets differ",
    ),
    "versions": (
        lambda run: replace(run, versions={**run.versions, "python": "3.12.1"}),
        "versions differ: .* has python 3.12.1, .* has python 3.11.7",
    ),
    "a new package": (
        lambda run: replace(run, versions={**run.versions, "cupy": "14"}),
        "versions differ: .* has cupy 14, .* has cupy none",
    ),
    "revision": (
        lambda run: replace(run, git={"revision": "def", "dirty": False}),
        "revisions differ: .* has revision def, .* has revision abc",
    ),
    "local changes": (
        lambda run: replace(run, git={"revision": "abc", "dirty": True}),
        "revisions differ: .* has dirty True",
    ),
    "engine versions": (changed_arm_versions, "versions of .* differ: .* numpy 9"),
    "engine missing": (without_static, "engines differ: .* static unavailable, .* static ok"),
    "variables": (
        lambda run: replace(
            run, environment={**run.environment, "environment": {"OPENBLAS_CORETYPE": "Zen"}}
        ),
        "environment variables differ: .* OPENBLAS_CORETYPE Zen",
    ),
    "machine": (lambda run: replace(run, machine=OTHER_MACHINE), "times of two machines do not"),
}


@pytest.mark.parametrize("planted", PLANTED)
def test_parts_that_were_not_measured_alike_are_refused(planted: str) -> None:
    change, expected = PLANTED[planted]
    first, second = resumed_parts(whole_run(), [{0, 1}, set(range(2, 12))])
    assert merge_runs([first, second]).complete
    with pytest.raises(MergeError, match=expected) as caught:
        merge_runs([first, change(second)])
    assert second.run_id in caught.value.message


def test_where_kernels_are_cached_makes_no_difference() -> None:
    shards = shard_runs(whole_run(), 2)
    other = {"environment": {"NUMBA_CACHE_DIR": "~/elsewhere"}}
    shards[1] = replace(shards[1], environment={**shards[1].environment, **other})
    assert merge_runs(shards).complete


def test_rounds_that_are_there_twice_are_named() -> None:
    first, second = resumed_parts(whole_run(), [{0, 1, 2}, set(range(2, 12))])
    with pytest.raises(MergeError) as caught:
        merge_runs([first, second])
    for arm in ("static", "numpy", "eager"):
        assert f"round 2 of {CASES[0].id} on {arm}" in caught.value.message
    assert f"(in {first.run_id} and {second.run_id})" in caught.value.message
    assert "9 rounds are there twice" in caught.value.message
    assert "and 4 more" in caught.value.message


def test_a_run_given_twice_is_refused() -> None:
    run = whole_run()
    with pytest.raises(MergeError, match="there twice"):
        merge_runs([run, run])


def test_a_missing_shard_is_named_with_its_cases() -> None:
    shards = shard_runs(whole_run(), 3)
    lost = shards.pop(1)
    with pytest.raises(MergeError) as caught:
        merge_runs(shards)
    assert f"1 of 3 cases are missing: {lost.cases[0].case.id}" in caught.value.message
    assert "2/3" in caught.value.hint


def test_shards_of_other_counts_do_not_mix() -> None:
    run = whole_run()
    with pytest.raises(MergeError, match="shards of different plans"):
        merge_runs([shard_runs(run, 2)[0], shard_runs(run, 3)[1]])


def test_a_shard_and_a_whole_run_do_not_mix() -> None:
    run = whole_run()
    with pytest.raises(MergeError, match="is a shard"):
        merge_runs([run, shard_runs(run, 2)[0]])


def test_a_case_that_changed_its_cost_is_another_plan() -> None:
    shards = shard_runs(whole_run(), 2)
    double = [replace(case, flops=2 * case.flops) for case in shards[0].plan.cases]
    extra = (*shards[1].plan.cases, *double)
    shards[1] = replace(shards[1], plan=replace(shards[1].plan, cases=extra))
    with pytest.raises(MergeError, match="has another case"):
        merge_runs(shards)


def test_rounds_that_nobody_measured_are_missed() -> None:
    parts = resumed_parts(whole_run(), [{0, 1}, {2, 3}])
    with pytest.raises(MergeError) as caught:
        merge_runs(parts)
    assert "has 4 of 12 rounds" in caught.value.message
    assert f"benchctl run --resume {parts[-1].run_id}" in caught.value.hint


def test_fewer_rounds_than_planned_are_enough_where_a_budget_ended_the_run() -> None:
    shards = shard_runs(whole_run(rounds=8), 2)
    longer = [replace(each, plan=replace(each.plan, rounds=20)) for each in shards]
    assert merge_runs(longer).complete


# Several machines ----------------------------------------------------------------------------


def test_whole_cases_of_several_machines_need_the_option_and_are_recorded() -> None:
    first, second = shard_runs(whole_run(), 2)
    second = replace(second, machine=OTHER_MACHINE)
    with pytest.raises(MergeError) as caught:
        merge_runs([first, second])
    assert "--across-machines" in caught.value.hint
    machine = merge_runs([first, second], across_machines=True).machine
    expected = {case.case.id: first.machine["id"] for case in first.cases}
    expected |= {case.case.id: "ba9876543210" for case in second.cases}
    assert machine["machine_of_case"] == expected
    assert set(machine["machines"]) == {first.machine["id"], "ba9876543210"}
    assert machine["id"] not in machine["machines"]
    assert machine["cpu"] == "Test CPU and Other CPU"


def test_rounds_of_one_case_never_come_from_two_machines() -> None:
    first, second = resumed_parts(whole_run(), [{0, 1}, set(range(2, 12))])
    second = replace(second, machine=OTHER_MACHINE)
    with pytest.raises(MergeError) as caught:
        merge_runs([first, second], across_machines=True)
    assert f"case {CASES[0].id} was measured on several machines" in caught.value.message


def test_the_limits_of_one_machine_are_not_those_of_two() -> None:
    first, second = shard_runs(whole_run(), 2)
    first = replace(first, environment={**first.environment, "gemm_flops_per_second": 1e11})
    second = replace(second, environment={**second.environment, "gemm_flops_per_second": 2e11})
    assert merge_runs([first, second]).environment["gemm_flops_per_second"] == 1e11
    second = replace(second, machine=OTHER_MACHINE)
    merged = merge_runs([first, second], across_machines=True)
    assert "gemm_flops_per_second" not in merged.environment
    assert merged.environment["blas"] == first.environment["blas"]


# The verb ------------------------------------------------------------------------------------


def test_the_verb_stores_a_new_run_beside_the_others(tmp_path: Path) -> None:
    for each in shard_runs(whole_run(), 2):
        write_run(tmp_path, each)
    names = [run.run_id for run in load_store(tmp_path)[0]]
    result = invoke("merge", *names, "--store", tmp_path)
    assert result.exit_code == 0, result.output
    assert "Merged 2 runs: 3 cases, 36 rounds" in result.stdout
    runs, problems = load_store(tmp_path)
    assert problems == [] and len(runs) == 3
    (merged,) = (run for run in runs if run.run_id not in names)
    assert merged.complete and len(merged.cases) == 3
    assert str(merged.path) in result.stdout
    assert invoke("show", merged.path).exit_code == 0


def test_the_verb_refuses_with_reason_and_hint_and_stores_nothing(tmp_path: Path) -> None:
    first, second = shard_runs(whole_run(), 2)
    write_run(tmp_path, first)
    write_run(tmp_path, replace(second, machine=OTHER_MACHINE))
    names = [run.run_id for run in load_store(tmp_path)[0]]
    refused = invoke("merge", *names, "--store", tmp_path)
    assert refused.exit_code == 2
    assert refused.stdout == ""
    assert refused.stderr.startswith("error: ")
    assert "times of two machines do not mix" in refused.stderr
    assert "--across-machines" in refused.stderr
    assert len(load_store(tmp_path)[0]) == 2
    assert invoke("merge", *names, "--across-machines", "--store", tmp_path).exit_code == 0


def test_the_verb_reads_files_from_anywhere(tmp_path: Path) -> None:
    files = [write_run(tmp_path / str(n), r).path for n, r in enumerate(shard_runs(whole_run(), 2))]
    result = invoke("merge", *(str(file) for file in files), "--store", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert len(load_store(tmp_path / "out")[0]) == 1


def test_a_run_that_does_not_exist_is_named(tmp_path: Path) -> None:
    result = invoke("merge", "77777777", "--store", tmp_path)
    assert result.exit_code == 2
    assert "77777777" in result.stderr


def test_arms_of_their_own_in_some_cases_survive(tmp_path: Path) -> None:
    """Plans that narrow the arms of a case keep doing so in shard and merged run."""
    arms: tuple[FakeArm, ...] = (STATIC, NUMPY, EAGER)
    run = make_run(CASES, arms)
    narrowed = replace(run.cases[0], arms=run.cases[0].arms[:1])
    plan = replace(run.plan, settings={"case_arms": {CASES[0].id: ["static"]}})
    run = replace(run, plan=plan, cases=(narrowed, *run.cases[1:]))
    stored = [write_run(tmp_path, each) for each in shard_runs(run, 3)]
    merged = load_run(store_run(tmp_path, merge_runs(stored)))
    assert [len(case.arms) for case in merged.cases] == [1, 3, 3]
