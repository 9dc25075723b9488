"""A convolution, or its gradient, as Winograd's filtering sees it: two images, a grid of results.

A convolution whose filters move by `stride` is a sum of convolutions that move by one: row
stride*u + a - top of the image belongs to phase a, where it is row u, and tap stride*t + a of a
filter is tap t of that phase. So an image has stride*stride phases, and its channels in the domain
are those of all phases; filters of a phase have at most ceil(R / stride) taps a side, and zeros
where they have fewer.
"""

from __future__ import annotations

from dataclasses import dataclass

from .convolution_geometry import ConvolutionGeometry


@dataclass(frozen=True, slots=True)
class Operand:
    """An image: element (u, v) of phase (a, b) lies at row stride*u + a - top, column likewise."""

    channels: int
    height: int
    width: int
    stride: int
    top: int
    left: int

    @property
    def domain_channels(self) -> int:
        """Channels of all phases."""
        return self.channels * self.stride**2


@dataclass(frozen=True, slots=True)
class Problem:
    """target = convolution(source), `rows` x `columns` results of every phase of the target.

    `side` is that of the filters as given, `taps` that of a phase's.
    """

    layout: str
    dtype: str
    images: int
    source: Operand
    target: Operand
    rows: int
    columns: int
    side: int
    taps: int
    stride: int
    multiply_adds: int

    @property
    def pairs(self) -> int:
        """Pairs of channels that a point of the domain multiplies."""
        return self.source.domain_channels * self.target.domain_channels


def square_window(geometry: ConvolutionGeometry) -> bool:
    """Whether filters and their steps are as high as wide."""
    return geometry.R == geometry.S and geometry.stride_h == geometry.stride_w


def forward_problem(geometry: ConvolutionGeometry) -> Problem:
    """y = conv(x, w); for the filter gradient too, whose operands are x and the gradient of y."""
    g, stride = geometry, geometry.stride_h
    source = Operand(g.C, g.H, g.W, stride, g.top, g.left)
    return _problem(g, source, Operand(g.K, g.P, g.Q, 1, 0, 0), g.P, g.Q)


def input_gradient_problem(geometry: ConvolutionGeometry) -> Problem:
    """dx = conv(g, rotated w), the phases of dx side by side."""
    g, stride = geometry, geometry.stride_h
    reach = -(-g.R // stride) - 1
    # Rows of the phases before the image are never computed.
    above, before = g.top // stride, g.left // stride
    source = Operand(g.K, g.P, g.Q, 1, reach - above, reach - before)
    target = Operand(g.C, g.H, g.W, stride, g.top - above * stride, g.left - before * stride)
    rows = -(-(target.height + target.top) // stride)
    columns = -(-(target.width + target.left) // stride)
    return _problem(g, source, target, rows, columns)


def _problem(
    geometry: ConvolutionGeometry, source: Operand, target: Operand, rows: int, columns: int
) -> Problem:
    stride = geometry.stride_h
    return Problem(
        layout=geometry.layout,
        dtype=geometry.dtype,
        images=geometry.N,
        source=source,
        target=target,
        rows=rows,
        columns=columns,
        side=geometry.R,
        taps=-(-geometry.R // stride),
        stride=stride,
        multiply_adds=geometry.N * geometry.pixels * geometry.K * geometry.depth,
    )
