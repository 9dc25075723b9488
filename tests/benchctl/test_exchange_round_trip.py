"""import(export(run)) keeps every sample, to the nanosecond, with its place in the run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from record_factory import make_case, make_run, write_run
from store_strategies import runs

from benchctl.compare.summary import summarise
from benchctl.store.exchange.exporting import export_text, write_file
from benchctl.store.exchange.importing import import_file
from benchctl.store.exchange.names import measured_arms
from benchctl.store.exchange.writing import store_run
from benchctl.store.reader import load_run
from benchctl.store.record import ArmRound, Run
from benchctl.store.schema import loop_nanoseconds


def above_zero(taken: ArmRound) -> ArmRound:
    """The round with every sample of at least a nanosecond: pyperf takes no other."""
    total = [max(1, abs(loop_nanoseconds(each, taken.loops))) for each in taken.seconds]
    return replace(taken, seconds=tuple(each / (taken.loops * 1e9) for each in total))


def with_times(run: Run) -> Run:
    return replace(
        run,
        cases=tuple(
            replace(
                case,
                arms=tuple(
                    replace(arm, rounds=tuple(above_zero(each) for each in arm.rounds))
                    for arm in case.arms
                ),
            )
            for case in run.cases
        ),
    )


def kept(run: Run):
    """All that must survive, by case and arm: nanoseconds, loops and the place of each round."""
    return {
        (case.id, arm.arm.id): [
            (
                taken.round,
                [loop_nanoseconds(each, taken.loops) for each in taken.seconds],
                taken.loops,
                taken.steady,
                taken.position,
                taken.process,
            )
            for taken in arm.rounds
            if taken.seconds
        ]
        for case, arm in measured_arms(run)
    }


def through_pyperf(run: Run, folder: Path) -> Run:
    path = folder / "run.json"
    write_file(path, export_text(run, "pyperf"), force=True)
    return load_run(store_run(folder / "imported", import_file(path).run))


@settings(max_examples=60, deadline=None)
@given(runs().map(with_times))
def test_any_run_comes_back_with_its_samples(tmp_path_factory, run: Run) -> None:
    assume(list(measured_arms(run)))
    folder = tmp_path_factory.mktemp("exchange")
    stored = load_run(store_run(folder / "first", run))
    back = through_pyperf(stored, folder)
    assert kept(back) == kept(stored)
    assert back.complete
    assert back.started_utc == stored.started_utc
    assert back.versions == stored.versions
    assert (back.plan.threads, back.plan.seed) == (stored.plan.threads, stored.plan.seed)
    measured = {case.id: case for case, _ in measured_arms(stored)}
    assert {case.case.id: case.case for case in back.cases} == measured


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(1e-9, 1e3), st.integers(1, 14))
def test_a_measured_run_shows_the_same_figures(
    tmp_path_factory, seed: int, scale: float, rounds: int
) -> None:
    folder = tmp_path_factory.mktemp("exchange")
    case = make_case()
    run = write_run(
        folder, make_run((case,), seed=seed, rounds=rounds, scale={case.id: scale / 1e-6})
    )
    back = through_pyperf(run, folder)
    (before,), (after,) = summarise(run).cases, summarise(back).cases
    assert after.winner == before.winner
    assert after.reference_id == before.reference_id
    assert [arm.interval_seconds for arm in after.arms] == [
        arm.interval_seconds for arm in before.arms
    ]


def test_an_export_of_an_import_is_the_same_document(tmp_path: Path) -> None:
    run = write_run(tmp_path, make_run())
    back = through_pyperf(run, tmp_path)
    again = through_pyperf(back, tmp_path / "imported")
    assert kept(again) == kept(run)
    assert again.machine == run.machine
    assert dict(again.git) == dict(run.git)
