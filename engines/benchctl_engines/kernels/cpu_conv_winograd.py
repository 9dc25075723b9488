"""Convolutions over 3x3 and 5x5 windows and their gradients by Winograd's minimal filtering.

The gradient with respect to the input is a convolution with rotated filters. The gradient with
respect to the filters stays in the transform domain: dU[p] = V[p]^T @ dM[p] with dM = A dY A^T,
then dw = G^T dU G (Lavin and Gray 2016), so all three need the same few multiplications. Windows
that move by more than one are sums of windows of fewer taps (winograd_problem.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from .convolution_geometry import (
    ConvolutionGeometry,
    filter_gradient_geometry,
    filters_channels_last,
    forward_geometry,
    input_gradient_geometry,
)
from .epilogue import relu_floor
from .host_vectors import FLOAT_BYTES
from .table import KernelRequest, Prepared, When, kernel
from .winograd_plan import (
    TilePlan,
    collected_floats,
    plan_convolution,
    plan_filter_gradient,
    takes,
)
from .winograd_problem import Problem, forward_problem, input_gradient_problem, square_window
from .workspace import Pieces, aligned_memory

Array = npt.NDArray[Any]
_NO_FLOOR = np.float32(-np.inf)
# The operand that holds the filters, in all three.
_FILTERS = 1


def _when(
    geometry_of: Callable[[KernelRequest], ConvolutionGeometry],
    problem_of: Callable[[ConvolutionGeometry], Problem],
) -> When:
    def predicate(request: KernelRequest) -> bool:
        geometry = geometry_of(request)
        return square_window(geometry) and takes(problem_of(geometry))

    return predicate


class _Memory:
    """The pieces of a plan's workspace: filters in the domain, scratch memory, tables."""

    def __init__(self, plan: TilePlan, filter_floats: int) -> None:
        self._pieces = Pieces()
        sizes = (filter_floats, "float32"), (plan.scratch_floats, "float32")
        self._numbers = [
            self._pieces.add((count,), dtype)
            for count, dtype in (*sizes, (plan.table_entries, "int64"))
        ]
        self.nbytes = self._pieces.nbytes

    def views(self, workspace: Array) -> list[Array]:
        return [self._pieces.view(workspace, number) for number in self._numbers]


def _prepare_convolution(
    request: KernelRequest, problem: Problem, *, rotated: bool, floor: Any
) -> Prepared:
    """out = convolution(image, w) + bias, kept at or above `floor`.

    The prepared function takes (out, image, w, bias, workspace), the bias only where the request
    has one; with bound filters it reads none.
    """
    from .loops_winograd import (
        convolve_blocks,
        convolve_panels,
        convolve_phases,
    )
    from .loops_winograd_filters import transform_filters

    threads = request.threads
    pooled = request.attributes.get("pool", False)
    kind = filters_channels_last(request), rotated
    sizes = problem.source.domain_channels, problem.target.domain_channels
    no_bias = np.zeros(problem.target.channels, np.float32)

    def step_arguments(plan: TilePlan) -> Any:
        domains = plan.left, plan.right, plan.reading, plan.writing, plan.block
        return plan.source, plan.target, plan.filtering, *domains

    def convolve(
        plan: TilePlan, out: Array, image: Array, filters: Array, bias: Array, *memory: Array
    ) -> None:
        scratch, tables = memory
        loop: Any = convolve_phases if plan.shared else convolve_blocks
        flat = out.reshape(out.size), image.reshape(image.size)
        steps = step_arguments(plan)
        own = scratch, plan.worker_floats, tables, threads
        loop(*flat, filters, bias, floor, *steps, *own)

    def make_filters(
        plan: TilePlan, filters: Array, w: Array, scratch: Array, tables: Array
    ) -> None:
        flat = w.reshape(w.size)
        own = scratch, tables, threads
        transform_filters(filters, flat, *sizes, plan.filtering, *kind, *own)

    def prepare_given() -> Prepared:
        plan = plan_convolution(problem, threads, pooled=pooled, frozen=False)
        memory = _Memory(plan, 0 if plan.panels else plan.filter_floats)

        def winograd(out: Array, image: Array, w: Array, *bias_workspace: Array) -> None:
            *bias, workspace = bias_workspace
            filters, *rest = memory.views(workspace)
            make_filters(plan, filters, w, *rest)
            convolve(plan, out, image, filters, bias[0] if bias else no_bias, *rest)

        def winograd_panels(out: Array, image: Array, w: Array, *bias_workspace: Array) -> None:
            *bias, workspace = bias_workspace
            _, scratch, tables = memory.views(workspace)
            flat = out.reshape(out.size), image.reshape(image.size), w.reshape(w.size)
            added = bias[0] if bias else no_bias
            steps = step_arguments(plan)
            own: Any = plan.panel, scratch, plan.worker_floats, tables, threads
            convolve_panels(*flat, *kind, added, floor, *steps, *own)

        run = winograd_panels if plan.panels else winograd
        return Prepared(run, memory.nbytes, bind=bind)

    def bind(arrays: Mapping[int, Array]) -> Prepared:
        if _FILTERS not in arrays:
            return prepare_given()
        plan = plan_convolution(problem, threads, pooled=pooled, frozen=True)
        memory = _Memory(plan, 0)
        frozen = aligned_memory(plan.filter_floats * FLOAT_BYTES).view(np.float32)
        workspace = aligned_memory(memory.nbytes)
        make_filters(plan, frozen, arrays[_FILTERS], *memory.views(workspace)[1:])

        def winograd_frozen(out: Array, image: Array, w: Array, *bias_workspace: Array) -> None:
            *bias, workspace = bias_workspace
            _, *rest = memory.views(workspace)
            convolve(plan, out, image, frozen, bias[0] if bias else no_bias, *rest)

        return Prepared(winograd_frozen, memory.nbytes, bound_bytes=frozen.nbytes)

    return prepare_given()


@kernel("conv2d", "cpu", "winograd", when=_when(forward_geometry, forward_problem))
def prepare_winograd(request: KernelRequest) -> Prepared:
    """y = conv(x, w)."""
    problem = forward_problem(forward_geometry(request))
    return _prepare_convolution(request, problem, rotated=False, floor=_NO_FLOOR)


@kernel("conv2d_epilogue", "cpu", "winograd", when=_when(forward_geometry, forward_problem))
def prepare_winograd_epilogue(request: KernelRequest) -> Prepared:
    """y = conv(x, w) + b, then ReLU and the maxima of 2x2 squares where asked."""
    problem, floor = forward_problem(forward_geometry(request)), relu_floor(request)
    return _prepare_convolution(request, problem, rotated=False, floor=floor)


@kernel(
    "conv2d_input_gradient",
    "cpu",
    "winograd",
    when=_when(input_gradient_geometry, input_gradient_problem),
)
def prepare_winograd_input_gradient(request: KernelRequest) -> Prepared:
    """dx = conv(g, rotated w)."""
    problem = input_gradient_problem(input_gradient_geometry(request))
    return _prepare_convolution(request, problem, rotated=True, floor=_NO_FLOOR)


@kernel(
    "conv2d_filter_gradient",
    "cpu",
    "winograd",
    when=_when(filter_gradient_geometry, forward_problem),
)
def prepare_winograd_filter_gradient(request: KernelRequest) -> Prepared:
    """dw = correlation(x, g), summed in the transform domain."""
    from .loops_winograd import correlate_phases
    from .loops_winograd_filters import collect_filters

    problem, threads = forward_problem(filter_gradient_geometry(request)), request.threads
    channels_last = filters_channels_last(request)
    plan = plan_filter_gradient(problem, threads)
    memory = _Memory(plan, plan.filter_floats)
    sizes = problem.source.domain_channels, problem.target.domain_channels
    line = collected_floats(problem.taps, problem.target.domain_channels)

    def winograd_filter_gradient(out: Array, x: Array, g: Array, workspace: Array) -> None:
        sums, scratch, tables = memory.views(workspace)
        correlate_phases(
            sums,
            x.reshape(x.size),
            g.reshape(g.size),
            plan.source,
            plan.target,
            plan.filtering,
            plan.left,
            plan.right,
            plan.reading,
            plan.writing,
            plan.block,
            scratch,
            plan.worker_floats,
            tables,
            threads,
        )
        flat, own = out.reshape(out.size), (scratch, line, tables, threads)
        collect_filters(flat, sums, *sizes, plan.filtering, channels_last, *own)

    return Prepared(winograd_filter_gradient, memory.nbytes)
