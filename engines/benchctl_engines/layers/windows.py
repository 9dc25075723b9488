"""Where the windows of convolutions and poolings lie.

Axis letters: H W input, R S window, P Q output.
"""

from __future__ import annotations

from ..vocabulary import Padding, Pair, transposed_size
from .layer import LayerError

PADDINGS = ("valid", "same")


def require_padding(owner: str, padding: str) -> str:
    """The name of a padding; raises `LayerError`."""
    if padding not in PADDINGS:
        raise LayerError(f"{owner} expected padding valid or same, received {padding!r}")
    return padding


def _around(total: int) -> Pair:
    """As TensorFlow's "SAME": what is odd goes behind."""
    total = max(total, 0)
    return total // 2, total - total // 2


def padding_of(padding: str, sizes: Pair, window: Pair, stride: Pair) -> Padding:
    """Zeros around an image: none, or as many as give ceil(size / stride) positions."""
    if padding == "valid":
        return ((0, 0), (0, 0))
    rows, columns = (
        _around((-(-size // step) - 1) * step + reach - size)
        for size, reach, step in zip(sizes, window, stride, strict=True)
    )
    return rows, columns


def positions(owner: object, padding: str, sizes: Pair, window: Pair, stride: Pair) -> Pair:
    """(P, Q) of a window over an image; raises `LayerError` where none fits."""
    around = padding_of(padding, sizes, window, stride)
    P, Q = (
        (size + sum(more) - reach) // step + 1
        for size, more, reach, step in zip(sizes, around, window, stride, strict=True)
    )
    if min(P, Q) < 1:
        raise LayerError(
            f"{owner} expected images of at least {window[0]}x{window[1]}, received "
            f"{sizes[0]}x{sizes[1]}; choose padding same, or a smaller window"
        )
    return P, Q


def transposed_padding(padding: str, window: Pair, stride: Pair) -> tuple[Padding, Pair]:
    """(padding, output padding) of a transposed convolution.

    "same" makes size * stride of size; "valid" leaves out nothing that a window reaches, and makes
    size * stride where the stride is larger than the window.
    """
    more = stride[0] - window[0], stride[1] - window[1]
    output_padding = max(more[0], 0), max(more[1], 0)
    if padding == "valid":
        return ((0, 0), (0, 0)), output_padding
    return (_around(-more[0]), _around(-more[1])), output_padding


def transposed_positions(padding: str, sizes: Pair, window: Pair, stride: Pair) -> Pair:
    """(H, W) that a transposed convolution makes of an image of these sizes."""
    around, more = transposed_padding(padding, window, stride)
    H, W = map(transposed_size, sizes, window, stride, around, more)
    return H, W
