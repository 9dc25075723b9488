"""VGG16's forward pass by hand that keeps the activations asked for."""

from __future__ import annotations

from collections.abc import Mapping

from benchctl_engines.contract import Array

from ..vgg_shapes import ConvolutionShape, DenseShape
from .vgg16 import Vgg16Step


class IntermediatesStep(Vgg16Step):
    """The activations named, and the logits."""

    def __init__(
        self,
        convolutions: tuple[ConvolutionShape, ...],
        dense: tuple[DenseShape, ...],
        layout: str,
        fetched: tuple[str, ...],
    ) -> None:
        super().__init__(convolutions, dense, layout, "fc")
        self._fetched = fetched

    def __call__(
        self, parameters: dict[str, Array], inputs: Mapping[str, Array]
    ) -> Mapping[str, Array]:
        seen: dict[str, Array] = {}
        kept = seen if self._fetched else None
        features = self._features(parameters, inputs["images"], seen=kept)
        fetched = {name: seen[name] for name in self._fetched}
        seen.clear()
        return {**fetched, "logits": self._classifier.forward(parameters, features)}
