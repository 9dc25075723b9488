"""A GPU as the place where eager tensors live."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...contract import Array
from ...gpu.array import DeviceArray
from ...gpu.driver import Driver, Precision
from ...primitives.specs import TensorSpec, spec
from ..cpu import Device
from .pool import DevicePool
from .transfer import copy_in, copy_out


class CudaDevice(Device):
    """The kernels of "gpu" for one driver, memory from a pool over its own.

    Every array comes from the pool; `pooled` off makes the pool keep nothing, and every array then
    waits for the driver. `memory_limit_bytes` is the most that the pool may hold. `reads` counts
    the arrays that were copied to the host.
    """

    pooled_bytes = 0

    def __init__(
        self,
        driver: Driver,
        precision: Precision = "fp32",
        pooled: bool = True,
        memory_limit_bytes: int | None = None,
    ) -> None:
        super().__init__("gpu", threads=1)
        self.driver: Driver = driver
        self.precision: Precision = precision
        self.reads = 0
        self.pool: Any = DevicePool(driver, memory_limit_bytes, caching=pooled)

    def __repr__(self) -> str:
        return f"CudaDevice({self.driver.facts.name}, index={self.driver.facts.index})"

    def from_host(self, array: Any, dtype: str = "") -> Any:
        """A copy of a host array on the device; the array may be changed when this returns."""
        host = np.asarray(array)
        made = self.pool.take(spec(host.shape, dtype or host.dtype.name))
        copy_in(self.driver, made, host)
        return made

    def to_host(self, array: Any) -> Array:
        """A copy on the host, of everything issued so far."""
        self.reads += 1
        return copy_out(self.driver, array)

    def copied(self, array: Any) -> Any:
        """An array of its own with the same numbers."""
        made: DeviceArray = self.pool.take(array.spec)
        if array.nbytes:
            self.driver.copy_on_device(made.pointer, array.pointer, array.nbytes)
        return made

    def scratch(self, spec: TensorSpec) -> Any:
        """Uninitialised bytes for a kernel to work in, at a multiple of 256."""
        return self.pool.take_scratch(spec.nbytes)

    def empty(self, spec: TensorSpec) -> Any:
        """An uninitialised array of this spec."""
        return self.pool.take(spec)
