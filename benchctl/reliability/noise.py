"""Machines that disturb: simulated rounds and histories whose true answer is known.

All times are logarithms, so a disturbance of 0.01 is one percent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchctl.plan.order import round_orders
from benchctl.stats.signed_rank import Floats

ARMS = ("base", "head")


@dataclass(frozen=True, slots=True)
class Noise:
    """What happens to the times of two arms that take turns.

    `spread` is the standard deviation of a round's log ratio from white noise alone. With
    probability `stall_share` one arm of a round stalls and takes 10 to 30 % longer. The machine
    becomes slower by `trend` with each round, and by a random step of deviation `walk` from one
    measurement to the next. Each new process is slower by `process_offset` with probability 1/2,
    and serves for `rounds_per_process` rounds.
    """

    name: str
    spread: float = 0.015
    stall_share: float = 0.0
    trend: float = 0.0
    walk: float = 0.0
    process_offset: float = 0.0
    rounds_per_process: int = 1


WHITE = Noise("white noise")
SPIKES = Noise("spikes", stall_share=0.05)
DRIFT = Noise("drift", trend=0.002, walk=0.008)
BIMODAL = Noise("bimodal processes", process_offset=0.03)
MACHINES = (WHITE, SPIKES, DRIFT, BIMODAL)
"""The four that every promise about paired rounds is held against."""


@dataclass(frozen=True, slots=True)
class HistoryNoise:
    """What happens to the points of a history.

    `spread` is the standard deviation of a point, `rho` the autocorrelation of neighbours. With
    probability `spike_share` a point is 10 to 30 % slower.
    """

    name: str
    spread: float = 0.02
    rho: float = 0.0
    spike_share: float = 0.0


WHITE_HISTORY = HistoryNoise("white noise")
SPIKED_HISTORY = HistoryNoise("spikes", spike_share=0.05)
CORRELATED_HISTORY = HistoryNoise("autocorrelation 0.5", rho=0.5)
STRONGLY_CORRELATED_HISTORY = HistoryNoise("autocorrelation 0.8", rho=0.8)


def paired_rounds(
    noise: Noise, rng: np.random.Generator, runs: int, rounds: int, effect: float = 0.0
) -> Floats:
    """ln(head time / base time) of every round: (runs, rounds).

    `effect` is the true log ratio. The arms take turns in the order in which real ones do.
    """
    shape = (runs, rounds)
    log_ratios = effect + noise.spread * rng.standard_normal(shape)
    if noise.stall_share:
        stalls = np.log1p(rng.uniform(0.1, 0.3, shape)) * rng.choice((-1.0, 1.0), shape)
        log_ratios += stalls * (rng.random(shape) < noise.stall_share)
    if noise.trend or noise.walk:
        # A round holds two measurements: half its trend lies between them.
        steps = noise.trend / 2 + noise.walk * rng.standard_normal(shape)
        log_ratios += np.where(_head_first(rng, runs, rounds), -steps, steps)
    if noise.process_offset:
        log_ratios += _process_offsets(noise, rng, shape) - _process_offsets(noise, rng, shape)
    return log_ratios


def history(noise: HistoryNoise, rng: np.random.Generator, points: int) -> Floats:
    """ln(median) of successive revisions that all take the same time: (points,)."""
    series = noise.spread * autoregressive_series(noise.rho, points, 1, rng)[:, 0]
    spikes = np.log1p(rng.uniform(0.1, 0.3, points))
    return np.asarray(series + spikes * (rng.random(points) < noise.spike_share), dtype=np.float64)


def autoregressive_series(rho: float, points: int, count: int, rng: np.random.Generator) -> Floats:
    """AR(1) series of mean 0 and variance 1 in their steady state: (points, count)."""
    series = rng.standard_normal((points, count))
    series[1:] *= math.sqrt(1 - rho**2)
    for point in range(1, points):
        series[point] += rho * series[point - 1]
    return series


def _head_first(rng: np.random.Generator, runs: int, rounds: int) -> npt.NDArray[np.bool_]:
    """Whether the head runs before the base, by the project's own order of rounds."""
    orders = (round_orders(ARMS, rounds, int(seed)) for seed in rng.integers(2**32, size=runs))
    return np.array([[each[0] == "head" for each in order] for order in orders])


def _process_offsets(noise: Noise, rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """What the processes of one arm add to its rounds."""
    runs, rounds = shape
    processes = math.ceil(rounds / noise.rounds_per_process)
    offsets = noise.process_offset * rng.integers(2, size=(runs, processes))
    return np.repeat(offsets, noise.rounds_per_process, axis=1)[:, :rounds]
