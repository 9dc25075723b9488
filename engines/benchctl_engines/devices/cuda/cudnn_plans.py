"""Convolutions by cuDNN's plans, through the graph interface of nvidia-cudnn-frontend 1.23 to 1.26.

A graph is declared with logical sizes N, C, H, W; the layout is in the strides alone. Plans come in
the order in which cuDNN expects them to be quick; those that are not allowed are struck out first:

- strict float32: none that uses tensor cores or rounds its inputs (NVIDIA's numerical notes
  TENSOR_CORE and DOWN_CONVERT_INPUTS; float32 inputs alone would permit TF32);
- halves: none that sums in less than float32 (REDUCED_PRECISION_REDUCTION);
- always: none whose result differs from run to run, none that asks for more workspace than allowed.

The library is imported when the first plan is asked for. A description of a device may stand in for
the device, so that plans can be looked at, though not run, on a machine that has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

from ...gpu.driver import ConvolutionRequest, DeviceError, DeviceFacts, NoPlanError
from ...primitives.specs import HALVES

INSTALL_HINT = "pip install nvidia-cudnn-cu13 'nvidia-cudnn-frontend>=1.23,<1.27'"
PLANS_LOOKED_AT = 64
"""How many of the plans offered are tried, from the first, until one can be built."""

_OUT, _FIRST, _SECOND, _BIAS = 1, 2, 3, 4
"""Names of the tensors in a graph, in the order in which a plan is given addresses."""


@dataclass(frozen=True, slots=True)
class Strided:
    """A tensor of a graph: sizes in logical order and how far apart its elements lie."""

    sizes: tuple[int, ...]
    strides: tuple[int, ...]


def image_tensor(N: int, C: int, H: int, W: int, layout: str) -> Strided:
    """Images; sizes are always N, C, H, W."""
    strides = (C * H * W, H * W, W, 1) if layout == "NCHW" else (C * H * W, 1, W * C, C)
    return Strided((N, C, H, W), strides)


def filter_tensor(request: ConvolutionRequest) -> Strided:
    """Filters; sizes are always K, C, R, S. Raises `NoPlanError` for an order that does not fit.

    cuDNN takes strides of [R, S, C, K] as well, but without a word about the copy that it would
    need; only the two orders that its documentation names are given to it.
    """
    fitting = "KCRS" if request.layout == "NCHW" else "KRSC"
    if request.filter_layout != fitting:
        raise NoPlanError(
            f"cuDNN is given filters as {fitting} beside images in {request.layout}, "
            f"received {request.filter_layout}"
        )
    return image_tensor(request.K, request.C, request.R, request.S, request.layout)


def bias_tensor(request: ConvolutionRequest) -> Strided:
    """A bias of K channels."""
    return image_tensor(1, request.K, 1, 1, request.layout)


def result_tensors(request: ConvolutionRequest) -> tuple[Strided, Strided, Strided]:
    """The output and both inputs of the kind that is asked for."""
    r = request
    x = image_tensor(r.N, r.C, r.H, r.W, r.layout)
    y = image_tensor(r.N, r.K, r.P, r.Q, r.layout)
    w = filter_tensor(r)
    return {
        "forward": (y, x, w),
        "input_gradient": (x, y, w),
        "filter_gradient": (w, x, y),
    }[r.kind]


def frontend() -> Any:
    """The library's module; raises `NoPlanError` with what to install."""
    try:
        cudnn = import_module("cudnn")
        version = tuple(int(part) for part in cudnn.__version__.split(".")[:2])
    except Exception as error:
        # Not only ImportError: a library that does not load fails in other ways.
        raise NoPlanError(f"no cuDNN: {error}; {INSTALL_HINT}") from error
    if not (1, 23) <= version < (1, 27):
        raise NoPlanError(
            f"expected nvidia-cudnn-frontend 1.23 to 1.26, found {cudnn.__version__}; "
            f"{INSTALL_HINT}"
        )
    return cudnn


@dataclass(frozen=True, slots=True)
class Offer:
    """A plan that can be built: its place in cuDNN's list, its name, the bytes it works in."""

    index: int
    name: str
    workspace_bytes: int


class PlanList:
    """The plans that cuDNN offers for a request on a device, best guess first.

    `target` says which device, as keyword arguments of the graph: a handle, or a description of a
    device and its architecture. Raises `NoPlanError` where there is none.
    """

    def __init__(
        self,
        cudnn: Any,
        request: ConvolutionRequest,
        target: dict[str, Any],
        workspace_limit: int | None = None,
    ) -> None:
        self._request = request
        self._found: list[Offer] = []
        self._tried = 0
        try:
            self.graph = _declared(cudnn, request, target)
            _strike_out(cudnn, self.graph, request, workspace_limit)
            self.graph.check_support()
            self.count: int = self.graph.get_execution_plan_count()
        except cudnn.cudnnGraphNotSupportedError as error:
            raise NoPlanError(f"cuDNN has no plan for {request}: {error}") from error
        except RuntimeError as error:
            raise NoPlanError(f"cuDNN refused {request}: {error}") from error

    def offers(self, limit: int = PLANS_LOOKED_AT) -> list[Offer]:
        """Build up to `limit` plans, in cuDNN's order, and say which could be."""
        while len(self._found) < limit and self._tried < self.count:
            offer = self._built(self._tried)
            self._tried += 1
            if offer is not None:
                self._found.append(offer)
        return self._found[:limit]

    def offer(self, place: int) -> Offer:
        """The plan at this place among those that can be built; raises `NoPlanError`."""
        offers = self.offers(place + 1)
        if not offers:
            raise NoPlanError(f"none of cuDNN's {self.count} plans is allowed: {self._request}")
        if len(offers) <= place:
            raise NoPlanError(f"cuDNN has {len(offers)} plans, asked for number {place + 1}")
        return offers[place]

    def _built(self, index: int) -> Offer | None:
        try:
            self.graph.build_plan_at_index(index)
        except Exception:
            # One that was struck out, or that this device cannot build: there is no other way
            # to ask. cuDNN's exceptions have no class of their own here.
            return None
        name = self.graph.get_plan_name_at_index(index)
        return Offer(index, name, self.graph.get_workspace_size_plan_at_index(index))


def _declared(cudnn: Any, request: ConvolutionRequest, target: dict[str, Any]) -> Any:
    """The graph of a request, with the plans that cuDNN knows for it."""
    types = {
        "float32": cudnn.data_type.FLOAT,
        "float64": cudnn.data_type.DOUBLE,
        "float16": cudnn.data_type.HALF,
        "bfloat16": cudnn.data_type.BFLOAT16,
    }
    dtype = types[request.dtype]
    # Sums of halves, and what bias and ReLU make of them, are float32 until they are stored.
    inside = types["float32"] if request.dtype in HALVES else dtype
    graph = cudnn.pygraph(
        io_data_type=dtype, intermediate_data_type=inside, compute_data_type=inside, **target
    )
    out, *inputs = result_tensors(request)
    first, second = (
        graph.tensor(dim=list(each.sizes), stride=list(each.strides), data_type=dtype, uid=uid)
        for uid, each in zip((_FIRST, _SECOND), inputs, strict=True)
    )
    (top, bottom), (left, right) = request.padding
    window = {
        "pre_padding": [top, left],
        "post_padding": [bottom, right],
        "stride": list(request.stride),
        "dilation": [1, 1],
    }
    if request.kind == "forward":
        result = graph.conv_fprop(image=first, weight=second, **window)
    elif request.kind == "input_gradient":
        result = graph.conv_dgrad(loss=first, filter=second, **window)
    else:
        result = graph.conv_wgrad(image=first, loss=second, **window)
    if request.bias:
        bias = bias_tensor(request)
        added = graph.tensor(
            dim=list(bias.sizes), stride=list(bias.strides), data_type=dtype, uid=_BIAS
        )
        result = graph.bias(input=result, bias=added)
    if request.relu:
        result = graph.relu(result)
    # Sizes of gradients do not follow from those of their operands: they are said for all.
    result.set_output(True).set_data_type(dtype).set_uid(_OUT)
    result.set_dim(list(out.sizes)).set_stride(list(out.strides))
    graph.validate()
    graph.build_operation_graph()
    graph.create_execution_plans([cudnn.heur_mode.A, cudnn.heur_mode.FALLBACK])
    return graph


def _strike_out(
    cudnn: Any, graph: Any, request: ConvolutionRequest, workspace_limit: int | None
) -> None:
    notes = cudnn.numerical_note
    struck = [notes.NONDETERMINISTIC]
    if request.precision != "tf32" and request.dtype == "float32":
        struck += [notes.TENSOR_CORE, notes.DOWN_CONVERT_INPUTS]
    if request.dtype in HALVES:
        struck.append(notes.REDUCED_PRECISION_REDUCTION)
    graph.deselect_numeric_notes(struck)
    if workspace_limit is not None:
        graph.deselect_workspace_greater_than(workspace_limit)


class CudnnPlan:
    """A convolution by one of cuDNN's plans."""

    def __init__(self, plans: PlanList, offer: Offer, handle: int, version: str) -> None:
        self._plans = plans
        self._offer = offer
        self._handle = handle
        self._version = version

    @property
    def name(self) -> str:
        """cuDNN's version, then the engine and its settings as cuDNN writes them."""
        return f"cudnn {self._version} {self._offer.name}"

    @property
    def workspace_bytes(self) -> int:
        """Memory the plan works in."""
        return self._offer.workspace_bytes

    def run(self, pointers: Sequence[int], workspace: int) -> None:
        """Issue it: addresses of the output, the inputs and the bias if any.

        Raises `DeviceError` where cuDNN refuses: a plan that could be built may still not run.
        """
        named = dict(enumerate(pointers, start=_OUT))
        try:
            self._plans.graph.execute_plan_at_index(
                named, workspace, self._offer.index, self._handle
            )
        except Exception as error:
            # The frontend's exceptions have no class in common.
            raise DeviceError(f"{self.name}: {error}") from error


class _Handles:
    """One handle a device and stream: setting another stream on a handle is not free."""

    def __init__(self) -> None:
        self._made: dict[tuple[int, int], int] = {}

    def of(self, cudnn: Any, device: int, stream: int) -> int:
        handle = self._made.get((device, stream))
        if handle is None:
            handle = cudnn.create_handle()
            cudnn.set_stream(handle=handle, stream=stream)
            self._made[device, stream] = handle
        return handle


_HANDLES = _Handles()
_PLANS: dict[tuple[Any, ...], PlanList | NoPlanError] = {}


def convolution_plan(
    request: ConvolutionRequest,
    driver_facts: DeviceFacts,
    stream_pointer: int,
    workspace_limit: int | None = None,
) -> CudnnPlan:
    """The plan of a request on the current device; raises `NoPlanError`.

    All plans of one convolution are looked for once, and found missing once.

    It is issued to the stream of the address. `workspace_limit` is in bytes, None for any.
    """
    cudnn = frontend()
    try:
        version = cudnn.backend_version_string()
        handle = _HANDLES.of(cudnn, driver_facts.index, stream_pointer)
    except Exception as error:
        raise NoPlanError(f"cuDNN does not start: {error}; {INSTALL_HINT}") from error
    device = driver_facts.index, driver_facts.name
    asked = replace(request, plan=0)
    key = (asked, *device, stream_pointer, workspace_limit, version, cudnn.__version__)
    found = _PLANS.get(key)
    if found is None:
        try:
            found = PlanList(cudnn, asked, {"handle": handle}, workspace_limit)
        except NoPlanError as error:
            found = error
        _PLANS[key] = found
    if isinstance(found, NoPlanError):
        raise NoPlanError(str(found))
    return CudnnPlan(found, found.offer(request.plan), handle, version)
