"""A gradient checker: central differences in float64 along random directions."""

import numpy as np


def assert_gradient(function, point, gradient, *, rng, directions=3, step=1e-6, relative=1e-5):
    """Fail unless `gradient` is that of the scalar `function` of one float64 array at `point`."""
    assert gradient.shape == point.shape
    scale = float(np.linalg.norm(gradient))
    for _ in range(directions):
        direction = rng.standard_normal(point.shape)
        # A part along the gradient keeps the expected slope away from 0.
        direction += gradient * (2 * np.linalg.norm(direction) / scale if scale else 0.0)
        direction /= np.linalg.norm(direction)
        rise = function(point + step * direction) - function(point - step * direction)
        expected = float(np.vdot(gradient, direction))
        assert abs(rise / (2 * step) - expected) <= relative * scale
