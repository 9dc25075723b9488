"""Rows of the kernel table on an emulated GPU, beside the reference kernels in float64."""

from __future__ import annotations

import numpy as np
from emulator import EmulatedDriver

from benchctl_engines.gpu.array import DeviceArray
from benchctl_engines.kernels import table
from benchctl_engines.kernels.cuda_rows import candidates as candidates
from benchctl_engines.kernels.table import Kernel, KernelRequest, Prepared, kernels_of
from benchctl_engines.primitives import contractions, convolution
from benchctl_engines.primitives.specs import spec

# In the table's own order, before a test imports one of the kernel modules by itself.
table.load_device("gpu")
_PRIMITIVES = {**vars(contractions), **vars(convolution)}


def chosen(primitive: str, request: KernelRequest) -> Kernel:
    """The row that the rule takes."""
    return table.select(primitive, "gpu", request)


def draw(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def device_array(driver: EmulatedDriver, host: np.ndarray) -> DeviceArray:
    """A copy on the device, between guarded margins."""
    block = driver.allocate(max(host.nbytes, 1))
    if host.size:
        driver.copy_to_device(block.pointer, np.ascontiguousarray(host))
    return DeviceArray(block.pointer, spec(host.shape, str(host.dtype)), block)


def empty_array(driver: EmulatedDriver, shape: tuple[int, ...], dtype: str) -> DeviceArray:
    """Room on the device, filled with NaN, or with the largest byte."""
    return device_array(driver, np.full(shape, 255 if dtype == "uint8" else np.nan, dtype))


def on_host(driver: EmulatedDriver, array: DeviceArray) -> np.ndarray:
    host = np.empty(array.shape, array.dtype)
    if host.size:
        driver.copy_to_host(host, array.pointer)
    return host


def request_of(
    primitive: str,
    operands: list[np.ndarray],
    driver: EmulatedDriver | None = None,
    precision: str = "fp32",
    **attributes: object,
) -> KernelRequest:
    """The request for operands, with the output that the primitive's shape rule gives."""
    inputs = tuple(spec(each.shape, str(each.dtype)) for each in operands)
    outputs = _PRIMITIVES[primitive].output_specs(inputs, attributes)
    return KernelRequest(inputs, outputs, attributes, 1, driver, precision)


def run_prepared(
    driver: EmulatedDriver, prepared: Prepared, request: KernelRequest, operands: list[np.ndarray]
) -> np.ndarray:
    """The output, of a run that must leave its inputs and the margins of its memory alone."""
    inputs = [device_array(driver, each) for each in operands]
    out = empty_array(driver, request.outputs[0].shape, request.outputs[0].dtype)
    workspace = []
    if prepared.workspace_bytes:
        workspace = [empty_array(driver, (prepared.workspace_bytes,), "uint8")]
    prepared.run(out, *inputs, *workspace)
    driver.check()
    for given, kept in zip(operands, inputs, strict=True):
        assert on_host(driver, kept).tobytes() == np.ascontiguousarray(given).tobytes()
    return on_host(driver, out)


def run_row(
    driver: EmulatedDriver, row: Kernel, request: KernelRequest, operands: list[np.ndarray]
) -> np.ndarray:
    """What a row makes of the operands."""
    return run_prepared(driver, row.prepare(request), request, operands)


def reference(request: KernelRequest, operands: list[np.ndarray], primitive: str) -> np.ndarray:
    """What the reference kernel makes of them in double precision."""
    doubles = [each.astype(np.float64) for each in operands]
    wide = request_of(primitive, doubles, **request.attributes)
    row = next(each for each in kernels_of(primitive, "reference") if each.when(wide))
    out = np.full(wide.outputs[0].shape, np.nan)
    row.prepare(wide).run(out, *doubles)
    return out


def error_of(actual: np.ndarray, expected: np.ndarray) -> float:
    """Norm of the difference relative to the norm of what was expected."""
    assert actual.shape == expected.shape
    difference = float(np.linalg.norm((actual - expected).ravel()))
    if not np.isfinite(difference):
        return float("inf")
    scale = float(np.linalg.norm(expected.ravel()))
    return difference / scale if scale else difference
