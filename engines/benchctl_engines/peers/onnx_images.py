"""Images in ONNX are NCHW: how those in another order get there and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..primitives.specs import split_nchw

if TYPE_CHECKING:
    from .onnx_model import OnnxModel
    from .recorded_program import RecordedValue

_TO_NCHW = (0, 3, 1, 2)
_TO_NHWC = (0, 2, 3, 1)
_RSCK_TO_KCRS = (3, 2, 0, 1)


def image_shape(shape: Sequence[int], layout: str) -> tuple[int, int, int, int]:
    """(N, C, H, W)."""
    return split_nchw("an image", tuple(shape), layout)


def to_nchw(model: OnnxModel, name: str, layout: str) -> str:
    """An image for a node."""
    return name if layout == "NCHW" else model.node("Transpose", [name], perm=_TO_NCHW)


def from_nchw(
    model: OnnxModel,
    operation: str,
    operands: Sequence[str],
    result: str,
    layout: str,
    more: Sequence[str] = (),
    **attributes: Any,
) -> None:
    """Add the node that makes an image, and put it in its layout; `more` results stay as is."""
    if layout == "NCHW":
        model.node(operation, operands, result, more=more, **attributes)
        return
    made = model.node(operation, operands, more=more, **attributes)
    model.node("Transpose", [made], result, perm=_TO_NHWC)


def filter_to_kcrs(
    model: OnnxModel, w: RecordedValue, attributes: Mapping[str, Any]
) -> tuple[str, tuple[int, int]]:
    """Filters for a node, and their rows and columns."""
    name = model.operand(w)
    if (attributes.get("filter_layout") or attributes["layout"]) == "NCHW":
        return name, (w.shape[2], w.shape[3])
    return model.node("Transpose", [name], perm=_RSCK_TO_KCRS), (w.shape[0], w.shape[1])


def pads_of(padding: Sequence[Sequence[int]]) -> list[int]:
    """ONNX lists what comes before each axis, then what comes after."""
    (top, bottom), (left, right) = padding
    return [top, left, bottom, right]
