"""Seeded arrays in one canonical order, and their arrangement for a case's layout.

Everything is drawn as the layout NCHW stores it and rearranged afterwards, so that one seed gives
the same network in every layout. Inputs and biases are small because activations, and with them
the change that one SGD step makes, grow with them: a training step repeated on one batch has to
converge, or its times are those of overflow and of denormal numbers.
"""

from __future__ import annotations

import numpy as np

from benchctl_engines.contract import Array

INPUT_SCALE = 0.1
BIAS_SCALE = 0.01
RELU_GAIN = 2.0
LINEAR_GAIN = 1.0


def he_normal(
    rng: np.random.Generator, shape: tuple[int, ...], fan_in: int, gain: float = RELU_GAIN
) -> Array:
    """float32 weights of variance gain / fan_in (He et al. 2015, "Delving deep", equation 10)."""
    weights = rng.standard_normal(shape, dtype=np.float32)
    weights *= np.float32(np.sqrt(gain / fan_in))
    return weights


def small_biases(rng: np.random.Generator, size: int) -> Array:
    """float32 biases that are small but not zero, so that a forgotten bias shows."""
    biases = rng.standard_normal(size, dtype=np.float32)
    biases *= np.float32(BIAS_SCALE)
    return biases


def random_images(rng: np.random.Generator, shape: tuple[int, int, int, int]) -> Array:
    """float32 normal images [N, C, H, W] of standard deviation `INPUT_SCALE`."""
    images = rng.standard_normal(shape, dtype=np.float32)
    images *= np.float32(INPUT_SCALE)
    return images


def arrange_images(images: Array, layout: str) -> Array:
    """Images [N, C, H, W] in `layout`."""
    return images if layout == "NCHW" else np.ascontiguousarray(images.transpose(0, 2, 3, 1))


def arrange_filters(filters: Array, layout: str) -> Array:
    """Filters [K, C, R, S] as `layout` stores them: [R, S, C, K] for NHWC."""
    return filters if layout == "NCHW" else np.ascontiguousarray(filters.transpose(2, 3, 1, 0))
