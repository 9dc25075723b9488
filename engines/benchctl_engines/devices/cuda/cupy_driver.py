"""CUDA through CuPy: its memory calls, streams, modules, events and graphs, and no arrays of its.

Every entry of a driver makes its device the current one of the thread that opened it; another
thread has to do so itself.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from ...contract import Array
from ...gpu.driver import (
    CaptureError,
    ConvolutionRequest,
    DeviceError,
    DeviceFacts,
    LibraryPlan,
    MatmulRequest,
    OutOfDeviceMemoryError,
)
from .compiler import TEXT_OPTIONS
from .cublaslt import CublasLt
from .cudnn_plans import convolution_plan
from .cupy_import import import_cupy
from .packing import PLACE_BYTES, packer
from .staging import Staging

_OUT_OF_MEMORY = 2  # cudaErrorMemoryAllocation


class CupyDriver:
    """One GPU; raises `DeviceError` where it cannot be used."""

    def __init__(self, index: int = 0) -> None:
        cupy = import_cupy()
        self._runtime: Any = cupy.cuda.runtime
        self._cupy: Any = cupy
        with translated("opening the GPU"):
            count = self._runtime.getDeviceCount()
            if index >= count:
                raise DeviceError(f"there is no GPU {index}: {count} found")
            self._runtime.setDevice(index)
            self.stream: Any = cupy.cuda.Stream(non_blocking=True)
            self.facts = _read_facts(cupy, index)
        self._staging = Staging(cupy, self.stream)
        self._modules: dict[str, CupyModule] = {}
        self._library: CublasLt | None = None
        self._plans: dict[Any, LibraryPlan] = {}
        self._capturing = False
        self._captured = 0
        self._spoiled_by = ""
        self._freed_in_capture: list[int] = []

    # Memory

    def allocate(self, nbytes: int) -> CupyAllocation:
        """Uninitialised memory of the device's own allocator."""
        self._refuse_in_capture("an allocation")
        return CupyAllocation(self, self._allocated(nbytes), nbytes)

    def _allocated(self, nbytes: int) -> int:
        # An address is wanted for no bytes, too.
        size = max(nbytes, 1)
        for last in (False, True):
            try:
                return int(self._runtime.malloc(size))
            except RuntimeError as error:
                if getattr(error, "status", None) != _OUT_OF_MEMORY:
                    raise DeviceError(f"allocating {nbytes} bytes: {error}") from error
                if last:
                    used, total = self.memory_in_use()
                    raise OutOfDeviceMemoryError(
                        f"{nbytes} bytes asked for, {total - used} of {total} are free"
                    ) from None
                # Arrays of CuPy's own, such as the hand-written steps use, leave blocks behind.
                self._cupy.get_default_memory_pool().free_all_blocks()
        raise AssertionError("unreachable")

    def release(self, pointer: int) -> None:
        """Give memory back, after a capture where one is under way."""
        if self._capturing:
            self._freed_in_capture.append(pointer)
        else:
            self._free(pointer)

    def _free(self, pointer: int) -> None:
        """Told to nobody where it fails: after a fault of the device every call does.

        Who saw the fault has its error; a finaliser could only write hundreds of others over it.
        """
        with suppress(RuntimeError):
            self._runtime.free(pointer)

    def memory_in_use(self) -> tuple[int, int]:
        """(bytes in use on the whole device, bytes it has)."""
        with translated("asking for the memory in use"):
            free, total = self._runtime.memGetInfo()
        return int(total - free), int(total)

    def copy_to_device(self, pointer: int, host: Array) -> None:
        """Copy a C-contiguous host array through pinned memory."""
        self._refuse_in_capture("a copy from the host")
        _check_contiguous(host)
        with translated("copying to the device"):
            self._staging.copy_to_device(pointer, host)

    def copy_to_host(self, host: Array, pointer: int) -> None:
        """Copy into a C-contiguous host array and wait for it."""
        self._refuse_in_capture("a copy to the host")
        _check_contiguous(host)
        runtime, stream = self._runtime, self.stream.ptr
        with translated("copying to the host"):
            kind = runtime.memcpyDeviceToHost
            runtime.memcpyAsync(host.ctypes.data, pointer, host.nbytes, kind, stream)
            runtime.streamSynchronize(stream)

    def copy_on_device(self, target: int, source: int, nbytes: int) -> None:
        """Copy between places that do not overlap."""
        runtime = self._runtime
        stream = self._issue()
        with translated("copying on the device"):
            runtime.memcpyAsync(target, source, nbytes, runtime.memcpyDeviceToDevice, stream)

    def fill(self, pointer: int, nbytes: int, byte: int) -> None:
        """Set every byte."""
        stream = self._issue()
        with translated("filling"):
            self._runtime.memsetAsync(pointer, byte, nbytes, stream)

    # Work

    def module(self, source: str) -> CupyModule:
        """The text, compiled or taken from CuPy's cache on disk."""
        if source not in self._modules:
            self._refuse_in_capture("a compilation")
            self._modules[source] = CupyModule(self._cupy, source, self._issue)
        return self._modules[source]

    def matmul(self, request: MatmulRequest) -> LibraryPlan:
        """A plan of cuBLASLt's."""
        found = self._plans.get(request)
        if found is None:
            if self._library is None:
                # The library of the CUDA that CuPy was built for.
                self._library = CublasLt(int(self._runtime.runtimeGetVersion()) // 1000)
            found = self._plans[request] = self._library.plan(request, self._issue)
        return found

    def convolution(self, request: ConvolutionRequest) -> LibraryPlan:
        """A plan of cuDNN's."""
        found = self._plans.get(request)
        if found is None:
            made = convolution_plan(request, self.facts, self.stream.ptr)
            found = self._plans[request] = _CountedPlan(made, self._issue)
        return found

    def synchronize(self) -> None:
        """Wait until everything issued is done."""
        self._refuse_in_capture("a wait")
        with translated("waiting"):
            self._runtime.streamSynchronize(self.stream.ptr)

    def event(self) -> CupyEvent:
        """A new mark."""
        return CupyEvent(self._cupy, self.stream, self._refuse_in_capture)

    # Capture

    def begin_capture(self) -> None:
        """From here on work is recorded.

        The mode is the relaxed one: what must not happen is refused by this class, and what the
        collector of garbage does in between spoils nothing.
        """
        if self._capturing:
            raise CaptureError("the stream is capturing already")
        with translated("beginning a capture", CaptureError):
            self.stream.begin_capture(self._runtime.streamCaptureModeRelaxed)
        self._capturing, self._captured, self._spoiled_by = True, 0, ""

    def end_capture(self) -> CupyGraph:
        """What was recorded, uploaded to the device."""
        if not self._capturing:
            raise CaptureError("the stream is not capturing")
        self._capturing = False
        try:
            with translated("ending a capture", CaptureError):
                recorded = self.stream.end_capture()
        finally:
            freed, self._freed_in_capture = self._freed_in_capture, []
            for pointer in freed:
                self._free(pointer)
        if self._spoiled_by:
            raise CaptureError(f"the capture was spoiled by {self._spoiled_by}")
        with translated("uploading a graph"):
            recorded.upload(self.stream)
        return CupyGraph(recorded, self._captured, self.stream, self._refuse_in_capture)

    def _issue(self) -> int:
        """The stream, for one more piece of work."""
        if self._capturing:
            if self._spoiled_by:
                raise CaptureError(f"the capture was spoiled by {self._spoiled_by}")
            self._captured += 1
        return int(self.stream.ptr)

    def _refuse_in_capture(self, what: str) -> None:
        if self._capturing:
            self._spoiled_by = self._spoiled_by or what
            raise CaptureError(f"{what} while the stream is capturing")


class CupyAllocation:
    """Memory of the device, given back when this object dies."""

    __slots__ = ("__weakref__", "nbytes", "pointer")

    def __init__(self, driver: CupyDriver, pointer: int, nbytes: int) -> None:
        self.pointer = pointer
        self.nbytes = nbytes
        # At the end of the process the driver has gone before.
        weakref.finalize(self, driver.release, pointer).atexit = False


class CupyModule:
    """Compiled text; raises `DeviceError` with the compiler's words."""

    def __init__(self, cupy: Any, source: str, issue: Callable[[], int]) -> None:
        self._launch = cupy.cuda.driver.launchKernel
        self._issue = issue
        self._functions: dict[tuple[str, str], CupyFunction] = {}
        with translated("compiling"):
            try:
                self._module = cupy.RawModule(code=source, options=TEXT_OPTIONS).module
            except cupy.cuda.compiler.CompileException as error:
                raise DeviceError(str(error)) from error

    def function(self, name: str, signature: str) -> CupyFunction:
        """A kernel by name, with what packs its arguments."""
        key = (name, signature)
        if key not in self._functions:
            with translated(f"looking for the kernel {name}"):
                kernel = self._module.get_function(name)
            self._functions[key] = CupyFunction(kernel, name, signature, self._launch, self._issue)
        return self._functions[key]


class CupyFunction:
    """A kernel, launched with arguments packed into one block of memory.

    CUDA copies the arguments before a launch returns, so that the block serves every launch.
    """

    def __init__(
        self,
        kernel: Any,
        name: str,
        signature: str,
        launch: Callable[..., None],
        issue: Callable[[], int],
    ) -> None:
        self.name = name
        self._kernel = kernel
        self._pointer = kernel.ptr
        self._launch = launch
        self._issue = issue
        self._pack_into = packer(signature).pack_into
        count = len(signature)
        self._packed = ctypes.create_string_buffer(max(1, count) * PLACE_BYTES)
        first = ctypes.addressof(self._packed)
        self._places = (ctypes.c_void_p * count)(*(first + PLACE_BYTES * i for i in range(count)))
        self._places_address = ctypes.addressof(self._places)

    def launch(
        self,
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
        arguments: Sequence[int | float],
        shared_bytes: int = 0,
    ) -> None:
        """Issue one launch."""
        self._pack_into(self._packed, 0, *arguments)
        stream = self._issue()
        try:
            self._launch(
                self._pointer, *grid, *block, shared_bytes, stream, self._places_address, 0
            )
        except RuntimeError as error:
            raise DeviceError(f"{self.name}, grid {grid}, block {block}: {error}") from error


class CupyEvent:
    """A mark in the stream."""

    def __init__(self, cupy: Any, stream: Any, refuse_in_capture: Callable[[str], None]) -> None:
        self._cuda = cupy.cuda
        self._stream = stream
        self._refuse_in_capture = refuse_in_capture
        with translated("making an event"):
            self._event = cupy.cuda.Event()

    def record(self) -> None:
        """Put the mark behind everything issued so far."""
        with translated("recording an event"):
            self._event.record(self._stream)

    def synchronize(self) -> None:
        """Wait until the stream has reached the mark."""
        self._refuse_in_capture("a wait for an event")
        with translated("waiting for an event"):
            self._event.synchronize()

    def seconds_since(self, earlier: Any) -> float:
        """Device time between two marks that were reached; CUDA resolves half a microsecond."""
        with translated("reading events"):
            return float(self._cuda.get_elapsed_time(earlier._event, self._event)) / 1e3


class CupyGraph:
    """A recorded sequence of work; `nodes` counts what was issued while it was recorded."""

    def __init__(
        self, graph: Any, nodes: int, stream: Any, refuse_in_capture: Callable[[str], None]
    ) -> None:
        self.nodes = nodes
        self._graph = graph
        self._stream = stream
        self._refuse_in_capture = refuse_in_capture

    def launch(self) -> None:
        """Issue all of it at once."""
        self._refuse_in_capture("the launch of another graph")
        with translated("launching a graph"):
            self._graph.launch(self._stream)


class _CountedPlan:
    """A plan of a library that has been told its stream: the driver hears of every run."""

    def __init__(self, plan: LibraryPlan, issue: Callable[[], int]) -> None:
        self.name = plan.name
        self.workspace_bytes = plan.workspace_bytes
        self._run = plan.run
        self._issue = issue

    def run(self, pointers: Sequence[int], workspace: int) -> None:
        """Issue it."""
        self._issue()
        self._run(pointers, workspace)


@contextmanager
def translated(doing: str, error_class: type[DeviceError] = DeviceError) -> Iterator[None]:
    """Errors of CUDA, which CuPy raises as RuntimeError, as our own."""
    try:
        yield
    except DeviceError:
        raise
    except RuntimeError as error:
        raise error_class(f"{doing}: {error}") from error


def _check_contiguous(host: Array) -> None:
    if not host.flags.c_contiguous:
        raise ValueError("expected a C-contiguous host array")


def _read_facts(cupy: Any, index: int) -> DeviceFacts:
    runtime = cupy.cuda.runtime
    properties = runtime.getDeviceProperties(index)
    compiler = cupy.cuda.nvrtc.getVersion()
    return DeviceFacts(
        name=properties["name"].decode(),
        index=index,
        architecture=10 * properties["major"] + properties["minor"],
        multiprocessors=properties["multiProcessorCount"],
        memory_bytes=properties["totalGlobalMem"],
        l2_bytes=properties["l2CacheSize"],
        versions={
            "cupy": cupy.__version__,
            "cuda driver": version_words(runtime.driverGetVersion()),
            "cuda runtime": version_words(runtime.runtimeGetVersion()),
            "nvrtc": ".".join(map(str, compiler)),
        },
        pci_bus_id=runtime.deviceGetPCIBusId(index),
    )


def version_words(number: int) -> str:
    """CUDA counts 12040 for 12.4."""
    return f"{number // 1000}.{number % 1000 // 10}"
