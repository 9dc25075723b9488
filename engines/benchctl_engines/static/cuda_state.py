"""What outlives a program on a GPU: variables, constants and the step counter of a session."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..contract import Array
from ..devices.cuda.transfer import copy_in, copy_out
from ..gpu.array import DeviceArray
from ..gpu.driver import Driver
from ..primitives.specs import TensorSpec, spec
from .graph import Node, Value
from .sources import constant_source, variable_source
from .step_graph import StepGraph


def uploaded(driver: Driver, array: Array, made: TensorSpec) -> DeviceArray:
    """A copy of a host array, held as the spec says, in memory of its own."""
    allocation = driver.allocate(max(made.nbytes, 1))
    result = DeviceArray(allocation.pointer, made, allocation)
    copy_in(driver, result, array)
    return result


class CudaState:
    """What outlives a run on a GPU: variables, constants and the step counter."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.variables: dict[Value, DeviceArray] = {}
        self._constants: dict[tuple[int, str], tuple[Array, DeviceArray]] = {}
        self._counter: DeviceArray | None = None

    @property
    def counter(self) -> DeviceArray:
        """How many runs were done, as an int64."""
        if self._counter is None:
            self._counter = uploaded(self.driver, np.zeros((), np.int64), spec((), "int64"))
        return self._counter

    def array_of(self, variable: Any) -> DeviceArray:
        """The session's array of a variable, copied from its initial value on first use."""
        array = self.variables.get(variable)
        if array is None:
            array = uploaded(self.driver, variable.initial, variable.spec)
            self.variables[variable] = array
        return array

    def value_of(self, variable: Any) -> Array:
        """The variable as a new array of the host."""
        return copy_out(self.driver, self.array_of(variable))

    def constant(self, value: Value) -> DeviceArray:
        """A constant on the device, once for all programs of the session."""
        payload: Array = value.node.payload
        key = _kept_under(value.node)
        kept = self._constants.get(key)
        if kept is None:
            kept = payload, uploaded(self.driver, payload, value.spec)
            self._constants[key] = kept
        return kept[1]

    @property
    def constant_bytes(self) -> int:
        """Memory of all constants."""
        return sum(array.nbytes for _, array in self._constants.values())

    @property
    def variable_bytes(self) -> int:
        """Memory of all variables in use."""
        return sum(array.nbytes for array in self.variables.values())

    def missing_bytes(self, step: StepGraph) -> dict[str, int]:
        """What the variables and constants of a step will take that are not there yet."""
        sources = [node for node in step.nodes if node.is_source]
        return {
            "variables": sum(
                node.outputs[0].spec.nbytes
                for node in sources
                if node.primitive is variable_source and node.payload not in self.variables
            ),
            "constants": sum(
                node.outputs[0].spec.nbytes
                for node in sources
                if node.primitive is constant_source and _kept_under(node) not in self._constants
            ),
        }

    def clear(self) -> None:
        """Let go of everything: variables begin anew."""
        self.variables.clear()
        self._constants.clear()
        self._counter = None


def _kept_under(constant: Node) -> tuple[int, str]:
    """What a constant is kept under: one array may stand for numbers of two dtypes."""
    return id(constant.payload), constant.outputs[0].spec.dtype
