"""The kernel table: which function computes a primitive, by device, dtype and shape.

A kernel is destination-passing: it writes its outputs into buffers that it is given and allocates
nothing of consequence per call. It is made in two steps, so that whatever depends on shapes alone
is decided once:

    @kernel("conv2d", "cpu", "im2col_gemm_nhwc", when=is_nhwc)
    def conv2d_nhwc(request: KernelRequest) -> Prepared:
        ...                                  # look at request.inputs, request.attributes
        def run(out, x, w, workspace): ...   # outputs first, then inputs, workspace last if any
        return Prepared(run, workspace_bytes=...)

`run` may assume the shapes and dtypes of the request and C-contiguous buffers. An output never
aliases an input unless the primitive declares that pair as in-place.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from ..primitives.specs import TensorSpec

if TYPE_CHECKING:
    from ..gpu.driver import Driver, Precision


@dataclass(frozen=True, slots=True)
class KernelRequest:
    """What a kernel may look at when it is chosen and prepared.

    `driver` is the GPU that a kernel of the device "gpu" is prepared for, None for the others;
    `precision` is how it may compute products of float32; rows named in `left_out` are not chosen.
    `plan` counts a library's ways to compute it, best guess first. A request with a `tuner` is
    given the fastest kernel instead of the first.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    threads: int = 1
    driver: Driver | None = None
    precision: Precision = "fp32"
    left_out: tuple[str, ...] = ()
    plan: int = 0
    tuner: Tuner | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """A kernel made ready for one request.

    `run(*outputs, *inputs)`, or `run(*outputs, *inputs, workspace)` where `workspace_bytes` > 0;
    the workspace is a one-dimensional uint8 array, 64-byte aligned, contents undefined.
    `make(*inputs)` returns a fresh result instead, bit for bit the same: offered where letting
    NumPy allocate a small array is cheaper than handing one in. `raw()` compiles a form of `run`
    that checks its own arguments: it returns 1 or raises TypeError, with nothing written, where
    they are not as requested.

    `bind({input index: array})` gives a `Prepared` for operands that never change: what depends on
    them alone is computed now and takes `bound_bytes`; its `run` takes the same arguments and does
    not read the bound ones. `detail` is what a library calls the plan behind it.
    """

    run: Callable[..., None]
    workspace_bytes: int = 0
    make: Callable[..., Any] | None = None
    raw: Callable[[], Callable[..., int]] | None = None
    bind: Callable[[Mapping[int, Any]], Prepared] | None = None
    bound_bytes: int = 0
    detail: str = ""


def kernel_words(primitive: str, row: str, prepared: Prepared) -> str:
    """What a result calls a kernel: primitive, row, and a library's plan where one is behind it."""
    return f"{primitive}:{row}" + (f" ({prepared.detail})" if prepared.detail else "")


class Tuner(Protocol):
    """Who measures kernels that compute the same."""

    def fastest(
        self, primitive: str, request: KernelRequest, bound: Collection[int]
    ) -> tuple[str, Prepared] | None:
        """The name and the kernel of a choice, None where there is nothing to choose among.

        Operands whose places are in `bound` never change: a kernel may be bound to them.
        """

    def seconds(
        self, primitive: str, request: KernelRequest, bound: Collection[int]
    ) -> float | None:
        """What the quickest kernel takes, None where it cannot be measured."""


Prepare = Callable[[KernelRequest], Prepared]
When = Callable[[KernelRequest], bool]


@dataclass(frozen=True, slots=True)
class Kernel:
    """A row of the table; `plans` is how many plans of a library are worth a try."""

    primitive: str
    device: str
    name: str
    when: When
    prepare: Prepare
    plans: int = 1


def always(request: KernelRequest) -> bool:
    """The predicate of a kernel that takes every request."""
    return True


_TABLE: dict[tuple[str, str], list[Kernel]] = {}
_MODULES: dict[str, tuple[str, ...]] = {
    # Within a primitive the first row whose predicate holds wins, so the order of modules counts.
    "cpu": (
        "cpu_dense",
        "cpu_convolution",
        "cpu_gemm",
        "cpu_pooling",
        "cpu_average_pooling",
        "cpu_losses",
        "cpu_elementwise",
        "cpu_small_sums",
        "cpu_reductions",
        "cpu_shaping",
        "cpu_random",
        "cpu_state",
    ),
    "gpu": (
        "cuda_dense",
        "cuda_convolution",
        "cuda_pooling",
        "cuda_losses",
        "cuda_elementwise",
        "cuda_reductions",
        "cuda_shaping",
        "cuda_random",
        "cuda_state",
    ),
    "reference": ("reference",),
}
_LOADED: set[str] = set()


class NoKernelError(LookupError):
    """No kernel of this device takes the request."""


def kernel(
    primitive: str, device: str, name: str, *, when: When = always
) -> Callable[[Prepare], Prepare]:
    """Decorator that adds a row to the table; the function decorated prepares the kernel."""

    def register(prepare: Prepare) -> Prepare:
        _TABLE.setdefault((primitive, device), []).append(
            Kernel(primitive, device, name, when, prepare)
        )
        return prepare

    return register


def kernels_of(primitive: str, device: str) -> tuple[Kernel, ...]:
    """All rows of a primitive on a device, first choice first."""
    load_device(device)
    return tuple(_TABLE.get((primitive, device), ()))


def load_device(device: str) -> None:
    """Import the modules that hold the kernels of `device`, once."""
    if device in _LOADED:
        return
    # OpenMP's threads spin after a loop, and on few cores a matrix product that follows waits for
    # them. A short spin keeps loops in a row quick and lets BLAS have the cores. OpenMP reads the
    # variable when its first loop starts; a user's own choice stands.
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")
    for module in _MODULES.get(device, ()):
        import_module(f"{__package__}.{module}")
    # Last: after a failed import the next call must not take half a table for a whole one.
    _LOADED.add(device)


def select(primitive: str, device: str, request: KernelRequest) -> Kernel:
    """The first row not left out whose predicate holds; raises `NoKernelError`."""
    # Halves are stored on a GPU alone.
    storable = device == "gpu" or not any(each.half for each in (*request.inputs, *request.outputs))
    for row in kernels_of(primitive, device):
        if storable and row.name not in request.left_out and row.when(request):
            return row
    specs = ", ".join(str(each) for each in request.inputs)
    raise NoKernelError(f"no {device} kernel computes {primitive} of {specs or 'no operands'}")


def prepared_kernel(
    primitive: str, device: str, request: KernelRequest, bound: Collection[int] = ()
) -> tuple[str, Prepared]:
    """The name of the chosen row and its kernel: the fastest where the request has a tuner.

    `bound` are the places of operands that never change. Raises `NoKernelError`.
    """
    if request.tuner is not None:
        tuned = request.tuner.fastest(primitive, request, bound)
        if tuned is not None:
            return tuned
    row = select(primitive, device, request)
    return row.name, row.prepare(request)
