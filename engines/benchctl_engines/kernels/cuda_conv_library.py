"""Convolutions by plans of the convolution library (cuDNN), with filters in the order it works in.

The library's filters are [K, C, R, S] beside images in NCHW and [K, R, S, C] beside NHWC; filters
stored otherwise pass through a pass of ours, once where they are constant. Bias and ReLU belong to
the plan where the library has one with them, and else to the pass that also pools.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..gpu.driver import ConvolutionRequest, NoPlanError
from .convolution_geometry import (
    ConvolutionGeometry,
    filter_gradient_geometry,
    filters_channels_last,
    forward_geometry,
    input_gradient_geometry,
)
from .cuda_filters import FilterOrder
from .cuda_finish import Finish
from .cuda_parts import Room
from .cuda_rows import PLANS_TRIED, gpu_row
from .cuda_source import driver_of
from .table import KernelRequest, Prepared, When

if TYPE_CHECKING:
    from ..gpu.array import DeviceArray
    from ..gpu.driver import ConvolutionKind, LibraryPlan

GeometryOf = Callable[[KernelRequest], ConvolutionGeometry]

_FILTERS = 1
"""The operand that holds the filters."""


def _orders(request: KernelRequest, geometry: ConvolutionGeometry) -> tuple[str, str]:
    """How filters are stored, and how the library is given them."""
    stored = "RSCK" if filters_channels_last(request) else "KCRS"
    return stored, "KCRS" if geometry.layout == "NCHW" else "KRSC"


def _plan(
    request: KernelRequest,
    kind: ConvolutionKind,
    geometry: ConvolutionGeometry,
    *,
    bias: bool = False,
    relu: bool = False,
) -> LibraryPlan:
    """The library's plan; raises `NoPlanError`."""
    layout: Any = geometry.layout
    filter_layout: Any = _orders(request, geometry)[1]
    sizes = geometry.N, geometry.C, geometry.H, geometry.W, geometry.K, geometry.R, geometry.S
    if 0 in (*sizes, geometry.P, geometry.Q):
        raise NoPlanError("an operand of the convolution is empty")
    return driver_of(request).convolution(
        ConvolutionRequest(
            kind,
            *sizes,
            P=geometry.P,
            Q=geometry.Q,
            stride=(geometry.stride_h, geometry.stride_w),
            padding=((geometry.top, geometry.bottom), (geometry.left, geometry.right)),
            layout=layout,
            filter_layout=filter_layout,
            dtype=geometry.dtype,
            bias=bias,
            relu=relu,
            precision=request.precision,
            plan=request.plan,
        )
    )


def _has_plan(kind: ConvolutionKind, geometry_of: GeometryOf) -> When:
    def predicate(request: KernelRequest) -> bool:
        try:
            _plan(request, kind, geometry_of(request))
        except NoPlanError:
            return False
        return True

    return predicate


def _filter_order(request: KernelRequest, geometry: ConvolutionGeometry) -> FilterOrder | None:
    """What brings the filters into the library's order, None where they are in it."""
    stored, given = _orders(request, geometry)
    # With one tap [K, C, 1, 1] and [K, 1, 1, C] are the same numbers in the same order.
    if stored == given or (stored == "KCRS" and 1 in (geometry.taps, geometry.C)):
        return None
    sizes = geometry.K, geometry.C, geometry.R, geometry.S
    return FilterOrder(driver_of(request), geometry.dtype, sizes, stored, given)


class _Planned:
    """A plan that reads filters, with what goes before it and after it."""

    def __init__(
        self,
        request: KernelRequest,
        geometry: ConvolutionGeometry,
        plan: LibraryPlan,
        finish: Finish | None,
        *,
        biased: bool,
    ) -> None:
        self._driver = driver_of(request)
        self._plan = plan
        self._order = _filter_order(request, geometry)
        self._finish = finish
        self._bias_in_plan = biased and finish is None
        itemsize = request.outputs[0].itemsize
        self._filter_bytes = geometry.K * geometry.depth * itemsize
        room = Room()
        self._own = room.take(plan.workspace_bytes)
        made_bytes = geometry.N * geometry.pixels * geometry.K * itemsize
        self._made = room.take(made_bytes if finish else 0)
        self._bound_workspace_bytes = room.nbytes
        self._filters = room.take(self._filter_bytes if self._order else 0)
        self._workspace_bytes = room.nbytes

    def prepared(self) -> Prepared:
        """With filters that are given anew at every call."""
        order, filters_at = self._order, self._filters

        def library(out: DeviceArray, image: DeviceArray, w: DeviceArray, *rest: Any) -> None:
            *bias, base = self._addresses(rest, self._workspace_bytes)
            filters = w.pointer
            if order is not None:
                filters = base + filters_at
                order.run(filters, w.pointer)
            self._run(out.pointer, image.pointer, filters, bias, base)

        bind = self._bind if order is not None else None
        return Prepared(library, self._workspace_bytes, bind=bind, detail=self._plan.name)

    def _bind(self, arrays: Mapping[int, DeviceArray]) -> Prepared:
        order = self._order
        if order is None or _FILTERS not in arrays:
            return self.prepared()
        filters = self._driver.allocate(self._filter_bytes)
        order.run(filters.pointer, arrays[_FILTERS].pointer)

        def library_bound(out: DeviceArray, image: DeviceArray, w: DeviceArray, *rest: Any) -> None:
            *bias, base = self._addresses(rest, self._bound_workspace_bytes)
            self._run(out.pointer, image.pointer, filters.pointer, bias, base)

        return Prepared(
            library_bound,
            self._bound_workspace_bytes,
            bound_bytes=self._filter_bytes,
            detail=self._plan.name,
        )

    @staticmethod
    def _addresses(rest: tuple[DeviceArray, ...], workspace_bytes: int) -> list[int]:
        """Those of the bias, if any, and of the workspace, 0 if none."""
        addresses = [each.pointer for each in rest]
        return addresses if workspace_bytes else [*addresses, 0]

    def _run(self, out: int, image: int, filters: int, bias: list[int], base: int) -> None:
        if self._finish is None:
            added = bias if self._bias_in_plan else []
            self._plan.run((out, image, filters, *added), base + self._own)
            return
        made = base + self._made
        self._plan.run((made, image, filters), base + self._own)
        self._finish.run(out, made, *bias)


@gpu_row("conv2d", "cudnn", can=_has_plan("forward", forward_geometry), plans=PLANS_TRIED)
def prepare_forward(request: KernelRequest) -> Prepared:
    """y = conv(x, w)."""
    geometry = forward_geometry(request)
    plan = _plan(request, "forward", geometry)
    return _Planned(request, geometry, plan, None, biased=False).prepared()


def _fused_plan(
    request: KernelRequest, geometry: ConvolutionGeometry, relu: bool
) -> LibraryPlan | None:
    """A plan with bias and ReLU in it, None where the library has none.

    Raises `NoPlanError` where it has some, and fewer than the request asks for.
    """
    try:
        return _plan(request, "forward", geometry, bias=True, relu=relu)
    except NoPlanError:
        first = replace(request, plan=0)
        if request.plan and _fused_plan(first, geometry, relu) is not None:
            raise
        return None


@gpu_row("conv2d_epilogue", "cudnn", can=_has_plan("forward", forward_geometry), plans=PLANS_TRIED)
def prepare_epilogue(request: KernelRequest) -> Prepared:
    """y = conv(x, w) + b, then ReLU and the maxima of 2x2 squares where asked."""
    geometry = forward_geometry(request)
    pool, relu = bool(request.attributes.get("pool", False)), bool(request.attributes["relu"])
    plan = None if pool else _fused_plan(request, geometry, relu)
    finish = None
    if plan is None:
        plan = _plan(request, "forward", geometry)
        maps = geometry.N, geometry.K, geometry.P, geometry.Q
        layout = geometry.layout
        finish = Finish(
            driver_of(request),
            geometry.dtype,
            maps,
            layout,
            layout,
            biased=True,
            relu=relu,
            pool=pool,
        )
    return _Planned(request, geometry, plan, finish, biased=True).prepared()


@gpu_row(
    "conv2d_input_gradient",
    "cudnn",
    can=_has_plan("input_gradient", input_gradient_geometry),
    plans=PLANS_TRIED,
)
def prepare_input_gradient(request: KernelRequest) -> Prepared:
    """dx = conv(g, rotated w)."""
    geometry = input_gradient_geometry(request)
    plan = _plan(request, "input_gradient", geometry)
    return _Planned(request, geometry, plan, None, biased=False).prepared()


@gpu_row(
    "conv2d_filter_gradient",
    "cudnn",
    can=_has_plan("filter_gradient", filter_gradient_geometry),
    plans=PLANS_TRIED,
)
def prepare_filter_gradient(request: KernelRequest) -> Prepared:
    """dw = correlation(x, g)."""
    geometry = filter_gradient_geometry(request)
    plan = _plan(request, "filter_gradient", geometry)
    order = _filter_order(request, geometry)
    if order is None:

        def library_filter_gradient(
            out: DeviceArray, x: DeviceArray, g: DeviceArray, *workspace: DeviceArray
        ) -> None:
            base = workspace[0].pointer if workspace else 0
            plan.run((out.pointer, x.pointer, g.pointer), base)

        return Prepared(library_filter_gradient, plan.workspace_bytes, detail=plan.name)

    stored, given = _orders(request, geometry)
    sizes = geometry.K, geometry.C, geometry.R, geometry.S
    back = FilterOrder(driver_of(request), geometry.dtype, sizes, given, stored)
    room = Room()
    made_at = room.take(request.outputs[0].nbytes)
    own_at = room.take(plan.workspace_bytes)

    def library_filter_gradient_reordered(
        out: DeviceArray, x: DeviceArray, g: DeviceArray, workspace: DeviceArray
    ) -> None:
        base = workspace.pointer
        plan.run((base + made_at, x.pointer, g.pointer), base + own_at)
        back.run(out.pointer, base + made_at)

    return Prepared(library_filter_gradient_reordered, room.nbytes, detail=plan.name)
