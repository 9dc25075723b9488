"""Arrays between the host and a GPU: halves are rounded on the way in, widened on the way out."""

from __future__ import annotations

import numpy as np

from ...contract import Array
from ...gpu.array import DeviceArray
from ...gpu.driver import Driver
from ...primitives.half_storage import from_bits, to_bits


def copy_in(driver: Driver, place: DeviceArray, host: Array) -> None:
    """Copy an array, held as the spec of the place says; it may be changed when this returns."""
    if not place.nbytes:
        return
    spec = place.spec
    stored = to_bits(host, spec.dtype) if spec.half else host
    driver.copy_to_device(place.pointer, np.ascontiguousarray(stored))


def fill_repeating(driver: Driver, first: DeviceArray, numbers: Array, nbytes: int) -> None:
    """Copy numbers to a place, and repeat them behind it until `nbytes` are filled."""
    copy_in(driver, first, numbers)
    filled = first.nbytes
    while 0 < filled < nbytes:
        more = min(filled, nbytes - filled)
        driver.copy_on_device(first.pointer + filled, first.pointer, more)
        filled += more


def copy_out(driver: Driver, array: DeviceArray) -> Array:
    """A copy on the host of everything issued so far, there when this returns."""
    spec = array.spec
    host = np.empty(spec.shape, np.uint16 if spec.half else spec.numpy_dtype)
    if host.nbytes:
        driver.copy_to_host(host, array.pointer)
    return from_bits(host, spec.dtype) if spec.half else host
