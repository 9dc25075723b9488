"""VGG16 by hand: forward, and backward with the SGD update layer by layer.

A layer's weights are updated as soon as the gradient of its input is known, so that at most one
layer's gradient exists at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from benchctl_engines.contract import Array
from benchctl_engines.manual.convolution import conv2d, conv2d_backward, conv2d_filter_gradient
from benchctl_engines.manual.layers import (
    add_bias,
    bias_gradient,
    relu,
    relu_backward,
    sgd_update,
    softmax_cross_entropy,
)
from benchctl_engines.manual.pooling import max_pool2d, max_pool2d_backward

from ..vgg_shapes import ConvolutionShape, DenseShape
from .classifier import Classifier
from .convolution import SAME_PADDING


@dataclass(frozen=True, slots=True)
class _Kept:
    """What the backward pass needs of one convolution: its input and what follows it."""

    shape: ConvolutionShape
    x: Array
    activation: Array
    pooled: Array | None


class Vgg16Step:
    """The logits of the images, or with a learning rate one training step and its loss."""

    def __init__(
        self,
        convolutions: tuple[ConvolutionShape, ...],
        dense: tuple[DenseShape, ...],
        layout: str,
        head: str,
        learning_rate: float | None = None,
    ) -> None:
        self._convolutions = convolutions
        self._classifier = Classifier(dense, layout, head)
        self._layout = layout
        self._learning_rate = learning_rate

    def __call__(
        self, parameters: dict[str, Array], inputs: Mapping[str, Array]
    ) -> Mapping[str, Array]:
        if self._learning_rate is None:
            features = self._features(parameters, inputs["images"])
            return {"logits": self._classifier.forward(parameters, features)}
        kept: list[_Kept] = []
        kept_by_classifier: list[Array] = []
        features = self._features(parameters, inputs["images"], kept)
        logits = self._classifier.forward(parameters, features, kept_by_classifier)
        loss, dlogits = softmax_cross_entropy(logits, inputs["labels"])
        gradient = self._classifier.train(
            parameters, kept_by_classifier, dlogits, self._learning_rate, features_gradient=True
        )
        assert gradient is not None
        self._train(parameters, kept, gradient.reshape(features.shape), self._learning_rate)
        return {"loss": loss}

    def _features(
        self,
        parameters: Mapping[str, Array],
        x: Array,
        kept: list[_Kept] | None = None,
        seen: dict[str, Array] | None = None,
    ) -> Array:
        """The maps after the last pooling; `seen` receives each convolution after its ReLU."""
        for shape in self._convolutions:
            weight = parameters[f"{shape.name}_weight"]
            y = conv2d(x, weight, padding=SAME_PADDING, layout=self._layout)
            add_bias(y, parameters[f"{shape.name}_bias"], self._layout)
            relu(y)
            pooled = max_pool2d(y, layout=self._layout) if shape.pooled else None
            if kept is not None:
                kept.append(_Kept(shape, x, y, pooled))
            if seen is not None:
                seen[shape.name] = y
            x = y if pooled is None else pooled
        return x

    def _train(
        self, parameters: dict[str, Array], kept: list[_Kept], dy: Array, learning_rate: float
    ) -> None:
        """Walk back from the gradient of the last pooling's result; `kept` is emptied."""
        layout = self._layout
        while kept:
            layer = kept.pop()
            if layer.pooled is not None:
                dy = max_pool2d_backward(layer.activation, layer.pooled, dy, layout=layout)
            relu_backward(layer.activation, dy)
            weight = parameters[f"{layer.shape.name}_weight"]
            db = bias_gradient(dy, layout)
            if kept:
                dy, dw = conv2d_backward(layer.x, weight, dy, padding=SAME_PADDING, layout=layout)
            else:  # the images need no gradient
                dw = conv2d_filter_gradient(
                    layer.x, weight, dy, padding=SAME_PADDING, layout=layout
                )
            sgd_update(weight, dw, learning_rate)
            sgd_update(parameters[f"{layer.shape.name}_bias"], db, learning_rate)
