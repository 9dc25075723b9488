"""The caching allocator and the device over it, on an emulated GPU."""

from __future__ import annotations

import gc
import itertools

import numpy as np
import pytest
from emulator import EmulatedDriver
from hypothesis import given, settings
from hypothesis import strategies as st

from benchctl_engines.devices.cuda.device import CudaDevice
from benchctl_engines.devices.cuda.pool import LENDING_BYTES, DevicePool
from benchctl_engines.gpu.driver import CaptureError, OutOfDeviceMemoryError
from benchctl_engines.primitives.specs import spec


def floats(count):
    return spec((count,), "float32")


def test_a_block_is_given_out_again_when_its_last_array_is_gone():
    driver = EmulatedDriver()
    pool = DevicePool(driver)
    first = pool.take(floats(100))
    view, pointer = first.viewed(floats(50)), first.pointer
    del first
    assert pool.take(floats(100)).pointer != pointer
    del view
    assert pool.take(floats(100)).pointer == pointer
    assert driver.memory.allocations == 2


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 1_300_000)), max_size=20))
def test_arrays_in_use_never_overlap_and_the_counts_are_right(moves):
    driver = EmulatedDriver(2**40)
    pool = DevicePool(driver)
    held, peak = [], 0
    for take, size in moves:
        if take or not held:
            held.append(pool.take(spec((size,), "uint8")))
        else:
            held.pop(size % len(held))
        spans = sorted((each.pointer, each.pointer + each.nbytes) for each in held)
        assert all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))
        assert pool.used_bytes >= sum(each.nbytes for each in held)
        assert pool.used_bytes <= pool.held_bytes == driver.memory.used
        peak = max(peak, pool.used_bytes)
    assert pool.peak_used_bytes == peak
    assert pool.peak_bytes == pool.held_bytes
    held.clear()
    pool.clear()
    gc.collect()
    assert pool.used_bytes == pool.held_bytes == driver.memory.used == 0


def test_a_step_that_repeats_asks_the_driver_for_nothing():
    driver = EmulatedDriver()
    pool = DevicePool(driver)

    def step():
        arrays = [pool.take(floats(size)) for size in (10, 1000, 400_000)]
        arrays.append(pool.take_scratch(70_000))
        del arrays[1]
        arrays.append(pool.take(floats(1000)))

    step()
    asked = driver.memory.allocations
    driver.begin_capture()
    step()
    driver.end_capture()
    assert driver.memory.allocations == asked


def test_large_blocks_are_lent_and_small_ones_are_not():
    driver = EmulatedDriver()
    pool = DevicePool(driver)
    pool.take(spec((LENDING_BYTES * 2,), "uint8"))
    pool.take(spec((LENDING_BYTES + 512,), "uint8"))
    assert driver.memory.allocations == 1
    pool.take(spec((4096,), "uint8"))
    pool.take(spec((2048,), "uint8"))
    assert driver.memory.allocations == 3


def test_a_limit_is_kept_and_idle_blocks_make_room():
    pool = DevicePool(EmulatedDriver(), limit_bytes=4096)
    kept = pool.take(spec((2048,), "uint8"))
    pool.take(spec((1024,), "uint8"))
    pool.take(spec((2048,), "uint8"))
    with pytest.raises(OutOfDeviceMemoryError, match="2560 bytes asked for, 2048 of the 4096"):
        pool.take(spec((2049,), "uint8"))
    assert kept.nbytes == 2048


def test_a_full_device_is_emptied_of_idle_blocks_before_it_is_an_error():
    pool = DevicePool(EmulatedDriver(4096))
    pool.take(spec((3072,), "uint8"))
    kept = pool.take(spec((3584,), "uint8"))
    with pytest.raises(OutOfDeviceMemoryError, match="1024 bytes asked for, 512 of 4096"):
        pool.take(spec((1024,), "uint8"))
    assert kept.nbytes == 3584


def test_a_capture_refuses_what_the_pool_has_not():
    driver = EmulatedDriver()
    pool = DevicePool(driver)
    driver.begin_capture()
    with pytest.raises(CaptureError, match="allocation"):
        pool.take(floats(1))


def test_without_caching_every_array_is_the_drivers():
    driver = EmulatedDriver()
    pool = DevicePool(driver, caching=False)
    for _ in range(3):
        pool.take(floats(10))
    assert driver.memory.allocations == 3
    assert pool.held_bytes == pool.used_bytes == driver.memory.used == 0


@pytest.mark.parametrize(
    "array",
    [
        np.float32(3.5),
        np.arange(24.0).reshape(2, 3, 4).transpose(2, 0, 1),
        np.empty((0, 3), np.float32),
        np.array([True, False]),
        np.arange(5, dtype=np.int64)[::2],
    ],
    ids=["scalar", "transposed", "empty", "bool", "strided"],
)
def test_arrays_go_to_the_device_and_back(array):
    device = CudaDevice(EmulatedDriver())
    made = device.from_host(array)
    copy = device.copied(made)
    assert copy.pointer != made.pointer
    for each in (made, copy):
        back = device.to_host(each)
        np.testing.assert_array_equal(back, array)
        assert (back.shape, back.dtype) == (np.shape(array), np.asarray(array).dtype)


def test_a_device_says_what_the_engines_ask_of_it():
    driver = EmulatedDriver()
    device = CudaDevice(driver, precision="tf32", pooled=False)
    assert (device.name, device.precision, device.driver) == ("gpu", "tf32", driver)
    assert device.kind(floats(3)) is device.kind(floats(3))
    assert device.empty(floats(3)).spec is floats(3)
    assert device.scratch(spec((700,), "uint8")).nbytes == 700
    assert not device.pool.caching
