"""Compiled loops of Winograd convolution: blocks of tiles through the transform domain.

m is the side of a tile of results, n = m + 2 that of the tile of inputs behind it, and the domain
has n*n points. Domain arrays are [point, tile, channel]; their rows and points are a cache line
longer than they need to be, so that they do not all fall on the same sets of a cache. Intrinsics
take addresses and strides in bytes (int64); loops take flat arrays. A worker is an iteration of a
prange with a contiguous share of the work, so one thread count gives one result.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import prange

from .compiled import compiled_loop
from .dots_tile import prefetch_row
from .gemm_tile import FROM_RESULT, FROM_ZERO, multiply
from .host_vectors import FEWEST_ROWS, LANES, WIDTH
from .winograd_grid import GATHERED, Domain, Staging
from .winograd_tiles import (
    filter_in_4,
    filter_in_6,
    filter_out_4,
    filter_out_6,
    gradient_in_4,
    gradient_in_6,
    image_in_4,
    image_in_6,
    pooled_out_4,
    pooled_out_6,
    result_out_4,
    result_out_6,
    transpose_block,
)

Array = npt.NDArray[Any]
NO_FLOOR = np.float32(-np.inf)
# Input channels whose filters are asked for ahead of their transform.
FILTERS_AHEAD = 8


@compiled_loop()
def stage_strip(x, picture, slab, slab_row, n, y, x_from, columns):  # type: ignore[no-untyped-def]
    """Copy the part of a strip that lies inside the image from x[N, C, H, W], channels last."""
    C, H, W = picture.channels, picture.height, picture.width
    low, high = max(x_from, 0), min(x_from + columns, W)
    source, target = x.ctypes.data, slab.ctypes.data
    for c in range(0, C, LANES):
        for i in range(max(0, -y), min(picture.side, H - y)):
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
    high = min(x_from + columns, W)
    source, target = slab.ctypes.data, x.ctypes.data
    for c in range(0, C, LANES):
        for i in range(min(picture.side, H - y)):
            line = ((n * C + c) * H + y + i) * W
            place = i * slab_row + c
            if high - x_from >= LANES:
                for at in range(x_from, high, LANES):
                    at = min(at, high - LANES)
                    transpose_block(
                        source + 4 * (place + (at - x_from) * C),
                        4 * C,
                        target + 4 * (line + at),
                        4 * H * W,
                    )
            else:
                for lane in range(LANES):
                    for at in range(x_from, high):
                        x[line + lane * H * W + at] = slab[place + (at - x_from) * C + lane]


@compiled_loop()
def list_positions(table, picture, base, row, y, x, blank):  # type: ignore[no-untyped-def]
    """Fill the table of a tile at (y, x): position (0, 0) of the image is at `base`."""
    side, pixel = picture.side, 4 * picture.channels
    H, W = picture.height, picture.width
    for i in range(side):
        line = base + (y + i) * row + x * pixel
        inside = 0 <= y + i < H
        for j in range(side):
            table[i * side + j] = line + j * pixel if inside and 0 <= x + j < W else blank


@compiled_loop()
def read_tiles(x, picture, gradient, begin, end, scratch, domain, staging, table):  # type: ignore[no-untyped-def]
    """Bring tiles [begin, end) of an image into the domain, from its row 0 on."""
    high, wide, C = picture.tiles_high, picture.tiles_wide, picture.channels
    slab = scratch[staging.slab :]
    blank = scratch[staging.blank : staging.blank + C]
    blank[:] = 0
    zeros, addresses = blank.ctypes.data, table.ctypes.data
    target = scratch.ctypes.data + 4 * domain.start
    q = begin
    while q < end:
        n = q // (high * wide)
        ty = (q - n * high * wide) // wide
        tx = q - (n * high + ty) * wide
        run = min(wide - tx, end - q, staging.strip)
        y, left = ty * picture.step - picture.top, tx * picture.step - picture.left
        if picture.nchw:
            columns = run * picture.step + picture.side - picture.step
            stage_strip(x, picture, slab, staging.slab_row, n, y, left, columns)
            row = 4 * staging.slab_row
            base = slab.ctypes.data - y * row - 4 * left * C
        else:
            row = 4 * picture.width * C
            base = x.ctypes.data + n * picture.height * row
        for t in range(run):
            list_positions(table, picture, base, row, y, left + t * picture.step, zeros)
            place = target + 4 * (q + t - begin) * domain.row
            if gradient:
                if picture.step == 4:
                    gradient_in_4(addresses, place, 4 * domain.point, C)
                else:
                    gradient_in_6(addresses, place, 4 * domain.point, C)
            elif picture.step == 4:
                image_in_4(addresses, place, 4 * domain.point, C)
            else:
                image_in_6(addresses, place, 4 * domain.point, C)
        q += run


@compiled_loop()
def write_tiles(x, picture, m, bias, floor, begin, end, scratch, domain, staging, table):  # type: ignore[no-untyped-def]
    """Finish tiles [begin, end) of the domain, from its row 0 on, and write them to the image.

    A picture with steps of m / 2 is that of the 2x2 maxima.
    """
    high, wide, K = picture.tiles_high, picture.tiles_wide, picture.channels
    slab = scratch[staging.slab :]
    addresses, added = table.ctypes.data, bias.ctypes.data
    unwanted = scratch.ctypes.data + 4 * staging.blank
    source = scratch.ctypes.data + 4 * domain.start
    pooled = picture.step != m
    q = begin
    while q < end:
        n = q // (high * wide)
        ty = (q - n * high * wide) // wide
        tx = q - (n * high + ty) * wide
        run = min(wide - tx, end - q, staging.strip)
        y, left = ty * picture.step, tx * picture.step
        if picture.nchw:
            row = 4 * staging.slab_row
            base = slab.ctypes.data - y * row - 4 * left * K
        else:
            row = 4 * picture.width * K
            base = x.ctypes.data + n * picture.height * row
        for t in range(run):
            list_positions(table, picture, base, row, y, left + t * picture.step, unwanted)
            place = source + 4 * (q + t - begin) * domain.row
            point = 4 * domain.point
            if pooled:
                if m == 4:
                    pooled_out_4(place, point, addresses, K, added, floor)
                else:
                    pooled_out_6(place, point, addresses, K, added, floor)
            elif m == 4:
                result_out_4(place, point, addresses, K, added, floor)
            else:
                result_out_6(place, point, addresses, K, added, floor)
        if picture.nchw:
            unstage_strip(x, picture, slab, staging.slab_row, n, y, left, run * picture.step)
        q += run


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
    m,
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
    points = (m + 2) * (m + 2)
    C, K = source.channels, target.channels
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
            read_tiles(x, source, False, begin, end, scratch, own_left, own_reading, table)
            rows = max(end - begin, FEWEST_ROWS)
            multiply_points(scratch, own_left, own_right, filters, rows, C, K, 0, items)
            write_tiles(
                out, target, m, bias, floor, begin, end, scratch, own_right, own_writing, table
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
    m,
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
    points = (m + 2) * (m + 2)
    C, K = source.channels, target.channels
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
            read_tiles(x, source, False, begin + low, begin + high, scratch, own, staging, table)
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
                m,
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
def gather_filters(w, C, K, c, j, channels_last, rotated, gathered):  # type: ignore[no-untyped-def]
    """Fill gathered[LANES, 9, WIDTH]: filters from channels c and j*WIDTH on, of all taps.

    w is [R, S, C, K] where `channels_last`, else [K, C, R, S]. `rotated`: those of the transposed
    convolution, whose C and K are exchanged. Channels that do not exist read as zero.
    """
    source, target = w.ctypes.data, gathered.ctypes.data
    for first in range(0, WIDTH, LANES):
        k = j * WIDTH + first
        if k >= K:
            for i in range(LANES * 9):
                gathered[i * WIDTH + first : i * WIDTH + first + LANES] = 0
        elif channels_last and rotated:
            for tap in range(9):
                transpose_block(
                    source + 4 * (((8 - tap) * K + k) * C + c),
                    4 * C,
                    target + 4 * (tap * WIDTH + first),
                    4 * 9 * WIDTH,
                )
        elif channels_last:
            for lane in range(LANES):
                for tap in range(9):
                    start = (tap * C + c + lane) * K + k
                    place = (lane * 9 + tap) * WIDTH + first
                    for i in range(LANES):
                        gathered[place + i] = w[start + i]
        elif rotated:
            for lane in range(LANES):
                start = ((c + lane) * K + k) * 9
                for tap in range(9):
                    place = (lane * 9 + tap) * WIDTH + first
                    for i in range(LANES):
                        gathered[place + i] = w[start + i * 9 + 8 - tap]
        else:
            for part in range(9):
                transpose_block(
                    source + 4 * ((k * C + c) * 9 + part * LANES),
                    4 * C * 9,
                    target + 4 * (part * LANES * WIDTH + first),
                    4 * WIDTH,
                )


@compiled_loop()
def transform_filter(target, point, m, table):  # type: ignore[no-untyped-def]
    """Address `target`: a panel of filters of one input channel, taps at the addresses listed."""
    if m == 4:
        filter_in_4(table.ctypes.data, target, 4 * point, WIDTH)
    else:
        filter_in_6(table.ctypes.data, target, 4 * point, WIDTH)


@compiled_loop()
def transform_panel(  # type: ignore[no-untyped-def]
    target, point, w, C, K, m, j, c_first, c_last, channels_last, rotated, gathered, table
):
    """Address `target`[p, C, WIDTH]: filters of panel j, channels [c_first, c_last), in the domain.

    Points are `point` floats apart.
    """
    if channels_last and not rotated and (j + 1) * WIDTH <= K:
        # Whole rows of a panel lie together as they are.
        for c in range(c_first, c_last):
            for tap in range(9):
                row = w.ctypes.data + 4 * ((tap * C + c) * K + j * WIDTH)
                table[tap] = row
                prefetch_row(row + 4 * FILTERS_AHEAD * K)
            transform_filter(target + 4 * (c - c_first) * WIDTH, point, m, table)
        return
    for c in range(c_first, c_last, LANES):
        gather_filters(w, C, K, c, j, channels_last, rotated, gathered)
        for lane in range(LANES):
            for tap in range(9):
                table[tap] = gathered.ctypes.data + 4 * (lane * 9 + tap) * WIDTH
            transform_filter(target + 4 * (c - c_first + lane) * WIDTH, point, m, table)


@compiled_loop(parallel=True)
def transform_filters(filters, w, C, K, m, channels_last, rotated, scratch, tables, threads):  # type: ignore[no-untyped-def]
    """filters[p, panel, C, WIDTH] from w, see `gather_filters`."""
    panels = (K + WIDTH - 1) // WIDTH
    groups = C // LANES
    for worker in prange(threads):
        gathered = scratch[worker * GATHERED : (worker + 1) * GATHERED]
        table = tables[worker * 9 : (worker + 1) * 9]
        items = panels * groups
        for item in range(items * worker // threads, items * (worker + 1) // threads):
            j = item // groups
            c = (item - j * groups) * LANES
            target = filters.ctypes.data + 4 * (j * C + c) * WIDTH
            transform_panel(
                target,
                panels * C * WIDTH,
                w,
                C,
                K,
                m,
                j,
                c,
                c + LANES,
                channels_last,
                rotated,
                gathered,
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
    m,
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
    points = (m + 2) * (m + 2)
    C, K = source.channels, target.channels
    panels = (K + WIDTH - 1) // WIDTH
    count = (tiles + block - 1) // block
    memory = scratch.ctypes.data
    for b in range(count):
        begin, end = tiles * b // count, tiles * (b + 1) // count
        size = end - begin
        rows = max(size, FEWEST_ROWS)
        for worker in prange(threads):
            low, high = size * worker // threads, size * (worker + 1) // threads
            own = Domain(left.start + low * left.row, left.row, left.point)
            staging = moved(reading, worker * worker_floats)
            table = tables[worker * points : (worker + 1) * points]
            read_tiles(x, source, False, begin + low, begin + high, scratch, own, staging, table)
        for worker in prange(threads):
            table = tables[worker * points : (worker + 1) * points]
            shift = worker * worker_floats
            gathered = scratch[panel.gathered + shift : panel.gathered + shift + GATHERED]
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
                        m,
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
                m,
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
    m,
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
    points = (m + 2) * (m + 2)
    C, K = source.channels, target.channels
    count = (tiles + block - 1) // block
    for b in range(count):
        begin, end = tiles * b // count, tiles * (b + 1) // count
        size = end - begin
        for worker in prange(threads):
            low, high = size * worker // threads, size * (worker + 1) // threads
            table = tables[worker * points : (worker + 1) * points]
            own = Domain(left.start + low * left.row, left.row, left.point)
            staging = moved(reading, worker * worker_floats)
            read_tiles(x, source, False, begin + low, begin + high, scratch, own, staging, table)
            own = Domain(right.start + low * right.row, right.row, right.point)
            staging = moved(writing, worker * worker_floats)
            read_tiles(g, target, True, begin + low, begin + high, scratch, own, staging, table)
        for worker in prange(threads):
            first, last = points * worker // threads, points * (worker + 1) // threads
            multiply_gradients(scratch, left, right, sums, size, C, K, first, last, b > 0)


@compiled_loop(parallel=True)
def collect_filters(w, sums, C, K, m, channels_last, lines, tables, threads):  # type: ignore[no-untyped-def]
    """w from the domain: [R, S, C, K] where `channels_last`, else [K, C, R, S]."""
    row = (K + WIDTH - 1) // WIDTH * WIDTH
    for worker in prange(threads):
        line = lines[worker * 9 * K : (worker + 1) * 9 * K]
        table = tables[worker * 9 : (worker + 1) * 9]
        for c in range(C * worker // threads, C * (worker + 1) // threads):
            for tap in range(9):
                if channels_last:
                    table[tap] = w.ctypes.data + 4 * (tap * C + c) * K
                else:
                    table[tap] = line.ctypes.data + 4 * tap * K
            start = sums.ctypes.data + 4 * c * row
            if m == 4:
                filter_out_4(start, 4 * C * row, table.ctypes.data, K)
            else:
                filter_out_6(start, 4 * C * row, table.ctypes.data, K)
            if not channels_last:
                for k in range(K):
                    for tap in range(9):
                        w[(k * C + c) * 9 + tap] = line[tap * K + k]
