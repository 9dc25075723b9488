"""Errors name the user's own file and line: at build, when feeding, and at run for every pass."""

from __future__ import annotations

import dataclasses
import sys
import traceback
from pathlib import Path

import numpy as np
import pytest

from benchctl_engines import eager, static
from benchctl_engines.kernels import table
from benchctl_engines.kernels.table import Kernel, NoKernelError, Prepared
from benchctl_engines.primitives import operations
from benchctl_engines.primitives.nan_check import NanError
from benchctl_engines.primitives.primitive import OperandError
from benchctl_engines.primitives.specs import ShapeError
from benchctl_engines.source_sites import Site, user_site
from benchctl_engines.static import FeedError, Graph, PassSwitches, Session
from benchctl_engines.static.switches import PASS_NAMES

FILE = Path(__file__).name
SETTINGS = ["none", *PASS_NAMES, "all", "all but bind_early"]


def switches_of(setting: str, **others: bool) -> PassSwitches:
    base = {
        "none": PassSwitches.none(),
        "all": PassSwitches(),
        "all but bind_early": PassSwitches(bind_early=False),
    }
    chosen = base[setting] if setting in base else PassSwitches.only(setting)
    return dataclasses.replace(chosen, **others)


def here(offset: int = 0) -> str:
    """`file:line` of the caller, as messages print it."""
    return f"{FILE}:{sys._getframe(1).f_lineno + offset}"


def full_text(error: BaseException) -> str:
    """Message and notes, as the user's terminal shows them."""
    return "".join(traceback.format_exception_only(error))


# ----- at build ---------------------------------------------------------------------------------


def test_a_wrong_product_names_both_operands_lines_and_its_own():
    with Graph().as_default():
        left = static.placeholder("float32", (16, 25088))
        a = here(-1)
        right = static.placeholder("float32", (4096, 4096))
        b = here(-1)
        with pytest.raises(ShapeError) as caught:
            static.matmul(left, right)
        line = here(-1)
    text = str(caught.value)
    assert "expected (N, K) and (K, M), received (16, 25088) and (4096, 4096)" in text
    for part, site in (("at ", line), ("left ", a), ("right", b)):
        assert any(part in each and f"{site} " in each for each in text.splitlines()), text
    assert 'static.placeholder("float32", (16, 25088))' in text


WRONG_CALLS = {
    "add": lambda ops, x: ops.add(x, ops.reshape(x, (3, 2))),
    "where": lambda ops, x: ops.where(x, x, x),
    "sum": lambda ops, x: ops.sum(ops.greater(x, 0.0)),
    "reshape": lambda ops, x: ops.reshape(x, (4, 2)),
    "reshape -1": lambda ops, x: ops.reshape(x, (4, -1)),
    "transpose": lambda ops, x: ops.transpose(x, (0, 0)),
    "broadcast_to": lambda ops, x: ops.broadcast_to(x, (3, 3)),
    "slice": lambda ops, x: ops.slice(x, (0, 0), (3, 3)),
    "pad": lambda ops, x: ops.pad(x, ((1, 1),)),
    "matmul": lambda ops, x: ops.matmul(x, x),
    "conv2d": lambda ops, x: ops.conv2d(x, x),
    "conv2d channels": lambda ops, x: ops.conv2d(
        ops.reshape(x, (1, 2, 3, 1)), ops.reshape(x, (1, 1, 2, 3))
    ),
    "conv2d layout": lambda ops, x: ops.conv2d(
        ops.reshape(x, (1, 1, 2, 3)), ops.reshape(x, (1, 1, 2, 3)), layout="CHWN"
    ),
    "max_pool2d": lambda ops, x: ops.max_pool2d(ops.reshape(x, (1, 1, 2, 3)), (3, 3)),
    "average_pool2d": lambda ops, x: ops.average_pool2d(ops.reshape(x, (1, 1, 2, 3)), (3, 3)),
    "conv2d_transpose channels": lambda ops, x: ops.conv2d_transpose(
        ops.reshape(x, (1, 2, 3, 1)), ops.reshape(x, (1, 1, 2, 3))
    ),
    "conv2d_transpose output padding": lambda ops, x: ops.conv2d_transpose(
        ops.reshape(x, (1, 1, 2, 3)), ops.reshape(x, (1, 1, 2, 3)), output_padding=(1, 0)
    ),
    "conv2d_transpose padding": lambda ops, x: ops.conv2d_transpose(
        ops.reshape(x, (1, 1, 2, 3)), ops.reshape(x, (1, 1, 2, 3)), padding=((3, 3), (0, 0))
    ),
    "concatenate": lambda ops, x: ops.concatenate([x, ops.transpose(x)], 1),
    "concatenate ranks": lambda ops, x: ops.concatenate([x, ops.reshape(x, (6,))]),
    "concatenate nothing": lambda ops, x: ops.concatenate([]),
    "bias_add": lambda ops, x: ops.bias_add(x, x),
    "softmax_cross_entropy": lambda ops, x: ops.softmax_cross_entropy(x, x),
    "mean of nothing": lambda ops, x: ops.mean(ops.slice(x, (0, 0), (0, 3))),
    "max of nothing": lambda ops, x: ops.max(ops.slice(x, (0, 0), (0, 3))),
    "dtypes": lambda ops, x: ops.multiply(x, ops.cast(x, dtype="float64")),
    "axis twice": lambda ops, x: ops.sum(x, (1, 1)),
    "axis out of range": lambda ops, x: ops.sum(x, (2,)),
}


@pytest.mark.parametrize("name", WRONG_CALLS)
def test_wrong_calls_say_what_was_expected_and_received(name):
    with pytest.raises(ShapeError, match=r"expected .*received"):
        WRONG_CALLS[name](operations, eager.tensor(np.ones((2, 3), "float32")))
    with Graph().as_default():
        x = static.placeholder("float32", (2, 3))
        count = len(x.graph.nodes)
        with pytest.raises(ShapeError, match=r"expected .*received"):
            WRONG_CALLS[name](operations, x)
        # A refused call leaves no node behind but what it was given.
        assert len(x.graph.nodes) <= count + 2


NAMED_AT_BUILD = [
    name
    for name in WRONG_CALLS
    if name
    not in (
        "reshape -1",
        "mean of nothing",
        "axis twice",
        "axis out of range",
        "concatenate nothing",
    )
    and not name.startswith("conv2d_transpose")
]


@pytest.mark.parametrize("name", NAMED_AT_BUILD)
def test_wrong_calls_name_the_users_line_in_a_graph(name):
    with Graph().as_default():
        x = static.placeholder("float32", (2, 3))
        line = WRONG_CALLS[name].__code__.co_firstlineno
        with pytest.raises(ShapeError, match=rf"{FILE}:{line}\b"):
            WRONG_CALLS[name](operations, x)


def test_mixing_engines_names_both_sites():
    with Graph().as_default():
        node = static.placeholder("float32", ())
        made = here(-1)
        with pytest.raises(OperandError) as caught:
            node + eager.tensor(1.0)
        line = here(-1)
    assert made in str(caught.value) and line in str(caught.value)
    with pytest.raises(OperandError) as caught:
        eager.tensor(1.0) * node
    line = here(-1)
    assert made in str(caught.value) and line in str(caught.value)
    assert "eager" in str(caught.value) and "static" in str(caught.value)


def test_an_unsupported_request_names_the_line(monkeypatch):
    monkeypatch.setitem(table._TABLE, ("tanh", "cpu"), [])
    with Graph().as_default() as graph:
        y = static.tanh(static.placeholder("float32", (3,)))
        line = here(-1)
    with pytest.raises(NoKernelError, match="no cpu kernel computes tanh") as caught:
        Session(graph).explain([y])
    assert line in full_text(caught.value)


# ----- when feeding -----------------------------------------------------------------------------


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_missing_or_wrong_feed_names_the_placeholders_line(setting):
    with Graph().as_default() as graph:
        x = static.placeholder("float32", (3,), "x")
        line = here(-1)
        y = static.tanh(x) * 2.0
    session = Session(graph, switches=switches_of(setting))
    for feed in ({}, {x: np.zeros(4, "float32")}):
        with pytest.raises(FeedError, match=rf"'x'.*{line}\b"):
            session.run(y, feed)


# ----- at run -----------------------------------------------------------------------------------


def _nan_in_a_chain(x):
    y = x * 2.0
    y = static.matmul(y, y)
    z = static.sqrt(y)
    return static.sum(z + 1.0), here(-1)


def _nan_in_an_elementwise_group(x):
    y = x * 2.0
    z = y - 1.0
    bad = static.log(z)
    out = bad * 3.0 + y
    return static.sum(out), here(-2)


def _nan_in_a_division(x):
    zero = x - x
    kept = static.exp(zero)
    bad = zero / zero
    return static.sum(bad) + static.sum(kept), here(-1)


def _nan_from_constants(x):
    bad = static.sqrt(static.constant(-4.0))
    return static.sum(x * bad), here(-1)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize(
    "build",
    [_nan_in_a_chain, _nan_in_an_elementwise_group, _nan_in_a_division, _nan_from_constants],
)
def test_a_nan_names_the_line_that_made_it(build, setting):
    with Graph().as_default() as graph:
        x = static.placeholder("float32", (2, 2))
        out, line = build(x)
    session = Session(graph, switches=switches_of(setting, check_nan=True))
    feed = {x: np.array([[-1, 2], [1, -3]], "float32")}
    with pytest.raises(NanError) as caught:
        session.run(out, feed)
    assert f"{line} " in full_text(caught.value)


@pytest.mark.parametrize("setting", SETTINGS)
def test_without_a_nan_nothing_is_raised(setting):
    with Graph().as_default() as graph:
        x = static.placeholder("float32", (2, 2))
        flags = static.greater(x, 0.0)
        out = static.sum(static.where(flags, x, x * 2.0))
    session = Session(graph, switches=switches_of(setting, check_nan=True))
    assert session.run(out, {x: np.array([[-1, 2], [1, np.inf]], "float32")}) == np.inf


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_failing_kernel_carries_a_note_with_the_users_line(setting, monkeypatch):
    class BrokenKernelError(Exception):
        pass

    def prepare(request):
        def run(out, x):
            raise BrokenKernelError("out of order")

        return Prepared(run)

    broken = Kernel("transpose", "cpu", "broken", table.always, prepare)
    monkeypatch.setitem(table._TABLE, ("transpose", "cpu"), [broken])
    with Graph().as_default() as graph:
        x = static.placeholder("float32", (2, 3), "pixels")
        hidden = static.tanh(x) * 2.0
        turned = static.transpose(hidden)
        line = here(-1)
        out = static.sum(turned * turned)
    session = Session(graph, switches=switches_of(setting))
    feed = {x: np.ones((2, 3), "float32")}
    for call in (
        lambda: session.run(out, feed),
        lambda: session.run([out], feed),
        lambda: session.make_callable({"out": out}, [x])(feed[x]),
    ):
        with pytest.raises(BrokenKernelError, match="out of order") as caught:
            call()
        text = full_text(caught.value)
        assert text.count("while running transpose") == 1
        assert "float32[2, 3]" in text
        assert f"{line} " in text and "static.transpose(hidden)" in text


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_label_out_of_range_names_the_line_of_the_loss(setting):
    with Graph().as_default() as graph:
        logits = static.placeholder("float32", (2, 3))
        labels = static.placeholder("int32", (2,))
        loss = static.softmax_cross_entropy(logits, labels)
        line = here(-1)
        (gradient,) = static.gradients(loss, [logits])
    session = Session(graph, switches=switches_of(setting))
    for wrong in (3, -1):
        with pytest.raises(IndexError) as caught:
            session.run([loss, gradient], {logits: np.ones((2, 3)), labels: [0, wrong]})
        assert f"{line} " in full_text(caught.value)


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_session_works_on_after_an_error(setting):
    with Graph().as_default() as graph:
        logits = static.placeholder("float32", (1, 2))
        labels = static.placeholder("int32", (1,))
        loss = static.softmax_cross_entropy(logits, labels)
    session = Session(graph, switches=switches_of(setting))
    with pytest.raises(IndexError):
        session.run(loss, {logits: [[0, 0]], labels: [5]})
    assert session.run(loss, {logits: [[0, 0]], labels: [1]}) == pytest.approx(np.log(2))


# ----- where gradients and passes come from -----------------------------------------------------


def test_gradient_nodes_carry_the_line_of_the_forward_operation():
    with Graph().as_default() as graph:
        x = static.placeholder("float32", (3,))
        y = static.sum(static.exp(x))
        line = here(-1)
        count = len(graph.nodes)
        static.gradients(y, [x])
    made = [node for node in graph.nodes[count:] if node.primitive.name == "multiply"]
    assert made and all(str(node.origin) == line for node in made)
    assert all("gradients" in node.origin.passes for node in made)


def test_sites_print_source_and_history():
    site = Site(__file__, 1).touched_by("merge_common").touched_by("merge_common")
    assert site.passes == ("merge_common",)
    assert site.describe().startswith(f'{FILE}:1   """Errors name')
    assert site.describe().endswith("(after merge_common)")
    assert str(user_site()) == here()


def test_a_line_in_a_workload_counts_as_the_users(tmp_path):
    source = "def build(static):\n    x = static.placeholder('float32', (2,))\n    return x * x\n"
    path = tmp_path / "my_workload.py"
    path.write_text(source)
    space: dict = {}
    exec(compile(source, str(path), "exec"), space)
    with Graph().as_default():
        assert str(space["build"](static).node.origin) == "my_workload.py:3"
