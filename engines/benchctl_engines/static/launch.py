"""Kernels for nodes: choosing, preparing and running them once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..contract import Array, Precision
from ..devices.cpu import aligned_bytes
from ..kernels.table import (
    Kernel,
    KernelRequest,
    NoKernelError,
    Prepared,
    Tuner,
    kernel_words,
    prepared_kernel,
    select,
)
from ..primitives.half_storage import rounded
from ..primitives.nan_check import refuse_nan
from ..primitives.primitive import PRIMITIVES
from ..primitives.specs import TensorSpec, spec
from .graph import Node, Value
from .sources import constant_source

if TYPE_CHECKING:
    from ..gpu.driver import Driver


@dataclass(frozen=True, slots=True)
class Target:
    """Where a step runs: the device's rows of the kernel table, and what requests tell them.

    `driver` is the GPU of the device "gpu", None of the others; rows named in `left_out` are not
    chosen. `tuner` measures a GPU's kernels.
    """

    device: str = "cpu"
    threads: int = 1
    driver: Driver | None = None
    precision: Precision = "fp32"
    left_out: tuple[str, ...] = ()
    tuner: Tuner | None = None

    def request(
        self,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        attributes: Mapping[str, Any],
    ) -> KernelRequest:
        """What a kernel of this target is asked for."""
        return KernelRequest(
            tuple(inputs),
            tuple(outputs),
            attributes,
            self.threads,
            self.driver,
            self.precision,
            self.left_out,
            tuner=self.tuner,
        )

    def kernel_for(
        self, primitive: str, inputs: Sequence[TensorSpec], attributes: Mapping[str, Any]
    ) -> Kernel | None:
        """The row that would compute this, None where there is none."""
        outputs = PRIMITIVES[primitive].output_specs(inputs, attributes)
        try:
            return select(primitive, self.device, self.request(inputs, outputs, attributes))
        except NoKernelError:
            return None

    def on_host(self) -> Target:
        """The CPU, for what is computed once while compiling."""
        return self if self.driver is None else Target("cpu", self.threads)


def request_of(node: Node, target: Target) -> KernelRequest:
    """What a kernel is asked for by a node."""
    return target.request(
        [each.spec for each in node.operands],
        [each.spec for each in node.outputs],
        node.attributes,
    )


def _prepared(
    node: Node, target: Target, request: KernelRequest, constants: Collection[int] = ()
) -> tuple[str, Prepared]:
    name = node.primitive.name
    try:
        return prepared_kernel(name, target.device, request, constants)
    except NoKernelError as error:
        raise NoKernelError(f"{error}   (made at {node.origin.describe()})") from None


def prepare_node(
    node: Node, target: Target, bound: Callable[[Value], Any] | None = None
) -> tuple[str, Prepared]:
    """The chosen kernel's name and the prepared kernel; raises `NoKernelError`.

    With `bound`, which gives a constant's array as the kernel will see it, the kernel works out now
    what depends on constant operands alone.
    """
    constants = {}
    if bound is not None:
        constants = {
            index: operand
            for index, operand in enumerate(node.operands)
            if operand.node.primitive is constant_source
        }
    row, prepared = _prepared(node, target, request_of(node, target), constants)
    if bound is not None and constants and prepared.bind is not None:
        prepared = prepared.bind({index: bound(each) for index, each in constants.items()})
    return kernel_words(node.primitive.name, row, prepared), prepared


def constant_array(value: Value) -> Array:
    """The numbers of a constant, on the host."""
    array: Array = value.node.payload
    return array


def run_once(node: Node, arrays: Sequence[Array], target: Target) -> tuple[Array, ...]:
    """The node's results in fresh arrays of the host.

    Of halves as a GPU has them: computed in float32, and rounded once.
    """
    request = request_of(node, target)
    widened = replace(
        request,
        inputs=tuple(map(_as_held, request.inputs)),
        outputs=tuple(map(_as_held, request.outputs)),
    )
    _, prepared = _prepared(node, target, widened)
    outs = tuple(np.empty(each.shape, each.dtype) for each in widened.outputs)
    workspace = (aligned_bytes(prepared.workspace_bytes),) if prepared.workspace_bytes else ()
    prepared.run(*outs, *map(_rounded, arrays, request.inputs), *workspace)
    return tuple(map(_rounded, outs, request.outputs))


def _as_held(each: TensorSpec) -> TensorSpec:
    return spec(each.shape, each.numpy_dtype.name)


def _rounded(array: Array, each: TensorSpec) -> Array:
    return rounded(array, each.dtype) if each.half else array


def check_nan(node: Node, *outputs: Array) -> None:
    """Raise `NanError` where a result of the node holds a NaN."""
    refuse_nan(node.primitive.name, lambda: node.origin, *outputs)
