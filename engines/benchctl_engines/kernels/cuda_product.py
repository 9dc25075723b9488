"""A matrix product on the device, whatever its sizes: libraries refuse empty ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..primitives.specs import spec
from .cuda_finish import Finish, finish_rows

if TYPE_CHECKING:
    from ..gpu.driver import Driver, LibraryPlan, MatmulRequest


class Product:
    """A prepared `MatmulRequest`; `run` takes addresses and works in `workspace_bytes`."""

    __slots__ = ("_driver", "_finish", "_nbytes", "_plan", "_request", "name", "workspace_bytes")

    def __init__(self, driver: Driver, request: MatmulRequest) -> None:
        self._driver = driver
        self._request = request
        self._plan: LibraryPlan | None = None
        self._finish: Finish | None = None
        self.name = "nothing to multiply"
        self.workspace_bytes = 0
        count = request.batch * request.m * request.n
        self._nbytes = spec((count,), request.dtype).nbytes
        if count and request.k:
            self._plan = driver.matmul(request)
            self.name = self._plan.name
            self.workspace_bytes = self._plan.workspace_bytes
        elif request.bias and count:
            rows, columns = request.batch * request.m, request.n
            self._finish = finish_rows(driver, request.dtype, rows, columns, relu=request.relu)

    def run(self, workspace: int, out: int, a: int, b: int, *rest: int) -> None:
        """Issue it; what follows a and b are c, where the request accumulates, and the bias."""
        if self._plan is not None:
            self._plan.run((out, a, b, *rest), workspace)
        elif self._nbytes:
            self._run_empty_sum(out, rest)

    def _run_empty_sum(self, out: int, rest: tuple[int, ...]) -> None:
        if self._request.accumulate_scale == 0.0:
            self._driver.fill(out, self._nbytes, 0)
        elif rest[0] != out:
            self._driver.copy_on_device(out, rest[0], self._nbytes)
        if self._finish is not None:
            self._finish.run(out, out, rest[-1])
