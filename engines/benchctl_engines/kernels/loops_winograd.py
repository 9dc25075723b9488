"""Compiled loops of Winograd convolution: blocks of tiles through the transform domain.

A tile of inputs has `points` rows and columns, and as many points in the domain. Domain arrays are
[point, tile, channel], the channels those of all phases of an image; their rows and points are a
cache line longer than they need to be, so that they do not all fall on the same sets of a cache.
Intrinsics take addresses and strides in bytes (int64); loops take flat arrays. A worker is an
iteration of a prange with a contiguous share of the work, so one thread count gives one result.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import prange

from .compiled import compiled_loop
from .gemm_tile import FROM_RESULT, FROM_ZERO, multiply
from .host_vectors import FEWEST_ROWS, LANES, WIDTH
from .loops_winograd_filters import transform_panel
from .winograd_grid import Domain, Staging
from .winograd_tiles import (
    gradient_in_4_3,
    gradient_in_4_5,
    gradient_in_6_3,
    image_in_6,
    image_in_8,
    pooled_out_4_3,
    pooled_out_4_5,
    pooled_out_6_3,
    result_out_4_3,
    result_out_4_5,
    result_out_6_3,
    transpose_block,
)

Array = npt.NDArray[Any]
NO_FLOOR = np.float32(-np.inf)


@compiled_loop()
def stage_strip(x, picture, slab, slab_row, n, y, x_from, columns):  # type: ignore[no-untyped-def]
    """Copy the part of a strip that lies inside the image from x[N, C, H, W], channels last."""
    C, H, W = picture.channels, picture.height, picture.width
    low, high = max(x_from, 0), min(x_from + columns, W)
    source, target = x.ctypes.data, slab.ctypes.data
    for c in range(0, C, LANES):
        for i in range(max(0, -y), min(picture.side * picture.stride, H - y)):
            line = ((n * C + c) * H + y + i) * W
            place = i * slab_row + c
            if high - low >= LANES:
                for at in range(low, high, LANES):
                    at = min(at, high - LANES)
                    transpose_block(
                        source + 4 * (line + at),
                        4 * H * W,
                        target + 4 * (place + (at - x_from) * C),
                        4 * C,
                    )
            else:
                for lane in range(LANES):
                    for at in range(low, high):
                        slab[place + (at - x_from) * C + lane] = x[line + lane * H * W + at]


@compiled_loop()
def unstage_strip(x, picture, slab, slab_row, n, y, x_from, columns):  # type: ignore[no-untyped-def]
    """Write the part of a strip that lies inside the image to x[N, C, H, W]."""
    C, H, W = picture.channels, picture.height, picture.width
    low, high = max(x_from, 0), min(x_from + columns, W)
    source, target = slab.ctypes.data, x.ctypes.data
    for c in range(0, C, LANES):
        for i in range(max(0, -y), min(picture.side * picture.stride, H - y)):
            line = ((n * C + c) * H + y + i) * W
            place = i * slab_row + c
            if high - low >= LANES:
                for at in range(low, high, LANES):
                    at = min(at, high - LANES)
                    transpose_block(
                        source + 4 * (place + (at - x_from) * C),
                        4 * C,
                        target + 4 * (line + at),
                        4 * H * W,
                    )
            else:
                for lane in range(LANES):
                    for at in range(low, high):
                        x[line + lane * H * W + at] = slab[place + (at - x_from) * C + lane]


@compiled_loop()
def list_positions(table, picture, base, row, y, x, blank):  # type: ignore[no-untyped-def]
    """Fill the table of a tile whose first position is (y, x): (0, 0) of the image is at `base`."""
    side, stride, pixel = picture.side, picture.stride, 4 * picture.channels
    H, W = picture.height, picture.width
    for i in range(side):
        line_y = y + i * stride
        line = base + line_y * row
        inside = 0 <= line_y < H
        for j in range(side):
            at = x + j * stride
            table[i * side + j] = line + at * pixel if inside and 0 <= at < W else blank


@compiled_loop()
def read_tiles(x, picture, filtering, gradient, begin, end, scratch, domain, staging, table):  # type: ignore[no-untyped-def]
    """Bring tiles [begin, end) of an image into the domain, from its row 0 on.

    The channels of one phase follow those of the other.
    """
    high, wide, C = picture.tiles_high, picture.tiles_wide, picture.channels
    stride, step = picture.stride, picture.step * picture.stride
    slab = scratch[staging.slab :]
    blank = scratch[staging.blank : staging.blank + C]
    blank[:] = 0
    zeros, addresses = blank.ctypes.data, table.ctypes.data
    target, point = scratch.ctypes.data + 4 * domain.start, 4 * domain.point
    q = begin
    while q < end:
        n = q // (high * wide)
        ty = (q - n * high * wide) // wide
        tx = q - (n * high + ty) * wide
        run = min(wide - tx, end - q, staging.strip)
        y, left = ty * step - picture.top, tx * step - picture.left
        if picture.nchw:
            columns = (run - 1) * step + picture.side * stride
            stage_strip(x, picture, slab, staging.slab_row, n, y, left, columns)
            row = 4 * staging.slab_row
            base = slab.ctypes.data - y * row - 4 * left * C
        else:
            row = 4 * picture.width * C
            base = x.ctypes.data + n * picture.height * row
        for t in range(run):
            for phase in range(stride * stride):
                down = phase // stride
                across = left + t * step + phase - down * stride
                list_positions(table, picture, base, row, y + down, across, zeros)
                place = target + 4 * ((q + t - begin) * domain.row + phase * C)
                if not gradient:
                    if filtering.points == 6:
                        image_in_6(addresses, place, point, C)
                    else:
                        image_in_8(addresses, place, point, C)
                elif filtering.taps == 5:
                    gradient_in_4_5(addresses, place, point, C)
                elif filtering.results == 4:
                    gradient_in_4_3(addresses, place, point, C)
                else:
                    gradient_in_6_3(addresses, place, point, C)
        q += run


@compiled_loop()
def write_tile(filtering, pooled, place, point, addresses, channels, bias, floor):  # type: ignore[no-untyped-def]
    """Finish one tile of one phase and write it to the addresses listed."""
    if filtering.taps == 5:
        if pooled:
            pooled_out_4_5(place, point, addresses, channels, bias, floor)
        else:
            result_out_4_5(place, point, addresses, channels, bias, floor)
    elif filtering.results == 4:
        if pooled:
            pooled_out_4_3(place, point, addresses, channels, bias, floor)
        else:
            result_out_4_3(place, point, addresses, channels, bias, floor)
    elif pooled:
        pooled_out_6_3(place, point, addresses, channels, bias, floor)
    else:
        result_out_6_3(place, point, addresses, channels, bias, floor)


@compiled_loop()
def write_tiles(  # type: ignore[no-untyped-def]
    x, picture, filtering, bias, floor, begin, end, scratch, domain, staging, table
):
    """Finish tiles [begin, end) of the domain, from its row 0 on, and write them to the image.

    A picture with steps of half a tile is that of the 2x2 maxima.
    """
    high, wide, K = picture.tiles_high, picture.tiles_wide, picture.channels
    stride, step = picture.stride, picture.step * picture.stride
    slab = scratch[staging.slab :]
    addresses, added = table.ctypes.data, bias.ctypes.data
    unwanted = scratch.ctypes.data + 4 * staging.blank
    source, point = scratch.ctypes.data + 4 * domain.start, 4 * domain.point
    pooled = picture.step != filtering.results
    q = begin
    while q < end:
        n = q // (high * wide)
        ty = (q - n * high * wide) // wide
        tx = q - (n * high + ty) * wide
        run = min(wide - tx, end - q, staging.strip)
        y, left = ty * step - picture.top, tx * step - picture.left
        if picture.nchw:
            row = 4 * staging.slab_row
            base = slab.ctypes.data - y * row - 4 * left * K
        else:
            row = 4 * picture.width * K
            base = x.ctypes.data + n * picture.height * row
        for t in range(run):
            for phase in range(stride * stride):
                down = phase // stride
                across = left + t * step + phase - down * stride
                list_positions(table, picture, base, row, y + down, across, unwanted)
                place = source + 4 * ((q + t - begin) * domain.row + phase * K)
                write_tile(filtering, pooled, place, point, addresses, K, added, floor)
        if picture.nchw:
            unstage_strip(x, picture, slab, staging.slab_row, n, y, left, run * step)
        q += run


@compiled_loop()
def domain_channels(picture):  # type: ignore[no-untyped-def]
    """Channels of all phases of an image."""
    return picture.channels * picture.stride * picture.stride


@compiled_loop()
def multiply_points(scratch, left, right, filters, tiles, C, K, first, last):  # type: ignore[no-untyped-def]
    """right[p, tile, K] = left[p, tile, C] @ filters[p, panel, C, WIDTH], items [first, last).

    An item is a panel of output channels at a point.
    """
    panels = (K + WIDTH - 1) // WIDTH
    memory, packed = scratch.ctypes.data, filters.ctypes.data
    for item in range(first, last):
        p = item // panels
        j = item - p * panels
        multiply(
            memory + 4 * (left.start + p * left.point),
            4 * left.row,
            4,
            0,
            packed + 4 * item * C * WIDTH,
            4 * WIDTH,
            memory + 4 * (right.start + p * right.point + j * WIDTH),
            4 * right.row,
            tiles,
            C,
            1,
            FROM_ZERO,
            0,
            NO_FLOOR,
        )


@compiled_loop()
def moved(staging, floats):  # type: ignore[no-untyped-def]
    """The staging memory of a worker whose scratch starts `floats` further on."""
    return Staging(staging.slab + floats, staging.slab_row, staging.blank + floats, staging.strip)


@compiled_loop(parallel=True)
def convolve_blocks(  # type: ignore[no-untyped-def]
    out,
    x,
    filters,
    bias,
    floor,
    source,
    target,
    filtering,
    left,
    right,
    reading,
    writing,
    block,
    scratch,
    worker_floats,
    tables,
    threads,
):
    """y from x where each worker takes blocks of at most `block` tiles through all steps."""
    tiles = source.images * source.tiles_high * source.tiles_wide
    points = filtering.points * filtering.points
    C, K = domain_channels(source), domain_channels(target)
    items = points * ((K + WIDTH - 1) // WIDTH)
    for worker in prange(threads):
        shift = worker * worker_floats
        own_left = Domain(left.start + shift, left.row, left.point)
        own_right = Domain(right.start + shift, right.row, right.point)
        own_reading, own_writing = moved(reading, shift), moved(writing, shift)
        table = tables[worker * points : (worker + 1) * points]
        low, high = tiles * worker // threads, tiles * (worker + 1) // threads
        count = (high - low + block - 1) // block
        for b in range(count):
            begin = low + (high - low) * b // count
            end = low + (high - low) * (b + 1) // count
            read_tiles(
                x, source, filtering, False, begin, end, scratch, own_left, own_reading, table
            )
            rows = max(end - begin, FEWEST_ROWS)
            multiply_points(scratch, own_left, own_right, filters, rows, C, K, 0, items)
            write_tiles(
                out,
                target,
                filtering,
                bias,
                floor,
                begin,
                end,
                scratch,
                own_right,
                own_writing,
                table,
            )


@compiled_loop(parallel=True)
def convolve_phases(  # type: ignore[no-untyped-def]
    out,
    x,
    filters,
    bias,
    floor,
    source,
    target,
    filtering,
    left,
    right,
    reading,
    writing,
    block,
    scratch,
    worker_floats,
    tables,
    threads,
):
    """y from x where all workers share the steps of one block of tiles after another.

    For filters so large that reading them is what counts: each is read once a block.
    """
    tiles = source.images * source.tiles_high * source.tiles_wide
    points = filtering.points * filtering.points
    C, K = domain_channels(source), domain_channels(target)
    items = points * ((K + WIDTH - 1) // WIDTH)
    count = (tiles + block - 1) // block
    for b in range(count):
        begin, end = tiles * b // count, tiles * (b + 1) // count
        size = end - begin
        for worker in prange(threads):
            low, high = size * worker // threads, size * (worker + 1) // threads
            own = Domain(left.start + low * left.row, left.row, left.point)
            staging = moved(reading, worker * worker_floats)
            table = tables[worker * points : (worker + 1) * points]
            read_tiles(
                x, source, filtering, False, begin + low, begin + high, scratch, own, staging, table
            )
        for worker in prange(threads):
            first, last = items * worker // threads, items * (worker + 1) // threads
            multiply_points(
                scratch, left, right, filters, max(size, FEWEST_ROWS), C, K, first, last
            )
        for worker in prange(threads):
            low, high = size * worker // threads, size * (worker + 1) // threads
            own = Domain(right.start + low * right.row, right.row, right.point)
            staging = moved(writing, worker * worker_floats)
            table = tables[worker * points : (worker + 1) * points]
            write_tiles(
                out,
                target,
                filtering,
                bias,
                floor,
                begin + low,
                begin + high,
                scratch,
                own,
                staging,
                table,
            )


@compiled_loop(parallel=True)
def convolve_panels(  # type: ignore[no-untyped-def]
    out,
    x,
    w,
    channels_last,
    rotated,
    bias,
    floor,
    source,
    target,
    filtering,
    left,
    right,
    reading,
    writing,
    block,
    panel,
    scratch,
    worker_floats,
    tables,
    threads,
):
    """y from x and filters as given: a panel of them at a time goes into the domain and is used.

    Filters in the domain are up to seven times larger than as given; so they never leave a
    worker's own cache.
    """
    tiles = source.images * source.tiles_high * source.tiles_wide
    points = filtering.points * filtering.points
    C, K = domain_channels(source), domain_channels(target)
    panels = (K + WIDTH - 1) // WIDTH
    count = (tiles + block - 1) // block
    memory = scratch.ctypes.data
    room = filtering.taps * filtering.taps * LANES * WIDTH
    for b in range(count):
        begin, end = tiles * b // count, tiles * (b + 1) // count
        size = end - begin
        rows = max(size, FEWEST_ROWS)
        for worker in prange(threads):
            low, high = size * worker // threads, size * (worker + 1) // threads
            own = Domain(left.start + low * left.row, left.row, left.point)
            staging = moved(reading, worker * worker_floats)
            table = tables[worker * points : (worker + 1) * points]
            read_tiles(
                x, source, filtering, False, begin + low, begin + high, scratch, own, staging, table
            )
        for worker in prange(threads):
            table = tables[worker * points : (worker + 1) * points]
            shift = worker * worker_floats
            start = panel.gathered + shift
            gathered = scratch[start : start + room]
            place = memory + 4 * (panel.start + shift)
            for j in range(panels * worker // threads, panels * (worker + 1) // threads):
                for c in range(0, C, panel.channels):
                    last = min(c + panel.channels, C)
                    transform_panel(
                        place,
                        panel.point,
                        w,
                        C,
                        K,
                        filtering,
                        j,
                        c,
                        last,
                        channels_last,
                        rotated,
                        gathered,
                        table,
                    )
                    for p in range(points):
                        multiply(
                            memory + 4 * (left.start + p * left.point + c),
                            4 * left.row,
                            4,
                            0,
                            place + 4 * p * panel.point,
                            4 * WIDTH,
                            memory + 4 * (right.start + p * right.point + j * WIDTH),
                            4 * right.row,
                            rows,
                            last - c,
                            1,
                            FROM_ZERO if c == 0 else FROM_RESULT,
                            0,
                            NO_FLOOR,
                        )
        for worker in prange(threads):
            low, high = size * worker // threads, size * (worker + 1) // threads
            own = Domain(right.start + low * right.row, right.row, right.point)
            staging = moved(writing, worker * worker_floats)
            table = tables[worker * points : (worker + 1) * points]
            write_tiles(
                out,
                target,
                filtering,
                bias,
                floor,
                begin + low,
                begin + high,
                scratch,
                own,
                staging,
                table,
            )


@compiled_loop()
def multiply_gradients(scratch, left, right, sums, tiles, C, K, first, last, accumulate):  # type: ignore[no-untyped-def]
    """sums[p, C, K] (+)= left[p, tile, C]^T @ right[p, tile, K], items [first, last).

    An item is a point. sums has rows of whole panels.
    """
    panels = (K + WIDTH - 1) // WIDTH
    memory, results = scratch.ctypes.data, sums.ctypes.data
    row = panels * WIDTH
    for p in range(first, last):
        for j in range(panels):
            multiply(
                memory + 4 * (left.start + p * left.point),
                4,
                4 * left.row,
                0,
                memory + 4 * (right.start + p * right.point + j * WIDTH),
                4 * right.row,
                results + 4 * (p * C * row + j * WIDTH),
                4 * row,
                C,
                tiles,
                1,
                FROM_RESULT if accumulate else FROM_ZERO,
                0,
                NO_FLOOR,
            )


@compiled_loop(parallel=True)
def correlate_phases(  # type: ignore[no-untyped-def]
    sums,
    x,
    g,
    source,
    target,
    filtering,
    left,
    right,
    reading,
    writing,
    block,
    scratch,
    worker_floats,
    tables,
    threads,
):
    """sums[p, C, K] = the products of all tiles of x and g in the domain, block by block."""
    tiles = source.images * source.tiles_high * source.tiles_wide
    points = filtering.points * filtering.points
    C, K = domain_channels(source), domain_channels(target)
    count = (tiles + block - 1) // block
    for b in range(count):
        begin, end = tiles * b // count, tiles * (b + 1) // count
        size = end - begin
        for worker in prange(threads):
            low, high = size * worker // threads, size * (worker + 1) // threads
            table = tables[worker * points : (worker + 1) * points]
            own = Domain(left.start + low * left.row, left.row, left.point)
            staging = moved(reading, worker * worker_floats)
            read_tiles(
                x, source, filtering, False, begin + low, begin + high, scratch, own, staging, table
            )
            own = Domain(right.start + low * right.row, right.row, right.point)
            staging = moved(writing, worker * worker_floats)
            read_tiles(
                g, target, filtering, True, begin + low, begin + high, scratch, own, staging, table
            )
        for worker in prange(threads):
            first, last = points * worker // threads, points * (worker + 1) // threads
            multiply_gradients(scratch, left, right, sums, size, C, K, first, last, b > 0)
