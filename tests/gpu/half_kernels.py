"""Kernels of halves on an emulated GPU: operands as the host holds them, bits on the device."""

from __future__ import annotations

from typing import Any

import numpy as np
from emulator import EmulatedDriver

from benchctl_engines.devices.cuda.transfer import copy_in, copy_out
from benchctl_engines.gpu.array import DeviceArray
from benchctl_engines.kernels.table import Kernel, KernelRequest
from benchctl_engines.primitives.half_storage import held
from benchctl_engines.primitives.primitive import PRIMITIVES
from benchctl_engines.primitives.specs import TensorSpec, spec

ROUNDOFF = {"float16": 2.0**-11, "bfloat16": 2.0**-8}


def held_operands(operands: Any, dtype: str) -> list[np.ndarray]:
    """Floating operands rounded to the dtype."""
    return [
        held(each, dtype) if np.asarray(each).dtype.kind == "f" else np.array(each, order="C")
        for each in operands
    ]


def request_of(
    primitive: str,
    operands: list[np.ndarray],
    attributes: dict[str, Any],
    dtype: str,
    driver: EmulatedDriver,
) -> KernelRequest:
    """A request in which float32 is stored as the dtype; outputs by the primitive's own rule."""
    names = [dtype if each.dtype == np.float32 else str(each.dtype) for each in operands]
    inputs = tuple(spec(each.shape, name) for each, name in zip(operands, names, strict=True))
    made = PRIMITIVES[primitive].output_specs(inputs, attributes)
    return KernelRequest(inputs, made, attributes, driver=driver)


def placed(driver: EmulatedDriver, made: TensorSpec, host: np.ndarray | None) -> DeviceArray:
    block = driver.allocate(max(made.nbytes, 1))
    array = DeviceArray(block.pointer, made, block)
    if host is not None:
        copy_in(driver, array, host)
    return array


def run_row(
    driver: EmulatedDriver, row: Kernel, request: KernelRequest, operands: list[np.ndarray]
) -> list[np.ndarray]:
    """Outputs of one call as the host holds them; inputs must come back unchanged."""
    prepared = row.prepare(request)
    pairs = zip(request.inputs, operands, strict=True)
    inputs = [placed(driver, made, host) for made, host in pairs]
    outputs = [placed(driver, made, None) for made in request.outputs]
    workspace = []
    if prepared.workspace_bytes:
        workspace = [placed(driver, spec((prepared.workspace_bytes,), "uint8"), None)]
    prepared.run(*outputs, *inputs, *workspace)
    driver.check()
    for array, host in zip(inputs, operands, strict=True):
        np.testing.assert_array_equal(copy_out(driver, array), host)
    return [copy_out(driver, each) for each in outputs]
