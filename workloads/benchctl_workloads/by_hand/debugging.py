"""The program with a mistake in NumPy, its gradient by hand."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from benchctl_engines.contract import Array


class DebuggingStep:
    """loss = mean over rows of sqrt(|max(x w1, 0) w2 + shift|^2 + 1), and its gradients."""

    def __init__(self, fault: str) -> None:
        self._fault = fault

    def __call__(
        self, parameters: dict[str, Array], inputs: Mapping[str, Array]
    ) -> Mapping[str, Array]:
        x, w1, w2 = inputs["x"], parameters["w1"], parameters["w2"]
        hidden = np.maximum(x @ w1, 0)
        if self._fault == "wrong_shape":
            hidden = hidden.T
        scores = hidden @ w2 + inputs["shift"]
        squares = scores * scores
        if self._fault == "nan":
            squares = -squares
        length = np.sqrt(squares.sum(axis=1) + 1)
        dscores = scores / (length[:, None] * len(x))
        dhidden = (dscores @ w2.T) * (hidden > 0)
        return {"loss": np.mean(length), "grad_w1": x.T @ dhidden, "grad_w2": hidden.T @ dscores}
