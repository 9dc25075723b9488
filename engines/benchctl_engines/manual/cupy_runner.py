"""The hand-written step on a GPU: CuPy's arrays in place of NumPy's, the step unchanged."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ..contract import Array, ByHand, DeviceClock, EngineOptions, RunnerFacts
from ..devices.cuda.clock import CudaClock
from ..devices.cuda.cupy_import import import_cupy
from ..devices.cuda.opening import device_words, open_for, precision_words
from .engine import ManualRunner


class CupyRunner(ManualRunner):
    """One case of a hand-written step with its arrays on a GPU, on the stream of our own driver.

    Parameters and inputs are copied when the case is built and loaded, results when they are asked
    for; a step is one call and the wait for its results. `module` stands in for CuPy in tests, and
    `driver` for the one that CuPy's stream comes from.
    """

    def __init__(
        self,
        by_hand: ByHand,
        parameters: dict[str, Array],
        inputs: Mapping[str, Array],
        training: bool,
        options: EngineOptions,
        module: Any = None,
        driver: Any = None,
    ) -> None:
        super().__init__(by_hand, {}, {}, training)
        # CuPy reads it when it first multiplies, and has no other public setting for it.
        os.environ["CUPY_TF32"] = "1" if options.precision == "tf32" else "0"
        self._driver: Any = driver or open_for(options)
        self._xp: Any = module or import_cupy()
        self._host_arrays = (parameters, inputs)
        self._place = self._xp.cuda.Device(self._driver.facts.index)
        self._precision = options.precision
        self._clock: CudaClock | None = None

    def build(self) -> None:
        """Copy the parameters and the first inputs to the device."""
        parameters, inputs = self._host_arrays
        self._host_arrays = {}, {}
        # A step changes its parameters in place: the device's own copies.
        self._parameters = self._copied(parameters)
        self.load(inputs)

    def load(self, inputs: Mapping[str, Array]) -> None:
        """Copy the inputs of the next steps to the device."""
        self._inputs = self._copied(inputs)

    def _copied(self, arrays: Mapping[str, Array]) -> dict[str, Any]:
        with self._place, self._driver.stream:
            return {name: self._xp.array(each) for name, each in arrays.items()}

    def issue(self) -> None:
        """Issue one step."""
        with self._place, self._driver.stream:
            self._results = None
            self._results = self._by_hand(self._parameters, self._inputs)

    def step(self) -> None:
        """Do one step, and wait for its results."""
        self.issue()
        self._driver.synchronize()

    def device_clock(self) -> DeviceClock:
        """The clock of the stream that the step is issued to."""
        if self._clock is None:
            self._clock = CudaClock(self._driver)
        return self._clock

    def replays(self) -> bool:
        """No: CuPy's products cannot be recorded."""
        return False

    def outputs(self) -> dict[str, Array]:
        """Results of the last step, copied to the host."""
        if self._results is None:
            raise RuntimeError("outputs expected at least one step before it, received none")
        known = {f"parameter/{name}": each for name, each in self._parameters.items()}
        results = {**self._results, **(known if self._training else {})}
        with self._place, self._driver.stream:
            return {name: self._xp.asnumpy(each) for name, each in results.items()}

    def facts(self) -> RunnerFacts:
        """One kernel by name: CuPy does not say what it runs inside."""
        notes = (
            f"CuPy {self._xp.__version__} in place of NumPy",
            device_words(self._driver),
            precision_words(self._precision),
        )
        return RunnerFacts(kernels=("cupy",), notes=notes)

    def close(self) -> None:
        """Drop the arrays, and give the pool's memory back."""
        super().close()
        self._clock = None
        with self._place:
            self._xp.get_default_memory_pool().free_all_blocks()
