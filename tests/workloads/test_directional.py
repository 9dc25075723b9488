"""The gradient checker must catch a gradient that is slightly wrong."""

import numpy as np
import pytest
from directional import assert_gradient


def cubes(x):
    return float((x**3).sum())


def test_a_right_gradient_passes():
    rng = np.random.default_rng(1)
    x = rng.standard_normal((3, 4))
    assert_gradient(cubes, x, 3 * x**2, rng=rng)


def test_a_gradient_wrong_by_a_thousandth_fails():
    rng = np.random.default_rng(1)
    x = rng.standard_normal((3, 4))
    with pytest.raises(AssertionError):
        assert_gradient(cubes, x, 1.001 * 3 * x**2, rng=rng)


def test_a_missing_element_fails():
    rng = np.random.default_rng(1)
    x = rng.standard_normal((3, 4))
    gradient = 3 * x**2
    gradient[1, 2] = 0
    with pytest.raises(AssertionError):
        assert_gradient(cubes, x, gradient, rng=rng)
