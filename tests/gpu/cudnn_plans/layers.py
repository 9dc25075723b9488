"""Every convolution of every workload, as requests to the convolution library."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from benchctl_engines.gpu.driver import ConvolutionRequest
from benchctl_engines.primitives.half_storage import stored_dtype
from benchctl_workloads.vgg_shapes import (
    PAPER_IMAGE_SIZE,
    PAPER_WIDTH,
    POOLINGS,
    classifier_shapes,
    classifier_width,
    convolution_shapes,
    feature_channels,
)

BATCHES = (1, 16, 32)
LAYOUTS = ("NCHW", "NHWC")
PRECISIONS = ("fp32", "tf32", "fp16")
KINDS = ("forward+bias+relu", "forward", "input_gradient", "filter_gradient")


@dataclass(frozen=True)
class Layer:
    """A square convolution of stride 1: C channels in, K out, windows of `window`."""

    name: str
    C: int
    K: int
    side: int
    window: int
    padding: int


def layers() -> list[Layer]:
    """Those of `vgg16` and `layout`, one of each shape, and of `heads` with the head "conv"."""
    made: dict[tuple[int, int, int], Layer] = {}
    for shape in convolution_shapes(PAPER_WIDTH, PAPER_IMAGE_SIZE):
        key = shape.C, shape.K, shape.side
        made.setdefault(key, Layer(shape.name, *key, window=3, padding=1))
    side = PAPER_IMAGE_SIZE >> POOLINGS
    channels, width = feature_channels(PAPER_WIDTH), classifier_width(PAPER_WIDTH)
    dense = []
    for each in classifier_shapes(channels, side, width):
        C = each.inputs // each.side**2
        dense.append(Layer(each.name, C, each.outputs, each.side, window=each.side, padding=0))
    return [*made.values(), *dense]


def request(layer: Layer, batch: int, layout: Any, precision: Any, kind: str) -> ConvolutionRequest:
    """What the library is asked for."""
    plain: Any = kind.partition("+")[0]
    out = layer.side + 2 * layer.padding - layer.window + 1
    side = layer.padding, layer.padding
    return ConvolutionRequest(
        plain,
        N=batch,
        C=layer.C,
        H=layer.side,
        W=layer.side,
        K=layer.K,
        R=layer.window,
        S=layer.window,
        P=out,
        Q=out,
        stride=(1, 1),
        padding=(side, side),
        layout=layout,
        filter_layout="KCRS" if layout == "NCHW" else "KRSC",
        dtype=stored_dtype("float32", precision),
        bias=kind != plain,
        relu=kind != plain,
        precision=precision,
    )


def cases() -> Iterator[tuple[Layer, int, str, str, str]]:
    """(layer, batch, layout, precision, kind) of all rows of the table."""
    yield from itertools.product(layers(), BATCHES, LAYOUTS, PRECISIONS, KINDS)
