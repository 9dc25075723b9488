"""Kernels of the device "gpu" on an emulated one, and what they would be compiled from."""

from __future__ import annotations

from importlib import import_module
from types import SimpleNamespace
from typing import Any

import kernel_cases as cases
import numpy as np
from emulator import EmulatedDriver

from benchctl_engines.gpu.array import DeviceArray
from benchctl_engines.gpu.driver import DeviceFacts
from benchctl_engines.kernels import table
from benchctl_engines.kernels.table import Kernel, KernelRequest, NoKernelError
from benchctl_engines.primitives.specs import TensorSpec, spec

MODULES = ("pooling", "losses", "elementwise", "reductions", "shaping", "random", "state")
for _module in MODULES:
    import_module(f"benchctl_engines.kernels.cuda_{_module}")
for _module in ("losses", "pooling", "randomness", "reductions", "shaping", "state"):
    import_module(f"benchctl_engines.primitives.{_module}")


def rows_of(primitive: str) -> tuple[Kernel, ...]:
    """The rows that the modules above registered."""
    return tuple(table._TABLE.get((primitive, "gpu"), ()))


def taking(request: KernelRequest, primitive: str) -> list[Kernel]:
    """The rows that take the request, first choice first."""
    return [row for row in rows_of(primitive) if row.when(request)]


def request_for(
    driver: Any,
    operands: list[np.ndarray],
    outputs: list[TensorSpec],
    attributes: dict[str, Any],
) -> KernelRequest:
    inputs = tuple(spec(each.shape, str(each.dtype)) for each in operands)
    return KernelRequest(inputs, tuple(outputs), attributes, driver=driver)


def placed(
    driver: EmulatedDriver, owned: TensorSpec, host: np.ndarray | None, offset: int
) -> DeviceArray:
    """An array `offset` bytes into an allocation, with the host's numbers or spoiled."""
    allocation = driver.allocate(owned.nbytes + offset)
    if host is not None and host.size:
        driver.copy_to_device(allocation.pointer + offset, np.ascontiguousarray(host))
    return DeviceArray(allocation.pointer + offset, owned, allocation)


def host_copy(driver: EmulatedDriver, array: DeviceArray) -> np.ndarray:
    host = np.empty(array.shape, array.dtype)
    if host.size:
        driver.copy_to_host(host, array.pointer)
    return host


def run_row(
    driver: EmulatedDriver,
    row: Kernel,
    request: KernelRequest,
    operands: list[np.ndarray],
    *,
    shared: tuple[int, int] | None = None,
    offset: int = 0,
) -> list[np.ndarray]:
    """Outputs of one call; `shared` = (output, input) that are one buffer.

    Every operand lies `offset` bytes behind an aligned address. Inputs must come back unchanged.
    """
    prepared = row.prepare(request)
    inputs = [
        placed(driver, each, host, offset)
        for each, host in zip(request.inputs, operands, strict=True)
    ]
    outputs = [placed(driver, each, None, offset) for each in request.outputs]
    if shared:
        outputs[shared[0]] = inputs[shared[1]]
    workspace = []
    if prepared.workspace_bytes:
        workspace = [placed(driver, spec((prepared.workspace_bytes,), "uint8"), None, 0)]
    allocations = driver.memory.allocations
    prepared.run(*outputs, *inputs, *workspace)
    driver.synchronize()
    assert driver.memory.allocations == allocations, f"{row.name} allocates while it runs"
    for place, (array, host) in enumerate(zip(inputs, operands, strict=True)):
        if not shared or place != shared[1]:
            same = host_copy(driver, array).tobytes() == np.ascontiguousarray(host).tobytes()
            assert same, f"{row.name} changed input {place}"
    return [host_copy(driver, each) for each in outputs]


def first_row(request: KernelRequest, primitive: str) -> Kernel:
    rows = taking(request, primitive)
    if not rows:
        raise NoKernelError(primitive)
    return rows[0]


def run_cpu(
    primitive: str,
    operands: list[np.ndarray],
    outputs: list[TensorSpec],
    attributes: dict[str, Any],
) -> list[np.ndarray]:
    """The same request on the CPU."""
    inputs = tuple(spec(each.shape, str(each.dtype)) for each in operands)
    request = KernelRequest(inputs, tuple(outputs), attributes, 1)
    return cases.run_kernel(table.select(primitive, "cpu", request), request, operands)


class TextCollector:
    """A driver that compiles nothing and keeps the text of every module."""

    def __init__(self) -> None:
        self.texts: dict[str, None] = {}
        self.facts = DeviceFacts("none", 0, 90, 132, 2**36, 2**25, {})

    def module(self, source: str) -> Any:
        self.texts[source] = None

        def function(name: str, signature: str) -> Any:
            assert f" {name}(" in source
            return SimpleNamespace(name=name, launch=None)

        return SimpleNamespace(function=function)

    def copy_on_device(self, target: int, source: int, nbytes: int) -> None:
        raise AssertionError("nothing is run")

    def fill(self, pointer: int, nbytes: int, byte: int) -> None:
        raise AssertionError("nothing is run")
