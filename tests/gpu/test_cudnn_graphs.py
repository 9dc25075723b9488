"""What cuDNN is asked for: graphs declared to a recording double of its frontend."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from benchctl_engines.devices.cuda import cudnn_plans
from benchctl_engines.gpu.driver import (
    ConvolutionRequest,
    DeviceError,
    DeviceFacts,
    NoPlanError,
)

FACTS = DeviceFacts("a card", 0, 90, 132, 2**36, 2**25, {})


class NotSupportedError(RuntimeError):
    pass


class Tensor:
    def __init__(self, **said):
        self.said = said

    def __getattr__(self, name):
        assert name.startswith("set_")

        def setter(value):
            self.said[name[4:]] = value
            return self

        return setter


class Graph:
    """Plans 0 and 1 cannot be built, 2 and 3 can; 3 wants more workspace."""

    def __init__(self, library, said):
        self.cudnn, self.said = library, said
        self.tensors, self.operations, self.struck, self.executed = {}, [], [], []
        self.limit = None
        self.built = []

    def tensor(self, **said):
        self.tensors[said["uid"]] = Tensor(**said)
        return self.tensors[said["uid"]]

    def _operation(self, name, said):
        self.operations.append((name, said))
        self.result = Tensor()
        return self.result

    def conv_fprop(self, **said):
        return self._operation("fprop", said)

    def conv_dgrad(self, **said):
        return self._operation("dgrad", said)

    def conv_wgrad(self, **said):
        return self._operation("wgrad", said)

    def bias(self, **said):
        return self._operation("bias", said)

    def relu(self, x):
        return self._operation("relu", {"input": x})

    def validate(self):
        pass

    def build_operation_graph(self):
        pass

    def create_execution_plans(self, modes):
        self.modes = modes

    def deselect_numeric_notes(self, notes):
        self.struck += notes

    def deselect_workspace_greater_than(self, limit):
        self.limit = limit

    def check_support(self):
        if self.cudnn.supported == 0:
            raise NotSupportedError("nothing fits\nmore words")

    def get_execution_plan_count(self):
        return self.cudnn.supported

    def build_plan_at_index(self, index):
        self.built.append(index)
        if index < 2:
            raise RuntimeError("Deselecting execution plan")

    def get_plan_name_at_index(self, index):
        return f"eng{index}"

    def get_workspace_size_plan_at_index(self, index):
        return 100 * index

    def execute_plan_at_index(self, pointers, workspace, index, handle):
        self.executed.append((pointers, workspace, index, handle))


class Library:
    __version__ = "1.26.0"
    cudnnGraphNotSupportedError = NotSupportedError  # noqa: N815
    data_type = SimpleNamespace(FLOAT="float", DOUBLE="double", HALF="half", BFLOAT16="bfloat16")
    heur_mode = SimpleNamespace(A="a", FALLBACK="fallback")
    numerical_note = SimpleNamespace(
        TENSOR_CORE="tensor core",
        DOWN_CONVERT_INPUTS="rounded",
        NONDETERMINISTIC="varying",
        REDUCED_PRECISION_REDUCTION="short sums",
    )

    def __init__(self):
        self.supported = 4
        self.graphs = []
        self.handles = 0
        self.streams = {}

    def backend_version_string(self):
        return "9.28.1"

    def create_handle(self):
        self.handles += 1
        return 1000 + self.handles

    def set_stream(self, handle, stream):
        self.streams[handle] = stream

    def pygraph(self, **said):
        self.graphs.append(Graph(self, said))
        return self.graphs[-1]


@pytest.fixture
def library(monkeypatch):
    made = Library()
    monkeypatch.setitem(sys.modules, "cudnn", made)
    monkeypatch.setattr(cudnn_plans, "_PLANS", {})
    monkeypatch.setattr(cudnn_plans, "_HANDLES", cudnn_plans._Handles())
    return made


def request_of(kind="forward", layout="NCHW", **changed):
    sizes = {"N": 2, "C": 3, "H": 10, "W": 11, "K": 5, "R": 3, "S": 2, "P": 5, "Q": 12}
    said = {
        **sizes,
        "stride": (2, 1),
        "padding": ((1, 0), (2, 0)),
        "layout": layout,
        "filter_layout": "KCRS" if layout == "NCHW" else "KRSC",
        "dtype": "float32",
    }
    return ConvolutionRequest(kind, **{**said, **changed})


def strides_of(order, **sizes):
    """Strides in logical order of a dense array stored in `order`."""
    steps, step = {}, 1
    for axis in reversed(order):
        steps[axis] = step
        step *= sizes[axis]
    return steps


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("kind", ["forward", "input_gradient", "filter_gradient"])
def test_sizes_are_logical_and_the_layout_is_in_the_strides(library, kind, layout):
    cudnn_plans.convolution_plan(request_of(kind, layout), FACTS, 7)
    graph = library.graphs[0]
    x = strides_of(layout, N=2, C=3, H=10, W=11)
    y = strides_of(layout, N=2, C=5, H=5, W=12)
    w = strides_of("KCRS" if layout == "NCHW" else "KRSC", K=5, C=3, R=3, S=2)
    tensors = {
        "x": ([2, 3, 10, 11], [x[axis] for axis in "NCHW"]),
        "y": ([2, 5, 5, 12], [y[axis] for axis in "NCHW"]),
        "w": ([5, 3, 3, 2], [w[axis] for axis in "KCRS"]),
    }
    out, first, second = {
        "forward": "yxw",
        "input_gradient": "xyw",
        "filter_gradient": "wxy",
    }[kind]
    said = [(each.said["dim"], each.said["stride"]) for each in graph.tensors.values()]
    assert said == [tensors[first], tensors[second]]
    assert (graph.result.said["dim"], graph.result.said["stride"]) == tensors[out]
    [(_, operation)] = graph.operations
    assert operation["pre_padding"] == [1, 2] and operation["post_padding"] == [0, 0]
    assert operation["stride"] == [2, 1] and operation["dilation"] == [1, 1]


def test_strict_float32_strikes_out_what_is_not(library):
    strict = {"tensor core", "rounded", "varying"}
    for precision, dtype, expected in (
        ("fp32", "float32", strict),
        ("tf32", "float32", {"varying"}),
        ("fp16", "float32", strict),
        ("fp32", "float64", {"varying"}),
    ):
        cudnn_plans.convolution_plan(request_of(precision=precision, dtype=dtype), FACTS, 7)
        graph = library.graphs[-1]
        assert set(graph.struck) == expected
        types = {graph.said[f"{name}_data_type"] for name in ("io", "intermediate", "compute")}
        assert types == {"double" if dtype == "float64" else "float"}


@pytest.mark.parametrize(("dtype", "stored"), [("float16", "half"), ("bfloat16", "bfloat16")])
def test_halves_are_summed_in_float32_and_rounded_at_the_end(library, dtype, stored):
    asked = request_of(precision="fp16", dtype=dtype, bias=True, relu=True)
    cudnn_plans.convolution_plan(asked, FACTS, 7)
    [graph] = library.graphs
    assert set(graph.struck) == {"varying", "short sums"}
    assert graph.said["io_data_type"] == stored
    assert graph.said["compute_data_type"] == graph.said["intermediate_data_type"] == "float"
    ends = [*graph.tensors.values(), graph.result]
    assert {each.said["data_type"] for each in ends} == {stored}


def test_bias_and_relu_belong_to_the_graph(library):
    cudnn_plans.convolution_plan(request_of(layout="NHWC", bias=True, relu=True), FACTS, 7)
    graph = library.graphs[0]
    assert [name for name, _ in graph.operations] == ["fprop", "bias", "relu"]
    assert graph.operations[1][1]["bias"].said["dim"] == [1, 5, 1, 1]
    assert graph.operations[1][1]["bias"].said["stride"] == [5, 1, 5, 5]


def test_the_first_plan_that_can_be_built_runs_at_the_addresses(library):
    plan = cudnn_plans.convolution_plan(request_of(bias=True), FACTS, 7, 10**6)
    graph = library.graphs[0]
    assert graph.built == [0, 1, 2] and graph.limit == 10**6
    assert plan.name == "cudnn 9.28.1 eng2" and plan.workspace_bytes == 200
    plan.run((11, 12, 13, 14), 99)
    assert graph.executed == [({1: 11, 2: 12, 3: 13, 4: 14}, 99, 2, 1001)]
    assert set(graph.tensors) | {graph.result.said["uid"]} == {1, 2, 3, 4}


def test_a_plan_that_is_refused_when_it_runs_is_an_error_of_the_device(library):
    """As an autotuner has to be told it: the frontend raises what it likes."""
    plan = cudnn_plans.convolution_plan(request_of(), FACTS, 7)

    def refusing(*arguments):
        raise ValueError("CUDNN_STATUS_NOT_SUPPORTED")

    library.graphs[0].execute_plan_at_index = refusing
    with pytest.raises(DeviceError, match=r"cudnn 9.28.1 eng2: CUDNN_STATUS_NOT_SUPPORTED"):
        plan.run((11, 12, 13), 99)


def test_a_request_may_ask_for_a_later_plan(library):
    first, second = (
        cudnn_plans.convolution_plan(request_of(plan=place), FACTS, 7) for place in (0, 1)
    )
    assert (second.name, second.workspace_bytes) == ("cudnn 9.28.1 eng3", 300)
    second.run((11, 12, 13), 99)
    first.run((11, 12, 13), 99)
    [graph] = library.graphs
    assert [each[2] for each in graph.executed] == [3, 2]
    assert graph.built == [0, 1, 2, 3]
    with pytest.raises(NoPlanError, match="cuDNN has 2 plans, asked for number 3"):
        cudnn_plans.convolution_plan(request_of(plan=2), FACTS, 7)
    assert graph.built == [0, 1, 2, 3]


def test_plans_are_made_once_and_a_stream_has_one_handle(library):
    for _ in range(2):
        cudnn_plans.convolution_plan(request_of(), FACTS, 7)
    assert len(library.graphs) == 1
    cudnn_plans.convolution_plan(request_of(), FACTS, 8)
    cudnn_plans.convolution_plan(request_of(), FACTS, 7, 5)
    assert len(library.graphs) == 3
    assert library.streams == {1001: 7, 1002: 8}


def test_no_plan_is_said_once_with_the_library_s_words(library):
    library.supported = 0
    for _ in range(2):
        with pytest.raises(NoPlanError, match="nothing fits"):
            cudnn_plans.convolution_plan(request_of(), FACTS, 7)
    assert len(library.graphs) == 1
    library.supported = 2
    with pytest.raises(NoPlanError, match="none of cuDNN's 2 plans"):
        cudnn_plans.convolution_plan(request_of(dtype="float64"), FACTS, 7)


def test_filters_in_an_order_of_ours_are_refused(library):
    for layout, filter_layout in (("NHWC", "RSCK"), ("NHWC", "KCRS"), ("NCHW", "KRSC")):
        wrong = request_of(layout=layout, filter_layout=filter_layout)
        with pytest.raises(NoPlanError, match=filter_layout):
            cudnn_plans.convolution_plan(wrong, FACTS, 7)


@pytest.mark.parametrize("version", ["1.22.1", "1.27.0", "2.0.0"])
def test_another_frontend_is_refused_with_what_to_install(library, version):
    library.__version__ = version
    with pytest.raises(NoPlanError, match="pip install"):
        cudnn_plans.convolution_plan(request_of(), FACTS, 7)


def test_a_missing_or_broken_library_is_no_plan(library, monkeypatch):
    def broken():
        raise RuntimeError("libcudnn.so.9 does not load")

    monkeypatch.setattr(library, "create_handle", broken, raising=False)
    with pytest.raises(NoPlanError, match=r"does not load.*pip install"):
        cudnn_plans.convolution_plan(request_of(), FACTS, 7)
    monkeypatch.setitem(sys.modules, "cudnn", None)
    with pytest.raises(NoPlanError, match="pip install"):
        cudnn_plans.convolution_plan(request_of(), FACTS, 7)
