"""Compiled loops that bring filters into the transform domain of Winograd's filtering, and back.

Filters lie in memory as [R, S, C, K] or [K, C, R, S], as given. In the domain they are
[point, C, K] with the channels of all phases: those of the input for a convolution, those of the
result for a rotated one, which carries a gradient back to its input. Tap t of phase a is row
stride*t + a of the filters as given, and zero where they end before.
"""

from __future__ import annotations

from numba import prange

from .compiled import compiled_loop
from .dots_tile import prefetch_row
from .host_vectors import LANES, WIDTH
from .winograd_tiles import (
    filter_in_4_3,
    filter_in_4_5,
    filter_in_6_3,
    filter_out_4_3,
    filter_out_4_5,
    filter_out_6_3,
    transpose_block,
)

# Input channels whose filters are asked for ahead of their transform.
FILTERS_AHEAD = 8


@compiled_loop()
def given_tap(filtering, phase, i, j, rotated):  # type: ignore[no-untyped-def]
    """Row-major number of tap (i, j) of a phase among the taps as given, -1 where there is none."""
    stride, side, last = filtering.stride, filtering.side, filtering.taps - 1
    down = phase // stride
    if rotated:
        i, j = last - i, last - j
    row, column = stride * i + down, stride * j + phase - down * stride
    return row * side + column if row < side and column < side else -1


@compiled_loop()
def gather_filters(w, C, K, filtering, c, j, channels_last, rotated, gathered):  # type: ignore[no-untyped-def]
    """Fill gathered[LANES, taps, WIDTH]: filters from channels c and j*WIDTH on, of all taps.

    w is [R, S, C, K] where `channels_last`, else [K, C, R, S]. `rotated`: those of the transposed
    convolution, whose C and K are exchanged. C and K are those of the domain. What does not exist
    reads as zero.
    """
    taps, phases = filtering.taps, filtering.stride * filtering.stride
    stored_taps = filtering.side * filtering.side
    square = taps * taps
    source, target = w.ctypes.data, gathered.ctypes.data
    for first in range(0, WIDTH, LANES):
        k = j * WIDTH + first
        if k >= K:
            for i in range(LANES * square):
                gathered[i * WIDTH + first : i * WIDTH + first + LANES] = 0
            continue
        # LANES channels are of one phase, since a phase has a multiple of them.
        inner = K // phases if rotated else C // phases
        phase = k // inner if rotated else c // inner
        outer = C if rotated else K
        # Numbers of the first channels in the filters as given.
        at_inner = (k if rotated else c) - phase * inner
        at_outer = c if rotated else k
        if not channels_last and not rotated and phases == 1:
            for part in range(square):
                transpose_block(
                    source + 4 * ((at_outer * inner + at_inner) * square + part * LANES),
                    4 * inner * square,
                    target + 4 * (part * LANES * WIDTH + first),
                    4 * WIDTH,
                )
            continue
        for tap in range(square):
            row = tap // taps
            stored = given_tap(filtering, phase, row, tap - row * taps, rotated)
            place = tap * WIDTH + first
            if stored < 0:
                for lane in range(LANES):
                    start = place + lane * square * WIDTH
                    gathered[start : start + LANES] = 0
            elif channels_last and rotated:
                transpose_block(
                    source + 4 * ((stored * inner + at_inner) * outer + at_outer),
                    4 * outer,
                    target + 4 * place,
                    4 * square * WIDTH,
                )
            elif channels_last:
                for lane in range(LANES):
                    start = (stored * inner + at_inner + lane) * outer + at_outer
                    for i in range(LANES):
                        gathered[place + lane * square * WIDTH + i] = w[start + i]
            elif rotated:
                for lane in range(LANES):
                    start = ((at_outer + lane) * inner + at_inner) * stored_taps + stored
                    for i in range(LANES):
                        gathered[place + lane * square * WIDTH + i] = w[start + i * stored_taps]
            else:
                for lane in range(LANES):
                    start = (at_outer * inner + at_inner + lane) * stored_taps + stored
                    for i in range(LANES):
                        gathered[place + lane * square * WIDTH + i] = w[
                            start + i * inner * stored_taps
                        ]


@compiled_loop()
def transform_filter(target, point, filtering, table):  # type: ignore[no-untyped-def]
    """Address `target`: a panel of filters of one input channel, taps at the addresses listed."""
    if filtering.taps == 5:
        filter_in_4_5(table.ctypes.data, target, 4 * point, WIDTH)
    elif filtering.results == 4:
        filter_in_4_3(table.ctypes.data, target, 4 * point, WIDTH)
    else:
        filter_in_6_3(table.ctypes.data, target, 4 * point, WIDTH)


@compiled_loop()
def transform_panel(  # type: ignore[no-untyped-def]
    target, point, w, C, K, filtering, j, c_first, c_last, channels_last, rotated, gathered, table
):
    """Address `target`[p, C, WIDTH]: filters of panel j, channels [c_first, c_last), in the domain.

    Points are `point` floats apart.
    """
    taps = filtering.taps
    square = taps * taps
    if channels_last and not rotated and (j + 1) * WIDTH <= K:
        # Whole rows of a panel lie together as they are.
        gathered[:WIDTH] = 0
        zeros = gathered.ctypes.data
        inner = C // (filtering.stride * filtering.stride)
        for c in range(c_first, c_last):
            phase = c // inner
            for tap in range(square):
                i = tap // taps
                stored = given_tap(filtering, phase, i, tap - i * taps, rotated)
                if stored < 0:
                    table[tap] = zeros
                else:
                    row = stored * inner + c - phase * inner
                    table[tap] = w.ctypes.data + 4 * (row * K + j * WIDTH)
                    prefetch_row(table[tap] + 4 * FILTERS_AHEAD * K)
            transform_filter(target + 4 * (c - c_first) * WIDTH, point, filtering, table)
        return
    for c in range(c_first, c_last, LANES):
        gather_filters(w, C, K, filtering, c, j, channels_last, rotated, gathered)
        for lane in range(LANES):
            for tap in range(square):
                table[tap] = gathered.ctypes.data + 4 * (lane * square + tap) * WIDTH
            transform_filter(target + 4 * (c - c_first + lane) * WIDTH, point, filtering, table)


@compiled_loop(parallel=True)
def transform_filters(  # type: ignore[no-untyped-def]
    filters, w, C, K, filtering, channels_last, rotated, scratch, tables, threads
):
    """filters[p, panel, C, WIDTH] from w, see `gather_filters`."""
    panels = (K + WIDTH - 1) // WIDTH
    groups = C // LANES
    square = filtering.taps * filtering.taps
    room = square * LANES * WIDTH
    for worker in prange(threads):
        gathered = scratch[worker * room : (worker + 1) * room]
        table = tables[worker * square : (worker + 1) * square]
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
                filtering,
                j,
                c,
                c + LANES,
                channels_last,
                rotated,
                gathered,
                table,
            )


@compiled_loop(parallel=True)
def collect_filters(  # type: ignore[no-untyped-def]
    w, sums, C, K, filtering, channels_last, lines, line_floats, tables, threads
):
    """w from the domain: [R, S, C, K] where `channels_last`, else [K, C, R, S].

    A worker has `line_floats` of `lines`: K for each tap, and K for those that do not exist.
    """
    row = (K + WIDTH - 1) // WIDTH * WIDTH
    taps = filtering.taps
    square, stored_taps = taps * taps, filtering.side * filtering.side
    inner = C // (filtering.stride * filtering.stride)
    for worker in prange(threads):
        line = lines[worker * line_floats : (worker + 1) * line_floats]
        table = tables[worker * square : (worker + 1) * square]
        for c in range(C * worker // threads, C * (worker + 1) // threads):
            phase = c // inner
            at = c - phase * inner
            for tap in range(square):
                i = tap // taps
                stored = given_tap(filtering, phase, i, tap - i * taps, False)
                if stored < 0:
                    table[tap] = line.ctypes.data + 4 * square * K
                elif channels_last:
                    table[tap] = w.ctypes.data + 4 * (stored * inner + at) * K
                else:
                    table[tap] = line.ctypes.data + 4 * tap * K
            start = sums.ctypes.data + 4 * c * row
            if taps == 5:
                filter_out_4_5(start, 4 * C * row, table.ctypes.data, K)
            elif filtering.results == 4:
                filter_out_4_3(start, 4 * C * row, table.ctypes.data, K)
            else:
                filter_out_6_3(start, 4 * C * row, table.ctypes.data, K)
            if not channels_last:
                for tap in range(square):
                    i = tap // taps
                    stored = given_tap(filtering, phase, i, tap - i * taps, False)
                    if stored >= 0:
                        for k in range(K):
                            w[(k * inner + at) * stored_taps + stored] = line[tap * K + k]
