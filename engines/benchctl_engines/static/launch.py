"""Kernels for nodes: choosing, preparing and running them once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..contract import Array
from ..devices.cpu import aligned_bytes
from ..kernels.table import KernelRequest, NoKernelError, Prepared, select
from .graph import Node
from .sources import constant_source


class NanError(ArithmeticError):
    """A result held a NaN; raised under check_nan, naming the user's line."""


def request_of(node: Node, threads: int) -> KernelRequest:
    """What a kernel is asked for by a node."""
    return KernelRequest(
        tuple(each.spec for each in node.operands),
        tuple(each.spec for each in node.outputs),
        node.attributes,
        threads,
    )


def prepare_node(node: Node, device: str, threads: int, bind: bool = False) -> tuple[str, Prepared]:
    """The chosen kernel's name and the prepared kernel; raises `NoKernelError`.

    With `bind` the kernel works out now what depends on constant operands alone.
    """
    request = request_of(node, threads)
    try:
        row = select(node.primitive.name, device, request)
    except NoKernelError as error:
        raise NoKernelError(f"{error}   (made at {node.origin.describe()})") from None
    prepared = row.prepare(request)
    constants = {
        index: operand.node.payload
        for index, operand in enumerate(node.operands)
        if operand.node.primitive is constant_source
    }
    if bind and constants and prepared.bind is not None:
        prepared = prepared.bind(constants)
    return f"{node.primitive.name}:{row.name}", prepared


def run_once(node: Node, arrays: Sequence[Array], device: str, threads: int) -> tuple[Array, ...]:
    """The node's results in fresh arrays."""
    _, prepared = prepare_node(node, device, threads)
    outs = tuple(np.empty(each.spec.shape, each.spec.dtype) for each in node.outputs)
    workspace = (aligned_bytes(prepared.workspace_bytes),) if prepared.workspace_bytes else ()
    prepared.run(*outs, *arrays, *workspace)
    return outs


def check_nan(node: Node, *outputs: Array) -> None:
    """Raise `NanError` where a result of the node holds a NaN."""
    for array in outputs:
        if array.dtype.kind == "f" and np.isnan(array).any():
            raise NanError(f"{node.primitive.name} made a NaN   (made at {node.origin.describe()})")
