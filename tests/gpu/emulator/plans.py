"""What cuBLASLt and cuDNN compute, by NumPy at the addresses given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from benchctl_engines.devices.cuda.cublaslt import ALIGNMENT_BYTES
from benchctl_engines.gpu.driver import (
    ConvolutionRequest,
    DeviceError,
    MatmulRequest,
    NoPlanError,
)
from benchctl_engines.primitives.half_storage import from_bits, to_bits
from benchctl_engines.primitives.specs import HALVES, spec

from .memory import SPOILED, bytes_at, numbers_at

_FROM_NCHW = {"NCHW": (0, 1, 2, 3), "NHWC": (0, 2, 3, 1)}
_FROM_KCRS = {"KCRS": (0, 1, 2, 3), "RSCK": (2, 3, 1, 0), "KRSC": (0, 2, 3, 1)}


def rounded_to_tf32(x: Any) -> Any:
    """float32 with 10 bits of mantissa, to the nearest, ties away from zero."""
    if x.dtype != np.float32:
        return x
    bits = x.view(np.uint32).astype(np.uint64) + 0x1000
    return (bits & 0xFFFFE000).astype(np.uint32).view(np.float32)


class EmulatedPlan:
    """A plan; `run` checks that the operands lie in memory in use."""

    def __init__(self, driver: Any, request: Any, name: str, workspace_bytes: int) -> None:
        if request.dtype not in ("float32", "float64", *HALVES):
            raise NoPlanError(f"{name}: no plan for {request.dtype}")
        if request.plan >= driver.plans_each:
            raise NoPlanError(f"{name}: {driver.plans_each} plans, asked for number {request.plan}")
        self.request = request
        self.name = f"{name} {request.plan}" if request.plan else name
        self.workspace_bytes = workspace_bytes
        self._driver = driver

    def run(self, pointers: Sequence[int], workspace: int) -> None:
        """Issue it: the output's address, then the inputs', then the bias's."""
        shapes = self.shapes()
        if len(shapes) != len(pointers):
            raise ValueError(f"{self.name}: {len(shapes)} operands, {len(pointers)} addresses")
        places = tuple(pointers)
        self._driver.issue(self.name, lambda: self._work(shapes, places, workspace))

    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of the operands in the order of the addresses."""
        raise NotImplementedError

    def compute(self, out: Any, *operands: Any) -> None:
        """Write the result."""
        raise NotImplementedError

    def _work(
        self, shapes: Sequence[tuple[int, ...]], places: Sequence[int], workspace: int
    ) -> None:
        dtype = self.request.dtype
        for shape, place in zip(shapes, places, strict=True):
            if place % ALIGNMENT_BYTES:
                raise DeviceError(
                    f"{self.name}: expected addresses that are multiples of {ALIGNMENT_BYTES}, "
                    f"received {place:#x}"
                )
            nbytes = spec(shape, dtype).nbytes
            self._driver.memory.touch(place, nbytes, self.name)
        if self.workspace_bytes:
            self._driver.memory.touch(workspace, self.workspace_bytes, f"{self.name}'s workspace")
            bytes_at(workspace, self.workspace_bytes)[:] = SPOILED
        stored = "uint16" if dtype in HALVES else dtype
        arrays = [numbers_at(p, s, stored) for p, s in zip(places, shapes, strict=True)]
        if dtype in HALVES:
            self._compute_halves(*arrays)
            return
        out, *operands = arrays
        if self.request.precision == "tf32":
            operands[:2] = [rounded_to_tf32(each) for each in operands[:2]]
        self.compute(out, *operands)

    def _compute_halves(self, out: Any, *operands: Any) -> None:
        """Sums in float32, rounded once."""
        dtype = self.request.dtype
        result = np.empty(out.shape, np.float32)
        self.compute(result, *(from_bits(each, dtype) for each in operands))
        out[...] = to_bits(result, dtype)


class MatmulPlan(EmulatedPlan):
    """out, a, b, then c where accumulate_scale is not 0, then the bias."""

    request: MatmulRequest

    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of the operands."""
        r = self.request
        a = (r.k, r.m) if r.transpose_a else (r.m, r.k)
        b = (r.n, r.k) if r.transpose_b else (r.k, r.n)
        stacked = [(r.batch, *each) if r.batch > 1 else each for each in ((r.m, r.n), a, b)]
        if r.accumulate_scale:
            stacked.append(stacked[0])
        return (*stacked, (r.n,)) if r.bias else tuple(stacked)

    def compute(self, out: Any, *operands: Any) -> None:
        """The product and what follows it."""
        r = self.request
        a, b, *rest = operands
        a = a.swapaxes(-1, -2) if r.transpose_a else a
        b = b.swapaxes(-1, -2) if r.transpose_b else b
        result = np.matmul(a, b) * out.dtype.type(r.scale)
        if r.accumulate_scale:
            result += out.dtype.type(r.accumulate_scale) * rest.pop(0)
        if r.bias:
            result += rest[0]
        out[...] = np.maximum(result, 0) if r.relu else result


class ConvolutionPlan(EmulatedPlan):
    """y, x, w, bias; or dx, g, w; or dw, x, g."""

    request: ConvolutionRequest

    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of the operands as they lie in memory."""
        r = self.request
        x = self._in_memory((r.N, r.C, r.H, r.W), _FROM_NCHW[r.layout])
        y = self._in_memory((r.N, r.K, r.P, r.Q), _FROM_NCHW[r.layout])
        w = self._in_memory((r.K, r.C, r.R, r.S), _FROM_KCRS[r.filter_layout])
        if r.kind == "input_gradient":
            return (x, y, w)
        if r.kind == "filter_gradient":
            return (w, x, y)
        return (y, x, w, (r.K,)) if r.bias else (y, x, w)

    @staticmethod
    def _in_memory(shape: tuple[int, ...], order: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(shape[axis] for axis in order)

    def compute(self, out: Any, *operands: Any) -> None:
        """The convolution by one matrix product over all taps."""
        r = self.request
        images = np.argsort(_FROM_NCHW[r.layout])
        filters = np.argsort(_FROM_KCRS[r.filter_layout])
        if r.kind == "forward":
            x, w = operands[0].transpose(images), operands[1].transpose(filters)
            y = np.einsum("ncpqrs,kcrs->nkpq", self._windows(x), w, optimize=True)
            if r.bias:
                y += operands[2].reshape(-1, 1, 1)
            out.transpose(images)[...] = np.maximum(y, 0) if r.relu else y
        elif r.kind == "filter_gradient":
            x, g = (each.transpose(images) for each in operands)
            dw = np.einsum("ncpqrs,nkpq->kcrs", self._windows(x), g, optimize=True)
            out.transpose(filters)[...] = dw
        else:
            g, w = operands[0].transpose(images), operands[1].transpose(filters)
            padded = np.zeros(self._padded_shape(), out.dtype)
            taps = np.einsum("nkpq,kcrs->ncpqrs", g, w, optimize=True)
            for row in range(r.R):
                for column in range(r.S):
                    seen = padded[
                        ...,
                        row : row + (r.P - 1) * r.stride[0] + 1 : r.stride[0],
                        column : column + (r.Q - 1) * r.stride[1] + 1 : r.stride[1],
                    ]
                    seen += taps[..., row, column]
            (top, _), (left, _) = r.padding
            out.transpose(images)[...] = padded[..., top : top + r.H, left : left + r.W]

    def _padded_shape(self) -> tuple[int, int, int, int]:
        r = self.request
        return (r.N, r.C, r.H + sum(r.padding[0]), r.W + sum(r.padding[1]))

    def _windows(self, x: Any) -> Any:
        """[N, C, P, Q, R, S]: what each position of the output sees of x [N, C, H, W]."""
        r = self.request
        padded = np.pad(x, ((0, 0), (0, 0), *r.padding))
        windows = sliding_window_view(padded, (r.R, r.S), axis=(2, 3))
        return windows[:, :, :: r.stride[0], :: r.stride[1]][:, :, : r.P, : r.Q]
