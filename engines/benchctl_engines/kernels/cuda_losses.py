"""Softmax cross-entropy and its first and second derivatives on a GPU: a block takes a row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .cuda_source import (
    C_TYPES,
    THREADS,
    Index,
    driver_of,
    grid_of,
    index_for,
    real_types,
    source,
)
from .table import KernelRequest, Prepared, kernel

_WARP = 32
_PART_BYTES = 8


def _compiled(
    request: KernelRequest, real: str, labels: str
) -> tuple[Index, Callable[[str, str], Callable[..., None]]]:
    """How positions are passed, and a function that gives a kernel's launch by name."""
    index = index_for(*request.inputs)
    types = {**real_types(real), "LABEL": C_TYPES[labels], "OUT": C_TYPES[request.outputs[0].dtype]}
    text = source(index, "folds", "losses", **types)
    module = driver_of(request).module(text)

    def launch_of(name: str, signature: str) -> Callable[..., None]:
        return module.function(name, signature).launch

    return index, launch_of


def _row_block(classes: int) -> tuple[int, int, int]:
    """Whole warps, no more than the row has elements for."""
    return (min(-(-classes // _WARP) * _WARP, THREADS), 1, 1)


@kernel("softmax_cross_entropy", "gpu", "rows")
def prepare_loss(request: KernelRequest) -> Prepared:
    """(loss [], probabilities [N, classes]) of logits [N, classes] and int labels [N].

    A label outside the classes makes the loss NaN.
    """
    logits, labels = request.inputs
    N, classes = logits.shape
    index, launch_of = _compiled(request, logits.dtype, labels.dtype)
    softmax = launch_of("softmax_rows", "PPPP" + index.letter)
    mean = launch_of("mean_of_rows", "PP" + index.letter)
    block = _row_block(classes)

    def loss_and_probabilities(
        loss: Any, probabilities: Any, logits: Any, labels: Any, workspace: Any
    ) -> None:
        parts = workspace.pointer
        pointers = (probabilities.pointer, parts, logits.pointer, labels.pointer)
        softmax((N, 1, 1), block, (*pointers, classes))
        mean((1, 1, 1), (THREADS, 1, 1), (loss.pointer, parts, N))

    return Prepared(loss_and_probabilities, N * _PART_BYTES)


@kernel("softmax_cross_entropy_gradient", "gpu", "elements")
def prepare_gradient(request: KernelRequest) -> Prepared:
    """(p - onehot(labels)) * g / N."""
    logits, _, labels, _ = request.inputs
    N, classes = logits.shape
    index, launch_of = _compiled(request, logits.dtype, labels.dtype)
    launch = launch_of("loss_gradient", "PPPP" + index.letter * 2 + index.divisor_letters)
    grid, block = grid_of(driver_of(request), logits.size), (THREADS, 1, 1)
    sizes = (logits.size, N, *index.divisor(classes))

    def gradient(out: Any, logits: Any, probabilities: Any, labels: Any, g: Any) -> None:
        pointers = (out.pointer, probabilities.pointer, labels.pointer, g.pointer)
        launch(grid, block, (*pointers, *sizes))

    return Prepared(gradient)


@kernel("softmax_cross_entropy_gradient_input", "gpu", "rows")
def prepare_gradient_input(request: KernelRequest) -> Prepared:
    """g / N * p * (u - sum(u * p)): the gradient's own derivative, to the logits."""
    N, classes = request.inputs[0].shape
    index, launch_of = _compiled(request, request.inputs[0].dtype, "int64")
    launch = launch_of("loss_gradient_input", "PPPP" + index.letter * 2)
    grid, block = (N, 1, 1), _row_block(classes)

    def gradient_input(out: Any, u: Any, logits: Any, probabilities: Any, g: Any) -> None:
        pointers = (out.pointer, u.pointer, probabilities.pointer, g.pointer)
        launch(grid, block, (*pointers, N, classes))

    return Prepared(gradient_input)


@kernel("softmax_cross_entropy_gradient_seed", "gpu", "rows")
def prepare_gradient_seed(request: KernelRequest) -> Prepared:
    """sum(u * (p - onehot(labels))) / N: the gradient's own derivative, to g."""
    u, labels = request.inputs[0], request.inputs[3]
    N, classes = u.shape
    index, launch_of = _compiled(request, u.dtype, labels.dtype)
    rows = launch_of("loss_gradient_seed", "PPPP" + index.letter)
    mean = launch_of("mean_of_rows", "PP" + index.letter)
    block = _row_block(classes)

    def gradient_seed(
        out: Any, u: Any, logits: Any, probabilities: Any, labels: Any, workspace: Any
    ) -> None:
        parts = workspace.pointer
        pointers = (parts, u.pointer, probabilities.pointer, labels.pointer)
        rows((N, 1, 1), block, (*pointers, classes))
        mean((1, 1, 1), (THREADS, 1, 1), (out.pointer, parts, N))

    return Prepared(gradient_seed, N * _PART_BYTES)
