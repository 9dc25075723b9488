"""Orders of rounds: seeded, mirrored in pairs, balanced over places and neighbours."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise, permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchctl.plan import order
from benchctl.plan.order import round_orders, round_seed

arm_counts = st.integers(1, 9)
seeds = st.integers(0, 2**40)


def arms(count: int) -> list[str]:
    return [f"arm{place}" for place in range(count)]


def place_counts(orders: list[tuple[str, ...]]) -> dict[str, list[int]]:
    """How often each arm stands in each place."""
    width = len(orders[0])
    return {
        arm: [sum(each[place] == arm for each in orders) for place in range(width)]
        for arm in orders[0]
    }


@given(arm_counts, st.integers(0, 40), seeds)
def test_every_round_holds_every_arm_once_and_pairs_mirror(
    count: int, rounds: int, seed: int
) -> None:
    orders = round_orders(arms(count), rounds, seed)
    assert len(orders) == rounds
    assert all(sorted(each) == arms(count) for each in orders)
    for first, second in zip(orders[::2], orders[1::2], strict=False):
        assert second == first[::-1]


@given(arm_counts, st.integers(1, 60), seeds)
def test_each_arm_takes_each_place_about_equally_often(count: int, rounds: int, seed: int) -> None:
    for per_place in place_counts(round_orders(arms(count), rounds, seed)).values():
        assert max(per_place) - min(per_place) <= (1 if count % 2 == 0 else 2)


@given(arm_counts, st.integers(1, 3), seeds)
def test_whole_blocks_balance_places_and_neighbours(count: int, blocks: int, seed: int) -> None:
    rounds = blocks * count * (1 + count % 2)
    orders = round_orders(arms(count), rounds, seed)
    for per_place in place_counts(orders).values():
        assert set(per_place) == {rounds // count}
    followers = Counter(pair for each in orders for pair in pairwise(each))
    if count > 1:
        assert set(followers) == set(permutations(arms(count), 2))
        assert len(set(followers.values())) == 1


def test_the_balance_test_catches_plain_shuffling(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault: pairs that are random and mirrored, but not balanced together."""

    def shuffled_pair(arm_ids, source):
        source.shuffle(arm_ids)
        return [tuple(arm_ids), tuple(arm_ids[::-1])]

    monkeypatch.setattr(order, "_block", shuffled_pair)
    counts = place_counts(round_orders(arms(4), 24, seed=1)).values()
    assert any(max(each) - min(each) > 1 for each in counts)


@given(arm_counts, st.integers(0, 20), st.integers(0, 20), seeds)
def test_more_rounds_only_add_to_the_end(count: int, some: int, more: int, seed: int) -> None:
    longer = round_orders(arms(count), some + more, seed)
    assert round_orders(arms(count), some, seed) == longer[:some]


def test_every_order_is_as_likely_to_come_first() -> None:
    first = Counter(round_orders(arms(4), 1, seed)[0] for seed in range(12000))
    assert set(first) == set(permutations(arms(4)))
    # 500 expected of each, standard deviation 22.
    assert all(abs(times - 500) < 100 for times in first.values())


def test_which_of_two_arms_goes_first_is_tossed_anew_for_every_pair() -> None:
    """Within a block too: the signs of the paired differences must not hang together."""
    agreements = 0
    for seed in range(4000):
        first, _, second, _ = round_orders(arms(3), 4, seed)
        ahead = [each.index("arm0") < each.index("arm1") for each in (first, second)]
        agreements += ahead[0] == ahead[1]
    # 2000 expected, standard deviation 32.
    assert abs(agreements - 2000) < 130


def test_two_arms_toss_a_coin_for_every_pair() -> None:
    firsts = [each[0] for each in round_orders(arms(2), 4000, seed=5)[::2]]
    assert abs(firsts.count("arm0") - 1000) < 120
    changes = sum(one != two for one, two in pairwise(firsts))
    assert abs(changes - 1000) < 120


def test_no_arms_have_no_order() -> None:
    assert round_orders([], 5, seed=0) == []


@given(seeds, st.text(max_size=20), st.integers(0, 1000))
def test_round_seed_is_repeatable_and_fits_old_generators(
    seed: int, case: str, number: int
) -> None:
    value = round_seed(seed, case, number)
    assert value == round_seed(seed, case, number)
    assert 0 <= value < 2**32


def test_round_seeds_differ_by_seed_case_and_round() -> None:
    values = {
        round_seed(seed, case, number)
        for seed in range(10)
        for case in ("a", "b", "a1")
        for number in range(20)
    }
    assert len(values) == 10 * 3 * 20


def test_round_seed_is_the_same_on_every_machine_and_day() -> None:
    """A stored run can be measured again only if its seeds never change."""
    assert round_seed(0, "xyz[size=3x4]", 0) == 2160183898
    assert round_orders(["a", "b", "c"], 2, seed=0) == [("c", "a", "b"), ("b", "a", "c")]
