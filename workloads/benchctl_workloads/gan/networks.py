"""Generator and discriminator (Radford et al. 2016) as the lecture's Keras code has them.

`width` is the number of channels of the discriminator's first layer, 64 in the lecture; all others
scale with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from benchctl_engines.layers import (
    BatchNormalization,
    Conv2D,
    Conv2DTranspose,
    Dense,
    Dropout,
    Flatten,
    LeakyReLU,
    Reshape,
    Sequential,
)

from ..digits.strokes import SIDE

NOISE = 100
LECTURE_WIDTH = 64
DROPOUT_RATE = 0.3
_WINDOW = 5
_FIRST_SIDE = SIDE // 4


@dataclass(frozen=True, slots=True)
class Networks:
    """The two models; neither holds an array."""

    generator: Sequential
    discriminator: Sequential


@cache
def networks(width: int, layout: str) -> Networks:
    """Both models for images in `layout`."""
    return Networks(_generator(width, layout), _discriminator(width, layout))


def _generator(width: int, layout: str) -> Sequential:
    """Noise [100] to an image 28x28x1 from -1 to 1."""
    first = (_FIRST_SIDE, _FIRST_SIDE, 4 * width)
    layers = [
        Dense(_FIRST_SIDE**2 * 4 * width, bias=False),
        BatchNormalization(),
        LeakyReLU(),
        Reshape(first),
        Conv2DTranspose(2 * width, _WINDOW, 1, "same", bias=False),
        BatchNormalization(),
        LeakyReLU(),
        Conv2DTranspose(width, _WINDOW, 2, "same", bias=False),
        BatchNormalization(),
        LeakyReLU(),
        Conv2DTranspose(1, _WINDOW, 2, "same", "tanh", bias=False),
    ]
    return Sequential(layers, (NOISE,), layout=layout, name="generator")


def _discriminator(width: int, layout: str) -> Sequential:
    """An image 28x28x1 to one logit: above 0 it is taken for a real one."""
    layers = [
        Conv2D(width, _WINDOW, 2, "same"),
        LeakyReLU(),
        Dropout(DROPOUT_RATE),
        Conv2D(2 * width, _WINDOW, 2, "same"),
        LeakyReLU(),
        Dropout(DROPOUT_RATE),
        Flatten(),
        Dense(1),
    ]
    return Sequential(layers, (SIDE, SIDE, 1), layout=layout, name="discriminator")
