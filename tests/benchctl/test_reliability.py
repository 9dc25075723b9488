"""The promises: simulated machines are as said, a broken promise is seen, the page is true."""

from __future__ import annotations

import itertools
import math
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from benchctl.gate import decide
from benchctl.reliability import __main__ as command
from benchctl.reliability import noise as noise_module
from benchctl.reliability import simulations
from benchctl.reliability.noise import (
    BIMODAL,
    DRIFT,
    MACHINES,
    SPIKES,
    WHITE,
    HistoryNoise,
    Noise,
    autoregressive_series,
    history,
    paired_rounds,
)
from benchctl.reliability.promise import Limit, Outcome, Promise, share_promise
from benchctl.reliability.promises import COVERAGE, PROMISES, order_bias
from benchctl.report.markdown import table_markdown
from benchctl.stats.planner import robust_spread

PAGE = (Path(__file__).parents[2] / "docs" / "reliability.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def quick_outcomes() -> list[tuple[Promise, Outcome]]:
    return [(each, each.simulate(0, command.QUICK_EFFORT)) for each in PROMISES]


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def page_rows() -> list[list[str]]:
    rows = [cells(line) for line in PAGE.splitlines() if line.startswith("| ")]
    heading = [column.title for column in command.COLUMNS]
    start = rows.index(heading)
    return list(itertools.takewhile(lambda row: len(row) == len(heading), rows[start + 2 :]))


def percents(text: str) -> list[float]:
    return [float(number) / 100 for number in re.findall(r"-?\d+(?:\.\d+)?", text)]


# Promises and the page ------------------------------------------------------------------------


@pytest.mark.slow
def test_every_promise_is_kept_with_a_tenth_of_the_runs(
    quick_outcomes: list[tuple[Promise, Outcome]],
) -> None:
    broken = [(promise.name, outcome) for promise, outcome in quick_outcomes if not outcome.ok]
    assert broken == []


@pytest.mark.slow
def test_the_page_has_the_rows_and_limits_of_the_command(
    quick_outcomes: list[tuple[Promise, Outcome]],
) -> None:
    lines = table_markdown(command.promise_table(quick_outcomes))
    assert [row[:3] for row in page_rows()] == [cells(line)[:3] for line in lines[2:]]


@pytest.mark.slow
def test_the_figures_of_the_page_are_within_their_limits(
    quick_outcomes: list[tuple[Promise, Outcome]],
) -> None:
    for row, (_, outcome) in zip(page_rows(), quick_outcomes, strict=True):
        figures = percents(row[3])
        assert 1 <= len(figures) <= 2
        if outcome.limit is None:
            assert row[-1] == "-"
            continue
        (allowance,) = percents(row[4]) if row[4] != "-" else (0.0,)
        # The page takes more runs, so it allows less for chance.
        assert allowance <= outcome.allowance
        assert row[-1] == "yes"
        slack = allowance + 1e-9
        assert all(
            outcome.limit.low - slack <= each <= outcome.limit.high + slack for each in figures
        )


def test_the_page_names_the_command() -> None:
    assert "python -m benchctl.reliability" in PAGE


def test_a_seed_gives_the_same_figures_again() -> None:
    for promise in PROMISES[:2]:
        assert promise.simulate(1, 0.01) == promise.simulate(1, 0.01)
        assert promise.simulate(1, 0.05) != promise.simulate(2, 0.05)


def test_names_and_conditions_are_distinct() -> None:
    assert len({(each.name, each.conditions) for each in PROMISES}) == len(PROMISES)


@pytest.mark.parametrize(
    ("lowest", "highest", "limit", "ok"),
    [
        (0.0, 0.05, Limit(high=0.05), True),
        (0.0, 0.06, Limit(high=0.05), True),
        (0.0, 0.07, Limit(high=0.05), False),
        (0.95, 1.0, Limit(low=0.95), True),
        (0.93, 1.0, Limit(low=0.95), False),
        (0.94, 0.99, Limit(0.935, 0.97), False),
        (0.0, 1.0, None, True),
    ],
)
def test_a_figure_is_held_against_its_limit(
    lowest: float, highest: float, limit: Limit | None, ok: bool
) -> None:
    assert Outcome(lowest, highest, 1000, limit, allowance=0.01).ok == ok


def test_allowance_is_three_standard_errors() -> None:
    promise = share_promise("", "", Limit(high=0.05), 2000, lambda rng, runs: 0.0, [()])
    assert promise.simulate(0, 1.0).allowance == pytest.approx(3 * 0.004873, rel=1e-3)
    assert promise.simulate(0, 0.25).runs == 500


def test_a_broken_promise_ends_in_exit_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    def of_share(share: float) -> Promise:
        limit = Limit(high=0.05)
        return share_promise("alarms", "noise", limit, 1000, lambda rng, runs: share, [()])

    monkeypatch.setattr(command, "PROMISES", (of_share(0.03), of_share(0.30)))
    done = CliRunner().invoke(command.main, [])
    assert done.exit_code == 1
    assert cells(done.stdout.splitlines()[2])[2:4] == ["at most 5 %", "3.0 %"]
    assert [cells(line)[-1] for line in done.stdout.splitlines()[2:]] == ["yes", "NO"]
    assert re.search(r"\d\.\d s  alarms: noise", done.stderr)
    monkeypatch.setattr(command, "PROMISES", (of_share(0.03),))
    assert CliRunner().invoke(command.main, ["--quick"]).exit_code == 0


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        (Limit(high=0.05), "at most 5 %"),
        (Limit(low=0.95), "at least 95 %"),
        (Limit(0.935, 0.97), "93.5 to 97 %"),
        (Limit(-0.001, 0.001), "-0.1 to 0.1 %"),
        (None, "not promised"),
    ],
)
def test_limits_in_words(limit: Limit | None, words: str) -> None:
    assert command.limit_words(limit) == words


# Planted faults -------------------------------------------------------------------------------


def test_a_gate_that_confirms_on_the_rounds_it_screened_is_caught(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its candidates are those that chance made slow, and the same rounds say so again."""
    fresh_rounds = simulations._gate_rounds
    kept: list[tuple[dict[str, list[float]], bool]] = []

    def first_rounds_again(*arguments):
        if not kept:
            kept.append(fresh_rounds(*arguments))
        return kept[0]

    def red_share() -> float:
        rule = decide.GateRule(confirm_rounds=12, confirm_alpha=0.10)
        controls = [0.0] * simulations.GATE_CONTROLS
        on_margin = np.log1p([0.02] * simulations.GATE_CASES + controls)
        rng = np.random.default_rng(0)
        outcomes = []
        for _ in range(200):
            kept.clear()
            outcomes.append(simulations.gate_run(rule, rng, WHITE, on_margin))
        return outcomes.count("red") / 200

    # 10 % and three standard errors.
    assert red_share() <= 0.164
    monkeypatch.setattr(simulations, "_gate_rounds", first_rounds_again)
    assert red_share() > 0.3


def test_a_gate_without_correction_for_many_cases_is_caught(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where the screen lets all cases pass, only Holm's correction keeps the error of all small."""

    def red_share() -> float:
        rule = decide.GateRule(screen_alpha=1.0, confirm_rounds=12)
        controls = [0.0] * simulations.GATE_CONTROLS
        on_margin = np.log1p([0.02] * simulations.GATE_CASES + controls)
        rng = np.random.default_rng(0)
        runs = [simulations.gate_run(rule, rng, WHITE, on_margin) for _ in range(300)]
        return runs.count("red") / 300

    # 1 % and three standard errors.
    assert red_share() <= 0.027
    monkeypatch.setattr(decide, "holm", list)
    assert red_share() > 0.05


def test_a_gate_without_controls_blames_the_code_for_the_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slowed = [0.05] * simulations.GATE_CASES
    rng = np.random.default_rng(0)
    assert simulations.gate_outcomes(rng, 50, WHITE, "contaminated", slowed, 0.05) >= 0.98
    monkeypatch.setattr(simulations, "contaminated", lambda control: False)
    assert simulations.gate_outcomes(rng, 50, WHITE, "red", slowed, 0.05) >= 0.98


def test_an_order_that_is_always_the_same_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    assert order_bias(0, 0.1).ok
    monkeypatch.setattr(
        noise_module, "round_orders", lambda arms, rounds, seed: [tuple(arms)] * rounds
    )
    outcome = order_bias(0, 0.1)
    assert not outcome.ok
    # The head always comes half a round later.
    assert outcome.lowest == pytest.approx(math.log1p(0.01) / 2)


@pytest.mark.parametrize(
    ("quantiles", "ok"), [((0.4, 0.6), False), ((0.0, 1.0), False), (None, True)]
)
def test_an_interval_that_is_too_narrow_or_too_wide_is_caught(
    monkeypatch: pytest.MonkeyPatch, quantiles: tuple[float, float] | None, ok: bool
) -> None:
    if quantiles is not None:
        monkeypatch.setattr(
            simulations, "confidence_interval", lambda values, _: np.quantile(values, quantiles)
        )
    varied = [(WHITE, rounds) for rounds in (10, 20)]
    promise = share_promise("", "", COVERAGE, 2000, simulations.coverage, varied)
    assert promise.simulate(0, 1.0).ok == ok


# Machines -------------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", MACHINES, ids=lambda noise: noise.name)
def test_a_machine_favours_no_arm(noise: Noise) -> None:
    rows = paired_rounds(noise, np.random.default_rng(1), 4000, 20)
    assert rows.shape == (4000, 20)
    error = float(np.std(rows)) / math.sqrt(rows.size)
    assert abs(float(np.mean(rows))) < 4 * error
    # Symmetric: as many rounds above as below.
    assert abs(np.mean(rows > 0) - 0.5) < 4 * 0.5 / math.sqrt(rows.size)


@pytest.mark.parametrize("noise", MACHINES, ids=lambda noise: noise.name)
def test_the_effect_is_what_is_measured(noise: Noise) -> None:
    without, with_effect = (
        paired_rounds(noise, np.random.default_rng(2), 50, 10, effect) for effect in (0.0, 0.3)
    )
    np.testing.assert_allclose(with_effect, without + 0.3)


def test_spread_is_that_of_one_round() -> None:
    for spread in (0.005, 0.03):
        rows = paired_rounds(Noise("", spread=spread), np.random.default_rng(3), 500, 20)
        assert float(np.std(rows)) == pytest.approx(spread, rel=0.03)


def test_spikes_hit_one_round_in_twenty_by_ten_to_thirty_percent() -> None:
    rows = paired_rounds(Noise("", 0.0, stall_share=0.05), np.random.default_rng(4), 1000, 20)
    hit = np.abs(rows[rows != 0])
    assert hit.size / rows.size == pytest.approx(0.05, abs=0.006)
    assert math.log(1.1) <= hit.min() and hit.max() <= math.log(1.3)
    # The bulk hardly notices.
    assert robust_spread(
        paired_rounds(SPIKES, np.random.default_rng(4), 500, 20).ravel()
    ) == pytest.approx(SPIKES.spread, rel=0.1)


def test_drift_hits_the_arm_that_comes_later_and_cancels_over_a_pair() -> None:
    rows = paired_rounds(Noise("", 0.0, trend=0.01), np.random.default_rng(5), 200, 12)
    np.testing.assert_allclose(np.abs(rows), 0.005)
    np.testing.assert_allclose(rows[:, 0::2] + rows[:, 1::2], 0.0, atol=1e-15)
    assert float(np.std(paired_rounds(DRIFT, np.random.default_rng(5), 2000, 12))) == pytest.approx(
        math.hypot(DRIFT.spread, DRIFT.walk), rel=0.03
    )


@pytest.mark.parametrize("kept", [1, 5])
def test_a_process_keeps_its_offset_as_long_as_it_serves(kept: int) -> None:
    noise = Noise("", 0.0, process_offset=0.03, rounds_per_process=kept)
    rows = paired_rounds(noise, np.random.default_rng(6), 3000, 10)
    values, counts = np.unique(np.round(rows, 6), return_counts=True)
    assert values.tolist() == [-0.03, 0.0, 0.03]
    assert counts / rows.size == pytest.approx([0.25, 0.5, 0.25], abs=0.03)
    blocks = rows.reshape(3000, -1, kept)
    assert np.all(blocks == blocks[:, :, :1])
    assert not np.all(rows[:, :5] == rows[:, 5:])
    assert BIMODAL.rounds_per_process == 1


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_simulated_series_have_the_spread_and_memory_asked_for(rho: float) -> None:
    series = autoregressive_series(rho, 60, 20000, np.random.default_rng(2))
    np.testing.assert_allclose(series.std(axis=1), 1.0, atol=0.03)
    np.testing.assert_allclose(series.mean(axis=1), 0.0, atol=0.03)
    for lag in (1, 2, 5):
        together = float(np.mean(series[lag:] * series[:-lag]))
        assert together == pytest.approx(rho**lag, abs=0.02)


def test_a_history_has_the_spread_memory_and_spikes_asked_for() -> None:
    rng = np.random.default_rng(7)
    rows = np.array([history(HistoryNoise("", rho=0.5), rng, 100) for _ in range(300)])
    assert float(np.std(rows)) == pytest.approx(0.02, rel=0.05)
    together = float(np.mean(rows[:, 1:] * rows[:, :-1])) / 0.02**2
    assert together == pytest.approx(0.5, abs=0.04)
    spiked = np.array(
        [history(HistoryNoise("", 0.0, spike_share=0.05), rng, 100) for _ in range(100)]
    )
    assert np.mean(spiked > 0) == pytest.approx(0.05, abs=0.01)
    assert spiked[spiked > 0].min() >= math.log(1.1)
