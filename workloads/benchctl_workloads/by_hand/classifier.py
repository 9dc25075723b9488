"""The classifier of VGG16 by hand, forward and backward with the SGD update."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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

from ..vgg_shapes import DenseShape


@dataclass(frozen=True, slots=True)
class Classifier:
    """fc6 to fc8, as dense layers (head fc) or as convolutions (head conv)."""

    shapes: tuple[DenseShape, ...]
    layout: str
    head: str

    def forward(
        self, parameters: Mapping[str, Array], features: Array, kept: list[Array] | None = None
    ) -> Array:
        """Logits [N, classes]; the input of every layer is appended to `kept`."""
        N = features.shape[0]
        x = features.reshape(N, -1) if self.head == "fc" else features
        for shape in self.shapes:
            if kept is not None:
                kept.append(x)
            weight, bias = parameters[f"{shape.name}_weight"], parameters[f"{shape.name}_bias"]
            if self.head == "fc":
                x = dense(x, weight, bias)
            else:
                x = conv2d(x, weight, layout=self.layout)
                add_bias(x, bias, self.layout)
            if shape is not self.shapes[-1]:
                relu(x)
        return x.reshape(N, -1)

    def train(
        self,
        parameters: dict[str, Array],
        kept: list[Array],
        dlogits: Array,
        learning_rate: float,
        features_gradient: bool,
    ) -> Array | None:
        """Update the parameters in place; returns the gradient of the features where asked for.

        `kept` is emptied on the way, so that memory is free as soon as it can be.
        """
        dy = dlogits if self.head == "fc" else dlogits.reshape(_as_map(dlogits, self.layout))
        for shape in reversed(self.shapes):
            x = kept.pop()
            first = shape is self.shapes[0]
            weight = parameters[f"{shape.name}_weight"]
            if self.head == "fc" and first and not features_gradient:
                dx, dw, db = None, x.T @ dy, dy.sum(axis=0)
            elif self.head == "fc":
                dx, dw, db = dense_backward(x, weight, dy)
            else:
                db = bias_gradient(dy, self.layout)
                if first and not features_gradient:
                    dx, dw = None, conv2d_filter_gradient(x, weight, dy, layout=self.layout)
                else:
                    dx, dw = conv2d_backward(x, weight, dy, layout=self.layout)
            sgd_update(weight, dw, learning_rate)
            sgd_update(parameters[f"{shape.name}_bias"], db, learning_rate)
            if dx is None:
                return None
            if not first:
                relu_backward(x, dx)
            dy = dx
        return dy


def _as_map(dlogits: Array, layout: str) -> tuple[int, ...]:
    """The shape of a 1x1 map with a channel a class."""
    N, classes = dlogits.shape
    return (N, 1, 1, classes) if layout == "NHWC" else (N, classes, 1, 1)


class ClassifierStep:
    """The logits, or with a learning rate one training step and its loss."""

    def __init__(
        self,
        shapes: tuple[DenseShape, ...],
        layout: str,
        head: str,
        learning_rate: float | None = None,
    ) -> None:
        self._classifier = Classifier(shapes, layout, head)
        self._learning_rate = learning_rate

    def __call__(
        self, parameters: dict[str, Array], inputs: Mapping[str, Array]
    ) -> Mapping[str, Array]:
        features = inputs["features"]
        if self._learning_rate is None:
            return {"logits": self._classifier.forward(parameters, features)}
        kept: list[Array] = []
        logits = self._classifier.forward(parameters, features, kept)
        loss, dlogits = softmax_cross_entropy(logits, inputs["labels"])
        self._classifier.train(
            parameters, kept, dlogits, self._learning_rate, features_gradient=False
        )
        return {"loss": loss}
