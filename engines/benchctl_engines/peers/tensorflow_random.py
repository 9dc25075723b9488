"""Random numbers in TensorFlow, whose stateless generator is the vocabulary's own."""

from __future__ import annotations

import math
from importlib import import_module
from typing import Any

from .counter_random import CounterRandom, Key, Tensor

_PHILOX = 1


class TensorflowRandom(CounterRandom):
    """For TensorFlow and for Keras on it; the step is a tensor int64."""

    def _words(self, blocks: int, key: Key) -> Tensor:
        tf: Any = import_module("tensorflow")
        step = tf.cast(self._step, tf.uint64)
        return tf.raw_ops.StatelessRandomUniformFullIntV2(
            shape=[4 * blocks],
            key=tf.constant([key[0] | key[1] << 32], tf.uint64),
            counter=tf.stack([tf.constant(0, tf.uint64), step]),
            alg=_PHILOX,
            dtype=tf.uint32,
        )

    def _shifted(self, words: Tensor, bits: int, dtype: str) -> Tensor:
        tf: Any = import_module("tensorflow")
        return tf.cast(tf.bitwise.right_shift(words, tf.constant(bits, tf.uint32)), dtype)

    def _normal(self, uniform: Tensor, ulp: float) -> Tensor:
        tf: Any = import_module("tensorflow")
        radius = tf.sqrt(-2.0 * tf.math.log(uniform[0::2] + ulp))
        angle = 2.0 * math.pi * uniform[1::2]
        return tf.reshape(tf.stack([radius * tf.cos(angle), radius * tf.sin(angle)], 1), [-1])

    def _reshaped(self, values: Tensor, shape: tuple[int, ...]) -> Tensor:
        return import_module("tensorflow").reshape(values, shape)
