"""The hand-written step on a GPU: CuPy's arrays in place of NumPy's, the step unchanged."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from ..contract import Array, ByHand, Precision, RunnerFacts
from .engine import ManualRunner


class CupyRunner(ManualRunner):
    """One case of a hand-written step with its arrays on a GPU.

    Parameters and inputs are copied when the case is built and loaded, results when they are asked
    for; a step is one call and the wait for its results. `module` is CuPy, or one that looks like
    it.
    """

    def __init__(
        self,
        by_hand: ByHand,
        parameters: dict[str, Array],
        inputs: Mapping[str, Array],
        training: bool,
        index: int,
        precision: Precision,
        module: Any = None,
    ) -> None:
        super().__init__(by_hand, {}, {}, training)
        # CuPy reads it when it first multiplies, and has no other public setting for it.
        os.environ["CUPY_TF32"] = "1" if precision == "tf32" else "0"
        self._xp = module or import_module("cupy")
        self._host_arrays = (parameters, inputs)
        self._device = self._xp.cuda.Device(index)
        self._precision = precision

    def build(self) -> None:
        """Copy the parameters and the first inputs to the device."""
        parameters, inputs = self._host_arrays
        self._host_arrays = {}, {}
        with self._device:
            # A step changes its parameters in place: the device's own copies.
            self._parameters = {name: self._xp.array(each) for name, each in parameters.items()}
        self.load(inputs)

    def load(self, inputs: Mapping[str, Array]) -> None:
        """Copy the inputs of the next steps to the device."""
        with self._device:
            self._inputs = {name: self._xp.array(each) for name, each in inputs.items()}

    def step(self) -> None:
        """Do one step, and wait for its results."""
        with self._device:
            self._results = None
            self._results = self._by_hand(self._parameters, self._inputs)
            self._xp.cuda.get_current_stream().synchronize()

    def outputs(self) -> dict[str, Array]:
        """Results of the last step, copied to the host."""
        if self._results is None:
            raise RuntimeError("outputs expected at least one step before it, received none")
        results = {name: self._xp.asnumpy(each) for name, each in self._results.items()}
        if self._training:
            for name, each in self._parameters.items():
                results[f"parameter/{name}"] = self._xp.asnumpy(each)
        return results

    def facts(self) -> RunnerFacts:
        """One kernel by name: CuPy does not say what it runs inside."""
        strict = self._precision == "fp32"
        products = "products in strict float32" if strict else "products in TF32 (CUPY_TF32=1)"
        return RunnerFacts(
            kernels=("cupy",),
            notes=(f"CuPy {self._xp.__version__} in place of NumPy, {products}",),
        )

    def close(self) -> None:
        """Drop the arrays, and give the pool's memory back."""
        super().close()
        with self._device:
            self._xp.get_default_memory_pool().free_all_blocks()
