"""What `CupyDriver` asks of CuPy, without a GPU: its calls by the same names, done on the host.

The stream is lazy: nothing is done before something waits for it, so that a driver which reuses
memory too early, or reads arguments too late, computes something else. Kernels run as those of the
emulated GPU do. `asked` holds every name that was looked up, for a test beside the real CuPy.
"""

from __future__ import annotations

import ctypes
import itertools
import struct
from types import SimpleNamespace

import numpy as np
from emulator.memory import bytes_at
from emulator.module import CompileError, EmulatedModule

_PARAMETER = {"P": ("Q", 8), "i": ("i", 4), "q": ("q", 8), "f": ("f", 4), "d": ("d", 8)}
_LIBC = ctypes.CDLL(None)


class StandInError(RuntimeError):
    """As CuPy's CUDARuntimeError: a RuntimeError with a status."""

    def __init__(self, status, words):
        super().__init__(words)
        self.status = status


class CompileException(Exception):  # noqa: N818 - the name is CuPy's
    pass


class Asked:
    """A namespace that notes what is looked up in it."""

    def __init__(self, path, asked, **members):
        self._path, self._asked = path, asked
        self._members = {
            name: Asked(f"{path}{name}.", asked, **value) if isinstance(value, dict) else value
            for name, value in members.items()
        }

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        self._asked.add(self._path + name)
        try:
            return self._members[name]
        except KeyError:
            raise AttributeError(f"the stand-in has no {self._path}{name}") from None


class Stream:
    def __init__(self, machine, non_blocking=False):
        assert non_blocking
        self.machine = machine
        self.ptr = 0x5000
        self.queue = []
        self.recorded = None

    def issue(self, work):
        (self.queue if self.recorded is None else self.recorded).append(work)

    def drain(self, until=None):
        if self.recorded is not None:
            self.recorded, self.invalid = [], True
            raise StandInError(900, "cudaErrorStreamCaptureUnsupported")
        while self.queue:
            work = self.queue.pop(0)
            work()
            if work is until:
                return

    def begin_capture(self, mode):
        assert mode == "relaxed"
        self.recorded, self.invalid = [], False

    def end_capture(self):
        recorded, self.recorded = self.recorded, None
        if self.invalid:
            raise StandInError(901, "cudaErrorStreamCaptureInvalidated")
        return Graph(recorded)


class Graph:
    def __init__(self, work):
        self.work = work
        self.uploaded = False

    def upload(self, stream):
        self.uploaded = True

    def launch(self, stream):
        assert self.uploaded
        for each in self.work:
            stream.issue(each)


class Event:
    def __init__(self, machine, disable_timing=False):
        self.machine, self.mark, self.time = machine, None, None
        self.timed = not disable_timing

    def record(self, stream):
        self.time = None

        def mark():
            self.time = next(self.machine.ticks)

        self.mark = mark
        stream.issue(mark)

    def synchronize(self):
        if self.mark is not None and self.time is None:
            self.machine.stream.drain(until=self.mark)


class Machine:
    """The state behind the names."""

    def __init__(self, capacity=2**26, devices=1):
        self.capacity, self.devices = capacity, devices
        self.used = {}
        self.ticks = itertools.count(1)
        self.stream = None
        self.functions = {}
        self.pool_kept = 0
        self.freed_while_capturing = 0
        self.device = None
        self.faulted = False

    # What a module of the emulated GPU asks of its driver.
    sanitize = reverse = False
    seed = 0

    @property
    def memory(self):
        return SimpleNamespace(touch=lambda *_, **__: None)

    def issue(self, name, work):
        self.stream.issue(work)

    # The calls.

    def count(self):
        return self.devices

    def set_device(self, index):
        self.device = index

    def make_stream(self, **options):
        assert self.device is not None
        self.stream = Stream(self, **options)
        return self.stream

    def malloc(self, size):
        if sum(self.used.values()) + self.pool_kept + size > self.capacity:
            raise StandInError(2, "cudaErrorMemoryAllocation: out of memory")
        address = ctypes.c_void_p()
        assert not _LIBC.posix_memalign(ctypes.byref(address), 512, ctypes.c_size_t(size))
        self.used[address.value] = size
        return address.value

    def free(self, pointer):
        if self.faulted:
            raise StandInError(700, "cudaErrorIllegalAddress: an illegal memory access")
        if self.stream.recorded is not None:
            self.freed_while_capturing += 1
        else:
            self.stream.drain()  # it waits for the device
        del self.used[pointer]
        _LIBC.free(ctypes.c_void_p(pointer))

    def info(self):
        return self.capacity - sum(self.used.values()) - self.pool_kept, self.capacity

    def empty_pool(self):
        self.pool_kept = 0

    def copy(self, target, source, size, kind, stream):
        assert stream == self.stream.ptr
        self.stream.issue(lambda: ctypes.memmove(target, source, size))

    def fill(self, pointer, value, size, stream):
        self.stream.issue(lambda: ctypes.memset(pointer, value, size))

    def synchronize(self, stream):
        if self.faulted:
            raise StandInError(700, "cudaErrorIllegalAddress: an illegal memory access")
        self.stream.drain()

    def elapsed(self, start, end):
        assert start.timed and end.timed
        if start.time is None or end.time is None:
            raise StandInError(600, "cudaErrorNotReady")
        return float(end.time - start.time)

    def pinned(self, size):
        memory = np.empty(size, np.uint8)
        return SimpleNamespace(ptr=memory.ctypes.data, memory=memory)

    def module(self, code, options):
        assert options == ("-std=c++17",)
        try:
            made = EmulatedModule(self, code)
        except CompileError as error:
            raise CompileException(str(error)) from error
        return SimpleNamespace(
            module=SimpleNamespace(get_function=lambda n: self.function(made, n))
        )

    def function(self, module, name):
        try:
            letters = module.compiled[f"emu_letters_{name}"]
        except AttributeError:
            raise StandInError(500, "CUDA_ERROR_NOT_FOUND: named symbol not found") from None
        letters.restype = ctypes.c_char_p
        signature = letters().decode()
        pointer = 0x7000 + len(self.functions)
        self.functions[pointer] = (module.function(name, signature), signature)
        return SimpleNamespace(ptr=pointer)

    def launch(self, function, gx, gy, gz, bx, by, bz, shared, stream, parameters, extra):
        made, signature = self.functions[function]
        places = (ctypes.c_void_p * len(signature)).from_address(parameters) if signature else ()
        arguments = [
            struct.unpack(form, bytes(bytes_at(place, size)))[0]
            for place, (form, size) in zip(places, map(_PARAMETER.get, signature), strict=True)
        ]
        made.launch((gx, gy, gz), (bx, by, bz), arguments, shared)


def stand_in(machine):
    """(a module that looks like CuPy, the names asked of it)."""
    properties = {
        "name": b"Stand-in GPU",
        "major": 9,
        "minor": 0,
        "multiProcessorCount": 132,
        "totalGlobalMem": machine.capacity,
        "l2CacheSize": 2**20,
    }
    asked = set()
    runtime = {
        "getDeviceCount": machine.count,
        "setDevice": machine.set_device,
        "malloc": machine.malloc,
        "free": machine.free,
        "memGetInfo": machine.info,
        "memcpyAsync": machine.copy,
        "memsetAsync": machine.fill,
        "streamSynchronize": machine.synchronize,
        "memcpyHostToDevice": 1,
        "memcpyDeviceToHost": 2,
        "memcpyDeviceToDevice": 3,
        "streamCaptureModeRelaxed": "relaxed",
        "getDeviceProperties": lambda index: properties,
        "deviceGetPCIBusId": lambda index: "0000:17:00.0",
        "driverGetVersion": lambda: 13000,
        "runtimeGetVersion": lambda: 13020,
    }
    cuda = {
        "runtime": runtime,
        "driver": {"launchKernel": machine.launch},
        "compiler": {"CompileException": CompileException},
        "nvrtc": {"getVersion": lambda: (13, 5)},
        "Stream": machine.make_stream,
        "Event": lambda **options: Event(machine, **options),
        "get_elapsed_time": machine.elapsed,
        "alloc_pinned_memory": machine.pinned,
    }
    pool = SimpleNamespace(free_all_blocks=machine.empty_pool)
    module = Asked(
        "",
        asked,
        cuda=cuda,
        RawModule=machine.module,
        get_default_memory_pool=lambda: pool,
    )
    module._members["__version__"] = "14.2.0"
    module.__dict__["__version__"] = "14.2.0"
    return module, asked
