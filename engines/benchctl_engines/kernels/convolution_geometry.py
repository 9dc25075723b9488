"""The sizes of a convolution, and how its output positions are cut into panels.

Axis letters: N batch, C channels in, K channels out, H W input, R S filter, P Q output.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..primitives.specs import join_nchw, split_filter, split_nchw, window_output
from .table import KernelRequest

# A panel of about this size stays in the caches while the product reads it.
PANEL_BYTES = 2 << 20
# Below this width a product spends its time packing the filters rather than multiplying.
MIN_PANEL_POSITIONS = 256


@dataclass(frozen=True, slots=True)
class ConvolutionGeometry:
    """Sizes of y[n, k, p, q] = sum over c, r, s of x[n, c, p*sh - top + r, q*sw - left + s] w."""

    layout: str
    dtype: str
    N: int
    C: int
    H: int
    W: int
    K: int
    R: int
    S: int
    P: int
    Q: int
    stride_h: int
    stride_w: int
    top: int
    left: int
    bottom: int
    right: int

    @property
    def taps(self) -> int:
        """Filter positions, R*S."""
        return self.R * self.S

    @property
    def depth(self) -> int:
        """Length of the sum behind one output element, C*R*S."""
        return self.C * self.R * self.S

    @property
    def pixels(self) -> int:
        """Output positions of one image, P*Q."""
        return self.P * self.Q

    @property
    def unit_stride(self) -> bool:
        """Whether the filter moves by one element along both axes."""
        return self.stride_h == 1 and self.stride_w == 1

    @property
    def unpadded(self) -> bool:
        """Whether the input is used without padding."""
        return (self.top, self.bottom, self.left, self.right) == (0, 0, 0, 0)

    def transposed(self) -> ConvolutionGeometry:
        """The convolution that carries the output gradient back to the input; stride 1 only.

        Its filters are these, rotated by 180 degrees, with input and output channels swapped. The
        padding may come out negative: positions before the start are simply never read.
        """
        return replace(
            self,
            C=self.K,
            H=self.P,
            W=self.Q,
            K=self.C,
            P=self.H,
            Q=self.W,
            top=self.R - 1 - self.top,
            left=self.S - 1 - self.left,
            bottom=self.R - 1 - self.bottom,
            right=self.S - 1 - self.right,
        )


def loop_sizes(geometry: ConvolutionGeometry) -> dict[str, int]:
    """The sizes that compiled loops over lines of an image take, by the names they have there."""
    names = ("N", "C", "H", "W", "K", "R", "S", "P", "Q", "stride_h", "stride_w", "top", "left")
    return {"nchw": int(geometry.layout == "NCHW"), **{n: getattr(geometry, n) for n in names}}


def make_geometry(
    request: KernelRequest,
    input_shape: tuple[int, ...],
    filter_shape: tuple[int, ...],
    output_shape: tuple[int, ...],
) -> ConvolutionGeometry:
    """The geometry from the shapes of input, filters and output and the request's attributes."""
    layout = request.attributes["layout"]
    N, C, H, W = split_nchw("conv2d", input_shape, layout)
    K, _, R, S = split_filter("conv2d", filter_shape, filter_layout(request))
    _, _, P, Q = split_nchw("conv2d", output_shape, layout)
    stride_h, stride_w = request.attributes["stride"]
    (top, bottom), (left, right) = request.attributes["padding"]
    return ConvolutionGeometry(
        layout=layout,
        dtype=request.outputs[0].dtype,
        N=N,
        C=C,
        H=H,
        W=W,
        K=K,
        R=R,
        S=S,
        P=P,
        Q=Q,
        stride_h=stride_h,
        stride_w=stride_w,
        top=top,
        left=left,
        bottom=bottom,
        right=right,
    )


def forward_geometry(request: KernelRequest) -> ConvolutionGeometry:
    """Geometry of conv2d(x, w) and conv2d_epilogue(x, w, b), before any pooling."""
    x, w = request.inputs[:2]
    made = request.outputs[0].shape
    if not request.attributes.get("pool", False):
        return make_geometry(request, x.shape, w.shape, made)
    # The result is smaller than what the convolution itself makes.
    layout, (stride_h, stride_w) = request.attributes["layout"], request.attributes["stride"]
    padding_h, padding_w = request.attributes["padding"]
    N, _, H, W = split_nchw("conv2d", x.shape, layout)
    K, _, R, S = split_filter("conv2d", w.shape, filter_layout(request))
    P = window_output("conv2d", H, R, stride_h, padding_h)
    Q = window_output("conv2d", W, S, stride_w, padding_w)
    return make_geometry(request, x.shape, w.shape, join_nchw(N, K, P, Q, layout))


def input_gradient_geometry(request: KernelRequest) -> ConvolutionGeometry:
    """Geometry of conv2d_input_gradient(g, w)."""
    g, w = request.inputs
    return make_geometry(request, request.attributes["input_shape"], w.shape, g.shape)


def filter_gradient_geometry(request: KernelRequest) -> ConvolutionGeometry:
    """Geometry of conv2d_filter_gradient(x, g)."""
    x, g = request.inputs
    return make_geometry(request, x.shape, request.attributes["filter_shape"], g.shape)


def filter_layout(request: KernelRequest) -> str:
    """How the filters are stored: "NCHW" is [K, C, R, S], "NHWC" is [R, S, C, K]."""
    attributes = request.attributes
    return str(attributes.get("filter_layout", attributes["layout"]))


def filters_channels_last(request: KernelRequest) -> bool:
    """Whether the filters are stored [R, S, C, K]."""
    return filter_layout(request) == "NHWC"


def is_plain(request: KernelRequest) -> bool:
    """Whether filters are stored like the images and nothing is pooled, as most kernels expect."""
    attributes = request.attributes
    return filter_layout(request) == attributes["layout"] and not attributes.get("pool", False)


def is_nchw(request: KernelRequest) -> bool:
    """Whether the request's images are stored [N, C, H, W]."""
    return bool(request.attributes["layout"] == "NCHW")


def is_nhwc(request: KernelRequest) -> bool:
    """Whether the request's images are stored [N, H, W, C]."""
    return bool(request.attributes["layout"] == "NHWC")


def is_plain_nchw(request: KernelRequest) -> bool:
    """Whether images and filters are stored NCHW and nothing is pooled."""
    return is_plain(request) and is_nchw(request)


def is_plain_nhwc(request: KernelRequest) -> bool:
    """Whether images and filters are stored NHWC and nothing is pooled."""
    return is_plain(request) and is_nhwc(request)


def split_evenly(size: int, longest: int) -> list[tuple[int, int]]:
    """[start, stop) pieces of range(size), none over `longest`, all of nearly equal length."""
    count = -(-size // max(longest, 1))
    return [(size * i // count, size * (i + 1) // count) for i in range(count)]


def split_positions(
    geometry: ConvolutionGeometry, item_bytes: int, min_positions: int = MIN_PANEL_POSITIONS
) -> Sequence[tuple[int, int]]:
    """[start, stop) panels of the flattened output positions N*P*Q.

    In NCHW a panel is either part of one image or a number of whole images, since the positions of
    two images are not next to each other in memory.
    """
    longest = max(PANEL_BYTES // max(geometry.depth * item_bytes, 1), min_positions)
    if geometry.layout == "NHWC":
        return split_evenly(geometry.N * geometry.pixels, longest)
    if geometry.pixels >= longest:
        pieces = split_evenly(geometry.pixels, longest)
        starts = [n * geometry.pixels for n in range(geometry.N)]
        return [(start + a, start + b) for start in starts for a, b in pieces]
    groups = split_evenly(geometry.N, longest // max(geometry.pixels, 1))
    return [(a * geometry.pixels, b * geometry.pixels) for a, b in groups]
