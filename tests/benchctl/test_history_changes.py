"""Changes of a series: found where they were planted, their states, and events of a machine."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from history_records import (
    LARGE,
    NUMPY,
    SMALL,
    STATIC,
    day_run,
    history_runs,
    revision_of,
    step_at,
    steps,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from record_factory import FakeArm, make_case

from benchctl.history.acknowledgements import acknowledge
from benchctl.history.changes import Change, State
from benchctl.history.machine_events import MachineEvent
from benchctl.history.overview import History, SeriesHistory, make_history
from benchctl.store.record import Run

EAGER = FakeArm("eager", 9e-6)


def history_of(found: History, arm: str = "static", case: str = SMALL.id) -> SeriesHistory:
    (one,) = [
        each
        for each in found.series
        if (each.series.key.arm_id, each.series.key.case_id) == (arm, case)
    ]
    return one


def only_change(found: History, arm: str = "static") -> Change:
    (change,) = history_of(found, arm).changes
    return change


@settings(max_examples=15, deadline=None)
@given(day=st.integers(6, 18), factor=st.sampled_from([0.8, 0.9, 1.1, 1.3, 2.5]))
def test_a_planted_step_is_confirmed_where_it_is(day: int, factor: float) -> None:
    found = make_history(history_runs(24, step_at(day, factor, arm="static")))
    change = only_change(found)
    assert change.state is State.CONFIRMED
    assert abs(change.index - day) <= 1
    assert change.good.started_utc < change.first.started_utc <= change.bad.started_utc
    assert change.first.revision == revision_of(change.index)
    low, high = change.low, change.high
    assert low is not None and high is not None
    # Noise of 0.5 % a run and 12 runs or so a side leave the effect within 1.5 %.
    assert change.effect == pytest.approx(math.log(factor), abs=0.015)
    assert low <= change.effect <= high
    assert change.slower is (factor > 1)
    assert change.after - change.before == pytest.approx(change.effect, abs=1e-9)
    assert history_of(found, "numpy").changes == ()


def test_quiet_series_have_no_change() -> None:
    found = make_history(history_runs(24, cases=(SMALL, LARGE)))
    assert [each.changes for each in found.series] == [()] * 4
    assert found.machine_events == () and found.open_slowdowns() == ()


def test_a_change_of_versions_is_no_change_of_the_code() -> None:
    """The step coincides with a new NumPy: nothing is confirmed, and the series begins anew."""
    runs = [
        day_run(day, step_at(12, 1.3), machine={"cpu": "Newer CPU"} if day >= 12 else {})
        for day in range(24)
    ]
    found = make_history(runs)
    for each in found.series:
        assert each.changes == ()
        assert [event.index for event in each.series.events] == [12]
    # The same step without the event is found: the test above could fail.
    assert only_change(make_history(history_runs(24, step_at(12, 1.3)))).slower


def test_a_change_within_a_later_segment_has_its_place_in_the_series() -> None:
    runs = [
        day_run(day, step_at(20, 1.2, arm="static"), machine={"cpu": "B" if day >= 10 else "A"})
        for day in range(30)
    ]
    change = only_change(make_history(runs))
    assert abs(change.index - 20) <= 1
    assert change.first.run_id == runs[change.index].run_id


def test_the_newest_points_are_suspected_then_confirmed() -> None:
    factor = step_at(16, 1.2, arm="static")
    suspected = only_change(make_history(history_runs(18, factor)))
    assert suspected.state is State.SUSPECTED
    assert (suspected.index, suspected.low, suspected.p_value) == (16, None, None)
    assert suspected.effect == pytest.approx(math.log(1.2), abs=0.02)
    assert history_of(make_history(history_runs(17, factor))).changes == ()
    confirmed = only_change(make_history(history_runs(24, factor)))
    assert confirmed.state is State.CONFIRMED
    # One point of the two or so is enough to keep the name.
    if confirmed.index == suspected.index:
        assert confirmed.id == suspected.id


def test_a_suspected_change_is_no_open_slowdown() -> None:
    found = make_history(history_runs(18, step_at(16, 1.2, arm="static")))
    assert only_change(found).slower and found.open_slowdowns() == ()


def test_a_second_step_is_suspected_against_the_level_since_the_first() -> None:
    factor = steps(step_at(10, 1.2, arm="static"), step_at(28, 1.2, arm="static"))
    first, second = history_of(make_history(history_runs(30, factor))).changes
    assert (first.state, second.state) == (State.CONFIRMED, State.SUSPECTED)
    assert second.effect == pytest.approx(math.log(1.2), abs=0.02)


def test_several_steps_are_listed_in_the_order_of_time() -> None:
    factor = steps(step_at(10, 1.2, arm="static"), step_at(20, 1 / 1.2, arm="static"))
    slower, faster = history_of(make_history(history_runs(30, factor))).changes
    assert (slower.slower, faster.slower) == (True, False)
    assert slower.index < faster.index
    assert len({slower.id, faster.id}) == 2


def test_ids_tell_series_apart_and_do_not_depend_on_the_order_of_files() -> None:
    runs = history_runs(24, step_at(12, 1.3))
    one, other = make_history(runs), make_history(list(reversed(runs)))
    ids = [change.id for each in one.series for change in each.changes]
    assert ids == [change.id for each in other.series for change in each.changes]
    assert len(set(ids)) == len(ids) == 2


# Decisions -----------------------------------------------------------------------------------


def decide(change: Change, state: State = State.ACKNOWLEDGED):
    return acknowledge(change, state, "more checks", "2026-02-01T00:00:00Z")


def test_an_acknowledged_slowdown_is_no_longer_open() -> None:
    runs = history_runs(24, step_at(12, 1.2, arm="static"))
    change = only_change(make_history(runs))
    assert make_history(runs).open_slowdowns() == (change,)
    for state in (State.ACKNOWLEDGED, State.FIXED):
        found = make_history(runs, [decide(change, state)])
        settled = only_change(found)
        assert (settled.state, settled.reason) == (state, "more checks")
        assert found.open_slowdowns() == ()


@settings(max_examples=10, deadline=None)
@given(day=st.integers(7, 15))
def test_a_decision_holds_when_more_points_move_the_change(day: int) -> None:
    factor = step_at(day, 1.15, arm="static")
    change = only_change(make_history(history_runs(day + 6, factor, noise=0.02)))
    later = make_history(history_runs(day + 20, factor, noise=0.02), [decide(change)])
    assert only_change(later).state is State.ACKNOWLEDGED


def test_a_decision_does_not_cover_a_later_change() -> None:
    first = step_at(10, 1.2, arm="static")
    change = only_change(make_history(history_runs(20, first)))
    both = steps(first, step_at(22, 1.2, arm="static"))
    found = make_history(history_runs(32, both), [decide(change)])
    states = [each.state for each in history_of(found).changes]
    assert states == [State.ACKNOWLEDGED, State.CONFIRMED]
    assert len(found.open_slowdowns()) == 1


def test_a_decision_stays_where_it_was_made() -> None:
    """The change that was accepted is gone, and one like it comes at another time."""
    change = only_change(make_history(history_runs(20, step_at(10, 1.2, arm="static"))))
    later = history_runs(32, step_at(22, 1.2, arm="static"))
    assert only_change(make_history(later, [decide(change)])).state is State.CONFIRMED


def test_a_decision_covers_no_more_than_it_was_given_for() -> None:
    """The same place, but far slower than what was accepted."""
    change = only_change(make_history(history_runs(24, step_at(12, 1.08, arm="static"))))
    worse = make_history(history_runs(24, step_at(12, 1.4, arm="static")), [decide(change)])
    assert only_change(worse).state is State.CONFIRMED


def test_a_decision_is_on_one_series_and_one_direction() -> None:
    runs = history_runs(24, step_at(12, 1.2))
    static = only_change(make_history(runs), "static")
    found = make_history(runs, [decide(static)])
    assert only_change(found, "static").state is State.ACKNOWLEDGED
    assert only_change(found, "numpy").state is State.CONFIRMED
    faster = make_history(history_runs(24, step_at(12, 1 / 1.2)), [decide(static)])
    assert only_change(faster, "static").state is State.CONFIRMED


def test_one_decision_is_on_one_change_and_on_the_nearest() -> None:
    factor = steps(step_at(8, 1.2, arm="static"), step_at(14, 1.2, arm="static"))
    found = make_history(history_runs(26, factor))
    first, second = history_of(found).changes
    for chosen, expected in ((first, [True, False]), (second, [False, True])):
        decision = replace(decide(chosen), id="moved", after=first.good.place)
        decision = replace(decision, until=second.bad.place)
        again = history_of(make_history(history_runs(26, factor), [decision])).changes
        assert [each.state is State.ACKNOWLEDGED for each in again] == expected


def test_deciding_again_on_a_change_that_moved_replaces_the_decision() -> None:
    runs = history_runs(24, step_at(12, 1.2, arm="static"))
    change = only_change(make_history(runs))
    moved = replace(decide(change), id="earlier1")
    settled = only_change(make_history(runs, [moved]))
    assert settled.decision_id == "earlier1"
    assert decide(settled, State.FIXED).id == "earlier1"


def test_a_suspicion_cannot_be_decided_on() -> None:
    suspected = only_change(make_history(history_runs(18, step_at(16, 1.2, arm="static"))))
    with pytest.raises(ValueError, match="a confirmed change"):
        decide(suspected)


# Machine events ------------------------------------------------------------------------------


def wide(days: int, factor) -> list[Run]:
    """Two cases on three arms: six series."""
    return history_runs(days, factor, cases=(SMALL, LARGE), arms=(STATIC, NUMPY, EAGER))


def reported(found: History) -> list[type]:
    return [type(each) for each in found.changes()]


def test_a_change_of_most_series_at_one_revision_is_one_event() -> None:
    found = make_history(wide(24, step_at(12, 1.2)))
    assert reported(found) == [MachineEvent]
    (event,) = found.machine_events
    assert (len(event.changes), event.series_measured) == (6, 6)
    assert event.first.started_utc[:10] in ("2026-01-16", "2026-01-17", "2026-01-18")
    assert event.slower and event.state is State.CONFIRMED
    assert event.effect == pytest.approx(math.log(1.2), abs=0.01)
    assert all(each.own_changes == () and len(each.changes) == 1 for each in found.series)
    assert found.open_slowdowns() == (event,)


def test_one_engine_of_three_is_no_event_of_the_machine() -> None:
    found = make_history(wide(24, step_at(12, 1.2, arm="static")))
    assert reported(found) == [Change, Change]


def test_half_of_few_series_is_no_majority() -> None:
    """One of two engines became slower: that is the engine."""
    found = make_history(history_runs(24, step_at(12, 1.2, arm="static")))
    assert reported(found) == [Change]
    found = make_history(history_runs(24, step_at(12, 1.2)))
    assert reported(found) == [Change, Change]


def test_three_of_eight_series_are_no_majority() -> None:
    cases = [SMALL, LARGE, make_case(size="9x9"), make_case(size="7x7")]
    parts = [step_at(12, 1.2, arm="static", case=case.id) for case in cases[:3]]
    found = make_history(history_runs(24, steps(*parts), cases=cases))
    assert reported(found) == [Change] * 3
    both = [*parts, step_at(12, 1.2, arm="static", case=cases[3].id)]
    found = make_history(history_runs(24, steps(*both), cases=cases))
    assert reported(found) == [MachineEvent]


def test_what_is_only_suspected_makes_no_event() -> None:
    found = make_history(wide(18, step_at(16, 1.2)))
    assert found.machine_events == ()
    assert {change.state for each in found.series for change in each.changes} == {State.SUSPECTED}


def test_changes_at_different_times_are_no_event() -> None:
    factor = steps(
        step_at(8, 1.3, arm="static"), step_at(16, 1.3, arm="numpy"), step_at(24, 1.3, arm="eager")
    )
    found = make_history(wide(32, factor))
    assert found.machine_events == ()
    assert reported(found) == [Change] * 6


def test_series_too_short_to_change_do_not_count_against_an_event() -> None:
    crowd = [FakeArm(f"other{number}", 3e-6) for number in range(8)]
    runs = wide(24, step_at(12, 1.2))
    runs.append(day_run(24, step_at(12, 1.2), arms=crowd))
    (event,) = make_history(runs).machine_events
    assert event.series_measured == 6


def test_suites_measured_one_after_the_other_share_an_event() -> None:
    runs = []
    for day in range(24):
        for minute, case in ((0, SMALL), (30, LARGE)):
            factor = step_at(12, 1.2)
            runs.append(
                day_run(day, factor, cases=(case,), arms=(STATIC, NUMPY, EAGER), minute=minute)
            )
    found = make_history(runs)
    assert reported(found) == [MachineEvent]
    assert len(found.machine_events[0].changes) == 6


def test_machines_have_events_of_their_own() -> None:
    factor = step_at(12, 1.2)
    other = [replace(run, machine={**run.machine, "id": "other"}) for run in wide(24, factor)]
    other = [replace(run, run_id=f"{run.run_id}-other") for run in other]
    found = make_history([*wide(24, factor), *other])
    assert sorted(event.machine_id for event in found.machine_events) == ["0123456789ab", "other"]
    assert all(len(event.changes) == 6 for event in found.machine_events)


def test_an_event_is_settled_when_every_slowdown_in_it_is() -> None:
    runs = wide(24, step_at(12, 1.2))
    (event,) = make_history(runs).machine_events
    some = [decide(change) for change in event.changes[:-1]]
    (partly,) = make_history(runs, some).machine_events
    assert partly.state is State.CONFIRMED
    found = make_history(runs, [*some, decide(event.changes[-1])])
    assert found.machine_events[0].state is State.ACKNOWLEDGED
    assert found.open_slowdowns() == ()


def test_speedups_in_an_event_need_no_decision() -> None:
    parts = [step_at(12, factor, arm=arm) for arm, factor in (("static", 1.2), ("numpy", 0.8))]
    runs = wide(24, steps(*parts, step_at(12, 1.3, arm="eager")))
    (event,) = make_history(runs).machine_events
    assert len(event.changes) == 6
    decisions = [decide(change) for change in event.changes if change.slower]
    assert len(decisions) == 4
    (settled,) = make_history(runs, decisions).machine_events
    assert settled.state is State.ACKNOWLEDGED


def test_limiting_to_a_workload_keeps_the_event_it_is_part_of() -> None:
    runs = wide(24, step_at(12, 1.2))
    assert make_history(runs, workloads=("xyz",)) == make_history(runs)
    nothing = make_history(runs, workloads=("vgg16",))
    assert (nothing.series, nothing.machine_events) == ((), ())


def test_changes_are_called_by_the_beginning_of_their_id() -> None:
    found = make_history(history_runs(24, step_at(12, 1.2)))
    one, other = found.changes()
    assert found.called(one.id) == (one,)
    assert found.called(other.id[:6]) == (other,)
    assert found.called("") == (one, other)
    assert found.called("nothing") == ()
