"""Shaping, random numbers and updates of a GPU against NumPy and against the CPU's kernels."""

from __future__ import annotations

import shutil

import gpu_kernels as gpu
import kernel_cases as cases
import numpy as np
import pytest
from emulator import EmulatedDriver
from hypothesis import example, given, settings
from hypothesis import strategies as st

from benchctl_engines.primitives.primitive import PRIMITIVES
from benchctl_engines.primitives.specs import spec

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="g++ builds the kernels")

DRIVER = EmulatedDriver(2**28)
few = settings(max_examples=25, deadline=None)
DTYPES = ("uint8", "bool", "int32", "float32", "float64")


def run(primitive, operands, attributes, driver=DRIVER, row=None, **options):
    """The first output, by the row that callers get or the one of this name."""
    inputs = [spec(each.shape, str(each.dtype)) for each in operands]
    outputs = PRIMITIVES[primitive].output_specs(inputs, attributes)
    request = gpu.request_for(driver, operands, list(outputs), attributes)
    rows = [each for each in gpu.taking(request, primitive) if row in (None, each.name)]
    return gpu.run_row(driver, rows[0], request, operands, **options)[0]


def counted(shape, dtype):
    """Bytes that differ, read as the dtype, so that nothing is equal by chance."""
    size = int(np.prod(shape, dtype=int))
    return np.asarray(np.arange(1, size + 1) % (2 if dtype == "bool" else 251), dtype).reshape(
        shape
    )


# ----- shaping ----------------------------------------------------------------------------------


@st.composite
def transpositions(draw):
    shape = tuple(draw(st.lists(st.sampled_from([1, 2, 3, 8, 33]), max_size=4)))
    return shape, tuple(draw(st.permutations(range(len(shape)))))


@few
@given(transpositions(), st.sampled_from(DTYPES), st.sampled_from([0, 8]))
@example(((2, 33, 40), (0, 2, 1)), "float32", 0)
@example(((40, 33), (1, 0)), "uint8", 0)
@example(((3, 5, 8), (1, 0, 2)), "float32", 0)
@example(((3, 0, 8), (2, 1, 0)), "float32", 0)
def test_transposes(transposition, dtype, offset):
    shape, axes = transposition
    x = counted(shape, dtype)
    inputs, attributes = [x], {"axes": axes}
    expected = x.transpose(axes)
    request = gpu.request_for(DRIVER, inputs, [spec(expected.shape, dtype)], attributes)
    for row in gpu.taking(request, "transpose"):
        (actual,) = gpu.run_row(DRIVER, row, request, inputs, offset=offset)
        assert np.array_equal(actual, expected), row.name


@pytest.mark.parametrize(("layout", "shape"), [("NHWC", (2, 16, 7, 9)), ("NCHW", (2, 7, 9, 16))])
def test_layouts_are_changed_by_tiles(layout, shape):
    axes = (0, 2, 3, 1) if layout == "NHWC" else (0, 3, 1, 2)
    x = counted(shape, "float32")
    actual = run("transpose", [x], {"axes": axes}, row="tiled")
    assert np.array_equal(actual, x.transpose(axes))


@few
@given(st.lists(st.tuples(st.integers(1, 9), st.booleans()), max_size=4), st.integers(0, 4))
def test_broadcasts(setting, missing):
    shape = tuple(size for size, _ in setting)
    small = tuple(size if kept else 1 for size, kept in setting)[missing:]
    x = counted(small, "float32")
    actual = run("broadcast_to", [x], {"shape": shape})
    assert np.array_equal(actual, np.broadcast_to(x, shape))


@st.composite
def slices(draw):
    bounds = []
    for _ in range(draw(st.integers(0, 4))):
        size = draw(st.integers(0, 9))
        start = draw(st.integers(0, size))
        bounds.append((size, start, draw(st.integers(start, size)), draw(st.integers(1, 3))))
    return bounds


@few
@given(slices(), st.sampled_from(DTYPES))
def test_slices_and_the_pads_that_undo_them(bounds, dtype):
    shape = tuple(size for size, *_ in bounds)
    starts, stops, steps = (tuple(each[i] for each in bounds) for i in (1, 2, 3))
    x = counted(shape, dtype)
    index = tuple(map(slice, starts, stops, steps))
    cut = run("slice", [x], {"starts": starts, "stops": stops, "steps": steps})
    assert np.array_equal(cut, x[index])

    spread = [(n - 1) * step + 1 if n else 0 for n, step in zip(cut.shape, steps, strict=True)]
    high = tuple(n - a - s for n, a, s in zip(shape, starts, spread, strict=True))
    interior = tuple(step - 1 for step in steps)
    padded = run("pad", [cut], {"low": starts, "high": high, "interior": interior})
    expected = np.zeros_like(x)
    expected[index] = x[index]
    assert np.array_equal(padded, expected)


def test_copies_copy_and_a_reshape_in_place_issues_nothing():
    x = counted((3, 5), "float32")
    assert np.array_equal(run("copy", [x], {}), x)
    driver = EmulatedDriver(2**22)
    (made,) = [run("reshape", [x], {"shape": (5, 3)}, driver, shared=(0, 0))]
    assert made.tobytes() == x.tobytes() and driver.issued.count("copy_on_device") == 0


# ----- random numbers ---------------------------------------------------------------------------


def drawn(shape, dtype, step, seed, site, distribution, offset=0):
    attributes = {"shape": shape, "dtype": dtype, "seed": seed, "site": site}
    attributes["distribution"] = distribution
    step = np.array(step, np.int64)
    on_gpu = run("random", [step], attributes, offset=offset)
    on_cpu, reference = (
        cases.run_kernel(row, request, [step])[0]
        for device in ("cpu", "reference")
        for request in [gpu.request_for(None, [step], [spec(shape, dtype)], attributes)]
        for row in cases.matching_rows("random", device, request)
    )
    return on_gpu, on_cpu, reference


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from([(), (3,), (7, 5), (4097,), (0,)]),
    st.sampled_from(["float32", "float64"]),
    st.integers(0, 2**40),
    st.integers(0, 2**63 - 1),
    st.integers(0, 1000),
    st.sampled_from([0, 8]),
)
@example((9,), "float32", 2**33, 2**40 + 5, 9, 0)
def test_numbers_are_those_of_the_cpu(shape, dtype, step, seed, site, offset):
    on_gpu, on_cpu, reference = drawn(shape, dtype, step, seed, site, "uniform", offset)
    assert on_gpu.tobytes() == on_cpu.tobytes() == reference.tobytes()
    on_gpu, _, reference = drawn(shape, dtype, step, seed, site, "normal", offset)
    # logarithm and cosine may differ in their last bit between two mathematical libraries
    assert np.allclose(on_gpu, reference, rtol=4 * np.finfo(dtype).eps, atol=1e-15)


def test_a_replay_draws_the_numbers_of_the_step_that_it_finds():
    driver = EmulatedDriver(2**22)
    attributes = {"shape": (33,), "dtype": "float32", "seed": 1, "site": 2}
    attributes["distribution"] = "uniform"
    out, counter = spec((33,), "float32"), spec((), "int64")
    request = gpu.request_for(driver, [np.array(0)], [out], attributes)
    (row,) = gpu.taking(request, "random")
    prepared = row.prepare(request)
    result = gpu.placed(driver, out, None, 0)
    step = gpu.placed(driver, counter, np.array(0), 0)
    driver.begin_capture()
    prepared.run(result, step)
    graph = driver.end_capture()
    for turn in (5, 6):
        driver.copy_to_device(step.pointer, np.array(turn, np.int64))
        graph.launch()
        expected, _, _ = drawn((33,), "float32", turn, 1, 2, "uniform")
        assert np.array_equal(gpu.host_copy(driver, result), expected)


# ----- updates ----------------------------------------------------------------------------------


@few
@given(
    st.sampled_from(["assign", "assign_sub", "assign_sub_scaled"]),
    st.sampled_from(["float32", "float64", "int32", "int64", "uint8"]),
    st.lists(st.integers(0, 9), max_size=3),
    st.booleans(),
    st.sampled_from([0.1, 3.0, -2.0]),
)
def test_updates_are_those_of_the_cpu(name, dtype, shape, scalar, scale):
    rng = np.random.default_rng(4)
    if dtype == "uint8":
        scale = abs(scale)
    var = np.asarray(rng.integers(0, 100, shape) * 1.37, dtype)
    value = np.asarray(rng.integers(0, 100, () if scalar else shape) * 0.77, dtype)
    attributes = {"scale": scale} if name == "assign_sub_scaled" else {}
    with np.errstate(all="ignore"):
        (expected,) = gpu.run_cpu(name, [var, value], [spec(var.shape, dtype)], attributes)
    apart = run(name, [var, value], attributes)
    in_place = run(name, [var, value], attributes, shared=(0, 0))
    assert apart.tobytes() == in_place.tobytes() == expected.tobytes()


def test_a_large_update_is_one_launch():
    driver = EmulatedDriver(2**22)
    w = np.ones((100, 1000), "float32")
    run("assign_sub_scaled", [w, w], {"scale": 0.5}, driver, shared=(0, 0))
    assert sum(name.startswith("assign_sub") for name in driver.issued) == 1
