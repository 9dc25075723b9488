"""The emulated GPU computes what CUDA would, and finds the faults that a card would hide."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from emulator import CompileError, EmulatedDriver, build_library
from hypothesis import given, settings
from hypothesis import strategies as st

from benchctl_engines.gpu.driver import CaptureError, DeviceError, OutOfDeviceMemoryError

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="g++ builds the kernels")

FULL = "0xffffffffu"
TEXT = """
#define THREADS 256
extern "C" __global__ void __launch_bounds__(THREADS) fill_rows(
    float* __restrict__ y, const float* x, float scale, int n) {
    int i = blockIdx.x * THREADS + threadIdx.x;
    if (i < n) y[i] = scale * x[i];
}
extern "C" __global__ void careless(float* y, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    y[i] = 1.0f;  // as many as there are threads, whatever n
}
extern "C" __global__ void __launch_bounds__(THREADS, 2)
sum_rows(float* out, const float* x, int n) {
    __shared__ float parts[THREADS / 32];
    float total = 0;
    for (int i = threadIdx.x; i < n; i += blockDim.x) total += x[blockIdx.x * n + i];
    for (int o = 16; o > 0; o >>= 1) total += __shfl_down_sync(0xffffffffu, total, o);
    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = total;
    __syncthreads();
    if (threadIdx.x == 0) {
        total = 0;
        for (int i = 0; i < blockDim.x / 32; i++) total += parts[i];
        out[blockIdx.x] = total;
    }
}
extern "C" __global__ void reverse(double* y, long long n) {
    __shared__ double s[1024];
    const int t = threadIdx.x;
    if (t < n) s[t] = y[t];
    __syncthreads();
    if (t < n) y[t] = s[n - 1 - t];
}
extern "C" __global__ void neighbours(float* y) {
    __shared__ float s[64];
    const int t = threadIdx.x;
    s[t] = t;
    BARRIER
    y[t] = s[(t + 63) % 64] + s[(t + 1) % 64];
}
extern "C" __global__ void where(int* y) {
    int block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    int thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    int i = block * blockDim.x * blockDim.y * blockDim.z + thread;
    y[i] = i;
}
"""
GOOD_TEXT = TEXT.replace("BARRIER", "__syncthreads();")


def on_device(driver, array):
    """(address, owner) of a copy."""
    made = driver.allocate(array.nbytes)
    driver.copy_to_device(made.pointer, array)
    return made


def fetched(driver, allocation, shape, dtype="float32"):
    host = np.empty(shape, dtype)
    driver.copy_to_host(host, allocation.pointer)
    return host


@pytest.fixture(params=[False, True], ids=["rising", "falling"])
def driver(request):
    made = EmulatedDriver(2**26, reverse=request.param)
    yield made
    made.check()


# Kernels ---------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(n=st.integers(1, 3000), reverse=st.booleans())
def test_a_kernel_without_barriers_visits_every_element(n, reverse):
    driver = EmulatedDriver(reverse=reverse)
    x = np.random.default_rng(n).standard_normal(n).astype(np.float32)
    source, target = on_device(driver, x), driver.allocate(x.nbytes)
    function = driver.module(GOOD_TEXT).function("fill_rows", "PPfi")
    grid = ((n + 255) // 256, 1, 1)
    function.launch(grid, (256, 1, 1), [target.pointer, source.pointer, 1.5, n])
    np.testing.assert_array_equal(fetched(driver, target, n), np.float32(1.5) * x)
    driver.check()


@settings(max_examples=20, deadline=None)
@given(
    rows=st.integers(1, 5), n=st.integers(1, 700), warps=st.integers(1, 8), reverse=st.booleans()
)
def test_shuffles_and_barriers_reduce_in_the_order_of_the_text(rows, n, warps, reverse):
    driver = EmulatedDriver(reverse=reverse)
    x = np.random.default_rng(n).standard_normal((rows, n)).astype(np.float32)
    source, target = on_device(driver, x), driver.allocate(4 * rows)
    function = driver.module(GOOD_TEXT).function("sum_rows", "PPi")
    function.launch((rows, 1, 1), (32 * warps, 1, 1), [target.pointer, source.pointer, n])
    # The same order by hand: lanes in strides, halves of a warp, then warps.
    lanes = np.zeros((rows, 32 * warps), np.float32)
    for start in range(0, n, 32 * warps):
        part = x[:, start : start + 32 * warps]
        lanes[:, : part.shape[1]] += part
    parts = lanes.reshape(rows, warps, 32).copy()
    while parts.shape[2] > 1:
        half = parts.shape[2] // 2
        parts = parts[..., :half] + parts[..., half:]
    total = np.zeros(rows, np.float32)
    for warp in range(warps):
        total += parts[:, warp, 0]
    np.testing.assert_array_equal(fetched(driver, target, rows), total)


@pytest.mark.parametrize("n", [1, 31, 33, 1000, 1024])
def test_a_barrier_stands_between_all_threads(driver, n):
    x = np.random.default_rng(n).standard_normal(n)
    y = on_device(driver, x)
    driver.module(GOOD_TEXT).function("reverse", "Pq").launch(
        (1, 1, 1), (1024, 1, 1), [y.pointer, n]
    )
    np.testing.assert_array_equal(fetched(driver, y, n, "float64"), x[::-1])


def test_a_missing_barrier_is_wrong_in_both_orders(driver):
    expected = [(t + 63) % 64 + (t + 1) % 64 for t in range(64)]
    for text, right in ((GOOD_TEXT, True), (TEXT.replace("BARRIER", ""), False)):
        y = driver.allocate(256)
        driver.module(text).function("neighbours", "P").launch((1, 1, 1), (64, 1, 1), [y.pointer])
        assert (fetched(driver, y, 64).tolist() == expected) == right


ORDERS = [
    {"reverse": False},
    {"reverse": True},
    *({"reverse": bool(seed % 2), "seed": seed} for seed in range(1, 5)),
]
"""The orders in which the threads of a block may run."""

TWO_FOLDS = """
extern "C" __global__ void __launch_bounds__(256, 1) two_folds(double* y, const double* x) {
    const double first = fold_block<Sum>(x[threadIdx.x]);
    const double second = fold_block<Sum>(x[threadIdx.x + 256]);
    if (threadIdx.x == 0) { y[0] = first; y[1] = second; }
}
"""


def two_folds(text):
    """Sums of two halves, as each order of the threads makes them."""
    x = np.arange(512.0)
    found = []
    for order in ORDERS:
        driver = EmulatedDriver(2**20, **order)
        source, target = on_device(driver, x), driver.allocate(16)
        function = driver.module(text).function("two_folds", "PP")
        function.launch((1, 1, 1), (256, 1, 1), [target.pointer, source.pointer])
        found.append(fetched(driver, target, 2, "float64").tolist())
    return [x[:256].sum(), x[256:].sum()], found


@pytest.mark.parametrize("place", [0, 1], ids=["first", "second"])
def test_either_barrier_of_the_fold_is_missed_in_some_order(place):
    from benchctl_engines.kernels.cuda_source import Index, source

    text = source(Index(False), "folds") + TWO_FOLDS
    expected, found = two_folds(text)
    assert found == [expected] * len(ORDERS)
    barrier = "__syncthreads();"
    pieces = text.split(barrier)
    # The first two barriers of the text are those of fold_block.
    planted = barrier.join(
        [*pieces[:place], pieces[place] + pieces[place + 1], *pieces[place + 2 :]]
    )
    assert planted.count(barrier) == text.count(barrier) - 1
    expected, found = two_folds(planted)
    assert any(each != expected for each in found)


def test_the_order_of_warps_is_drawn_and_repeats_with_its_seed():
    text = """extern "C" __global__ void turns(int* y) {
        __shared__ int next;
        if (threadIdx.x == 0) next = 0;
        __syncthreads();
        if (threadIdx.x % 32 == 0) y[next++] = threadIdx.x / 32;
    }"""

    def turns(**order):
        driver = EmulatedDriver(2**20, **order)
        y = driver.allocate(32)
        driver.module(text).function("turns", "P").launch((1, 1, 1), (256, 1, 1), [y.pointer])
        return tuple(fetched(driver, y, 8, "int32").tolist())

    drawn = {seed: turns(seed=seed) for seed in range(1, 6)}
    assert all(sorted(each) == list(range(8)) for each in drawn.values())
    assert len(set(drawn.values())) > 2
    assert drawn == {seed: turns(seed=seed) for seed in drawn}


def test_indices_run_over_three_axes(driver):
    y = driver.allocate(4 * 2 * 3 * 4 * 5 * 2 * 3)
    driver.module(GOOD_TEXT).function("where", "P").launch((2, 3, 4), (5, 2, 3), [y.pointer])
    np.testing.assert_array_equal(fetched(driver, y, 720, "int32"), np.arange(720))


SHUFFLES = """
extern "C" __global__ void shuffles(int* y) {
    int t = threadIdx.x;
    y[t] = __shfl_sync(0xffffffffu, t, 5);
    y[t + 64] = __shfl_down_sync(0xffffffffu, t, 3);
    y[t + 128] = __shfl_up_sync(0xffffffffu, t, 3);
    y[t + 192] = __shfl_xor_sync(0xffffffffu, t, 9);
    y[t + 256] = __shfl_down_sync(0xffffffffu, t, 3, 8);
    y[t + 320] = (int)__shfl_sync(0xffffffffu, (double)t, t + 1, 16);
    __syncwarp();
}
"""


def test_every_shuffle_takes_from_the_lane_that_cuda_names(driver):
    y = driver.allocate(4 * 64 * 6)
    driver.module(SHUFFLES).function("shuffles", "P").launch((1, 1, 1), (64, 1, 1), [y.pointer])
    found = fetched(driver, y, (6, 64), "int32")
    for t in range(64):
        warp, lane = t // 32 * 32, t % 32
        expected = [
            warp + 5,
            warp + (lane + 3 if lane + 3 < 32 else lane),
            warp + (lane - 3 if lane >= 3 else lane),
            warp + (lane ^ 9),
            warp + (lane + 3 if lane % 8 + 3 < 8 else lane),
            warp + lane // 16 * 16 + (lane + 1) % 16,
        ]
        assert found[:, t].tolist() == expected


def test_contexts_of_the_system_serve_where_our_own_switch_does_not(tmp_path):
    library = build_library(GOOD_TEXT, extra=("-DEMU_PORTABLE",))
    driver = EmulatedDriver()
    module = driver.module(GOOD_TEXT)
    import ctypes

    module.compiled = ctypes.CDLL(str(library))
    module.compiled.emu_fault.restype = ctypes.c_char_p
    x = np.arange(1000.0)
    y = on_device(driver, x)
    module.function("reverse", "Pq").launch((1, 1, 1), (1024, 1, 1), [y.pointer, 1000])
    np.testing.assert_array_equal(fetched(driver, y, 1000, "float64"), x[::-1])


# Faults ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [250, 255, 257])
def test_a_write_beyond_the_end_is_found(driver, n):
    y = driver.allocate(4 * n)
    driver.module(GOOD_TEXT).function("careless", "Pi").launch(
        (2, 1, 1), (256, 1, 1), [y.pointer, n]
    )
    with pytest.raises(DeviceError, match="behind a block"):
        driver.synchronize()
    driver.synchronize()


def test_a_write_before_the_start_and_after_the_release_is_found(driver):
    y = driver.allocate(64)
    driver.memory.touch(y.pointer)
    from emulator.memory import bytes_at

    bytes_at(y.pointer - 4, 4)[:] = 0
    with pytest.raises(DeviceError, match="4 bytes written 4 bytes before"):
        driver.synchronize()
    pointer = y.pointer
    del y
    gc.collect()
    bytes_at(pointer, 4)[:] = 0
    with pytest.raises(DeviceError, match="after it was given back"):
        driver.check()
    with pytest.raises(DeviceError, match="no memory in use"):
        driver.fill(pointer, 4, 0)


FAULTS = {
    "misaligned access": "*(float4*)(y + 1) = make_float4(0, 0, 0, 0);",
    "index outside an array": "__shared__ float s[4]; s[threadIdx.x] = 1; y[0] = s[0];",
    "signed product that overflows": "int i = blockDim.x * 100000; y[0] = i * i;",
    "barrier that not all": "if (threadIdx.x < 40) __syncthreads(); else __shfl_sync(FULL, 1, 1);",
    "wait at different": "if (threadIdx.x < 32) __syncthreads();\nelse __syncthreads();",
    "lanes of a warp wait": "if (threadIdx.x < 8) __syncwarp();\nelse __syncwarp();",
    "has returned|while its warp waits": "if (threadIdx.x == 3) return; __shfl_sync(FULL, 1, 0);",
    "mask that does not name": "__shfl_sync(0xffffu, 1, 0);",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_the_text_has_its_name_and_line(driver, fault):
    body = FAULTS[fault].replace("FULL", FULL)
    module = driver.module(f'extern "C" __global__ void wrong(float* y) {{\n{body}\n}}')
    y = driver.allocate(4096)
    for _ in range(2):
        with pytest.raises(DeviceError, match=rf"wrong: .*({fault}).*kernel.cu:[0-3]"):
            module.function("wrong", "P").launch((2, 1, 1), (64, 1, 1), [y.pointer])


def test_shared_and_fresh_memory_are_spoiled(driver):
    text = """extern "C" __global__ void stale(float* y) {
        __shared__ float s[4];
        y[blockIdx.x] = s[1];
        __syncthreads();
        s[1] = 7;
    }"""
    y = driver.allocate(16)
    assert np.isnan(fetched(driver, y, 4)).all()
    driver.module(text).function("stale", "P").launch((4, 1, 1), (32, 1, 1), [y.pointer])
    assert np.isnan(fetched(driver, y, 4)).all()


def test_launches_that_cuda_refuses(driver):
    function = driver.module(GOOD_TEXT).function("fill_rows", "PPfi")
    y = driver.allocate(4)
    for grid, block in [
        ((0, 1, 1), (32, 1, 1)),
        ((1, 1, 1), (512, 1, 1)),
        ((1, 65536, 1), (1, 1, 1)),
    ]:
        with pytest.raises(DeviceError, match="invalid launch"):
            function.launch(grid, block, [y.pointer, y.pointer, 1.0, 1])
    with pytest.raises(DeviceError, match="arguments"):
        function.launch((1, 1, 1), (32, 1, 1), [y.pointer, y.pointer, 1.0, 1.5])
    with pytest.raises(DeviceError, match="no memory in use"):
        function.launch((1, 1, 1), (32, 1, 1), [y.pointer, 64, 1.0, 1])
    with pytest.raises(DeviceError, match="'PPfi', asked for with 'PPf'"):
        driver.module(GOOD_TEXT).function("fill_rows", "PPf")
    with pytest.raises(DeviceError, match="no kernel"):
        driver.module(GOOD_TEXT).function("missing", "P")
    with pytest.raises(CompileError, match=r"kernel.cu:2:.*nonsense"):
        driver.module('extern "C" __global__ void k() {\n nonsense; }')


def test_memory_ends():
    driver = EmulatedDriver(1000)
    first = driver.allocate(600)
    with pytest.raises(OutOfDeviceMemoryError, match=r"500 bytes asked for, 400 of 1000"):
        driver.allocate(500)
    assert first.pointer % 512 == 256
    assert driver.memory_in_use() == (600, 1000)
    del first
    gc.collect()
    driver.allocate(1000)


# Capture ---------------------------------------------------------------------------------------


def test_recorded_work_is_done_at_every_launch_and_not_before(driver):
    x = np.arange(100, dtype=np.float32)
    a, b = on_device(driver, x), driver.allocate(x.nbytes)
    function = driver.module(GOOD_TEXT).function("fill_rows", "PPfi")
    driver.begin_capture()
    function.launch((1, 1, 1), (256, 1, 1), [b.pointer, a.pointer, 2.0, 100])
    driver.copy_on_device(a.pointer, b.pointer, x.nbytes)
    graph = driver.end_capture()
    assert graph.nodes == 2
    assert np.isnan(fetched(driver, b, 100)).all()
    before = driver.clock.now
    for _ in range(3):
        graph.launch()
    assert driver.clock.now == pytest.approx(before + 3 * driver.clock.host_seconds)
    np.testing.assert_array_equal(fetched(driver, a, 100), 8 * x)


def forbidden(driver, allocation):
    host = np.zeros(4, np.float32)
    event = driver.event()
    event.record()
    return {
        "allocation": lambda: driver.allocate(4),
        "wait": driver.synchronize,
        "pageable": lambda: driver.copy_to_device(allocation.pointer, host),
        "to the host": lambda: driver.copy_to_host(host, allocation.pointer),
        "event": event.synchronize,
        "compilation": lambda: driver.module('extern "C" __global__ void other() {}'),
    }


@pytest.mark.parametrize(
    "what", ["allocation", "wait", "pageable", "to the host", "event", "compilation"]
)
def test_what_cannot_be_recorded_spoils_the_capture(driver, what):
    y = driver.allocate(16)
    call = forbidden(driver, y)[what]
    driver.begin_capture()
    driver.fill(y.pointer, 16, 0)
    with pytest.raises(CaptureError, match=what):
        call()
    with pytest.raises(CaptureError, match="spoiled"):
        driver.fill(y.pointer, 16, 0)
    with pytest.raises(CaptureError, match="spoiled"):
        driver.end_capture()
    driver.fill(y.pointer, 16, 0)
    assert not fetched(driver, y, 4).any()


def test_captures_do_not_nest(driver):
    driver.begin_capture()
    with pytest.raises(CaptureError):
        driver.begin_capture()
    graph = driver.end_capture()
    with pytest.raises(CaptureError):
        driver.end_capture()
    driver.begin_capture()
    with pytest.raises(CaptureError):
        graph.launch()
    with pytest.raises(CaptureError):
        driver.end_capture()


# Time ------------------------------------------------------------------------------------------


def test_the_clock_tells_host_from_device():
    driver = EmulatedDriver()
    driver.clock.host_seconds = 1.0
    driver.clock.device_seconds = lambda name: {"fill": 10.0}.get(name, 0.0)
    y = driver.allocate(16)
    start, end = driver.event(), driver.event()
    start.record()
    for _ in range(3):
        driver.fill(y.pointer, 16, 0)
    end.record()
    assert driver.clock.now == 3.0
    with pytest.raises(DeviceError, match="not reached"):
        end.seconds_since(start)
    end.synchronize()
    assert driver.clock.now == 31.0
    assert end.seconds_since(start) == 31.0


# AddressSanitizer ------------------------------------------------------------------------------

SANITIZED = """
import sys
import numpy as np
from emulator import EmulatedDriver
driver = EmulatedDriver(sanitize=True)
text = '''extern "C" __global__ void late(float* y, const float* x, int n) {
    __shared__ float s[64];
    s[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    if (threadIdx.x < n) y[threadIdx.x] = s[63 - threadIdx.x] + x[threadIdx.x + OFFSET];
}'''
x = np.arange(64, dtype=np.float32)
source, target = driver.allocate(256), driver.allocate(256)
driver.copy_to_device(source.pointer, x)
offset = sys.argv[1]
function = driver.module(text.replace("OFFSET", offset)).function("late", "PPi")
function.launch((1, 1, 1), (64, 1, 1), [target.pointer, source.pointer, 64])
found = np.empty(64, np.float32)
driver.copy_to_host(found, target.pointer)
assert (found == 63).all()
print("fine")
"""


def address_sanitizer():
    answer = subprocess.run(
        ["g++", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    )
    return Path(answer.stdout.strip())


@pytest.mark.parametrize(("offset", "fault"), [("0", None), ("1", "heap-buffer-overflow")])
def test_address_sanitizer_sees_a_read_beyond_the_end(offset, fault):
    library = address_sanitizer()
    if not library.is_absolute():
        pytest.skip("no AddressSanitizer beside g++")
    variables = {
        **os.environ,
        "LD_PRELOAD": str(library.resolve()),
        "ASAN_OPTIONS": "detect_leaks=0",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    made = subprocess.run(
        [sys.executable, "-c", SANITIZED, offset], capture_output=True, text=True, env=variables
    )
    if fault is None:
        assert made.stdout.strip() == "fine", made.stderr
    else:
        assert made.returncode != 0 and fault in made.stderr
