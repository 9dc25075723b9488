"""The input gradient of a convolution over few channels, without BLAS."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from .convolution_geometry import filters_channels_last, input_gradient_geometry
from .folded_plan import packed_floats, plan_folds, takes
from .table import KernelRequest, Prepared, kernel
from .workspace import Pieces

Array = npt.NDArray[Any]


def _takes(request: KernelRequest) -> bool:
    return takes(input_gradient_geometry(request))


@kernel("conv2d_input_gradient", "cpu", "folded_lines", when=_takes)
def prepare_folded_lines(request: KernelRequest) -> Prepared:
    """dx = sum over the window's columns of their filters times a line of g, where it lands."""
    from .loops_folded import fold_lines, pack_columns

    geometry, threads = input_gradient_geometry(request), request.threads
    folds = plan_folds(geometry, threads)
    channels_last = filters_channels_last(request)
    pieces = Pieces()
    packed_piece = pieces.add((packed_floats(geometry),), "float32")
    scratch_piece = pieces.add((folds.worker_floats * threads,), "float32")

    def folded_lines(out: Array, g: Array, w: Array, workspace: Array) -> None:
        packed = pieces.view(workspace, packed_piece)
        scratch = pieces.view(workspace, scratch_piece)
        pack_columns(packed, w.reshape(w.size), folds, channels_last)
        fold_lines(out.reshape(out.size), g.reshape(g.size), packed, folds, scratch, threads)

    return Prepared(folded_lines, pieces.nbytes)
