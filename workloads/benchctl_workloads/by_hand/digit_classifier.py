"""The classifier of digits in NumPy: forward, backward and the SGD update by hand."""

from __future__ import annotations

from collections.abc import Mapping

from benchctl_engines.contract import Array
from benchctl_engines.manual.convolution import conv2d, conv2d_backward, conv2d_filter_gradient
from benchctl_engines.manual.layers import (
    add_bias,
    bias_gradient,
    dense,
    dense_backward,
    relu,
    relu_backward,
    sgd_update,
    softmax_cross_entropy,
)
from benchctl_engines.manual.pooling import max_pool2d, max_pool2d_backward

CONVOLUTIONS = ("conv2d", "conv2d_1")
LAYOUT = "NHWC"
PADDING = ((2, 2), (2, 2))


class DigitClassifierStep:
    """One training step and its loss."""

    def __init__(self, learning_rate: float) -> None:
        self._learning_rate = learning_rate

    def __call__(
        self, parameters: dict[str, Array], inputs: Mapping[str, Array]
    ) -> Mapping[str, Array]:
        x = inputs["images"]
        kept: list[tuple[Array, Array, Array]] = []
        for name in CONVOLUTIONS:
            y = conv2d(x, parameters[f"{name}/weight"], padding=PADDING, layout=LAYOUT)
            add_bias(y, parameters[f"{name}/bias"], LAYOUT)
            relu(y)
            pooled = max_pool2d(y, layout=LAYOUT)
            kept.append((x, y, pooled))
            x = pooled
        rows = x.reshape(len(x), -1)
        logits = dense(rows, parameters["dense/weight"], parameters["dense/bias"])
        loss, dlogits = softmax_cross_entropy(logits, inputs["labels"])
        drows, dw, db = dense_backward(rows, parameters["dense/weight"], dlogits)
        gradients = {"dense/weight": dw, "dense/bias": db}
        dy = drows.reshape(x.shape)
        for name in reversed(CONVOLUTIONS):
            x, y, pooled = kept.pop()
            dy = max_pool2d_backward(y, pooled, dy, layout=LAYOUT)
            relu_backward(y, dy)
            gradients[f"{name}/bias"] = bias_gradient(dy, LAYOUT)
            weight = parameters[f"{name}/weight"]
            if kept:
                dy, dw = conv2d_backward(x, weight, dy, padding=PADDING, layout=LAYOUT)
            else:  # the images need no gradient
                dw = conv2d_filter_gradient(x, weight, dy, padding=PADDING, layout=LAYOUT)
            gradients[f"{name}/weight"] = dw
        for name, gradient in gradients.items():
            sgd_update(parameters[name], gradient, self._learning_rate)
        return {"loss": loss}
