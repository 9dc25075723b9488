"""The life of a run under a virtual clock: workers in this process, every sample known."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from measure_plans import (
    FAKE_ENGINE,
    RecordingObserver,
    fake_arm,
    fake_case,
    fake_plan,
    local_launcher,
    new_journal,
    results_of,
    virtual_settings,
)

from benchctl.measure.clock import VirtualClock
from benchctl.measure.fake import FakeEngine
from benchctl.measure.protocol import ArmFailure
from benchctl.measure.session import explain, measure, verify
from benchctl.measure.worker_client import LocalWorker
from benchctl.plan.order import round_orders, round_seed
from benchctl.plan.schedule import FRAMEWORKS
from benchctl.store.journal import Journal
from benchctl.store.reader import load_run


def run_plan(tmp_path, plan, *, run_id="", settings=None, launch=None, observer=None, **more):
    """Measure under a virtual clock with a cost for every reading and turn; the stored run."""
    clock = VirtualClock(read_ns=70, tick_ns=9)
    journal = new_journal(tmp_path / "store", plan, run_id)
    measure(
        plan,
        journal,
        observer or RecordingObserver(),
        settings=settings or virtual_settings(tmp_path / "cache"),
        launch=launch(clock) if launch else local_launcher(clock),
        clock=clock,
        **more,
    )
    return load_run(journal.path)


def test_every_sample_is_the_length_of_the_step(tmp_path):
    arms = [fake_arm("short", step_us=2), fake_arm("middle", step_us=1500)]
    arms.append(fake_arm("long", step_us=400_000))
    run = run_plan(tmp_path, fake_plan(*arms, rounds=4))
    assert run.complete
    for name, seconds in {"short": 2e-6, "middle": 1.5e-3, "long": 0.4}.items():
        result = results_of(run)[name]
        assert result.status == "ok"
        assert [taken.round for taken in result.rounds] == [0, 1, 2, 3]
        for taken in result.rounds:
            assert taken.seconds == pytest.approx([seconds] * len(taken.seconds), rel=1e-12)
            assert taken.steady
    assert len(results_of(run)["long"].rounds[0].seconds) == 1
    assert results_of(run)["short"].rounds[0].loops * 2e-6 >= 0.01


def test_results_hold_phases_memory_kernels_and_versions(tmp_path):
    result = results_of(run_plan(tmp_path, fake_plan(fake_arm("a", step_us=1000))))["a"]
    assert {phases.cache for phases in result.phases} == {"cold", "warm"}
    for phases in result.phases:
        assert phases.first_run_seconds == pytest.approx(1e-3, rel=1e-3)
        assert phases.import_seconds is not None
        assert phases.build_seconds is not None
        assert phases.compile_seconds is not None
    assert result.kernels == ("fake_sleep",)
    assert result.versions == {"fake": "1"}
    assert result.memory.engine_peak == 64
    assert result.memory.resident_above_import is not None
    assert result.verification is not None
    assert [check.output for check in result.verification.checks] == ["y", "grad_x", "grad_w"]


def test_rounds_follow_the_planned_order(tmp_path):
    arms = [fake_arm(name) for name in "abc"]
    plan = fake_plan(*arms, rounds=6)
    run = run_plan(tmp_path, plan)
    found = []
    for number in range(6):
        positions = {
            name: taken.position
            for name, result in results_of(run).items()
            for taken in result.rounds
            if taken.round == number
        }
        found.append(tuple(sorted(positions, key=lambda name: positions[name])))
    seed = round_seed(plan.seed, plan.cases[0].id, 0)
    assert found == round_orders(["a", "b", "c"], 6, seed)


def test_arms_share_the_inputs_of_a_round_and_rounds_do_not(tmp_path):
    loaded = []

    class Spy(LocalWorker):
        def post(self, op, timeout_seconds, **fields):
            if op in ("load", "prepare"):
                loaded.append((op, fields.get("seed", fields.get("input_seed"))))
            super().post(op, timeout_seconds, **fields)

    def launch(clock):
        return lambda environment: Spy(clock, lambda name: FakeEngine(clock))

    run_plan(tmp_path, fake_plan(fake_arm("a"), fake_arm("b"), rounds=3), launch=launch)
    seeds = [seed for op, seed in loaded if op == "load"]
    assert seeds[0::2] == seeds[1::2]
    assert len(set(seeds)) == 3


@pytest.mark.parametrize("framework", [False, True])
def test_a_framework_draws_random_numbers_its_own_way_only_when_timed(tmp_path, framework):
    asked = []

    class Spy(LocalWorker):
        def post(self, op, timeout_seconds, **fields):
            if op == "prepare":
                asked.append(fields["options"].get("own_random", False))
            elif op == "check":
                asked.append("check")
            super().post(op, timeout_seconds, **fields)

    def launch(clock):
        return lambda environment: Spy(clock, lambda name: FakeEngine(clock))

    plan = fake_plan(fake_arm("a"), rounds=2)
    if framework:
        plan = replace(plan, settings={**plan.settings, FRAMEWORKS: [FAKE_ENGINE]})
    run_plan(tmp_path, plan, launch=launch)
    assert asked[:2] == [False, "check"]
    assert "check" not in asked[2:] and set(asked[2:]) == {framework}


def test_only_one_arm_runs_at_a_time(tmp_path):
    workers = []

    class Spy(LocalWorker):
        def post(self, op, timeout_seconds, **fields):
            if op in ("warm_up", "load", "sample"):
                others = [each for each in workers if each is not self and not each.ended]
                assert all(each.suspended for each in others)
            super().post(op, timeout_seconds, **fields)

        ended = False

        def stop(self, timeout_seconds):
            self.ended = True
            super().stop(timeout_seconds)

        def kill(self):
            self.ended = True
            super().kill()

    def launch(clock):
        def start(environment):
            workers.append(Spy(clock, lambda name: FakeEngine(clock)))
            return workers[-1]

        return start

    run = run_plan(
        tmp_path, fake_plan(*(fake_arm(name) for name in "abc"), rounds=12), launch=launch
    )
    assert all(result.status == "ok" for result in results_of(run).values())
    assert all(worker.ended for worker in workers)


def test_workers_are_replaced_after_their_rounds(tmp_path):
    plan = fake_plan(fake_arm("a"), fake_arm("b"), rounds=7)
    run = run_plan(tmp_path, plan, settings=virtual_settings(tmp_path / "cache", restart_every=3))
    for result in results_of(run).values():
        assert [taken.process for taken in result.rounds] == [0, 0, 0, 1, 1, 1, 2]


def test_a_worker_that_starts_slowly_is_replaced_less_often(tmp_path):
    # Three first steps and three of warm-up: a start takes over 2 s, a round 1 s.
    arm = fake_arm("a", step_us=500_000)
    settings = virtual_settings(tmp_path / "cache", cheap_start_seconds=1.0, restart_share=1 / 3)
    run = run_plan(tmp_path, fake_plan(arm, rounds=10), settings=settings)
    processes = [taken.process for taken in results_of(run)["a"].rounds]
    longest = max(processes.count(each) for each in set(processes))
    assert 2 < longest < 10
    cheap = virtual_settings(tmp_path / "cache", cheap_start_seconds=100.0)
    run = run_plan(tmp_path, fake_plan(arm, rounds=4), settings=cheap)
    assert [taken.process for taken in results_of(run)["a"].rounds] == [0, 1, 2, 3]


def test_same_seed_and_virtual_clock_give_the_same_rounds(tmp_path):
    arms = [fake_arm("a", step_us=30), fake_arm("b", step_us=70)]
    first, second, other = (
        run_plan(tmp_path / name, fake_plan(*arms, rounds=8, seed=seed))
        for name, seed in (("one", 1), ("two", 1), ("three", 2))
    )

    def rounds(run):
        return {name: result.rounds for name, result in results_of(run).items()}

    assert rounds(first) == rounds(second)
    assert rounds(first) != rounds(other)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("wrong", "y differs from the float64 reference by 3.1"),
        ("suspect", "it equals x itself"),
        ("nan", "y is not finite at [3]"),
        ("shape", "y expected shape (4,), received (4, 1)"),
        ("missing", "output y is missing (received grad_x, grad_w)"),
    ],
)
def test_a_wrong_arm_is_not_timed(tmp_path, fault, message):
    observer = RecordingObserver()
    plan = fake_plan(fake_arm("good"), fake_arm("bad", fault=fault))
    results = results_of(run_plan(tmp_path, plan, observer=observer))
    assert results["bad"].status == "wrong"
    assert message in results["bad"].message
    assert not results["bad"].verification.ok
    assert results["bad"].rounds == ()
    assert len(results["good"].rounds) == 3
    assert (observer.checked, observer.failed) == (["good"], ["bad"])


def test_a_training_step_is_checked_by_its_update(tmp_path):
    plan = fake_plan(fake_arm("a"), cases=(fake_case("training"),))
    checks = results_of(run_plan(tmp_path, plan))["a"].verification.checks
    assert [check.output for check in checks] == ["y", "parameter/w"]


@pytest.mark.parametrize(
    ("arm", "status", "message"),
    [
        (fake_arm("bad", fault="memory"), "crashed", "out of memory during first run"),
        (fake_arm("bad", fault="error", at="build"), "crashed", "ValueError during build"),
        (fake_arm("bad", fault="error", at="compile"), "crashed", "ValueError during compile"),
        (replace(fake_arm("bad"), device="gpu"), "unavailable", "no device 'gpu'"),
    ],
)
def test_errors_of_an_engine_have_their_status(tmp_path, arm, status, message):
    results = results_of(run_plan(tmp_path, fake_plan(fake_arm("good"), arm)))
    assert results["bad"].status == status
    assert message in results["bad"].message
    assert results["good"].status == "ok"
    assert len(results["good"].rounds) == 3


def test_an_arm_that_fails_later_keeps_its_rounds(tmp_path):
    bad = fake_arm("bad", fault="error", at="second_round")
    settings = virtual_settings(tmp_path / "cache", restart_every=4)
    plan = fake_plan(bad, fake_arm("good"), rounds=4)
    results = results_of(run_plan(tmp_path, plan, settings=settings))
    assert results["bad"].status == "crashed"
    assert [taken.round for taken in results["bad"].rounds] == [0]
    assert [taken.round for taken in results["good"].rounds] == [0, 1, 2, 3]


def test_a_failed_reference_fails_the_arms_of_its_case_alone(tmp_path):
    broken = replace(fake_case(), id="broken", parameters={"elements": 4})
    plan = fake_plan(fake_arm("a"), cases=(broken, fake_case()))
    run = run_plan(tmp_path, plan)
    assert results_of(run, 0)["a"].status == "crashed"
    message = results_of(run, 0)["a"].message
    assert "the float64 reference failed: " in message
    # The workload is a file: the error names the line of it.
    assert re.search(r"fake\.py:\d+: KeyError during reference", message)
    assert results_of(run, 1)["a"].status == "ok"


def test_a_run_without_checks_says_so_by_having_none(tmp_path):
    settings = virtual_settings(tmp_path / "cache", check_outputs=False, cold=False)
    plan = fake_plan(fake_arm("a", fault="wrong"))
    result = results_of(run_plan(tmp_path, plan, settings=settings))["a"]
    assert (result.status, result.verification) == ("ok", None)
    assert [phases.cache for phases in result.phases] == ["warm"]
    assert len(result.rounds) == 3


def test_arms_and_rounds_of_a_case_can_be_narrowed(tmp_path):
    small, large = fake_case(elements=4), fake_case(elements=8)
    settings = {"case_arms": {large.id: ["a"]}, "case_rounds": {large.id: 2}}
    plan = fake_plan(
        fake_arm("a"), fake_arm("b"), rounds=5, cases=(small, large), settings=settings
    )
    run = run_plan(tmp_path, plan)
    assert {name: len(each.rounds) for name, each in results_of(run, 0).items()} == {
        "a": 5,
        "b": 5,
    }
    assert {name: len(each.rounds) for name, each in results_of(run, 1).items()} == {"a": 2}


def test_settings_of_one_case_hold_for_it_alone(tmp_path):
    first, second = fake_case(elements=4), fake_case(elements=8)
    settings = {
        "measure": {"cache_directory": str(tmp_path / "cache")},
        "case_measure": {second.id: {"cold": False, "restart_every": 3}},
    }
    plan = fake_plan(fake_arm("a"), cases=(first, second), settings=settings)
    journal = new_journal(tmp_path / "store", plan)
    clock = VirtualClock()
    measure(plan, journal, RecordingObserver(), launch=local_launcher(clock), clock=clock)
    run = load_run(journal.path)
    usual, own = results_of(run, 0)["a"], results_of(run, 1)["a"]
    assert [phases.cache for phases in usual.phases] == ["cold", "warm"]
    assert [phases.cache for phases in own.phases] == ["warm"]
    assert [taken.process for taken in usual.rounds] == [0, 1, 2]
    assert [taken.process for taken in own.rounds] == [0, 0, 0]


# Budgets, interruptions, resuming -------------------------------------------------------------


def test_a_budget_ends_after_a_whole_round_and_says_so(tmp_path):
    observer = RecordingObserver()
    plan = fake_plan(fake_arm("a"), fake_arm("b"), rounds=200, budget_seconds=8.0)
    run = run_plan(tmp_path, plan, observer=observer)
    counts = {len(result.rounds) for result in results_of(run).values()}
    assert len(counts) == 1
    done = counts.pop()
    assert 6 <= done < 200
    assert run.complete
    note = f"{plan.cases[0].id}: the time budget ended after {done} of 200 rounds"
    assert note in observer.notes
    assert observer.seconds_left[-1] <= 8.0


def test_cases_that_the_budget_leaves_out_can_be_resumed(tmp_path):
    observer = RecordingObserver()
    cases = tuple(fake_case(elements=each) for each in (2, 3, 4))
    arm = fake_arm("a", step_us=500_000)
    plan = fake_plan(arm, rounds=50, cases=cases, budget_seconds=9.0)
    run = run_plan(tmp_path, plan, observer=observer)
    assert not run.complete
    assert results_of(run, 0)["a"].rounds
    assert not results_of(run, 2)["a"].rounds
    assert "benchctl run --resume measures them" in observer.notes[-1]


class Interrupted(RecordingObserver):
    """Presses Ctrl-C after some rounds."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after

    def round_finished(self, case, done, total, seconds_left):
        super().round_finished(case, done, total, seconds_left)
        if len(self.rounds) == self.after:
            raise KeyboardInterrupt


def test_an_interrupted_run_is_resumed_without_repeating(tmp_path):
    arms = [fake_arm("a"), fake_arm("b", fault="wrong"), fake_arm("c", step_us=50)]
    cases = (fake_case(elements=4), fake_case(elements=5))
    plan = fake_plan(*arms, rounds=6, cases=cases)
    clock = VirtualClock()
    journal = new_journal(tmp_path, plan)
    settings = virtual_settings(tmp_path / "cache", restart_every=5)
    with pytest.raises(KeyboardInterrupt):
        measure(
            plan,
            journal,
            Interrupted(after=8),
            settings=settings,
            launch=local_launcher(clock),
            clock=clock,
        )
    before = load_run(journal.path)
    assert not before.complete
    assert [len(results_of(before, n)["a"].rounds) for n in (0, 1)] == [6, 2]

    engines: list[FakeEngine] = []
    observer = RecordingObserver()
    measure(
        plan,
        Journal.resume(journal.path),
        observer,
        done=before,
        settings=settings,
        launch=local_launcher(clock, engines),
        clock=clock,
    )
    after = load_run(journal.path)
    assert after.complete
    for number in (0, 1):
        results = results_of(after, number)
        assert results["b"].status == "wrong"
        for name in ("a", "c"):
            assert [taken.round for taken in results[name].rounds] == [0, 1, 2, 3, 4, 5]
            assert {phases.cache for phases in results[name].phases} == {"cold", "warm"}
        assert results["a"].rounds[:2] == results_of(before, number)["a"].rounds[:2]
    # The resumed part has processes of its own, checks nothing twice, and tries no failed arm.
    assert [taken.process for taken in results_of(after, 1)["a"].rounds] == [0, 0, 1, 1, 1, 1]
    assert observer.checked == []
    assert len(engines) == 2


# Verify and explain ----------------------------------------------------------------------------


def test_verify_checks_every_arm_and_times_none(tmp_path):
    plan = fake_plan(fake_arm("good"), fake_arm("bad", fault="suspect"))
    results = verify(
        plan,
        RecordingObserver(),
        settings=virtual_settings(tmp_path),
        launch=local_launcher(VirtualClock()),
    )
    assert [(case.id, each.arm.id, each.status) for case, each in results] == [
        (plan.cases[0].id, "good", "ok"),
        (plan.cases[0].id, "bad", "wrong"),
    ]
    assert all(each.rounds == () and each.phases == () for _, each in results)


def test_explain_tells_what_the_engine_says(tmp_path):
    plan = fake_plan(fake_arm("a"))
    settings = virtual_settings(tmp_path)
    launch = local_launcher(VirtualClock())
    facts = explain(plan, plan.cases[0], plan.arms[0], settings=settings, launch=launch)
    assert facts["kernels"] == ["fake_sleep"]
    assert facts["source"] == "sleep(step_seconds)"
    with pytest.raises(ArmFailure, match="no device 'gpu'"):
        explain(
            plan,
            plan.cases[0],
            replace(plan.arms[0], device="gpu"),
            settings=settings,
            launch=launch,
        )


# What does not fit -------------------------------------------------------------------------------


def test_engines_too_large_to_live_together_start_one_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "benchctl.measure.case_run.psutil.virtual_memory",
        lambda: type("Memory", (), {"available": 1})(),
    )
    observer = RecordingObserver()
    run = run_plan(tmp_path, fake_plan(fake_arm("a"), fake_arm("b"), rounds=3), observer=observer)
    assert any("one at a time" in note for note in observer.notes)
    for result in results_of(run).values():
        assert [taken.process for taken in result.rounds] == [0, 1, 2]
        assert result.memory.resident_above_import is not None


def test_a_first_worker_that_compiled_into_the_cache_is_not_called_warm(tmp_path):
    cache = tmp_path / "cache"
    started = []

    class Compiling(LocalWorker):
        """Writes a kernel into the cache that is not there yet."""

        def post(self, op, timeout_seconds, **fields):
            if op == "prepare" and fields["options"]["cache_directory"] == str(cache):
                cache.mkdir(exist_ok=True)
                started.append((cache / "kernel").exists())
                (cache / "kernel").touch()
            super().post(op, timeout_seconds, **fields)

    def launch(clock):
        return lambda environment: Compiling(clock, lambda name: FakeEngine(clock))

    run = run_plan(tmp_path, fake_plan(fake_arm("a")), launch=launch)
    assert started == [False, True, True, True]
    assert results_of(run)["a"].rounds[0].process == 0
