"""The same classifier in the operations of the vocabulary: shapes, weights and padding by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchctl_engines.contract import Array

CONVOLUTIONS = {"conv2d": (5, 5, 1, 16), "conv2d_1": (5, 5, 16, 32)}
FEATURES = 7 * 7 * 32
PADDING = ((2, 2), (2, 2))


def glorot_uniform(
    rng: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int
) -> Array:
    """Weights uniform within sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010)."""
    limit = np.sqrt(6 / (fan_in + fan_out))
    return rng.uniform(-limit, limit, shape).astype(np.float32)


def initial_parameters(rng: np.random.Generator) -> dict[str, Array]:
    """Glorot's uniform weights, biases 0."""
    parameters = {}
    for name, shape in CONVOLUTIONS.items():
        R, S, C, K = shape
        parameters[f"{name}/weight"] = glorot_uniform(rng, shape, R * S * C, R * S * K)
        parameters[f"{name}/bias"] = np.zeros(K, np.float32)
    parameters["dense/weight"] = glorot_uniform(rng, (FEATURES, 10), FEATURES, 10)
    parameters["dense/bias"] = np.zeros(10, np.float32)
    return parameters


def classify(ops: Any, parameters: Any, images: Any) -> Any:
    """Logits [N, 10] of images [N, 28, 28, 1]."""
    x = images
    for name in CONVOLUTIONS:
        x = ops.conv2d(x, parameters[f"{name}/weight"], padding=PADDING, layout="NHWC")
        x = ops.relu(ops.bias_add(x, parameters[f"{name}/bias"]))
        x = ops.max_pool2d(x, (2, 2), layout="NHWC")
    x = ops.reshape(x, (-1, FEATURES))
    return ops.bias_add(ops.matmul(x, parameters["dense/weight"]), parameters["dense/bias"])
