"""Operations of ONNX models that move elements: shapes, slices, concatenation, resizing."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .reading import ModelError, Node
from .translation import Env, Get, Run, Shape, Translation


def identity(node: Node, made: Translation) -> tuple[Run, Sequence[Shape]]:
    """Identity, and Dropout, which does nothing outside of training."""
    if node.operation == "Dropout":
        mode = made.constant(node, 2) if node.input(2) else None
        if mode is not None and bool(mode):
            raise ModelError(f"{node.label}: dropout while training is not supported")
    x = made.operand(node.inputs[0])
    return (lambda env: (x(env),)), [made.shape(node.inputs[0])]


def _reshaped(x: Get, shape: Shape) -> Run:
    return lambda env: (env.ops.reshape(x(env), shape),)


def reshape(node: Node, made: Translation) -> tuple[Run, Sequence[Shape]]:
    """Reshape; 0 keeps a size unless `allowzero`, -1 is what is left."""
    old = made.shape(node.inputs[0])
    wanted = made.numbers(node, 1, "shape")
    if wanted is None:
        raise ModelError(f"{node.label}: expected a shape")
    if not node.attributes.get("allowzero", 0):
        wanted = [old[axis] if size == 0 else size for axis, size in enumerate(wanted)]
    if -1 in wanted:
        known = math.prod(size for size in wanted if size != -1)
        wanted[wanted.index(-1)] = math.prod(old) // known if known else 0
    if math.prod(wanted) != math.prod(old):
        raise ModelError(f"{node.label}: {list(old)} cannot become {wanted}")
    shape = tuple(wanted)
    return _reshaped(made.operand(node.inputs[0]), shape), [shape]


def flatten(node: Node, made: Translation) -> tuple[Run, Sequence[Shape]]:
    """Flatten to a matrix, the axes before `axis` being its rows."""
    old = made.shape(node.inputs[0])
    axis = int(node.attributes.get("axis", 1))
    axis += len(old) if axis < 0 else 0
    shape = (math.prod(old[:axis]), math.prod(old[axis:]))
    return _reshaped(made.operand(node.inputs[0]), shape), [shape]


def squeeze(node: Node, made: Translation) -> tuple[Run, Sequence[Shape]]:
    """Squeeze: axes of size 1 left out."""
    old = made.shape(node.inputs[0])
    axes = made.numbers(node, 1, "axes")
    out = (
        {axis for axis, size in enumerate(old) if size == 1}
        if axes is None
        else {axis % len(old) for axis in axes}
    )
    shape = tuple(size for axis, size in enumerate(old) if axis not in out)
    return _reshaped(made.operand(node.inputs[0]), shape), [shape]


def unsqueeze(node: Node, made: Translation) -> tuple[Run, Sequence[Shape]]:
    """Unsqueeze: axes of size 1 put in."""
    old = made.shape(node.inputs[0])
    axes = made.numbers(node, 1, "axes") or []
    rank = len(old) + len(axes)
    new = {axis % rank for axis in axes}
    sizes = iter(old)
    shape = tuple(1 if axis in new else next(sizes) for axis in range(rank))
    return _reshaped(made.operand(node.inputs[0]), shape), [shape]


def transpose(node: Node, made: Translation) -> tuple[Run, Sequence[Shape]]:
    """Transpose."""
    old = made.shape(node.inputs[0])
    perm = tuple(int(axis) for axis in node.attributes.get("perm", range(len(old))[::-1]))
    x = made.operand(node.inputs[0])
    return (lambda env: (env.ops.transpose(x(env), perm),)), [tuple(old[axis] for axis in perm)]


def expand(node: Node, made: Translation) -> tuple[Run, Sequence[Shape]]:
    """Expand."""
    old, wanted = made.shape(node.inputs[0]), made.numbers(node, 1, "shape") or []
    shape = tuple(int(size) for size in np.broadcast_shapes(old, tuple(wanted)))
    x = made.operand(node.inputs[0])
    return (lambda env: (env.ops.broadcast_to(x(env), shape),)), [shape]


def sliced(node: Node, made: Translation) -> tuple[Run, Sequence[Shape]]:
    """Slice, with steps of 1 or more."""
    old = made.shape(node.inputs[0])
    starts, ends = made.numbers(node, 1, "starts") or [], made.numbers(node, 2, "ends") or []
    axes = made.numbers(node, 3, "axes") or list(range(len(starts)))
    steps = made.numbers(node, 4, "steps") or [1] * len(starts)
    if any(step < 1 for step in steps):
        raise ModelError(f"{node.label}: steps below 1 are not supported")
    low, high, apart = [0] * len(old), list(old), [1] * len(old)
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        place = axis % len(old)
        low[place], high[place], apart[place] = (*slice(start, end).indices(old[place])[:2], step)
        high[place] = max(low[place], high[place])
    bounds = tuple(low), tuple(high), tuple(apart)
    shape = tuple(len(range(*each)) for each in zip(*bounds, strict=True))
    x = made.operand(node.inputs[0])
    return (lambda env: (env.ops.slice(x(env), *bounds),)), [shape]


def split(node: Node, made: Translation) -> tuple[Run, Sequence[Shape]]:
    """Split into parts of sizes that are given, or alike."""
    old = made.shape(node.inputs[0])
    axis = int(node.attributes.get("axis", 0)) % len(old)
    sizes = made.numbers(node, 1, "split")
    if sizes is None:
        each = -(-old[axis] // len(node.outputs))
        sizes = [min(each, old[axis] - start) for start in range(0, old[axis], each)]
    edges = np.cumsum([0, *sizes]).tolist()
    x = made.operand(node.inputs[0])

    def part(env: Env, value: Any, start: int, stop: int) -> Any:
        low, high = [0] * len(old), list(old)
        low[axis], high[axis] = start, stop
        return env.ops.slice(value, tuple(low), tuple(high))

    def run(env: Env) -> tuple[Any, ...]:
        value = x(env)
        return tuple(part(env, value, start, stop) for start, stop in itertools.pairwise(edges))

    return run, [(*old[:axis], size, *old[axis + 1 :]) for size in sizes]


def concatenate(node: Node, made: Translation) -> tuple[Run, Sequence[Shape]]:
    """Concat."""
    shapes = [made.shape(name) for name in node.inputs]
    axis = int(node.attributes["axis"]) % len(shapes[0])
    operands = [made.operand(name) for name in node.inputs]

    def run(env: Env) -> tuple[Any, ...]:
        return (env.ops.concatenate([each(env) for each in operands], axis),)

    total = sum(shape[axis] for shape in shapes)
    return run, [(*shapes[0][:axis], total, *shapes[0][axis + 1 :])]


def pad(node: Node, made: Translation) -> tuple[Run, Sequence[Shape]]:
    """Pad with a constant."""
    old = made.shape(node.inputs[0])
    if node.attributes.get("mode", "constant") != "constant":
        raise ModelError(f"{node.label}: only padding with a constant is supported")
    widths = made.numbers(node, 1, "pads") or []
    array = made.constant(node, 2)
    given = node.attributes.get("value", 0.0)
    value = float(given if array is None else array.reshape(-1)[0])
    axes = made.numbers(node, 3, "axes") or list(range(len(old)))
    pairs = [(0, 0)] * len(old)
    for place, axis in enumerate(axes):
        pairs[axis % len(old)] = (widths[place], widths[len(axes) + place])
    if any(min(pair) < 0 for pair in pairs):
        raise ModelError(f"{node.label}: expected widths of 0 or more, received {pairs}")
    x = made.operand(node.inputs[0])
    whole = tuple(pairs)

    def run(env: Env) -> tuple[Any, ...]:
        if value == 0.0:
            return (env.ops.pad(x(env), whole),)
        return (env.ops.add(env.ops.pad(env.ops.subtract(x(env), value), whole), value),)

    shape = [size + before + after for size, (before, after) in zip(old, pairs, strict=True)]
    return run, [tuple(shape)]


def resize(node: Node, made: Translation) -> tuple[Run, Sequence[Shape]]:
    """Resize or Upsample to whole multiples, each element repeated."""
    old = made.shape(node.inputs[0])
    if node.attributes.get("mode", "nearest") != "nearest":
        raise ModelError(f"{node.label}: only the mode nearest is supported")
    factors = _factors(node, made, old)
    if any(factor < 1 or factor != int(factor) for factor in factors):
        raise ModelError(f"{node.label}: only whole multiples are supported, received {factors}")
    times = [int(factor) for factor in factors]
    for size, by in zip(old, times, strict=True):
        if _nearest(node, size, by, made.graph.opset) != [
            place // by for place in range(size * by)
        ]:
            raise ModelError(f"{node.label}: its rounding repeats no elements evenly")
    apart = [part for size in old for part in (size, 1)]
    repeated = [part for size, by in zip(old, times, strict=True) for part in (size, by)]
    shape = tuple(size * by for size, by in zip(old, times, strict=True))
    x = made.operand(node.inputs[0])

    def run(env: Env) -> tuple[Any, ...]:
        spread = env.ops.broadcast_to(env.ops.reshape(x(env), tuple(apart)), tuple(repeated))
        return (env.ops.reshape(spread, shape),)

    return run, [shape]


def _nearest(node: Node, size: int, by: int, opset: int) -> list[int]:
    """The source of each place along an axis, by the node's rule of coordinates and rounding."""
    places = np.arange(size * by, dtype=np.float64)
    old = node.operation == "Upsample" or opset < 11
    mode = node.attributes.get(
        "coordinate_transformation_mode", "asymmetric" if old else "half_pixel"
    )
    if mode == "asymmetric":
        places = places / by
    elif mode in ("half_pixel", "half_pixel_symmetric") or (
        mode == "pytorch_half_pixel" and size * by > 1
    ):
        places = (places + 0.5) / by - 0.5
    elif mode == "tf_half_pixel_for_nn":
        places = (places + 0.5) / by
    else:
        raise ModelError(f"{node.label}: coordinates {mode} are not supported")
    rounding = node.attributes.get("nearest_mode", "floor" if old else "round_prefer_floor")
    rounded = {
        "floor": np.floor(places),
        "ceil": np.ceil(places),
        "round_prefer_floor": np.ceil(places - 0.5),
        "round_prefer_ceil": np.floor(places + 0.5),
    }[rounding]
    return [int(each) for each in np.clip(rounded, 0, size - 1)]


def _factors(node: Node, made: Translation, old: Shape) -> list[float]:
    """By how much each axis grows: from scales, or from the sizes wanted."""
    if node.attributes.get("axes"):
        raise ModelError(f"{node.label}: a choice of axes is not supported")
    places = (1,) if len(node.inputs) == 2 else (2,)
    for place in places:
        scales = made.constant(node, place)
        if scales is not None and scales.size:
            return [float(each) for each in scales.reshape(-1)]
    if "scales" in node.attributes:
        return [float(each) for each in node.attributes["scales"]]
    sizes = made.constant(node, 3)
    if sizes is None:
        raise ModelError(f"{node.label}: expected scales or sizes")
    return [float(new) / size for new, size in zip(sizes.reshape(-1), old, strict=True)]
