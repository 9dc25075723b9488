"""Philox: published vectors, one stream for all devices, and numbers that look as they should."""

from __future__ import annotations

import itertools

import kernel_cases as cases
import numpy as np
import pytest
from scipy import stats

from benchctl_engines.kernels.loops_random import philox
from benchctl_engines.kernels.reference_random import philox4x32
from benchctl_engines.kernels.table import KernelRequest, kernels_of
from benchctl_engines.primitives.specs import spec

ONES = 0xFFFFFFFF
# Known-answer vectors of Philox4x32-10: counter, key, words.
KNOWN_ANSWERS = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((ONES,) * 4, (ONES, ONES), (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
]


def numbers(device, shape, dtype="float32", step=0, seed=1, site=0, distribution="uniform"):
    attributes = {
        "shape": shape,
        "dtype": dtype,
        "seed": seed,
        "site": site,
        "distribution": distribution,
    }
    request = KernelRequest((spec((), "int64"),), (spec(shape, dtype),), attributes, 2)
    (row,) = kernels_of("random", device)
    (out,) = cases.run_kernel(row, request, [np.array(step, np.int64)])
    return out


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN_ANSWERS)
def test_published_vectors(counter, key, words):
    assert tuple(philox4x32(np.array([counter], np.uint64), key)[0]) == words
    compiled = philox(*(np.uint64(each) for each in (*counter, *key)))
    assert tuple(int(each) for each in compiled) == words


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(), (1,), (3,), (7, 5), (4097,), (0,)])
@pytest.mark.parametrize(("seed", "step"), [(0, 0), (2**31, 3), (2**40 + 5, 2**33)])
def test_devices_draw_the_same_numbers(shape, dtype, seed, step):
    drawn = [numbers(device, shape, dtype, step, seed, 9) for device in ("cpu", "reference")]
    assert drawn[0].tobytes() == drawn[1].tobytes()
    normal = [
        numbers(device, shape, dtype, step, seed, 9, "normal") for device in ("cpu", "reference")
    ]
    # logarithm and cosine may differ in their last bit between two mathematical libraries
    assert np.allclose(normal[0], normal[1], rtol=4 * np.finfo(dtype).eps, atol=1e-15)


def test_seed_site_and_step_each_change_the_numbers():
    settings = itertools.product((0, 1, 2**32, 2**33), (0, 1, 2), (0, 1, 2**32))
    drawn = [numbers("cpu", (64,), seed=a, site=b, step=c).tobytes() for a, b, c in settings]
    assert len(set(drawn)) == len(drawn)


def test_a_longer_draw_begins_with_the_shorter_one():
    assert np.array_equal(numbers("cpu", (1000,))[:37], numbers("cpu", (37,)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_distributions(dtype):
    uniform = numbers("cpu", (200_000,), dtype)
    assert uniform.min() >= 0 and uniform.max() < 1
    assert stats.kstest(uniform, "uniform").pvalue > 1e-3
    normal = numbers("cpu", (200_000,), dtype, distribution="normal")
    assert np.isfinite(normal).all()
    assert stats.kstest(normal, "norm").pvalue > 1e-3
    assert abs(np.corrcoef(normal[:-1], normal[1:])[0, 1]) < 0.01
