"""A chain of dense layers by hand: activations are kept for training alone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from benchctl_engines.contract import Array
from benchctl_engines.manual.layers import dense, dense_backward, relu, relu_backward, sgd_update


class MemoryStep:
    """The mean of the result over the rows, or with a learning rate one training step."""

    def __init__(self, layers: tuple[str, ...], learning_rate: float | None) -> None:
        self._layers = layers
        self._learning_rate = learning_rate

    def __call__(
        self, parameters: dict[str, Array], inputs: Mapping[str, Array]
    ) -> Mapping[str, Array]:
        x = inputs["x"]
        kept: list[Array] = []
        for layer in self._layers:
            if self._learning_rate is not None:
                kept.append(x)
            x = dense(x, parameters[f"{layer}_weight"], parameters[f"{layer}_bias"])
            relu(x)
        if self._learning_rate is None:
            return {"mean": x.mean(axis=0)}
        loss = np.mean(x * x)
        self._train(parameters, kept, x, self._learning_rate)
        return {"loss": loss}

    def _train(
        self, parameters: dict[str, Array], kept: list[Array], y: Array, learning_rate: float
    ) -> None:
        """Walk back from the mean of y * y; `kept` is emptied."""
        dy = y * y.dtype.type(2 / y.size)
        for layer in reversed(self._layers):
            relu_backward(y, dy)
            y = kept.pop()
            weight = parameters[f"{layer}_weight"]
            if kept:
                dx, dw, db = dense_backward(y, weight, dy)
            else:  # the rows need no gradient
                dx, dw, db = dy, y.T @ dy, dy.sum(axis=0)
            sgd_update(weight, dw, learning_rate)
            sgd_update(parameters[f"{layer}_bias"], db, learning_rate)
            dy = dx
