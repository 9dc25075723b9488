"""The workload input_pipeline: decoders against loops, and one feed whoever prepares it when."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchctl_engines.contract import EngineOptions, FedProgram, as_float64
from benchctl_engines.eager.engine import make_engine as make_eager
from benchctl_engines.static.engine import make_engine as make_static
from benchctl_workloads import make_case
from benchctl_workloads.input_pipeline.pictures import (
    PIXELS,
    features_of,
    filtered,
    square_sums_numpy,
    square_sums_python,
    turned_to_negatives,
)
from benchctl_workloads.input_pipeline.workload import BATCHES, InputPipeline

PIPELINE = InputPipeline()
SMALL = {"batch": 4, "width": 8, "side": 28}
each_way = pytest.mark.parametrize("prepare", ["none", "numpy", "python"])


def small_case(**more):
    return make_case(PIPELINE, SMALL | more)


def fed(count: int, seed: int = 3, **more):
    """The first batches of a feed."""
    with PIPELINE.feed(small_case(**more), np.random.default_rng(seed)) as batches:
        return list(islice(batches, count))


def assert_same(found, wanted):
    assert len(found) == len(wanted)
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours.keys() == theirs.keys()
        for name, array in ours.items():
            np.testing.assert_array_equal(array, theirs[name])


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 3), st.integers(1, 2))
def test_both_decoders_give_back_the_means_of_what_was_stored(seed, square, count):
    side = 28 * square
    pixels = np.random.default_rng(seed).integers(0, 256, (count, side, side), dtype=np.uint8)
    means = np.empty((count, PIXELS))
    for n, y, x in np.ndindex(count, 28, 28):
        part = pixels[n, y * square : (y + 1) * square, x * square : (x + 1) * square]
        means[n, 28 * y + x] = part.astype(float).mean()
    stored = filtered(pixels)
    assert stored.dtype == np.uint8
    sums = square_sums_numpy(stored)
    np.testing.assert_array_equal(square_sums_python(stored), sums)
    np.testing.assert_allclose(sums / square**2, means, rtol=1e-12)
    np.testing.assert_allclose(features_of(sums, square), means / 127.5 - 1.0, atol=1e-6)


def test_half_of_the_pictures_become_their_negatives():
    features = np.linspace(-1, 1, 400 * PIXELS, dtype=np.float32).reshape(400, PIXELS)
    turned = turned_to_negatives(features, np.random.default_rng(1))
    signs = turned / features
    assert turned.dtype == np.float32 and (signs == signs[:, :1]).all()
    assert 150 < (signs[:, 0] == -1).sum() < 250


@each_way
@pytest.mark.parametrize("prefetch", [0, 2])
def test_the_inputs_are_the_first_batch_of_the_feed(prepare, prefetch):
    case = small_case(prepare=prepare, prefetch=prefetch)
    inputs = PIPELINE.inputs(case, np.random.default_rng(3))
    assert_same(fed(1, prepare=prepare, prefetch=prefetch), [inputs])
    assert inputs["features"].shape == (4, PIXELS) and inputs["features"].dtype == np.float32
    assert np.abs(inputs["features"]).max() <= 1.0 and inputs["labels"].shape == (4,)


def test_the_feed_is_the_same_whoever_prepares_it_and_when():
    wanted = fed(BATCHES + 3, prepare="numpy", prefetch=0)
    assert_same(fed(BATCHES + 3, prepare="numpy", prefetch=2), wanted)
    assert_same(fed(BATCHES + 3, prepare="python", prefetch=4), wanted)
    ready = fed(BATCHES + 3, prepare="none", prefetch=2)
    assert_same(ready[:BATCHES], wanted[:BATCHES])
    assert_same(ready[BATCHES:], ready[:3])
    assert not np.array_equal(wanted[BATCHES]["features"], wanted[0]["features"])


def test_more_pixels_are_the_same_batches():
    assert_same(fed(2, side=56), fed(2))


def test_training_on_the_feed_converges():
    case = small_case(batch=16, width=32)
    assert isinstance(PIPELINE, FedProgram)
    parameters = PIPELINE.parameters(case, np.random.default_rng(1))
    step = PIPELINE.by_hand(case)
    with PIPELINE.feed(case, np.random.default_rng(2)) as batches:
        losses = [float(step(parameters, batch)["loss"]) for batch in islice(batches, 96)]
    assert np.mean(losses[-8:]) < 0.8 * np.mean(losses[:8])


def test_cost_and_title_name_what_differs():
    case = small_case(batch=3)
    parameters = PIPELINE.parameters(case, np.random.default_rng(0))
    cost = PIPELINE.cost(case)
    assert cost.parameters == sum(array.size for array in parameters.values())
    hidden, output = PIXELS * 8, 8 * 10
    assert cost.flops == 2 * 3 * (2 * hidden + 3 * output) + 2 * cost.parameters
    ways = [
        {"prepare": prepare, "prefetch": prefetch, "side": side}
        for prepare, side in (("none", 28), ("numpy", 28), ("numpy", 56), ("python", 28))
        for prefetch in (0, 2)
    ]
    assert len({PIPELINE.title(small_case(**way)) for way in ways}) == len(ways)


@pytest.mark.parametrize("make", [make_static, make_eager])
@pytest.mark.parametrize("prepare", ["none", "numpy"])
def test_an_engine_takes_every_batch_of_the_feed(make, prepare):
    """Also those that may not be written to, and those whose memory is used again."""
    case = small_case(prepare=prepare)
    exact = as_float64(PIPELINE.parameters(case, np.random.default_rng(1)))
    by_hand = PIPELINE.by_hand(case)
    parameters = PIPELINE.parameters(case, np.random.default_rng(1))
    batches = fed(6, prepare=prepare)
    runner = make().prepare(PIPELINE, case, parameters, batches[0], EngineOptions(threads=1))
    runner.build()
    runner.compile()
    with PIPELINE.feed(case, np.random.default_rng(3)) as feed:
        for wanted, batch in zip(batches, feed, strict=False):
            runner.load(batch)
            runner.step()
            loss = by_hand(exact, as_float64(wanted))["loss"]
            assert float(runner.outputs()["loss"]) == pytest.approx(float(loss), rel=1e-5)
    runner.close()
