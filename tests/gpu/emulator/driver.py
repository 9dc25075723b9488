"""An emulated GPU behind the interface of `gpu/driver.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchctl_engines.gpu.driver import (
    CaptureError,
    ConvolutionRequest,
    DeviceError,
    DeviceFacts,
    MatmulRequest,
    NoPlanError,
)

from .clock import Clock
from .memory import EmulatedAllocation, EmulatedMemory, bytes_at
from .module import EmulatedModule
from .plans import ConvolutionPlan, EmulatedPlan, MatmulPlan

Work = tuple[str, Callable[[], None]]


class EmulatedDriver:
    """Work is done when it is issued, or recorded between `begin_capture` and `end_capture`.

    `memory_bytes` is all there is. `convolution_library` off makes `convolution` raise
    `NoPlanError`. `reverse` runs threads and blocks in falling order, `seed` other than 0 the warps
    of a block in an order drawn anew at every turn: each shows missing barriers that others hide.
    `sanitize` builds kernels with AddressSanitizer, for a process that has loaded it.
    `workspace_bytes` is what every library plan asks for; `plans_each` is how many a library has
    for each request.
    """

    def __init__(
        self,
        memory_bytes: int = 2**32,
        *,
        convolution_library: bool = True,
        reverse: bool = False,
        seed: int = 0,
        sanitize: bool = False,
        workspace_bytes: int = 4096,
        plans_each: int = 1,
        architecture: int = 90,
        index: int = 0,
    ) -> None:
        self.facts = DeviceFacts(
            name="emulated GPU",
            index=index,
            architecture=architecture,
            multiprocessors=8,
            memory_bytes=memory_bytes,
            l2_bytes=2**20,
            versions={"emulator": "1"},
        )
        self.clock = Clock()
        self.memory = EmulatedMemory(memory_bytes, exact=sanitize)
        self.convolution_library = convolution_library
        self.reverse = reverse
        self.seed = seed
        self.sanitize = sanitize
        self.workspace_bytes = workspace_bytes
        self.plans_each = plans_each
        self.issued: list[str] = []
        self._modules: dict[str, EmulatedModule] = {}
        self._recording: list[Work] | None = None
        self._spoiled_by = ""

    # Memory

    def allocate(self, nbytes: int) -> EmulatedAllocation:
        """Spoiled memory."""
        self._refuse_in_capture("an allocation")
        return self.memory.allocate(nbytes)

    def memory_in_use(self) -> tuple[int, int]:
        """(bytes in use, bytes there are)."""
        return self.memory.used, self.memory.capacity

    def copy_to_device(self, pointer: int, host: np.ndarray[Any, Any]) -> None:
        """Copy a C-contiguous host array."""
        self._refuse_in_capture("a copy from pageable memory")
        self._check_host(host)
        self.memory.touch(pointer, host.nbytes, "copy_to_device")
        bytes_at(pointer, host.nbytes)[:] = host.reshape(-1).view(np.uint8)
        self.clock.issue(self.clock.cost("copy_to_device"))

    def copy_to_host(self, host: np.ndarray[Any, Any], pointer: int) -> None:
        """Copy into a C-contiguous host array, after everything issued before."""
        self._refuse_in_capture("a copy to the host")
        self._check_host(host)
        self.memory.touch(pointer, host.nbytes, "copy_to_host")
        host.reshape(-1).view(np.uint8)[:] = bytes_at(pointer, host.nbytes)
        self.clock.issue(self.clock.cost("copy_to_host"))
        self.clock.wait(self.clock.mark())
        self.memory.check()

    @staticmethod
    def _check_host(host: np.ndarray[Any, Any]) -> None:
        if not host.flags.c_contiguous:
            raise ValueError("expected a C-contiguous host array")

    def copy_on_device(self, target: int, source: int, nbytes: int) -> None:
        """Copy between places that do not overlap."""
        if target < source + nbytes and source < target + nbytes and nbytes:
            raise DeviceError("copy_on_device: the places overlap")

        def work() -> None:
            self.memory.touch(target, nbytes, "copy_on_device")
            self.memory.touch(source, nbytes, "copy_on_device")
            bytes_at(target, nbytes)[:] = bytes_at(source, nbytes)

        self.issue("copy_on_device", work)

    def fill(self, pointer: int, nbytes: int, byte: int) -> None:
        """Set every byte."""

        def work() -> None:
            self.memory.touch(pointer, nbytes, "fill")
            bytes_at(pointer, nbytes)[:] = byte

        self.issue("fill", work)

    # Work

    def module(self, source: str) -> EmulatedModule:
        """The text as a library, built once."""
        if source not in self._modules:
            self._refuse_in_capture("a compilation")
            self._modules[source] = EmulatedModule(self, source)
        return self._modules[source]

    def matmul(self, request: MatmulRequest) -> EmulatedPlan:
        """NumPy's product."""
        return MatmulPlan(self, request, "numpy_matmul", self.workspace_bytes)

    def convolution(self, request: ConvolutionRequest) -> EmulatedPlan:
        """A convolution of NumPy's."""
        if not self.convolution_library:
            raise NoPlanError("the convolution library is switched off")
        return ConvolutionPlan(self, request, "numpy_convolution", self.workspace_bytes)

    def issue(self, name: str, work: Callable[[], None]) -> None:
        """Do a piece of work, or record it."""
        if self._recording is not None:
            if self._spoiled_by:
                raise CaptureError(f"{name}: the capture was spoiled by {self._spoiled_by}")
            self._recording.append((name, work))
            return
        self.clock.issue(self.clock.cost(name))
        self.issued.append(name)
        work()

    def synchronize(self) -> None:
        """Wait on the clock; raises `DeviceError` for what kernels did to memory not theirs."""
        self._refuse_in_capture("a wait")
        self.clock.wait(self.clock.mark())
        self.memory.check()

    def check(self) -> None:
        """Look at all memory, that which was given back too."""
        self.memory.check(thoroughly=True)

    def event(self) -> EmulatedEvent:
        """A mark on the clock."""
        return EmulatedEvent(self)

    # Capture

    @property
    def capturing(self) -> bool:
        """Whether work is recorded."""
        return self._recording is not None

    def begin_capture(self) -> None:
        """From here on work is recorded."""
        if self._recording is not None:
            raise CaptureError("the stream is capturing already")
        self._recording = []
        self._spoiled_by = ""

    def end_capture(self) -> EmulatedGraph:
        """What was recorded."""
        if self._recording is None:
            raise CaptureError("the stream is not capturing")
        recorded, self._recording = self._recording, None
        if self._spoiled_by:
            raise CaptureError(f"the capture was spoiled by {self._spoiled_by}")
        return EmulatedGraph(self, recorded)

    def _refuse_in_capture(self, what: str) -> None:
        if self._recording is not None:
            self._spoiled_by = self._spoiled_by or what
            raise CaptureError(f"{what} while the stream is capturing")


class EmulatedEvent:
    """A mark on the fake clock; one recorded in a capture has no time."""

    def __init__(self, driver: EmulatedDriver) -> None:
        self._driver = driver
        self._at: float | None = None

    def record(self) -> None:
        """Put the mark behind everything issued so far."""
        if self._driver.capturing:
            self._driver.issue("event", lambda: None)
            self._at = None
        else:
            self._at = self._driver.clock.mark()

    def synchronize(self) -> None:
        """Move the host's time to the mark."""
        self._driver._refuse_in_capture("a wait for an event")
        self._driver.clock.wait(self._reached())

    def seconds_since(self, earlier: EmulatedEvent) -> float:
        """Time between two marks; raises `DeviceError` where the host waited for neither."""
        if self._reached() > self._driver.clock.now:
            raise DeviceError("the event was not reached yet")
        return self._reached() - earlier._reached()

    def _reached(self) -> float:
        if self._at is None:
            raise DeviceError("the event was not recorded outside a capture")
        return self._at


class EmulatedGraph:
    """Recorded work."""

    def __init__(self, driver: EmulatedDriver, work: list[Work]) -> None:
        self._driver = driver
        self._work = work
        self.nodes = len(work)

    @property
    def names(self) -> tuple[str, ...]:
        """What was recorded."""
        return tuple(name for name, _ in self._work)

    def launch(self) -> None:
        """Do all of it, for the host's price of one piece."""
        driver = self._driver
        driver._refuse_in_capture("the launch of another graph")
        driver.clock.issue(sum(driver.clock.cost(name) for name in self.names))
        driver.issued.append("graph")
        for _, work in self._work:
            work()
