"""The shapes of VGG16 (Simonyan and Zisserman 2015, configuration D), scaled by two numbers.

`width` is the number of channels of the first block, 64 in the paper; `image_size` is the side of
the square images, 224 in the paper.
"""

from __future__ import annotations

from dataclasses import dataclass

from .workload import Axis, AxisError, AxisValue

PAPER_WIDTH = 64
PAPER_IMAGE_SIZE = 224
IMAGE_CHANNELS = 3
CLASSES = 1000
POOLINGS = 5

# Per block: how many times `width` its channels are, and how many convolutions it has.
_BLOCKS = ((1, 2), (2, 2), (4, 3), (8, 3), (8, 3))


@dataclass(frozen=True, slots=True)
class ConvolutionShape:
    """A 3x3 convolution of stride 1 and padding 1: C channels in, K out, a map of side x side."""

    name: str
    C: int
    K: int
    side: int
    pooled: bool

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds an image, those with the padding included."""
        return self.side**2 * self.K * self.C * 9

    @property
    def parameter_count(self) -> int:
        """Weights and biases."""
        return self.K * self.C * 9 + self.K


@dataclass(frozen=True, slots=True)
class DenseShape:
    """A dense layer; as a convolution its filter is side x side."""

    name: str
    inputs: int
    outputs: int
    side: int

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds an image."""
        return self.inputs * self.outputs

    @property
    def parameter_count(self) -> int:
        """Weights and biases."""
        return self.inputs * self.outputs + self.outputs


def convolution_shapes(width: int, image_size: int) -> tuple[ConvolutionShape, ...]:
    """The thirteen convolutions in order; `pooled` marks those before a 2x2 max pooling."""
    shapes = []
    C, side = IMAGE_CHANNELS, image_size
    for block, (multiple, count) in enumerate(_BLOCKS, start=1):
        K = multiple * width
        for index in range(1, count + 1):
            name = f"conv{block}_{index}"
            shapes.append(ConvolutionShape(name, C, K, side, pooled=index == count))
            C = K
        side //= 2
    return tuple(shapes)


def classifier_shapes(channels: int, side: int, width: int) -> tuple[DenseShape, ...]:
    """fc6 to fc8 over maps of channels x side x side, with `width` units in fc6 and fc7."""
    return (
        DenseShape("fc6", channels * side * side, width, side),
        DenseShape("fc7", width, width, 1),
        DenseShape("fc8", width, CLASSES, 1),
    )


def feature_channels(width: int) -> int:
    """Channels of the last block."""
    return _BLOCKS[-1][0] * width


def classifier_width(width: int) -> int:
    """Units of fc6 and fc7: 4096 at the paper's width."""
    return 64 * width


class ImageSizeAxis(Axis):
    """The side of the images: five poolings halve it, so it is a multiple of 32."""

    __slots__ = ()

    def parse(self, text: str) -> AxisValue:
        multiple = 2**POOLINGS
        size = int(text) if text.isascii() and text.isdigit() else 0
        if size < multiple or size % multiple:
            raise AxisError(
                f"axis {self.name} expected a multiple of {multiple} such as "
                f"{multiple}, {2 * multiple} or {PAPER_IMAGE_SIZE}, received {text!r}"
            )
        return size


LAYOUT_AXIS = Axis(
    "layout", "NCHW", ("NCHW", "NHWC"), sweep=("NCHW", "NHWC"), description="order of image axes"
)
HEAD_AXIS = Axis(
    "head",
    "fc",
    ("fc", "conv"),
    sweep=("fc", "conv"),
    description="fc6 to fc8 as dense layers or as convolutions",
)
MODE_AXIS = Axis(
    "mode", "inference", ("inference", "training"), description="forward pass or SGD step"
)
IMAGE_SIZE_AXIS = ImageSizeAxis(
    "image_size", PAPER_IMAGE_SIZE, description="side of the images, a multiple of 32"
)
