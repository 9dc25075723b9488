"""Numba source for a group of elementwise operations: one pass over memory for all of them.

A `Loop` says what is computed; `write_source` writes a Python function for it. Operands of the
iteration's shape are walked flat; operands that broadcast are indexed by the axes they have, after
adjacent axes with the same pattern have been merged.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..primitives.primitive import PRIMITIVES
from ..primitives.specs import TensorSpec

BLOCK = 8192
"""Elements summed into one partial sum; fixed, so that sums do not depend on the thread count."""

PARALLEL_SIZE = 32768
"""Elements from which a loop is worth starting threads for."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """One scalar operation: a primitive's rule applied to earlier values.

    Values are numbered: inputs first, then instructions in order.
    """

    primitive: str
    arguments: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Loop:
    """An elementwise group.

    `axes[i]` are the axes of the iteration shape along which input i varies; all of them for a
    full operand, none for a scalar. `stores` are the values written out at full shape, `sums` those
    summed to a scalar; outputs come in that order. `dtype` is that of the arithmetic.
    """

    shape: tuple[int, ...]
    dtype: str
    inputs: tuple[TensorSpec, ...]
    axes: tuple[tuple[int, ...], ...]
    instructions: tuple[Instruction, ...]
    stores: tuple[int, ...]
    sums: tuple[int, ...] = ()

    @property
    def size(self) -> int:
        """Number of iterations."""
        return math.prod(self.shape)

    @property
    def flat(self) -> bool:
        """Whether every operand is full or a scalar."""
        full = tuple(range(len(self.shape)))
        return all(axes in ((), full) for axes in self.axes)


def broadcast_axes(operand: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """Axes of `shape` along which an operand of this shape varies, by NumPy's rule."""
    if operand == shape:
        return tuple(range(len(shape)))
    shift = len(shape) - len(operand)
    return tuple(
        axis + shift for axis, size in enumerate(operand) if size == shape[axis + shift] != 1
    )


def write_source(loop: Loop, threads: int, raw: bool = False) -> str:
    """Python source of the function `loop(*outputs, *inputs)`.

    Shapes are no part of a flat loop's source, so that one compilation serves all sizes. The `raw`
    form takes its arguments as `RawArray` and returns 1 where their shapes do not fit, 0 when done.
    """
    parallel = threads > 1 and loop.size >= PARALLEL_SIZE
    arguments = _arguments(loop)
    signature = ", ".join(_type(dtype, rank, raw) for _, dtype, rank in arguments)
    header = [
        f"# {describe(loop)}",
        "import math",
        "",
        "import numpy as np",
        f"from numba import {'carray, ' if raw else ''}njit, prange, types, uint64",
        f"from numpy import {loop.dtype} as real",
    ]
    if raw:
        header.append("from benchctl_engines.kernels.raw_arrays import RawArray")
    lines = [
        *header,
        "",
        f"SIGNATURE = types.{'int64' if raw else 'void'}({signature})",
        "",
        "",
        f"@njit({_options(loop, parallel)})",
        f"def loop({', '.join(f'{name}_' for name, _, _ in arguments)}):",
    ]
    lines += _raw_header(loop) if raw else _array_header(loop)
    lines += _flat_body(loop, parallel) if loop.flat else _nested_body(loop, parallel)
    if raw:
        lines.append("    return 0")
    return "\n".join(lines) + "\n"


def raw_capable(loop: Loop) -> bool:
    """Whether the loop has a raw form: no bool arrays, small ranks, a store to take sizes from."""
    arguments = _arguments(loop)
    plain = all(dtype != "bool" and rank <= 6 for _, dtype, rank in arguments)
    return plain and bool(loop.stores)


def _arguments(loop: Loop) -> list[tuple[str, str, int]]:
    """(name, dtype, rank) of every argument in order."""
    rank = len(loop.shape)
    arguments = [(f"o{i}", _value_dtype(loop, value), rank) for i, value in enumerate(loop.stores)]
    arguments += [(f"s{i}", loop.dtype, 0) for i in range(len(loop.sums))]
    arguments += [(f"a{i}", each.dtype, each.rank) for i, each in enumerate(loop.inputs)]
    return arguments


def _value_dtype(loop: Loop, value: int) -> str:
    if value < len(loop.inputs):
        return loop.inputs[value].dtype
    comparing = loop.instructions[value - len(loop.inputs)].primitive in ("greater", "equal")
    return "bool" if comparing else loop.dtype


def _type(dtype: str, rank: int, raw: bool) -> str:
    if raw:
        return f'RawArray("{dtype}", {rank})'
    return f'types.Array(types.{"boolean" if dtype == "bool" else dtype}, {rank}, "C")'


def _array_header(loop: Loop) -> list[str]:
    """Flat views of the operands; scalars are loaded once."""
    lines = [f"    o{i} = o{i}_.ravel()" for i in range(len(loop.stores))]
    lines += [f"    s{i} = s{i}_.reshape(1)" for i in range(len(loop.sums))]
    for i, axes in enumerate(loop.axes):
        access = "_.ravel()" if axes else ("_.ravel()[0]" if loop.inputs[i].rank else "_[()]")
        lines.append(f"    a{i} = a{i}{access}")
    return lines


def _raw_header(loop: Loop) -> list[str]:
    """Shape checks, then flat arrays over the raw pointers."""
    tests = []
    for i, axes in enumerate(loop.axes):
        if loop.flat and axes:
            tests += [f"a{i}_.d{axis} != o0_.d{axis}" for axis in range(len(loop.shape))]
        else:
            sizes = loop.inputs[i].shape
            tests += [f"a{i}_.d{axis} != {size}" for axis, size in enumerate(sizes)]
    lines = [f"    if {' or '.join(tests)}:", "        return 1"] if tests else []
    for name, _, _ in _arguments(loop):
        lines.append(f"    {name} = carray({name}_.data, {name}_.size)")
    lines += [f"    a{i} = a{i}[0]" for i, axes in enumerate(loop.axes) if not axes]
    return lines


def describe(loop: Loop) -> str:
    """The group in one line, for comments and reports."""
    count = len(loop.inputs)
    words = []
    for place, each in enumerate(loop.instructions):
        arguments = ", ".join(_name(value, count) for value in each.arguments)
        words.append(f"v{place} = {each.primitive}({arguments})")
    kept = [f"store {_name(value, count)}" for value in loop.stores]
    kept += [f"sum {_name(value, count)}" for value in loop.sums]
    return "; ".join(words + kept)


def _name(value: int, inputs: int) -> str:
    return f"a{value}" if value < inputs else f"v{value - inputs}"


def _options(loop: Loop, parallel: bool) -> str:
    options = ["cache=True", "nogil=True", 'error_model="numpy"']
    if parallel:
        options.append("parallel=True")
    if loop.sums:
        # Without leave to reorder additions a sum runs one element at a time. NaN, infinities
        # and signed zeros keep their meaning.
        options.append('fastmath={"reassoc"}')
    return ", ".join(options)


def _element_lines(loop: Loop, index: dict[int, str]) -> list[str]:
    """Loads, operations and stores of one element; `index` gives each operand's position."""
    count = len(loop.inputs)
    lines = [f"x{i} = a{i}[{index[i]}]" if loop.axes[i] else f"x{i} = a{i}" for i in range(count)]
    values = [f"x{i}" for i in range(count)]
    for place, each in enumerate(loop.instructions):
        rule = PRIMITIVES[each.primitive].scalar
        assert rule is not None, f"{each.primitive} has no scalar rule"
        source = rule.python([values[argument] for argument in each.arguments], "real")
        lines.append(f"v{place} = {source}")
        values.append(f"v{place}")
    lines += [f"o{i}[{index[-1]}] = {values[value]}" for i, value in enumerate(loop.stores)]
    lines += [f"t{i} += {values[value]}" for i, value in enumerate(loop.sums)]
    return lines


def _indent(lines: list[str], depth: int) -> list[str]:
    return ["    " * depth + line for line in lines]


def _flat_body(loop: Loop, parallel: bool) -> list[str]:
    # Sizes come from an operand, since the source does not know them. Indices are unsigned: a
    # signed one might be negative, and the test for that keeps LLVM from using vector registers.
    sized = "o0" if loop.stores else f"a{next(i for i, axes in enumerate(loop.axes) if axes)}"
    index = dict.fromkeys(range(-1, len(loop.inputs)), "i")
    lines = [f"n = uint64({sized}.size)"]
    if not parallel and not loop.sums:
        lines += ["for i in range(n):", *_indent(_element_lines(loop, index), 1)]
        return _indent(lines, 1)
    lines += [
        f"blocks = (n + uint64({BLOCK - 1})) // uint64({BLOCK})",
        *_partials(loop, parallel, "blocks"),
    ]
    inner = [
        f"start = uint64(block) * uint64({BLOCK})",
        f"count = min(n - start, uint64({BLOCK}))",
        *[f"t{i} = real(0)" for i in range(len(loop.sums))],
        "for k in range(count):",
        "    i = start + k",
        *_indent(_element_lines(loop, index), 1),
        *_collect(loop, parallel, "block"),
    ]
    lines += [f"for block in {'prange' if parallel else 'range'}(blocks):", *_indent(inner, 1)]
    return _indent(lines + _totals(loop, parallel, "blocks"), 1)


def _merged_axes(loop: Loop) -> tuple[list[int], list[tuple[int, ...]]]:
    """Sizes after merging adjacent axes that every operand treats alike, and operands' axes."""
    patterns = [tuple(axis in axes for axes in loop.axes) for axis in range(len(loop.shape))]
    sizes: list[int] = []
    merged: list[tuple[bool, ...]] = []
    for size, pattern in zip(loop.shape, patterns, strict=True):
        if merged and (merged[-1] == pattern or size == 1):
            sizes[-1] *= size
        elif merged and sizes[-1] == 1:
            sizes[-1], merged[-1] = size, pattern
        else:
            sizes.append(size)
            merged.append(pattern)
    operands = [
        tuple(axis for axis, pattern in enumerate(merged) if pattern[i])
        for i in range(len(loop.inputs))
    ]
    return sizes, operands


def _nested_body(loop: Loop, parallel: bool) -> list[str]:
    sizes, operands = _merged_axes(loop)
    outer = math.prod(sizes[:-1])
    inner_size = sizes[-1]
    lines = [f"outer = {outer}", *_partials(loop, parallel, "outer")]
    body = ["j = uint64(row)"]
    remaining = outer
    for axis, size in enumerate(sizes[:-1]):
        remaining //= max(size, 1)
        body.append(f"j{axis} = (j // uint64({remaining})) % uint64({size})")
    index = {-1: f"j * uint64({inner_size}) + i"}
    for operand, axes in enumerate(operands):
        index[operand] = _index_expression(axes, sizes)
    body += [f"t{i} = real(0)" for i in range(len(loop.sums))]
    body += [f"for i in range(uint64({inner_size})):", *_indent(_element_lines(loop, index), 1)]
    body += _collect(loop, parallel, "row")
    lines += [f"for row in {'prange' if parallel else 'range'}(outer):", *_indent(body, 1)]
    return _indent(lines + _totals(loop, parallel, "outer"), 1)


def _index_expression(axes: tuple[int, ...], sizes: list[int]) -> str:
    terms = []
    stride = 1
    for axis in reversed(axes):
        name = "i" if axis == len(sizes) - 1 else f"j{axis}"
        terms.append(name if stride == 1 else f"{name} * uint64({stride})")
        stride *= sizes[axis]
    return " + ".join(reversed(terms))


def _partials(loop: Loop, parallel: bool, count: str) -> list[str]:
    if parallel:
        return [f"p{i} = np.empty({count}, np.float64)" for i in range(len(loop.sums))]
    return [f"p{i} = 0.0" for i in range(len(loop.sums))]


def _collect(loop: Loop, parallel: bool, index: str) -> list[str]:
    if parallel:
        return [f"p{i}[{index}] = t{i}" for i in range(len(loop.sums))]
    return [f"p{i} += t{i}" for i in range(len(loop.sums))]


def _totals(loop: Loop, parallel: bool, count: str) -> list[str]:
    lines = []
    for i in range(len(loop.sums)):
        if parallel:
            lines += [
                f"total{i} = 0.0",
                f"for k in range({count}):",
                f"    total{i} += p{i}[k]",
                f"s{i}[0] = total{i}",
            ]
        else:
            lines.append(f"s{i}[0] = p{i}")
    return lines
