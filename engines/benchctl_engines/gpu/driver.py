"""What the engines need of a GPU: the interface between our code and CUDA.

One implementation speaks to CUDA through CuPy (`cupy_driver.py`); another, in the tests, runs the
same kernel text on the CPU and refuses what a capturing stream refuses. All work goes to one
non-blocking stream per driver, in the order in which it is issued; addresses travel as integers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from ..contract import Array
from ..contract import Precision as Precision

ConvolutionKind = Literal["forward", "input_gradient", "filter_gradient"]


class DeviceError(RuntimeError):
    """The device refused; the message says what and, where known, what to do."""


class OutOfDeviceMemoryError(DeviceError, MemoryError):
    """An allocation does not fit; the message names both sizes."""

    hint = (
        "choose a smaller size or batch, end what else uses the GPU (nvidia-smi shows it), "
        "or --device cpu"
    )


class CaptureError(DeviceError):
    """Something that a capturing stream cannot record, such as an allocation or a wait."""


class NoPlanError(LookupError):
    """A library offers no plan for a request; the message says why."""


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """A device in words and numbers; `architecture` is the compute capability, 90 for 9.0.

    `pci_bus_id` is where the management library finds it, empty where nobody has to.
    """

    name: str
    index: int
    architecture: int
    multiprocessors: int
    memory_bytes: int
    l2_bytes: int
    versions: dict[str, str]
    pci_bus_id: str = ""


class Allocation(Protocol):
    """Device memory, given back when the object dies."""

    @property
    def pointer(self) -> int:
        """Address, a multiple of 256."""

    @property
    def nbytes(self) -> int:
        """Size in bytes."""


class Function(Protocol):
    """A kernel of a compiled module."""

    @property
    def name(self) -> str:
        """Its name in the source."""

    def launch(
        self,
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
        arguments: Sequence[int | float],
        shared_bytes: int = 0,
    ) -> None:
        """Issue one launch; arguments in the order and of the types of the signature."""


class Module(Protocol):
    """Compiled CUDA text."""

    def function(self, name: str, signature: str) -> Function:
        """A kernel declared `extern "C" __global__`.

        One letter an argument: P address, i int32, q int64, f float32, d float64.
        """


class Event(Protocol):
    """A mark in the stream."""

    def record(self) -> None:
        """Put the mark behind everything issued so far."""

    def synchronize(self) -> None:
        """Wait until the stream has reached the mark."""

    def seconds_since(self, earlier: Event) -> float:
        """Device time between two marks that were reached."""


class CapturedGraph(Protocol):
    """A recorded sequence of work."""

    @property
    def nodes(self) -> int:
        """How many pieces of work it holds."""

    def launch(self) -> None:
        """Issue all of it at once."""


@dataclass(frozen=True, slots=True)
class MatmulRequest:
    """out [m, n] = op(a) @ op(b), batched where batch > 1; everything row-major and dense.

    `a` is [m, k], or [k, m] where `transpose_a`; `b` is [k, n], or [n, k] where `transpose_b`.
    With `bias` a vector [n] is added to every row, with `relu` negative results become 0. With
    `scale` and `accumulate`, out = accumulate_scale * c + scale * product is written to `out`, and
    c may be `out` itself.

    Halves ("float16", "bfloat16") are summed in float32 and rounded once. `plan` counts the
    library's ways to compute it, best guess first.
    """

    m: int
    n: int
    k: int
    dtype: str
    transpose_a: bool = False
    transpose_b: bool = False
    batch: int = 1
    bias: bool = False
    relu: bool = False
    scale: float = 1.0
    accumulate_scale: float = 0.0
    precision: Precision = "fp32"
    plan: int = 0


@dataclass(frozen=True, slots=True)
class ConvolutionRequest:
    """A 2-D convolution; sizes as in docs/kernels.md: N C H W in, K filters of R x S, P x Q out.

    Images lie in `layout`, filters in `filter_layout`. `padding` is ((top, bottom), (left, right)).
    Halves and `plan` are as in `MatmulRequest`.
    """

    kind: ConvolutionKind
    N: int
    C: int
    H: int
    W: int
    K: int
    R: int
    S: int
    P: int
    Q: int
    stride: tuple[int, int]
    padding: tuple[tuple[int, int], tuple[int, int]]
    layout: Literal["NCHW", "NHWC"]
    filter_layout: Literal["KCRS", "RSCK", "KRSC"]
    dtype: str
    bias: bool = False
    relu: bool = False
    precision: Precision = "fp32"
    plan: int = 0


class LibraryPlan(Protocol):
    """A library's way to compute a request."""

    @property
    def name(self) -> str:
        """What the result calls it."""

    @property
    def workspace_bytes(self) -> int:
        """Memory it works in."""

    def run(self, pointers: Sequence[int], workspace: int) -> None:
        """Issue it: the output's address first, then the inputs', then the bias's if any.

        A product that accumulates has c as its third input; a convolution's inputs are x and w, g
        and w for the input's gradient, x and g for the filter's.
        """


class Driver(Protocol):
    """One GPU. Every call that issues work returns before the work is done."""

    @property
    def facts(self) -> DeviceFacts:
        """The device."""

    def allocate(self, nbytes: int) -> Allocation:
        """Uninitialised memory; raises `OutOfDeviceMemoryError`, `CaptureError` while capturing."""

    def copy_to_device(self, pointer: int, host: Array) -> None:
        """Copy a C-contiguous host array; the host array may be changed when this returns."""

    def copy_to_host(self, host: Array, pointer: int) -> None:
        """Copy into a C-contiguous host array; returns when it is there."""

    def copy_on_device(self, target: int, source: int, nbytes: int) -> None:
        """Copy between two places of the device that do not overlap."""

    def fill(self, pointer: int, nbytes: int, byte: int) -> None:
        """Set every byte."""

    def module(self, source: str) -> Module:
        """Compile CUDA text for this device, once for equal text; raises `DeviceError`."""

    def synchronize(self) -> None:
        """Wait until everything issued is done; raises `CaptureError` while capturing."""

    def event(self) -> Event:
        """A new mark."""

    def begin_capture(self) -> None:
        """From here on work is recorded instead of done."""

    def end_capture(self) -> CapturedGraph:
        """What was recorded; raises `CaptureError` where something could not be."""

    def matmul(self, request: MatmulRequest) -> LibraryPlan:
        """A plan for a matrix product; raises `NoPlanError`."""

    def convolution(self, request: ConvolutionRequest) -> LibraryPlan:
        """A plan of the convolution library; raises `NoPlanError`, also where there is none."""

    def memory_in_use(self) -> tuple[int, int]:
        """(bytes in use on the whole device, bytes it has)."""
