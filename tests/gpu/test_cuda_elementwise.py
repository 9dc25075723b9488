"""Elementwise loops of a GPU against NumPy: broadcasting, dtypes, special values, fused groups."""

from __future__ import annotations

import itertools
import re
import shutil
import struct

import gpu_kernels as gpu
import numpy as np
import pytest
import texts_kernels
from emulator import EmulatedDriver
from hypothesis import example, given, settings
from hypothesis import strategies as st

from benchctl_engines.devices.cuda import compiler
from benchctl_engines.kernels.cuda_loop_source import Body, write_loop
from benchctl_engines.kernels.cuda_loops import prepare_loop
from benchctl_engines.kernels.cuda_source import Index
from benchctl_engines.kernels.cuda_walk import Place, dense_strides, merged_walk, spread
from benchctl_engines.kernels.loop_source import Instruction, Loop, broadcast_axes
from benchctl_engines.kernels.table import Kernel, KernelRequest
from benchctl_engines.primitives.primitive import PRIMITIVES
from benchctl_engines.primitives.specs import broadcast_shapes, spec

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="g++ builds the kernels")

few = settings(max_examples=25, deadline=None)
SPECIAL = [0.0, -0.0, 1.0, -2.5, np.nan, np.inf, -np.inf, 1e30, 3e-39]
# How far a mathematical library may lie from the exact result, in units of the last place.
LIBRARY_ULPS = {"exp": 2, "log": 2, "tanh": 2, "sin": 2, "cos": 2}
ORACLES = {
    **{name: getattr(np, name) for name in ("add", "subtract", "multiply", "divide", "negative")},
    **{name: getattr(np, name) for name in ("sqrt", "maximum", "greater", "equal", "where")},
    **{name: getattr(np, name) for name in LIBRARY_ULPS},
    "relu": lambda x: np.where(np.isnan(x) | (x > 0), x, x.dtype.type(0)),
    "relu_gradient": lambda g, y: np.where(y > 0, g, g.dtype.type(0)),
}
BINARY = ("add", "subtract", "multiply", "divide", "maximum", "greater", "equal")


@pytest.fixture(scope="module", params=[False, True], ids=["rising", "falling"])
def driver(request):
    made = EmulatedDriver(2**28, reverse=request.param)
    yield made
    made.check()


DRIVER = EmulatedDriver(2**28)


def run(driver, primitive, operands, attributes=None, **options):
    """The first output of the row that callers get."""
    inputs = [spec(each.shape, str(each.dtype)) for each in operands]
    outputs = PRIMITIVES[primitive].output_specs(inputs, attributes or {})
    request = gpu.request_for(driver, operands, list(outputs), attributes or {})
    row = gpu.first_row(request, primitive)
    return gpu.run_row(driver, row, request, operands, **options)[0]


def numbers(rng, shape, dtype):
    """Numbers of the dtype, special ones among the floats."""
    if dtype == "bool":
        return np.asarray(rng.integers(0, 2, shape), bool)
    if dtype in ("float32", "float64"):
        plain = np.asarray(rng.standard_normal(shape), dtype)
        chosen = np.asarray(rng.choice(SPECIAL, shape), dtype)
        return np.asarray(np.where(rng.random(shape) < 0.2, chosen, plain), dtype)
    info = np.iinfo(dtype)
    return np.asarray(rng.integers(info.min, info.max, shape, endpoint=True), dtype)


def same_bits(actual, expected):
    """Equal to the last bit, signs of zeros too; of NaN only that it is one."""
    assert actual.dtype == expected.dtype and actual.shape == expected.shape
    if actual.dtype.kind == "f":
        assert np.array_equal(np.isnan(actual), np.isnan(expected))
        actual, expected = np.nan_to_num(actual, nan=7), np.nan_to_num(expected, nan=7)
    assert actual.tobytes() == expected.tobytes()


def within_ulps(actual, expected, ulps):
    finite = np.isfinite(expected)
    assert np.array_equal(np.isnan(actual), np.isnan(expected))
    assert np.array_equal(actual[~finite], expected[~finite], equal_nan=True)
    error = np.abs(actual[finite].astype(np.float64) - expected[finite].astype(np.float64))
    assert np.all(error <= ulps * np.spacing(np.abs(expected[finite])))


# ----- single operations ------------------------------------------------------------------------

SIZES = st.sampled_from([1, 2, 3, 4, 8, 12])


@st.composite
def broadcast_pairs(draw):
    """Two shapes that broadcast together, each with axes of size 1 and missing ones."""
    whole = draw(st.lists(SIZES, max_size=4))
    shapes = []
    for _ in range(2):
        kept = [size if draw(st.booleans()) else 1 for size in whole]
        shapes.append(tuple(kept[draw(st.integers(0, len(kept))) :]))
    return tuple(shapes)


@few
@given(
    broadcast_pairs(),
    st.sampled_from(BINARY),
    st.sampled_from(["float32", "float64"]),
    st.sampled_from([0, 8]),
    st.integers(0, 9),
)
@example(((4, 8), (8,)), "add", "float32", 0, 0)
@example(((4, 8), (4, 1)), "subtract", "float32", 0, 0)
@example(((2, 3, 8), (2, 1, 8)), "divide", "float32", 0, 0)
@example(((0, 3), (3,)), "add", "float32", 0, 0)
def test_operands_broadcast_as_in_numpy(shapes, name, dtype, offset, seed):
    rng = np.random.default_rng(seed)
    a, b = (numbers(rng, shape, dtype) for shape in shapes)
    with np.errstate(all="ignore"):
        expected = np.asarray(ORACLES[name](a, b))
    actual = run(DRIVER, name, [a, b], offset=offset)
    if name == "maximum":
        # Which of two zeros is the larger is nobody's promise.
        actual, expected = actual + 0, expected + 0
    same_bits(actual, expected)


@few
@given(
    st.sampled_from(["negative", "sqrt", "relu", "relu_gradient", *LIBRARY_ULPS]),
    st.sampled_from(["float32", "float64"]),
    st.integers(0, 3000),
    st.sampled_from([0, 8]),
)
def test_functions_of_one_value(name, dtype, size, offset):
    rng = np.random.default_rng(size)
    operands = [numbers(rng, (size,), dtype)]
    if name == "relu_gradient":
        operands.append(numbers(rng, (size,), dtype))
    # NumPy's own float32 functions may be off by 4 units of the last place.
    precise = np.float64 if dtype == "float32" else np.longdouble
    exact = [each.astype(precise) for each in operands] if name in LIBRARY_ULPS else operands
    with np.errstate(all="ignore"):
        expected = ORACLES[name](*exact).astype(dtype)
    actual = run(DRIVER, name, operands, offset=offset)
    if name in LIBRARY_ULPS:
        within_ulps(actual, expected, LIBRARY_ULPS[name])
    elif name == "relu":
        same_bits(actual + 0, expected + 0)
    else:
        same_bits(actual, expected)


@few
@given(broadcast_pairs(), st.sampled_from(["float32", "float64", "int32", "bool"]), SIZES)
def test_where_broadcasts_three_operands(shapes, dtype, seed):
    rng = np.random.default_rng(seed)
    (first, second), third = shapes, broadcast_shapes("where", *shapes)
    operands = [numbers(rng, first, "bool"), numbers(rng, second, dtype)]
    operands.append(numbers(rng, third, dtype))
    same_bits(run(DRIVER, "where", operands), np.where(*operands))


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64", "bool"])
@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "maximum", "greater", "equal"])
def test_integers_wrap_and_truth_values_choose(driver, name, dtype):
    if (name, dtype) == ("subtract", "bool"):
        pytest.skip("NumPy refuses the difference of truth values, and so does the table")
    rng = np.random.default_rng(3)
    a, b = numbers(rng, (7, 32), dtype), numbers(rng, (32,), dtype)
    with np.errstate(all="ignore"):
        same_bits(run(driver, name, [a, b]), ORACLES[name](a, b))


def test_the_difference_of_truth_values_has_no_row(driver):
    x = np.ones((2, 2), bool)
    with pytest.raises(LookupError):
        run(driver, "subtract", [x, x])


DTYPES = ("float32", "float64", "bool", "uint8", "int32", "int64")


@pytest.mark.parametrize(("source", "target"), list(itertools.product(DTYPES, DTYPES)))
def test_cast(source, target):
    rng = np.random.default_rng(5)
    x = numbers(rng, (1037,), source)
    if source.startswith("float") and not target.startswith("float") and target != "bool":
        # Only what the integer can hold has a meaning.
        x = np.asarray(rng.uniform(0, 200, x.shape), source)
    with np.errstate(all="ignore"):
        same_bits(run(DRIVER, "cast", [x], {"dtype": target}), x.astype(target))


@few
@given(st.lists(SIZES, min_size=1, max_size=4), st.data())
def test_bias_along_any_axis(sizes, data):
    axis = data.draw(st.integers(0, len(sizes) - 1))
    rng = np.random.default_rng(1)
    x = numbers(rng, tuple(sizes), "float32")
    b = numbers(rng, (sizes[axis],), "float32")
    shaped = b.reshape([-1 if each == axis else 1 for each in range(len(sizes))])
    with np.errstate(all="ignore"):
        same_bits(run(DRIVER, "bias_add", [x, b], {"axis": axis}), x + shaped)


@pytest.mark.parametrize("name", [name for name, each in PRIMITIVES.items() if each.scalar])
def test_outputs_may_be_the_operands_that_primitives_declare(driver, name):
    primitive = PRIMITIVES[name]
    rng = np.random.default_rng(2)
    x, y = (numbers(rng, (3, 32), "float32") for _ in range(2))
    operands = [x, y][: primitive.scalar.arity]
    attributes = {}
    if name == "where":
        operands = [x > 0, x, y]
    if name == "bias_add":
        operands, attributes = [x, y[0].copy()], {"axis": 1}
    apart = run(driver, name, operands, attributes)
    for pair in primitive.inplace:
        same_bits(run(driver, name, operands, attributes, shared=pair), apart)


def test_results_are_those_of_the_cpu():
    rng = np.random.default_rng(0)
    x, y = (numbers(rng, (40_000,), "float32") for _ in range(2))
    out = [spec(x.shape, "float32")]
    with np.errstate(all="ignore"):
        for name in ("multiply", "relu_gradient"):
            (expected,) = gpu.run_cpu(name, [x, y], out, {})
            same_bits(run(DRIVER, name, [x, y]), expected)


# ----- fused groups -----------------------------------------------------------------------------

EXACT = ("add", "subtract", "multiply", "negative", "maximum", "greater", "relu_gradient", "relu")


@st.composite
def loops(draw):
    """A group as the pass makes them: operations on earlier values, some stored, some summed."""
    shape = tuple(draw(st.lists(st.sampled_from([1, 2, 3, 8]), min_size=1, max_size=3)))
    dtype = draw(st.sampled_from(["float32", "float64"]))
    flat = draw(st.booleans())
    whole = tuple(range(len(shape)))
    axes = [whole]
    for _ in range(draw(st.integers(0, 3))):
        some = () if flat else tuple(axis for axis in whole if draw(st.booleans()))
        axes.append(draw(st.sampled_from([whole, some])))
    inputs = [
        spec(shape if each == whole else tuple(shape[axis] for axis in each), dtype)
        for each in axes
    ]
    floats, masks = list(range(len(inputs))), []
    instructions = []
    for _ in range(draw(st.integers(1, 8))):
        name = draw(st.sampled_from([*EXACT, "where"] if masks else EXACT))
        arity = PRIMITIVES[name].scalar.arity
        arguments = tuple(draw(st.sampled_from(floats)) for _ in range(arity))
        if name == "where":
            arguments = (draw(st.sampled_from(masks)), *arguments[1:])
        instructions.append(Instruction(name, arguments))
        made = len(inputs) + len(instructions) - 1
        (masks if name == "greater" else floats).append(made)
    made = [len(inputs) + i for i in range(len(instructions))]
    stores = tuple(draw(st.lists(st.sampled_from(made), unique=True, max_size=3)))
    summable = [each for each in floats if each >= len(inputs)]
    sums = ()
    if summable and all(each in ((), whole) for each in axes):
        sums = tuple(draw(st.lists(st.sampled_from(summable), unique=True, max_size=2)))
    if not stores and not sums:
        stores = (made[-1],)
    return Loop(shape, dtype, tuple(inputs), tuple(axes), tuple(instructions), stores, sums)


def interpret(loop, operands):
    """Every value of the group, one NumPy call each."""
    values = []
    for axes, operand in zip(loop.axes, operands, strict=True):
        place = [loop.shape[axis] if axis in axes else 1 for axis in range(len(loop.shape))]
        values.append(operand.reshape(place))
    for each in loop.instructions:
        arguments = [np.broadcast_to(values[i], loop.shape) for i in each.arguments]
        values.append(ORACLES[each.primitive](*arguments))
    return [np.broadcast_to(each, loop.shape) for each in values]


def run_loop(driver, loop, operands, **options):
    values = interpret(loop, operands)
    outputs = [spec(loop.shape, str(values[each].dtype)) for each in loop.stores]
    outputs += [spec((), loop.dtype)] * len(loop.sums)
    attributes = {"loop": loop, "outputs": tuple(outputs)}
    request = gpu.request_for(driver, operands, outputs, attributes)
    (row,) = gpu.taking(request, "fused_loop")
    return values, gpu.run_row(driver, row, request, operands, **options)


@few
@given(loops(), st.sampled_from([0, 8]), st.integers(0, 5))
def test_fused_groups_compute_what_their_operations_do(loop, offset, seed):
    rng = np.random.default_rng(seed)
    operands = [np.asarray(rng.integers(-4, 5, x.shape) / 2, x.dtype) for x in loop.inputs]
    with np.errstate(all="ignore"):
        values, results = run_loop(DRIVER, loop, operands, offset=offset)
    for value, actual in zip(loop.stores, results, strict=False):
        wanted = np.ascontiguousarray(values[value])
        if wanted.dtype.kind == "f":
            actual, wanted = actual + 0, wanted + 0  # zeros without their signs
        same_bits(actual, wanted)
    for value, actual in zip(loop.sums, results[len(loop.stores) :], strict=True):
        exact = values[value].astype(np.longdouble).sum()
        rounded = exact.astype(loop.dtype)
        if np.isfinite(rounded):
            slack = np.finfo(loop.dtype).eps * np.abs(values[value]).sum(dtype=np.longdouble)
            assert abs(actual - exact) <= slack
        else:
            assert np.array_equal(actual, rounded, equal_nan=True)


@pytest.mark.parametrize("size", [1, 8192, 8193, 100_003])
def test_sums_at_the_end_of_a_group_are_as_exact_as_the_result(driver, size):
    rng = np.random.default_rng(size)
    x, y = (np.asarray(rng.standard_normal(size) + 100, "float32") for _ in range(2))
    loop = Loop(
        (size,),
        "float32",
        (spec(x.shape, "float32"), spec(y.shape, "float32")),
        ((0,), (0,)),
        (Instruction("multiply", (0, 1)), Instruction("relu", (2,))),
        (3,),
        (2, 0),
    )
    values, (stored, product, total) = run_loop(driver, loop, [x, y])
    same_bits(stored, values[3])
    for actual, exact in ((product, values[2]), (total, x)):
        exact = exact.astype(np.longdouble).sum()
        assert abs(actual - exact) <= abs(exact) * np.finfo("float32").eps / 2


# ----- walks ------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.integers(1, 4), st.booleans(), st.booleans()), max_size=5),
    st.integers(0, 7),
)
def test_merged_walks_visit_the_same_elements(setting, offset):
    shape = tuple(size for size, _, _ in setting)
    places = [Place(dense_strides(shape))]
    for which in (1, 2):
        axes = tuple(axis for axis, each in enumerate(setting) if each[which])
        places.append(Place(spread(shape, axes).strides, offset))
    walk = merged_walk(shape, places)
    for before, after in zip(places, walk.places, strict=True):
        assert _visited(shape, before) == _visited(walk.sizes, after)


def _visited(shape, place):
    return [
        place.offset + sum(c * s for c, s in zip(at, place.strides, strict=True))
        for at in np.ndindex(*shape)
    ]


@given(st.integers(1, 2**30), st.integers(0, 2**31 - 1))
@example(1, 2**31 - 1)
@example(2**30, 2**31 - 1)
@example(3, 2**31 - 2)
def test_division_by_a_product_and_a_shift(size, i):
    _, factor, shift = Index(False).divisor(size)
    assert -(2**31) <= factor < 2**31
    high = (i * (factor % 2**32)) >> 32
    assert high + i < 2**32
    assert (high + i) >> shift == i // size


def test_large_arrays_are_walked_with_64_bit_positions(driver):
    # As many elements as before: only the positions are wider.
    shape, x = (3, 8), np.arange(24, dtype="float32").reshape(3, 8)
    body = Body("twice", ("float32", "float32"), ("float32",), ("y0 = add(x0, x1);",))
    places = [Place(dense_strides(shape))] * 2 + [spread(shape, broadcast_axes((8,), shape))]
    written = write_loop(body, merged_walk(shape, places), Index(True))
    launch = driver.module(written.text).function(written.name, written.signature).launch
    out, a, b = (
        gpu.placed(driver, spec(each.shape, "float32"), each, 0)
        for each in (np.zeros_like(x), x, x[0])
    )
    launch((1, 1, 1), (256, 1, 1), (out.pointer, a.pointer, b.pointer, *written.sizes))
    same_bits(gpu.host_copy(driver, out), x + x[0])


# ----- what the machine code must not do, and tests of the tests --------------------------------


def _instructions(text, *options):
    """The machine code of all kernels: a compiler's options are noted elsewhere in a cubin."""
    cubin = compiler.compile_cubin(text, 90, [*compiler.OPTIONS, *options]).cubin
    table, count, names = (
        *struct.unpack_from("<Q", cubin, 40),
        *struct.unpack_from("<HH", cubin, 60),
    )
    sections = [struct.unpack_from("<IIQQQQ", cubin, table + 64 * i) for i in range(count)]
    code = {}
    for name, _, _, _, offset, size in sections:
        at = sections[names][4] + name
        word = cubin[at : cubin.index(b"\0", at)]
        if word.startswith(b".text."):
            code[word] = cubin[offset : offset + size]
    assert code
    return code


@pytest.mark.skipif(compiler.load_nvrtc() is None, reason="no NVRTC")
def test_a_product_and_a_sum_are_never_made_one_rounding():
    multiply_add = (Instruction("multiply", (0, 1)), Instruction("add", (2, 0)))
    x = spec((64,), "float32")
    loop = Loop((64,), "float32", (x, x), ((0,), (0,)), multiply_add, (3,))
    for primitive, attributes in (
        ("fused_loop", {"loop": loop, "outputs": (x,)}),
        ("assign_sub_scaled", {"scale": 0.1}),
    ):
        (text,) = texts_kernels.texts_of(primitive, [x, x], attributes)
        assert _instructions(text) == _instructions(text, "--fmad=false")
        contracted = re.sub(r"ROUNDED\(\w+, a, (.), b\)", r"a \1 b", text)
        assert _instructions(contracted) != _instructions(contracted, "--fmad=false")


def test_a_wrong_rule_is_caught():
    def prepare(request):
        body = Body("wrong", ("float32",), ("float32",), ("y0 = x0 < 1e-3f ? 0 : x0;",))
        place = Place(dense_strides(request.outputs[0].shape))
        return prepare_loop(request, body, request.outputs[0].shape, (place, place))

    x = np.linspace(-1, 1, 4001).astype("float32")
    out = spec(x.shape, "float32")
    request = KernelRequest((out,), (out,), {}, driver=DRIVER)
    wrong = Kernel("relu", "gpu", "wrong", lambda request: True, prepare)
    (actual,) = gpu.run_row(DRIVER, wrong, request, [x])
    with pytest.raises(AssertionError):
        same_bits(actual + 0, ORACLES["relu"](x) + 0)
