"""The classifier with layers in the manner of Keras."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchctl_engines.contract import Array
from benchctl_engines.layers import Conv2D, Dense, Flatten, MaxPool2D, Sequential

MODEL = Sequential(
    [
        Conv2D(16, 5, padding="same", activation="relu"),
        MaxPool2D(2),
        Conv2D(32, 5, padding="same", activation="relu"),
        MaxPool2D(2),
        Flatten(),
        Dense(10),
    ],
    (28, 28, 1),
)


def initial_parameters(rng: np.random.Generator) -> dict[str, Array]:
    """Glorot's uniform weights, biases 0."""
    return MODEL.initial_parameters(rng)


def classify(ops: Any, parameters: Any, images: Any) -> Any:
    """Logits [N, 10] of images [N, 28, 28, 1]."""
    return MODEL.forward(ops, parameters, images, training=True)
