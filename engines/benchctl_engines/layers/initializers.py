"""How parameters begin, by name.

Glorot and Bengio 2010, "Understanding the difficulty of training deep feedforward neural networks",
equation 16; He et al. 2015, "Delving deep into rectifiers", equation 10. Normal numbers are not
truncated.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ..contract import Array

Shape = tuple[int, ...]
Initializer = Callable[[np.random.Generator, Shape, int, int], Array]
"""`(rng, shape, fan_in, fan_out)` to a float32 array."""


def _uniform(rng: np.random.Generator, shape: Shape, variance: float) -> Array:
    """Uniform on both sides of 0 as far as the variance wants: +-sqrt(3 variance)."""
    values = rng.random(shape, dtype=np.float32)
    values -= np.float32(0.5)
    values *= np.float32(2.0 * math.sqrt(3.0 * variance))
    return values


def _normal(rng: np.random.Generator, shape: Shape, variance: float) -> Array:
    values = rng.standard_normal(shape, dtype=np.float32)
    values *= np.float32(math.sqrt(variance))
    return values


def glorot_uniform(rng: np.random.Generator, shape: Shape, fan_in: int, fan_out: int) -> Array:
    """Uniform, of variance 2 / (fan_in + fan_out)."""
    return _uniform(rng, shape, 2.0 / (fan_in + fan_out))


def glorot_normal(rng: np.random.Generator, shape: Shape, fan_in: int, fan_out: int) -> Array:
    """Normal, of variance 2 / (fan_in + fan_out)."""
    return _normal(rng, shape, 2.0 / (fan_in + fan_out))


def he_uniform(rng: np.random.Generator, shape: Shape, fan_in: int, fan_out: int) -> Array:
    """Uniform, of variance 2 / fan_in."""
    return _uniform(rng, shape, 2.0 / fan_in)


def he_normal(rng: np.random.Generator, shape: Shape, fan_in: int, fan_out: int) -> Array:
    """Normal, of variance 2 / fan_in."""
    return _normal(rng, shape, 2.0 / fan_in)


def zeros(rng: np.random.Generator, shape: Shape, fan_in: int, fan_out: int) -> Array:
    """0 everywhere; nothing is drawn."""
    return np.zeros(shape, np.float32)


def ones(rng: np.random.Generator, shape: Shape, fan_in: int, fan_out: int) -> Array:
    """1 everywhere; nothing is drawn."""
    return np.ones(shape, np.float32)


def normal(deviation: float) -> Initializer:
    """Normal numbers of this standard deviation, whatever the layer."""

    def drawn(rng: np.random.Generator, shape: Shape, fan_in: int, fan_out: int) -> Array:
        return _normal(rng, shape, deviation**2)

    return drawn


INITIALIZERS: dict[str, Initializer] = {
    "glorot_uniform": glorot_uniform,
    "glorot_normal": glorot_normal,
    "he_uniform": he_uniform,
    "he_normal": he_normal,
    "zeros": zeros,
    "ones": ones,
}


def find_initializer(given: str | Initializer) -> Initializer:
    """The initializer of this name, or the function given; raises `LayerError`."""
    from .layer import LayerError

    if callable(given):
        return given
    found = INITIALIZERS.get(given)
    if found is None:
        raise LayerError(
            f"initializer expected one of {', '.join(INITIALIZERS)}, received {given!r}; choose "
            "one of them or pass a function of (rng, shape, fan_in, fan_out)"
        )
    return found
