"""Products through cuBLASLt's C interface, done by a library of ours that has the same one.

Our library is compiled against NVIDIA's header where that is installed, so that the compiler
compares the prototypes. Only a GPU shows that the real library does the same.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchctl_engines.devices.cuda import cublaslt, libraries
from benchctl_engines.devices.cuda.cublaslt import CublasLt, Descriptors, column_major
from benchctl_engines.gpu.driver import DeviceError, MatmulRequest, NoPlanError
from benchctl_engines.primitives.half_storage import from_bits, to_bits

STREAM = 0x5000
SOURCE = Path(__file__).with_name("cublaslt_stand_in.c")

REQUESTS = st.builds(
    MatmulRequest,
    *(st.integers(1, 4),) * 3,
    st.sampled_from(["float32", "float64"]),
    transpose_a=st.booleans(),
    transpose_b=st.booleans(),
    batch=st.integers(1, 3),
    scale=st.sampled_from([1.0, -2.5]),
    accumulate_scale=st.sampled_from([0.0, 1.0, 0.5]),
    bias=st.booleans(),
    relu=st.booleans(),
    precision=st.sampled_from(["fp32", "tf32"]),
)
HALF_REQUESTS = st.builds(
    MatmulRequest,
    *(st.integers(1, 4),) * 3,
    st.sampled_from(["float16", "bfloat16"]),
    transpose_a=st.booleans(),
    transpose_b=st.booleans(),
    batch=st.integers(1, 2),
    accumulate_scale=st.sampled_from([0.0, 1.0]),
    bias=st.booleans(),
    relu=st.booleans(),
    precision=st.sampled_from(["fp16", "bf16"]),
)


def operands_of(r):
    """(a, b, c, bias) as they lie in memory."""
    rng = np.random.default_rng([r.m, r.n, r.k, r.batch])
    shapes = [
        (r.batch, r.k, r.m) if r.transpose_a else (r.batch, r.m, r.k),
        (r.batch, r.n, r.k) if r.transpose_b else (r.batch, r.k, r.n),
        (r.batch, r.m, r.n),
        (r.n,),
    ]
    dtype = "float64" if r.dtype == "float64" else "float32"
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def expected_of(r, a, b, c, bias):
    a = a.swapaxes(1, 2) if r.transpose_a else a
    b = b.swapaxes(1, 2) if r.transpose_b else b
    result = r.scale * np.einsum("zmk,zkn->zmn", a, b, dtype=np.float64)
    result = result + r.accumulate_scale * c + (bias if r.bias else 0)
    return np.maximum(result, 0) if r.relu else result


def seen(operand, memory):
    """A matrix read column by column, as cuBLASLt does."""
    columns = memory.reshape(-1)[: operand.leading * operand.columns]
    matrix = columns.reshape(operand.columns, operand.leading)[:, : operand.rows].T
    return matrix.T if operand.transposed else matrix


@settings(max_examples=50, deadline=None)
@given(REQUESTS)
def test_a_row_major_product_is_a_column_major_one_of_the_other_order(r):
    a, b, *_ = operands_of(r)
    product = column_major(r)
    for index in range(r.batch):
        made = seen(product.left, b[index]) @ seen(product.right, a[index])
        left = a[index].T if r.transpose_a else a[index]
        right = b[index].T if r.transpose_b else b[index]
        # Column by column in memory is row by row for the caller.
        np.testing.assert_allclose(made.T, left @ right, rtol=1e-4, atol=1e-5)
        assert made.shape == (product.out.rows, product.out.columns)
    sizes = (each.batch_stride for each in (product.left, product.right, product.out))
    assert tuple(sizes) == (b[0].size, a[0].size, r.m * r.n)


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory):
    if shutil.which("gcc") is None:
        pytest.skip("no C compiler")
    library = tmp_path_factory.mktemp("cublaslt") / "libcublasLt.so"
    command = ["gcc", "-O1", "-shared", "-fPIC", "-w", str(SOURCE), "-o", str(library)]
    folders = [each / "cu13" / "include" for each in libraries.nvidia_folders()]
    needed = ("cublasLt.h", "driver_types.h", "crt/host_defines.h", "nv/target")
    if all(any((each / name).exists() for each in folders) for name in needed):
        command += ["-DHAVE_HEADER", *(f"-I{each}" for each in folders)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return ctypes.CDLL(str(library))


@pytest.fixture(scope="module")
def products_of_a_module(stand_in):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(cublaslt, "load_library", lambda name, majors: stand_in)
        return CublasLt(13)


@pytest.fixture
def products(stand_in, monkeypatch):
    monkeypatch.setattr(cublaslt, "load_library", lambda name, majors: stand_in)
    return CublasLt(13)


def run(products, r):
    """(what was computed, what is expected)."""
    a, b, c, bias = operands_of(r)
    expected = expected_of(r, a, b, c, bias)
    out = np.full((r.batch, r.m, r.n), np.nan, r.dtype)
    operands = [out, a, b] + ([c] if r.accumulate_scale else []) + ([bias] if r.bias else [])
    issued = []
    plan = products.plan(r, lambda: issued.append(None) or STREAM)
    space = np.zeros(plan.workspace_bytes, np.uint8)
    assert plan.name == "cublaslt" and not issued
    for _ in range(2):
        plan.run([each.ctypes.data for each in operands], space.ctypes.data)
    assert len(issued) == 2
    return out, expected


def test_every_argument_is_where_the_library_looks_for_it(products):
    @settings(max_examples=80, deadline=None)
    @given(REQUESTS)
    def check(r):
        if r.dtype == "float64" and (r.bias or r.relu):
            with pytest.raises(NoPlanError, match="not supported"):
                run(products, r)
            return
        found, expected = run(products, r)
        error = 1e-5 if r.dtype == "float32" else 1e-12
        np.testing.assert_allclose(found, expected, rtol=error, atol=error)

    check()


@settings(max_examples=40, deadline=None)
@given(HALF_REQUESTS)
def test_halves_are_multiplied_in_float32(products_of_a_module, r):
    """Small whole numbers, so that nothing is rounded."""
    rng = np.random.default_rng([r.m, r.n, r.k, r.batch])
    operands = [rng.integers(-3, 4, each.shape).astype(np.float32) for each in operands_of(r)]
    expected = expected_of(r, *operands)
    a, b, c, bias = (to_bits(each, r.dtype) for each in operands)
    out = np.full((r.batch, r.m, r.n), 0xFFFF, np.uint16)
    given = [out, a, b] + ([c] if r.accumulate_scale else []) + ([bias] if r.bias else [])
    plan = products_of_a_module.plan(r, lambda: STREAM)
    space = np.zeros(plan.workspace_bytes, np.uint8)
    plan.run([each.ctypes.data for each in given], space.ctypes.data)
    np.testing.assert_array_equal(from_bits(out, r.dtype), expected)


def test_a_request_may_ask_for_a_later_guess(products):
    def request(place):
        return MatmulRequest(3, 2, 4, "float32", plan=place)

    plans = [products.plan(request(place), lambda: STREAM) for place in range(3)]
    assert [each.name for each in plans] == ["cublaslt", "cublaslt plan 1", "cublaslt plan 2"]
    assert [each._found.algorithm[1] for each in plans] == [0, 1, 2]
    with pytest.raises(NoPlanError, match="nothing found"):
        products.plan(request(3), lambda: STREAM)


def test_a_sum_may_be_written_over_its_own_addend(products):
    r = MatmulRequest(3, 2, 4, "float32", accumulate_scale=1.0)
    a, b, c, bias = operands_of(r)
    expected = expected_of(r, a, b, c, bias)
    plan = products.plan(r, lambda: STREAM)
    space = np.zeros(plan.workspace_bytes, np.uint8)
    plan.run([each.ctypes.data for each in (c, a, b, c)], space.ctypes.data)
    np.testing.assert_allclose(c, expected, rtol=1e-5)


def test_refusals_are_told(products):
    with pytest.raises(NoPlanError, match="no plan for int32"):
        products.plan(MatmulRequest(1, 1, 1, "int32"), lambda: STREAM)
    plan = products.plan(MatmulRequest(1, 1, 1, "float32"), lambda: 1)
    space = np.zeros(4096, np.uint8)
    with pytest.raises(DeviceError, match="cublasLtMatmul: invalid value"):
        plan.run([space.ctypes.data] * 3, space.ctypes.data)


def refused():
    raise DeviceError("capture spoiled")


def test_a_stream_that_refuses_stops_the_product(products):
    plan = products.plan(MatmulRequest(1, 1, 1, "float32"), refused)
    out = np.zeros(1, np.float32)
    with pytest.raises(DeviceError, match="spoiled"):
        plan.run([out.ctypes.data] * 3, 0)
    assert out[0] == 0


# The real library, which describes a product without a GPU ---------------------------------------


@pytest.fixture(scope="module")
def real():
    library = libraries.load_library("cublasLt")
    if library is None:
        pytest.skip("cuBLASLt is not installed")
    return library


def attribute(library, kind, described, number, ctype):
    value, written = ctype(), ctypes.c_size_t()
    status = library[f"cublasLt{kind}GetAttribute"](
        described,
        number,
        ctypes.byref(value),
        ctypes.c_size_t(ctypes.sizeof(ctype)),
        ctypes.byref(written),
    )
    assert (status, written.value) == (0, ctypes.sizeof(ctype))
    return value.value


@pytest.mark.parametrize(
    ("dtype", "precision", "types"),
    [
        ("float32", "fp32", (68, 0, 0)),
        ("float32", "tf32", (77, 0, 0)),
        ("float64", "fp32", (70, 1, 1)),
        ("float16", "fp16", (68, 0, 2)),
        ("bfloat16", "bf16", (68, 0, 14)),
    ],
)
def test_the_real_library_keeps_what_it_is_told(real, dtype, precision, types):
    r = MatmulRequest(2, 3, 5, dtype, True, False, 4, True, True, precision=precision)
    made = Descriptors(real, r)
    operation = [attribute(real, "MatmulDesc", made.operation, n, ctypes.c_int) for n in (0, 3, 4)]
    compute, scale, stored = types
    assert operation == [compute, 0, 1]
    assert attribute(real, "MatmulDesc", made.operation, 1, ctypes.c_int) == scale
    assert attribute(real, "MatrixLayout", made.left, 0, ctypes.c_uint32) == stored
    assert attribute(real, "MatmulDesc", made.operation, 7, ctypes.c_uint32) == 6
    for layout, sizes in ((made.left, (3, 5, 3)), (made.right, (2, 5, 2)), (made.out, (3, 2, 3))):
        found = [attribute(real, "MatrixLayout", layout, n, ctypes.c_int64) for n in (2, 3, 4)]
        assert tuple(found) == sizes
        assert attribute(real, "MatrixLayout", layout, 5, ctypes.c_int32) == 4
    limit = attribute(real, "MatmulPreference", made.preference, 1, ctypes.c_uint64)
    assert limit == cublaslt.WORKSPACE_LIMIT_BYTES
    alignment = attribute(real, "MatmulPreference", made.preference, 8, ctypes.c_uint32)
    assert alignment == cublaslt.ALIGNMENT_BYTES
