"""What the statistics promise: every row of docs/reliability.md."""

from __future__ import annotations

import math

import numpy as np

from benchctl.reliability import simulations
from benchctl.reliability.noise import (
    BIMODAL,
    CORRELATED_HISTORY,
    MACHINES,
    SPIKED_HISTORY,
    SPIKES,
    STRONGLY_CORRELATED_HISTORY,
    WHITE,
    WHITE_HISTORY,
    Noise,
    paired_rounds,
)
from benchctl.reliability.promise import Limit, Outcome, Promise, share_promise
from benchctl.stats.verdict import Verdict

ROUNDS = (6, 8, 10, 15, 20)
"""How many rounds verdicts and intervals are tried with."""


def order_bias(seed: int, effort: float) -> Outcome:
    """The mean log ratio of equal arms on a machine that slows down by 1 % with each round."""
    runs = max(1, round(400 * effort))
    drifting = Noise("linear drift", spread=0.0, trend=math.log1p(0.01))
    biases = [
        paired_rounds(drifting, np.random.default_rng([seed, rounds]), runs, rounds).mean(axis=1)
        for rounds in ROUNDS
    ]
    return Outcome(float(np.min(biases)), float(np.max(biases)), runs, Limit(-0.001, 0.001))


FIVE_PERCENT = Limit(high=0.05)
ONE_PERCENT = Limit(high=0.01)
COVERAGE = Limit(0.935, 0.97)

_ALL_ROUNDS = f"R = {', '.join(map(str, ROUNDS))}"
_FOUR_MACHINES = "the four machines"
_LOOKS = (10, 15, 20)
_KEPT = 5
_KEPT_BIMODAL = Noise("kept processes", process_offset=0.03, rounds_per_process=_KEPT)
_GATE = f"{simulations.GATE_CASES} cases"
_ONE_SLOWER = (0.05, *[0.0] * (simulations.GATE_CASES - 1))
_HISTORY = f"{simulations.HISTORY_POINTS} points, spread 2 %"
_STEP = ((60, math.log1p(0.05)),)
_STEP_AND_BACK = ((35, math.log1p(0.10)), (70, -math.log1p(0.10)))
_HISTORIES = (WHITE_HISTORY, SPIKED_HISTORY, CORRELATED_HISTORY)


PROMISES: tuple[Promise, ...] = (
    *(
        share_promise(
            f"equal arms told apart at {confidence:.0%}".replace("%", " %"),
            f"{noise.name}, {_ALL_ROUNDS}, margin 0",
            limit,
            2000,
            simulations.false_alarms,
            [(noise, rounds, confidence) for rounds in ROUNDS],
        )
        for confidence, limit in ((0.95, FIVE_PERCENT), (0.99, ONE_PERCENT))
        for noise in MACHINES
    ),
    share_promise(
        "equal arms told apart at planned looks",
        f"{_FOUR_MACHINES}, looks at {', '.join(map(str, _LOOKS))}, 95 %, margin 0",
        FIVE_PERCENT,
        2000,
        simulations.false_alarms_at_looks,
        [(noise, _LOOKS) for noise in MACHINES],
    ),
    share_promise(
        "called the same though 2 % slower",
        f"white noise and spikes, spread 0.5 %, {_ALL_ROUNDS}",
        FIVE_PERCENT,
        2000,
        simulations.false_sameness,
        [
            (Noise("", spread=0.005, stall_share=stalls), rounds)
            for stalls in (0.0, SPIKES.stall_share)
            for rounds in ROUNDS
        ],
    ),
    *(
        share_promise(
            "95 % interval holds the true ratio",
            f"{_FOUR_MACHINES}, R = {rounds}",
            COVERAGE,
            4000,
            simulations.coverage,
            [(noise, rounds) for noise in MACHINES],
        )
        for rounds in ROUNDS
    ),
    share_promise(
        "95 % interval of a geometric mean holds the true one",
        "4 cases that share noise, with and without spikes, R = 10, 20, 30",
        COVERAGE,
        1000,
        simulations.geometric_mean_coverage,
        [(noise, rounds) for noise in (WHITE, SPIKES) for rounds in (10, 20, 30)],
    ),
    share_promise(
        "5 % slower is found",
        "R = 20, spread 1.5 %",
        Limit(low=0.95),
        2000,
        simulations.power,
        [(0.05, 0.015, 20)],
    ),
    share_promise(
        "10 % slower is found",
        "R = 20, spread 3 %",
        Limit(low=0.97),
        2000,
        simulations.power,
        [(0.10, 0.03, 20)],
    ),
    share_promise(
        "planned rounds give the right verdict",
        "planned for 90 %; 4 %, 5 %, 10 % slower, 7 % faster, equal",
        Limit(low=0.90),
        2000,
        simulations.planned_power,
        [
            (0.04, 0.015, Verdict.SLOWER, 0.90),
            (0.05, 0.03, Verdict.SLOWER, 0.90),
            (0.10, 0.03, Verdict.SLOWER, 0.90),
            (-0.07, 0.03, Verdict.FASTER, 0.90),
            (0.0, 0.015, Verdict.SAME, 0.90),
        ],
    ),
    Promise(
        "mean difference of equal arms",
        f"each round 1 % slower than the last, {_ALL_ROUNDS}",
        order_bias,
    ),
    share_promise(
        "gate red though nothing changed",
        f"{_GATE}, {_FOUR_MACHINES}",
        ONE_PERCENT,
        3000,
        simulations.gate_outcomes,
        [(noise, "red", [0.0] * simulations.GATE_CASES) for noise in MACHINES],
    ),
    share_promise(
        "gate red though no slowdown exceeds the margin",
        f"{_GATE}, each exactly 2 % slower, white noise and spikes",
        ONE_PERCENT,
        3000,
        simulations.gate_outcomes,
        [(noise, "red", [0.02] * simulations.GATE_CASES) for noise in (WHITE, SPIKES)],
    ),
    share_promise(
        "gate red though the machine slows the head",
        f"{_GATE} and the controls, each 5 % slower, white noise and spikes",
        ONE_PERCENT,
        3000,
        simulations.gate_outcomes,
        [(noise, "red", [0.05] * simulations.GATE_CASES, 0.05) for noise in (WHITE, SPIKES)],
    ),
    share_promise(
        "gate finds a case that is 5 % slower",
        f"one of {_GATE}, spread 1.5 %, white noise and spikes",
        Limit(low=0.95),
        3000,
        simulations.gate_outcomes,
        [(noise, "red", _ONE_SLOWER) for noise in (WHITE, SPIKES)],
    ),
    *(
        share_promise(
            "change found in an unchanged history",
            f"{noise.name}, {_HISTORY}",
            FIVE_PERCENT,
            1000,
            simulations.false_changes,
            [(noise,)],
        )
        for noise in _HISTORIES
    ),
    *(
        share_promise(
            f"step of 5 % found within {simulations.STEP_NEAR} points",
            f"{noise.name}, {_HISTORY}",
            Limit(low=0.90),
            1000,
            simulations.located_steps,
            [(noise, _STEP)],
        )
        for noise in _HISTORIES
    ),
    share_promise(
        f"step of 10 % and its repair both found within {simulations.STEP_NEAR} points",
        f"all three, {_HISTORY}",
        Limit(low=0.90),
        1000,
        simulations.located_steps,
        [(noise, _STEP_AND_BACK) for noise in _HISTORIES],
    ),
    share_promise(
        "equal arms told apart where every round may end it",
        "white noise, R = 6 to 30, 95 %, margin 0",
        None,
        1000,
        simulations.false_alarms_when_peeking,
        [(WHITE, 6, 30)],
    ),
    *(
        share_promise(
            "equal arms told apart where processes are kept",
            f"{BIMODAL.name} kept for {_KEPT} rounds, R = 10, 15, 20, 95 %, {words}",
            None,
            2000,
            simulations.false_alarms,
            [(_KEPT_BIMODAL, rounds, 0.95, margin) for rounds in (10, 15, 20)],
        )
        for margin, words in ((0.0, "margin 0"), (0.02, "margin 2 %"))
    ),
    share_promise(
        "gate contaminated though nothing changed",
        f"{_GATE}, {_FOUR_MACHINES}",
        None,
        3000,
        simulations.gate_outcomes,
        [(noise, "contaminated", [0.0] * simulations.GATE_CASES) for noise in MACHINES],
    ),
    share_promise(
        "change found in an unchanged history",
        f"{STRONGLY_CORRELATED_HISTORY.name}, {_HISTORY}",
        None,
        1000,
        simulations.false_changes,
        [(STRONGLY_CORRELATED_HISTORY,)],
    ),
    share_promise(
        f"step of 5 % found within {simulations.STEP_NEAR} points",
        f"{STRONGLY_CORRELATED_HISTORY.name}, {_HISTORY}",
        None,
        1000,
        simulations.located_steps,
        [(STRONGLY_CORRELATED_HISTORY, _STEP)],
    ),
)
"""Every promise, and after them what is only shown, in the order of docs/reliability.md."""
