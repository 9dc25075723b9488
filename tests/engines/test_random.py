"""Random numbers: a pure function of seed, site and step, the same on every engine."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchctl_engines.devices.cpu import Device
from benchctl_engines.eager import tensor
from benchctl_engines.eager.engine import EagerVocabulary
from benchctl_engines.primitives.randomness import random
from benchctl_engines.primitives.specs import ShapeError
from benchctl_engines.static import Graph, PassSwitches, Session
from benchctl_engines.static.switches import PASS_NAMES
from benchctl_engines.static.workload_graph import StaticVocabulary

M0, M1 = 0xD2511F53, 0xCD9E8D57
W0, W1 = 0x9E3779B9, 0xBB67AE85
MASK = 0xFFFFFFFF


def draw(shape, seed=0, site=0, step=0, dtype="float32", distribution="uniform", device="cpu"):
    place = tensor(np.array(step, np.int64), device=Device(device))
    drawn = random(place, shape=shape, dtype=dtype, seed=seed, site=site, distribution=distribution)
    return drawn.numpy()


def eager_steps(program, seed: int, steps: int):
    ops = EagerVocabulary(Device("cpu"), seed)
    results = []
    for step in range(steps):
        ops.begin_step(step)
        results.append([each.numpy().copy() for each in program(ops)])
    return results


def static_steps(program, seed: int, steps: int, switches=None):
    graph = Graph()
    with graph.as_default():
        fetches = list(program(StaticVocabulary(graph, seed)))
    session = Session(graph, switches=switches, threads=1)
    return [session.run(fetches) for _ in range(steps)]


def two_sites(ops):
    a = ops.random_uniform((5, 3))
    b = ops.random_normal((7,), "float64")
    c = ops.random_uniform((5, 3))
    return [a, b, c, ops.add(a, c)]


@pytest.mark.parametrize("name", ["", *PASS_NAMES, "all"])
def test_both_engines_draw_the_same_numbers_under_every_pass(name):
    switches = PassSwitches() if name == "all" else PassSwitches.only(*filter(None, [name]))
    for seed in (0, 7):
        for a, b in zip(
            eager_steps(two_sites, seed, 3), static_steps(two_sites, seed, 3, switches), strict=True
        ):
            for one, other in zip(a, b, strict=True):
                np.testing.assert_array_equal(one, other)
                assert one.dtype == other.dtype


def test_every_step_site_and_seed_draws_new_numbers():
    drawn = {
        draw((4,), seed, site, step).tobytes()
        for seed in (0, 1, 2**32, 2**40 + 3)
        for site in range(4)
        for step in (0, 1, 2, 2**33)
    }
    assert len(drawn) == 4 * 4 * 4
    steps = static_steps(two_sites, 0, 3)
    assert not np.array_equal(steps[0][0], steps[1][0])
    assert not np.array_equal(steps[0][0], steps[0][2])


def test_two_calls_alike_are_not_merged():
    """merge_common must see two sites, not one expression."""

    def twice(ops):
        return [ops.random_uniform((100,)), ops.random_uniform((100,))]

    (first, second), *_ = static_steps(twice, 0, 1, PassSwitches.only("merge_common"))
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_uniform_numbers_are_uniform(dtype):
    x = draw((100_000,), dtype=dtype)
    assert x.dtype == dtype
    assert x.min() >= 0.0 and x.max() < 1.0
    # Five standard errors of mean, variance and of each of 20 bins.
    n = x.size
    assert abs(x.mean(dtype=float) - 0.5) < 5 * np.sqrt(1 / 12 / n)
    assert abs(x.var(dtype=float) - 1 / 12) < 5 * np.sqrt(1 / 180 / n)
    counts = np.histogram(x, 20, (0, 1))[0]
    assert np.abs(counts - n / 20).max() < 5 * np.sqrt(n / 20)
    neighbours = np.corrcoef(x[:-1], x[1:])[0, 1]
    assert abs(neighbours) < 5 / np.sqrt(n)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_normal_numbers_are_normal(dtype):
    x = draw((100_000,), dtype=dtype, distribution="normal").astype(float)
    n = x.size
    assert np.isfinite(x).all()
    assert abs(x.mean()) < 5 / np.sqrt(n)
    assert abs(x.var() - 1) < 5 * np.sqrt(2 / n)
    assert abs((x**4).mean() - 3) < 5 * np.sqrt(96 / n)
    assert abs(np.corrcoef(x[::2], x[1::2])[0, 1]) < 5 / np.sqrt(n / 2)
    assert 3.5 < np.abs(x).max() < 6.5


def test_steps_and_sites_are_not_correlated():
    rows = [draw((20_000,), site=site, step=step) for site in range(2) for step in range(3)]
    correlations = np.corrcoef(rows) - np.eye(len(rows))
    assert np.abs(correlations).max() < 5 / np.sqrt(20_000)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    st.integers(0, 2**63 - 1),
    st.integers(0, 1000),
    st.integers(0, 2**62),
    st.lists(st.integers(0, 5), max_size=3).map(tuple),
    st.sampled_from(["float32", "float64"]),
    st.sampled_from(["uniform", "normal"]),
)
def test_the_reference_kernel_draws_the_same_numbers(seed, site, step, shape, dtype, distribution):
    options = (shape, seed, site, step, dtype, distribution)
    one, other = draw(*options), draw(*options, device="reference")
    assert one.shape == other.shape == shape and one.dtype == other.dtype == dtype
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


def test_a_longer_draw_begins_with_the_shorter_one():
    np.testing.assert_array_equal(draw((1001,))[:10], draw((10,)))
    np.testing.assert_array_equal(draw((6, 5)).ravel(), draw((30,)))


def test_the_number_of_threads_changes_nothing():
    step = np.array(3, np.int64)
    drawn = [
        random(
            tensor(step, device=Device("cpu", threads)),
            shape=(300, 300),
            dtype="float32",
            seed=1,
            site=2,
            distribution="normal",
        ).numpy()
        for threads in (1, 2)
    ]
    np.testing.assert_array_equal(*drawn)


def philox_4x32(counter, key):
    """Ten rounds of Philox4x32 in plain integers, after Salmon et al. 2011, section 4.3."""
    c, k = list(counter), list(key)
    for _ in range(10):
        a, b = M0 * c[0], M1 * c[2]
        c = [(b >> 32) ^ c[1] ^ k[0], b & MASK, (a >> 32) ^ c[3] ^ k[1], a & MASK]
        k = [(k[0] + W0) & MASK, (k[1] + W1) & MASK]
    return c


def test_the_oracle_matches_the_published_vectors():
    """Known answers of Philox4x32-10 for all-zero and all-one input (Random123's kat_vectors)."""
    assert philox_4x32((0, 0, 0, 0), (0, 0)) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    assert philox_4x32((MASK,) * 4, (MASK,) * 2) == [
        0x408F276D,
        0x41C83B0E,
        0xA20BC7C6,
        0x6D5451FD,
    ]


def test_uniform_numbers_come_from_philox():
    """Each float32 is 24 bits of one word of the block that its position names."""
    seed, site, step = 11, 5, 3
    words = {
        word
        for block in range(16)
        for counter in ((block, 0, step, 0), (step, 0, block, 0), (block, step, 0, 0))
        for word in philox_4x32(counter, (seed, site))
    }
    allowed = {np.float32((word >> 8) / 2**24) for word in words}
    drawn = draw((16,), seed, site, step)
    assert {np.float32(each) for each in drawn} <= allowed


@pytest.mark.parametrize(
    ("attribute", "wrong"), [("distribution", "cauchy"), ("dtype", "int32"), ("dtype", "bool")]
)
def test_other_distributions_and_dtypes_are_refused(attribute, wrong):
    with pytest.raises(ShapeError, match=f"random expected.*{wrong}"):
        draw((2,), **{attribute: wrong})


def test_a_dropout_mask_is_the_same_forward_and_backward():
    """The mask is drawn once per step; its gradient uses the same one."""
    from benchctl_engines import static

    graph = Graph()
    with graph.as_default():
        ops = StaticVocabulary(graph, 3)
        x = static.placeholder("float32", (50,))
        y = static.where(ops.random_uniform((50,)) > 0.5, x * 2.0, 0.0)
        (slope,) = static.gradients(static.sum(y), [x])
    session = Session(graph)
    masks = []
    for _ in range(2):
        got, gradient = session.run([y, slope], {x: np.ones(50, "float32")})
        np.testing.assert_array_equal(got, gradient)
        masks.append(got)
    assert not np.array_equal(*masks)
    assert 5 < (masks[0] == 0).sum() < 45
