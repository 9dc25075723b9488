"""Elementwise loops made ready to launch: compiled, with grid and constant arguments packed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..primitives.specs import spec
from .cuda_loop_source import Body, LoopSource, write_loop
from .cuda_source import (
    C_TYPES,
    THREADS,
    WIDE_ELEMENTS,
    WORDS,
    Index,
    driver_of,
    grid_of,
)
from .cuda_walk import Place, Walk, merged_walk
from .table import KernelRequest, Prepared

SUM_PACKS_PER_THREAD = 8
"""Packs that a thread adds before a sum is shared out over more blocks."""

SUM_BLOCKS = 1024
"""At most so many partial sums; no property of the card, so that sums do not depend on it."""

Run = Callable[..., None]


def prepare_loop(
    request: KernelRequest,
    body: Body,
    shape: tuple[int, ...],
    places: Sequence[Place],
    numbers: Sequence[int | float] = (),
) -> Prepared:
    """A kernel that applies the body at every position of `shape`.

    `places` are those of the outputs (of which the last `body.sums` have none), then the inputs;
    `numbers` are what the body takes by value.
    """
    walk = merged_walk(shape, places)
    if not walk.count:
        return _prepare_nothing(request, body)
    # Positions of a slice or of a padded result may exceed the number of elements walked.
    largest = max(each.size for each in (*request.inputs, *request.outputs))
    written = write_loop(body, walk, Index(max(largest, walk.count) >= WIDE_ELEMENTS))
    driver = driver_of(request)
    module = driver.module(written.text)
    launch = module.function(written.name, written.signature).launch
    constants = (*numbers, *written.sizes)
    block = (THREADS, 1, 1)
    if body.sums:
        return _prepare_sums(request, body, walk, written, constants)
    grid = grid_of(driver, -(-walk.count // written.width))

    def loop(*arrays: Any) -> None:
        launch(grid, block, (*[each.pointer for each in arrays], *constants))

    return Prepared(loop)


def _prepare_sums(
    request: KernelRequest,
    body: Body,
    walk: Walk,
    written: LoopSource,
    constants: tuple[int | float, ...],
) -> Prepared:
    """One launch where a block is enough, else partial sums of the blocks and their totals."""
    module = driver_of(request).module(written.text)
    launch = module.function(written.name, written.signature).launch
    block = (THREADS, 1, 1)
    per_block = THREADS * written.width * SUM_PACKS_PER_THREAD
    blocks = min(-(-walk.count // per_block), SUM_BLOCKS)
    if blocks == 1:

        def loop_in_a_block(*arrays: Any) -> None:
            pointers = [each.pointer for each in arrays]
            # The totals are written at once: no partial sums, and no place for them.
            launch((1, 1, 1), block, (*pointers, pointers[0], *constants))

        return Prepared(loop_in_a_block)

    add_up = module.function(f"{written.name}_totals", written.totals_signature).launch
    first, last = len(body.outputs), len(body.outputs) + body.sums

    def loop_and_totals(*arrays: Any) -> None:
        pointers = [each.pointer for each in arrays]
        launch((blocks, 1, 1), block, (*pointers, *constants))
        add_up((body.sums, 1, 1), block, (*pointers[first:last], pointers[-1], blocks))

    return Prepared(loop_and_totals, workspace_bytes=body.sums * blocks * 8)


def _prepare_nothing(request: KernelRequest, body: Body) -> Prepared:
    """No element to walk: outputs have none either, and sums are 0."""
    driver = driver_of(request)
    first, last = len(body.outputs), len(body.outputs) + body.sums
    nbytes = spec((), body.sum_dtype).itemsize

    def nothing(*arrays: Any) -> None:
        for total in arrays[first:last]:
            driver.fill(total.pointer, nbytes, 0)

    return Prepared(nothing)


def moved_as(request: KernelRequest) -> str:
    """The dtype as which elements are moved: their bits, whatever they mean."""
    return WORDS[request.outputs[0].itemsize]


def prepare_move(request: KernelRequest, shape: tuple[int, ...], out: Place, x: Place) -> Prepared:
    """Copies elements from one set of places to another."""
    word = moved_as(request)
    name = f"move_{C_TYPES[word].replace(' ', '_')}"
    body = Body(name, (word,), (word,), ("y0 = x0;",))
    return prepare_loop(request, body, shape, (out, x))


def prepare_copy(request: KernelRequest) -> Prepared:
    """The same bytes; nothing where the output is the input itself."""
    driver, nbytes = driver_of(request), request.outputs[0].nbytes
    copy_on_device = driver.copy_on_device

    def copy(out: Any, x: Any) -> None:
        if nbytes and out.pointer != x.pointer:
            copy_on_device(out.pointer, x.pointer, nbytes)

    return Prepared(copy)
