"""Matrix products by cuBLASLt, through its C interface.

CuPy's own products cannot be captured. Here the caller gives the workspace, nothing is allocated
in a call, and the plan of a request is chosen once: the guess of the library that is asked for.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ...gpu.driver import DeviceError, MatmulRequest, NoPlanError
from .libraries import load_library

WORKSPACE_LIMIT_BYTES = 32 * 2**20
"""What NVIDIA advises for Hopper."""

ALIGNMENT_BYTES = 16
"""What every operand's address is a multiple of: arrays lie anywhere in an arena."""

# Names and values of cublasLt.h and cublas_api.h.
_R_32F, _R_64F, _R_16F, _R_16BF = 0, 1, 2, 14
_TYPES = {"float32": _R_32F, "float64": _R_64F, "float16": _R_16F, "bfloat16": _R_16BF}
_COMPUTE_32F, _COMPUTE_32F_FAST_TF32, _COMPUTE_64F = 68, 77, 70
_DESC_TRANSA, _DESC_TRANSB, _DESC_EPILOGUE, _DESC_BIAS_POINTER = 3, 4, 7, 8
_LAYOUT_BATCH_COUNT, _LAYOUT_STRIDED_BATCH_OFFSET = 5, 6
_PREF_MAX_WORKSPACE_BYTES, _PREF_MIN_ALIGNMENT_BYTES = 1, (5, 6, 7, 8)
_EPILOGUE_DEFAULT, _EPILOGUE_RELU, _EPILOGUE_BIAS = 1, 2, 4
_STATUS_WORDS = {
    1: "the library is not initialised",
    3: "out of memory",
    7: "invalid value",
    8: "the device lacks a feature",
    11: "mapping error",
    13: "execution failed",
    14: "internal error",
    15: "not supported",
    16: "licence error",
}


class _Heuristic(ctypes.Structure):
    """cublasLtMatmulHeuristicResult_t."""

    _fields_ = (
        ("algorithm", ctypes.c_uint64 * 8),
        ("workspace_bytes", ctypes.c_size_t),
        ("state", ctypes.c_int),
        ("waves", ctypes.c_float),
        ("reserved", ctypes.c_int * 4),
    )


@dataclass(frozen=True, slots=True)
class Operand:
    """A matrix as cuBLASLt sees it, column by column; `batch_stride` in elements."""

    rows: int
    columns: int
    leading: int
    transposed: bool
    batch_stride: int


@dataclass(frozen=True, slots=True)
class ColumnMajorProduct:
    """out' = op(left) @ op(right) of column-major matrices, for a row-major request.

    A row-major matrix read column by column is its own transpose, and (a b)' = b' a': so `left`
    is the request's b, `right` its a, and a bias over the columns of out is one over rows of out'.
    """

    left: Operand
    right: Operand
    out: Operand


def column_major(request: MatmulRequest) -> ColumnMajorProduct:
    """The request as a product of column-major matrices."""
    m, n, k = request.m, request.n, request.k
    a = (m, k, m) if request.transpose_a else (k, m, k)
    b = (k, n, k) if request.transpose_b else (n, k, n)
    return ColumnMajorProduct(
        left=Operand(*b, request.transpose_b, k * n),
        right=Operand(*a, request.transpose_a, m * k),
        out=Operand(n, m, n, False, m * n),
    )


def epilogue(request: MatmulRequest) -> int:
    """What follows the product."""
    if not (request.bias or request.relu):
        return _EPILOGUE_DEFAULT
    return (_EPILOGUE_RELU if request.relu else 0) | (_EPILOGUE_BIAS if request.bias else 0)


class CublasLt:
    """The library for one device, whose context is the current one; raises `DeviceError`."""

    def __init__(self, cuda_major: int) -> None:
        library = load_library("cublasLt", (cuda_major,))
        if library is None:
            suffix = "" if cuda_major >= 13 else f"-cu{cuda_major}"
            raise DeviceError(f"cuBLASLt is not installed: pip install nvidia-cublas{suffix}")
        library.cublasLtGetVersion.restype = ctypes.c_size_t
        self.functions = library
        self.version = int(library.cublasLtGetVersion())
        self._handle = ctypes.c_void_p()
        _check(library.cublasLtCreate(ctypes.byref(self._handle)), "cublasLtCreate")

    def plan(self, request: MatmulRequest, issue: Callable[[], int]) -> MatmulPlan:
        """The guess of the heuristic that the request asks for; raises `NoPlanError`.

        `issue` is asked for the stream at every run, and may refuse.
        """
        return MatmulPlan(self.functions, self._handle, request, issue)


class Descriptors:
    """The library's descriptions of a request: they need no device."""

    def __init__(self, library: Any, request: MatmulRequest) -> None:
        self._library = library
        self._made: list[tuple[str, Any]] = []
        if request.dtype not in _TYPES:
            raise NoPlanError(f"cuBLASLt: no plan for {request.dtype}")
        double = request.dtype == "float64"
        fast = _COMPUTE_32F_FAST_TF32 if request.precision == "tf32" else _COMPUTE_32F
        self.number = ctypes.c_double if double else ctypes.c_float
        self._dtype = _TYPES[request.dtype]
        product = column_major(request)
        self.operation = self._create(
            "MatmulDesc",
            ctypes.c_int(_COMPUTE_64F if double else fast),
            # Sums, and the factors before them, are no halves where the operands are.
            ctypes.c_int(_R_64F if double else _R_32F),
        )
        for attribute, operand in ((_DESC_TRANSA, product.left), (_DESC_TRANSB, product.right)):
            self.set_operation(attribute, ctypes.c_int32(operand.transposed))
        self.set_operation(_DESC_EPILOGUE, ctypes.c_uint32(epilogue(request)))
        self.left = self._layout(product.left, request.batch)
        self.right = self._layout(product.right, request.batch)
        self.out = self._layout(product.out, request.batch)
        self.preference = self._create("MatmulPreference")
        self._set(
            "MatmulPreference",
            self.preference,
            _PREF_MAX_WORKSPACE_BYTES,
            ctypes.c_uint64(WORKSPACE_LIMIT_BYTES),
        )
        for attribute in _PREF_MIN_ALIGNMENT_BYTES:
            self._set(
                "MatmulPreference", self.preference, attribute, ctypes.c_uint32(ALIGNMENT_BYTES)
            )

    def set_operation(self, attribute: int, value: Any) -> None:
        """Set an attribute of the operation."""
        self._set("MatmulDesc", self.operation, attribute, value)

    def _layout(self, operand: Operand, batch: int) -> Any:
        made = self._create(
            "MatrixLayout",
            ctypes.c_int(self._dtype),
            ctypes.c_uint64(operand.rows),
            ctypes.c_uint64(operand.columns),
            ctypes.c_int64(operand.leading),
        )
        if batch > 1:
            self._set("MatrixLayout", made, _LAYOUT_BATCH_COUNT, ctypes.c_int32(batch))
            stride = ctypes.c_int64(operand.batch_stride)
            self._set("MatrixLayout", made, _LAYOUT_STRIDED_BATCH_OFFSET, stride)
        return made

    def _create(self, kind: str, *arguments: Any) -> Any:
        made = ctypes.c_void_p()
        name = f"cublasLt{kind}Create"
        _check(self._library[name](ctypes.byref(made), *arguments), name)
        self._made.append((kind, made))
        return made

    def _set(self, kind: str, described: Any, attribute: int, value: Any) -> None:
        name = f"cublasLt{kind}SetAttribute"
        size = ctypes.c_size_t(ctypes.sizeof(value))
        _check(self._library[name](described, attribute, ctypes.byref(value), size), name)

    def __del__(self) -> None:
        for kind, made in self._made:
            self._library[f"cublasLt{kind}Destroy"](made)


class MatmulPlan:
    """One product: out, a, b, then c where it accumulates, then the bias."""

    def __init__(
        self, library: Any, handle: Any, request: MatmulRequest, issue: Callable[[], int]
    ) -> None:
        self._described = described = Descriptors(library, request)
        self._request = request
        self._issue = issue
        self._handle = handle
        self._multiply = library.cublasLtMatmul
        self.name = "cublaslt" + (f" plan {request.plan}" if request.plan else "")
        asked = request.plan + 1
        guesses, count = (_Heuristic * asked)(), ctypes.c_int(0)
        if request.bias:
            # The heuristic wants an address; each run sets its own.
            described.set_operation(_DESC_BIAS_POINTER, ctypes.c_void_p(ALIGNMENT_BYTES))
        status = library.cublasLtMatmulAlgoGetHeuristic(
            handle,
            described.operation,
            described.left,
            described.right,
            described.out,
            described.out,
            described.preference,
            asked,
            guesses,
            ctypes.byref(count),
        )
        found = guesses[request.plan]
        if status or count.value < asked or found.state:
            reason = _STATUS_WORDS.get(status or found.state, "nothing found")
            raise NoPlanError(f"cuBLASLt has no plan for {request}: {reason}")
        self._found = found
        self.workspace_bytes = int(found.workspace_bytes)
        self._scale = described.number(request.scale)
        self._accumulate = described.number(request.accumulate_scale)

    def run(self, pointers: Sequence[int], workspace: int) -> None:
        """Issue it; raises `DeviceError`."""
        stream = self._issue()
        described, request = self._described, self._request
        out, a, b, *rest = pointers
        c = rest.pop(0) if request.accumulate_scale else out
        if request.bias:
            described.set_operation(_DESC_BIAS_POINTER, ctypes.c_void_p(rest[0]))
        status = self._multiply(
            self._handle,
            described.operation,
            ctypes.byref(self._scale),
            ctypes.c_void_p(b),
            described.left,
            ctypes.c_void_p(a),
            described.right,
            ctypes.byref(self._accumulate),
            ctypes.c_void_p(c),
            described.out,
            ctypes.c_void_p(out),
            described.out,
            ctypes.byref(self._found.algorithm),
            ctypes.c_void_p(workspace),
            ctypes.c_size_t(self.workspace_bytes),
            ctypes.c_void_p(stream),
        )
        if status:
            _check(status, "cublasLtMatmul")


def _check(status: int, what: str) -> None:
    if status:
        raise DeviceError(f"{what}: {_STATUS_WORDS.get(status, 'unknown error')} ({status})")
