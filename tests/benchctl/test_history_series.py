"""Series: what makes a point, what belongs together, and where a series begins anew."""

from __future__ import annotations

import math
import random
import shutil
import statistics
from dataclasses import replace
from pathlib import Path

import pytest
from history_records import (
    LARGE,
    NUMPY,
    SMALL,
    STATIC,
    day_run,
    history_runs,
    revision_of,
    write_history,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from benchctl.history.series import Series, countable_runs, make_series
from benchctl.store.reader import load_store
from benchctl.store.record import ArmRound, Run


def by_arm(runs: list[Run]) -> dict[tuple[str, str], Series]:
    return {(each.key.case_id, each.key.arm_id): each for each in make_series(runs)}


def with_rounds(run: Run, rounds: tuple[ArmRound, ...]) -> Run:
    """The run with these rounds on its only arm."""
    (case,) = run.cases
    (arm,) = case.arms
    return replace(run, cases=(replace(case, arms=(replace(arm, rounds=rounds),)),))


def test_a_series_is_a_case_on_an_arm_and_its_points_are_in_the_order_of_time() -> None:
    runs = history_runs(4, cases=(SMALL, LARGE))
    found = by_arm(list(reversed(runs)))
    assert list(found) == [(c.id, a.id) for c in (SMALL, LARGE) for a in (STATIC, NUMPY)]
    for series in found.values():
        assert [point.run_id for point in series.points] == [run.run_id for run in runs]
        assert [point.revision for point in series.points] == [revision_of(d) for d in range(4)]
        assert series.segments() == (range(4),)


def test_the_start_orders_points_and_not_the_name_of_the_run() -> None:
    runs = [replace(run, run_id=f"run{9 - day}") for day, run in enumerate(history_runs(4))]
    for series in make_series(random.Random(1).sample(runs, 4)):
        assert [point.run_id for point in series.points] == ["run9", "run8", "run7", "run6"]


def process_median(values: list[tuple[int, float]]) -> float:
    """By hand: each process once, whatever the number of its rounds."""
    processes = sorted({process for process, _ in values})
    return statistics.median(
        statistics.median(value for process, value in values if process == each)
        for each in processes
    )


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.lists(st.floats(1e-7, 1.0), min_size=1, max_size=4)),
        min_size=1,
        max_size=12,
    )
)
def test_a_point_is_the_median_over_process_medians(
    rounds: list[tuple[int, list[float]]],
) -> None:
    taken = tuple(
        ArmRound(number, tuple(seconds), 1, process=process)
        for number, (process, seconds) in enumerate(rounds)
    )
    (series,) = make_series([with_rounds(day_run(0, arms=(STATIC,)), taken)])
    (point,) = series.points
    expected = process_median([(process, statistics.median(each)) for process, each in rounds])
    assert point.log_seconds == pytest.approx(math.log(expected), abs=1e-12)
    assert (point.rounds, point.processes) == (len(rounds), len({each for each, _ in rounds}))
    if point.interval is not None:
        low, high = point.interval
        assert low <= high
    assert (point.interval is None) == (len(rounds) < 6)


def test_many_rounds_of_one_slow_process_do_not_outvote_two_others() -> None:
    slow = [ArmRound(number, (3e-3,), 1, process=0) for number in range(10)]
    fast = [ArmRound(10 + number, (1e-3,), 1, process=1 + number) for number in range(2)]
    (series,) = make_series([with_rounds(day_run(0, arms=(STATIC,)), (*slow, *fast))])
    assert math.exp(series.points[0].log_seconds) == pytest.approx(1e-3)


def test_incomplete_runs_failed_arms_and_rounds_without_samples_never_count() -> None:
    runs = [day_run(0), day_run(1, complete=False), day_run(2)]
    (case,) = runs[2].cases
    crashed = replace(case.arms[0], status="crashed")
    empty = replace(case.arms[1], rounds=(ArmRound(0, (), 1), ArmRound(1, (0.0,), 1)))
    runs[2] = replace(runs[2], cases=(replace(case, arms=(crashed, empty)),))
    assert [run.run_id for run in countable_runs(runs)] == [runs[0].run_id, runs[2].run_id]
    assert [len(each.points) for each in make_series(runs)] == [1, 1]
    assert make_series([]) == ()


def test_runs_that_compare_two_sides_are_no_points() -> None:
    run = day_run(0)
    gate = replace(run, plan=replace(run.plan, settings={"interleaved": True}))
    sided = tuple(replace(arm, subject="head") for arm in run.plan.arms)
    revisions = replace(run, plan=replace(run.plan, arms=sided))
    assert make_series([gate]) == make_series([revisions]) == ()


def test_runs_of_one_revision_are_points_of_their_own() -> None:
    runs = [day_run(day, revision=revision_of(0), dirty=day == 2) for day in range(3)]
    series = by_arm(runs)[SMALL.id, "static"]
    assert [point.revision for point in series.points] == [revision_of(0)] * 3
    assert [point.dirty for point in series.points] == [False, False, True]


def test_machines_and_thread_counts_are_never_mixed() -> None:
    runs = [day_run(0), day_run(1, machine={"id": "other"}), day_run(2, threads=1), day_run(3)]
    found = {
        (each.key.machine_id, each.key.threads): len(each.points)
        for each in make_series(runs)
        if each.key.arm_id == "static"
    }
    assert found == {("0123456789ab", 2): 2, ("other", 2): 1, ("0123456789ab", 1): 1}


@pytest.mark.parametrize(
    ("facts", "name", "before", "after"),
    [
        ({"versions": {"numpy": "2.5.0"}}, "numpy", "2.4.0", "2.5.0"),
        ({"versions": {"python": "3.12.1"}}, "python", "3.11.7", "3.12.1"),
        ({"machine": {"cpu": "Newer CPU"}}, "cpu", "Test CPU", "Newer CPU"),
    ],
)
def test_a_series_begins_anew_where_machine_or_versions_change(
    facts: dict[str, dict[str, str]], name: str, before: str, after: str
) -> None:
    runs = [day_run(day, **(facts if day >= 3 else {})) for day in range(5)]  # type: ignore[arg-type]
    # What the engine says of NumPy would hide what the harness found.
    bare = [
        replace(
            run,
            cases=tuple(
                replace(case, arms=tuple(replace(arm, versions={}) for arm in case.arms))
                for case in run.cases
            ),
        )
        for run in runs
    ]
    series = by_arm(bare)[SMALL.id, "static"]
    (event,) = series.events
    assert event.index == 3
    assert [(each.name, each.before, each.after) for each in event.changes] == [
        (name, before, after)
    ]
    assert series.segments() == (range(3), range(3, 5))


def environment(**facts: object) -> dict[str, object]:
    usual = {"blas": "OpenBLAS 0.3 Test", "load_average": (0.1,), "environment": {}}
    return {**usual, **facts}


@pytest.mark.parametrize(
    ("facts", "names"),
    [
        ({"blas": "OpenBLAS 0.4 Test"}, ["BLAS"]),
        ({"environment": {"OPENBLAS_CORETYPE": "Haswell"}}, ["environment variables"]),
        ({"cpu_quota": 1.0}, ["cpu quota"]),
        ({"load_average": (7.0,)}, []),
        ({"environment": {"OMP_NUM_THREADS": "2", "NUMBA_CACHE_DIR": "x"}}, []),
        ({"governor": ""}, []),
    ],
)
def test_what_lasts_in_the_environment_counts_and_noise_does_not(
    facts: dict[str, object], names: list[str]
) -> None:
    usual = environment(cpu_quota=None, governor="performance")
    runs = [replace(day_run(0), environment=usual)]
    runs.append(replace(day_run(1), environment={**usual, **facts}))
    for series in make_series(runs):
        changes = [change.name for event in series.events for change in event.changes]
        assert changes == names


def test_the_harness_own_version_hides_no_change_and_unknown_is_no_change() -> None:
    runs = history_runs(3)
    assert len({run.versions["benchctl"] for run in runs}) == 3
    runs[1] = replace(runs[1], machine={"id": runs[1].machine["id"]}, environment={}, versions={})
    assert all(each.events == () for each in make_series(runs))
    # The last known value is compared, across the run that does not tell.
    runs[2] = replace(runs[2], machine={**runs[2].machine, "cpu": "Newer CPU"})
    assert all([event.index for event in each.events] == [2] for each in make_series(runs))


def test_another_amount_of_work_under_one_name_is_another_case() -> None:
    heavier = replace(SMALL, flops=2 * SMALL.flops)
    runs = [day_run(0), day_run(1), day_run(2, cases=(heavier,))]
    for series in make_series(runs):
        assert [event.index for event in series.events] == [2]
        assert series.case.flops == heavier.flops


def test_an_engine_that_changes_version_breaks_its_own_series_only() -> None:
    runs = history_runs(4)
    for day in (2, 3):
        (case,) = runs[day].cases
        updated = replace(case.arms[0], versions={"numpy": "2.4", "numba": "0.99"})
        earlier = replace(case.arms[1], versions={"numpy": "2.4"})
        runs[day] = replace(runs[day], cases=(replace(case, arms=(updated, earlier)),))
    for day in (0, 1):
        (case,) = runs[day].cases
        old = replace(case.arms[0], versions={"numpy": "2.4", "numba": "0.61"})
        runs[day] = replace(runs[day], cases=(replace(case, arms=(old, case.arms[1])),))
    found = by_arm(runs)
    assert [event.index for event in found[SMALL.id, "static"].events] == [2]
    assert found[SMALL.id, "numpy"].events == ()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[Series, ...]]:
    """A store of real files, and its series."""
    store = tmp_path_factory.mktemp("store")
    runs = [day_run(day, rounds=6, complete=day != 3) for day in range(6)]
    write_history(store, runs)
    loaded, errors = load_store(store)
    assert errors == []
    return store, make_series(loaded)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), copies=st.integers(0, 4))
def test_shuffling_and_copying_files_on_disk_changes_nothing(
    written: tuple[Path, tuple[Series, ...]],
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    copies: int,
) -> None:
    store, expected = written
    source = random.Random(seed)
    files = sorted(store.rglob("*.jsonl"))
    shuffled = tmp_path_factory.mktemp("shuffled")
    for file in source.sample(files, len(files)):
        folder = shuffled / "runs" / source.choice(["1999/01", "2026/12", "elsewhere"])
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, folder / file.name)
    for number, file in enumerate(source.choices(files, k=copies)):
        shutil.copy(file, shuffled / f"copy-{number}-{source.random()}.jsonl")
    loaded, errors = load_store(shuffled)
    assert errors == [] and len(loaded) == len(files) + copies
    source.shuffle(loaded)
    assert make_series(loaded) == expected


def test_a_copied_run_would_be_noticed_if_it_counted(
    written: tuple[Path, tuple[Series, ...]],
) -> None:
    """The fault that the property above must catch: a copy under another id is another run."""
    store, expected = written
    loaded, _ = load_store(store)
    renamed = replace(loaded[0], run_id=f"{loaded[0].run_id}x")
    assert make_series([*loaded, renamed]) != expected


def test_runs_that_were_merged_count_within_the_merged_run() -> None:
    parts = [day_run(0, cases=(SMALL,)), day_run(0, cases=(LARGE,), minute=5)]
    whole = replace(
        day_run(0, cases=(SMALL, LARGE), minute=9),
        environment={"parts": tuple({"run_id": part.run_id} for part in parts)},
    )
    later = day_run(1, cases=(SMALL, LARGE))
    assert countable_runs([later, *parts, whole]) == [whole, later]
