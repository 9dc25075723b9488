"""The vocabulary object of the in-house engines; each engine says how random numbers are keyed."""

from __future__ import annotations

from typing import Any

from . import operations


class InHouseVocabulary:
    """Operations whose operands decide the engine; see benchctl_engines.vocabulary."""

    add = staticmethod(operations.add)
    subtract = staticmethod(operations.subtract)
    multiply = staticmethod(operations.multiply)
    divide = staticmethod(operations.divide)
    maximum = staticmethod(operations.maximum)
    greater = staticmethod(operations.greater)
    where = staticmethod(operations.where)
    negative = staticmethod(operations.negative)
    exp = staticmethod(operations.exp)
    log = staticmethod(operations.log)
    sqrt = staticmethod(operations.sqrt)
    tanh = staticmethod(operations.tanh)
    relu = staticmethod(operations.relu)
    sum = staticmethod(operations.sum)
    mean = staticmethod(operations.mean)
    max = staticmethod(operations.max)
    reshape = staticmethod(operations.reshape)
    transpose = staticmethod(operations.transpose)
    broadcast_to = staticmethod(operations.broadcast_to)
    slice = staticmethod(operations.slice)
    pad = staticmethod(operations.pad)
    concatenate = staticmethod(operations.concatenate)
    matmul = staticmethod(operations.matmul)
    conv2d = staticmethod(operations.conv2d)
    conv2d_transpose = staticmethod(operations.conv2d_transpose)
    bias_add = staticmethod(operations.bias_add)
    max_pool2d = staticmethod(operations.max_pool2d)
    average_pool2d = staticmethod(operations.average_pool2d)
    softmax_cross_entropy = staticmethod(operations.softmax_cross_entropy)

    def random_uniform(self, shape: tuple[int, ...], dtype: str = "float32") -> Any:
        """Numbers in [0, 1); new ones every step."""
        return self._random(shape, dtype, "uniform")

    def random_normal(self, shape: tuple[int, ...], dtype: str = "float32") -> Any:
        """Standard normal numbers; new ones every step."""
        return self._random(shape, dtype, "normal")

    def _random(self, shape: tuple[int, ...], dtype: str, distribution: str) -> Any:
        """Numbers keyed by the seed, the call's place in the program and the step."""
        raise NotImplementedError(f"{type(self).__name__} makes no random numbers")
