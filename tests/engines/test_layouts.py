"""Layouts that the static engine chooses, and masks that it reads off a pooling."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchctl_engines import static
from benchctl_engines.static.graph import Graph
from benchctl_engines.static.session import Session
from benchctl_engines.static.switches import PassSwitches

SAME = ((1, 1), (1, 1))


def network(
    rng: np.random.Generator, channels: list[int], side: int, *, layout: str, watched: bool
) -> tuple[Graph, list, dict]:
    """A chain of convolutions with pooling, its loss and all gradients; `watched`: an image too."""
    image = (2, channels[0], side, side)
    axis = 1 if layout == "NCHW" else 3
    values = rng.standard_normal(image, dtype=np.float32)
    fed = values if layout == "NCHW" else np.ascontiguousarray(values.transpose(0, 2, 3, 1))
    with Graph().as_default() as graph:
        x = static.placeholder("float32", fed.shape)
        weights, h, inner = [], x, None
        for C, K in pairwise(channels):
            w = rng.standard_normal((K, C, 3, 3), dtype=np.float32) * 0.2
            stored = w if layout == "NCHW" else w.transpose(2, 3, 1, 0)
            b = rng.standard_normal(K, dtype=np.float32)
            weights += [static.variable(np.ascontiguousarray(stored)), static.variable(b)]
            h = static.conv2d(h, weights[-2], padding=SAME, layout=layout)
            h = static.relu(static.bias_add(h, weights[-1], axis=axis))
            inner = h
            h = static.max_pool2d(h, (2, 2), layout=layout)
        loss = static.sum(h * h)
        fetches = [loss, *static.gradients(loss, weights)]
        if watched:
            fetches.append(inner)
    return graph, fetches, {x: fed}


def counts(session: Session, fetches: list, name: str) -> dict[str, int]:
    (report,) = (each for each in session.explain(fetches).passes if each.name == name)
    return report.counts


def kernels_and_layouts(session: Session, fetches: list) -> set[tuple[str, str]]:
    nodes = (launch.node for launch in session.compiled(fetches, None).launches)
    return {
        (node.primitive.name, node.attributes["layout"])
        for node in nodes
        if "layout" in node.attributes
    }


@settings(max_examples=12, deadline=None)
@given(
    widths=st.lists(st.sampled_from([16, 32]), min_size=1, max_size=3),
    side=st.sampled_from([16, 18, 24]),
    first=st.sampled_from([3, 16]),
    watched=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_results_are_those_of_the_layout_as_written(widths, side, first, watched, seed):
    rng = np.random.default_rng(seed)
    graph, fetches, feed = network(rng, [first, *widths], side, layout="NCHW", watched=watched)
    expected = Session(graph, switches=PassSwitches.none()).run(fetches, feed)
    got = Session(graph, switches=PassSwitches.only("assign_layouts")).run(fetches, feed)
    for a, b in zip(got, expected, strict=True):
        assert a.shape == b.shape
        assert np.abs(a - b).max() <= 2e-5 * max(np.abs(b).max(), 1e-3)


def test_a_chain_written_in_nchw_runs_in_nhwc():
    rng = np.random.default_rng(0)
    graph, fetches, _ = network(rng, [3, 32, 32, 32], 32, layout="NCHW", watched=False)
    session = Session(graph)
    assert {layout for _, layout in kernels_and_layouts(session, fetches)} == {"NHWC"}
    found = counts(session, fetches, "assign_layouts")
    assert found["moved"] >= 12
    # In at the image, out to the loss, and in again with its gradient.
    assert found["transposes_added"] == 3


def test_a_chain_written_in_nhwc_stays():
    rng = np.random.default_rng(0)
    graph, fetches, _ = network(rng, [3, 32, 32], 16, layout="NHWC", watched=False)
    found = counts(Session(graph), fetches, "assign_layouts")
    assert found == {"moved": 0, "transposes_added": 0}


def test_one_convolution_between_images_in_nchw_stays_as_written():
    with Graph().as_default() as graph:
        x = static.placeholder("float32", (1, 32, 16, 16))
        w = static.variable(np.ones((32, 32, 3, 3), np.float32))
        y = static.conv2d(x, w, padding=SAME, layout="NCHW")
    session = Session(graph)
    assert kernels_and_layouts(session, [y]) == {("conv2d", "NCHW")}


def test_a_convolution_whose_kernel_needs_the_written_layout_stays():
    """A window over the whole image is a matrix product only where filters lie like images."""
    with Graph().as_default() as graph:
        x = static.placeholder("float32", (2, 16, 28, 28))
        w = static.constant(np.ones((16, 16, 3, 3), np.float32))
        head = static.constant(np.ones((32, 16, 7, 7), np.float32))
        h = x
        for _ in range(2):
            h = static.max_pool2d(static.relu(static.conv2d(h, w, padding=SAME)), (2, 2))
        y = static.conv2d(h, head)
    session = Session(graph)
    names = session.explain([y]).kernels
    assert any(name.startswith("conv2d:gemm") for name in names), names
    launched = kernels_and_layouts(session, [y])
    assert ("conv2d", "NCHW") in launched and ("max_pool2d", "NHWC") in launched


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("stride", [(2, 2), (1, 1)])
def test_the_mask_before_a_pooling_is_read_off_the_maxima(layout, stride):
    rng = np.random.default_rng(3)
    values = np.round(rng.standard_normal((2, 8, 9, 9)), 1).astype(np.float32)  # ties and zeros
    if layout == "NHWC":
        values = np.ascontiguousarray(values.transpose(0, 2, 3, 1))
    with Graph().as_default() as graph:
        x = static.placeholder("float32", values.shape)
        pooled = static.max_pool2d(static.relu(x), (2, 2), stride=stride, layout=layout)
        loss = static.sum(pooled * pooled)
        (dx,) = static.gradients(loss, [x])
    feed = {x: values}
    expected = Session(graph, switches=PassSwitches.none()).run(dx, feed)
    session = Session(graph, switches=PassSwitches.only("simplify_algebra"))
    assert counts(session, [dx], "simplify_algebra")["relu_gradient_moved"] == 1
    assert session.run(dx, feed).tobytes() == expected.tobytes()


def test_a_mask_of_something_else_than_what_was_pooled_stays():
    with Graph().as_default() as graph:
        x = static.placeholder("float32", (1, 1, 4, 4))
        other = static.relu(x * 2.0)
        pooled = static.max_pool2d(x, (2, 2))
        (dx,) = static.gradients(static.sum(pooled), [x])
        loss = static.sum(other * dx)
        (again,) = static.gradients(loss, [x])
    session = Session(graph, switches=PassSwitches.only("simplify_algebra"))
    assert "relu_gradient_moved" not in counts(session, [again], "simplify_algebra")


def test_backward_keeps_no_activation_from_before_a_pooling():
    rng = np.random.default_rng(0)
    graph, fetches, _ = network(rng, [16, 16, 16], 16, layout="NHWC", watched=False)

    def readers_of_pooled(*passes: str) -> list[str]:
        program = Session(graph, switches=PassSwitches.only(*passes)).compiled(fetches, None)
        nodes = [launch.node for launch in program.launches]
        pooled = [node.operands[0] for node in nodes if node.primitive.name == "max_pool2d"]
        return [node.primitive.name for value in pooled for node in nodes if value in node.operands]

    assert set(readers_of_pooled("simplify_algebra")) == {"max_pool2d"}
    assert set(readers_of_pooled()) == {"max_pool2d", "relu_gradient"}
