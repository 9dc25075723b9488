"""The order of arms in every round, and the seed of every round's inputs."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence


def round_orders(arm_ids: Sequence[str], rounds: int, seed: int) -> list[tuple[str, ...]]:
    """The arms of every round in the order in which they run.

    The first round of each pair is random, the second its mirror, so that a drift over a pair
    cancels. Over a block of rounds (as many as arms, twice as many for an odd number) each arm
    takes each place, and follows each other arm, equally often. More rounds of the same seed only
    add to the end.

    Source of the square: Williams 1949, Experimental designs balanced for the estimation of
    residual effects of treatments.
    """
    source = random.Random(f"benchctl order {seed}")
    orders: list[tuple[str, ...]] = []
    while len(orders) < rounds and arm_ids:
        orders.extend(_block(list(arm_ids), source))
    return orders[:rounds]


def round_seed(seed: int, case_id: str, round_number: int) -> int:
    """The seed of one round's inputs, the same for all arms; 32 bits, as old generators need."""
    text = f"{seed}\0{case_id}\0{round_number}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "big")


def _block(arm_ids: list[str], source: random.Random) -> list[tuple[str, ...]]:
    """Pairs of rounds, each order followed by its mirror, that are balanced together."""
    source.shuffle(arm_ids)
    count = len(arm_ids)
    # The rows of an even square are each other's mirrors: half of them with mirrors are all.
    shifts = list(range(count if count % 2 else count // 2))
    source.shuffle(shifts)
    rounds = []
    for shift in shifts:
        order = tuple(arm_ids[(place + shift) % count] for place in _zigzag(count))
        if source.random() < 0.5:
            order = order[::-1]
        rounds += [order, order[::-1]]
    return rounds


def _zigzag(count: int) -> list[int]:
    """0, n-1, 1, n-2, ...: its neighbours differ by every distance once."""
    return [place // 2 if place % 2 == 0 else count - 1 - place // 2 for place in range(count)]
