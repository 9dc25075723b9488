"""What the rows of elementwise, reducing, shaping, random, updating, losing and pooling kernels
compile, for every dtype and form of indexing.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from gpu_kernels import TextCollector, rows_of
from texts import generated

from benchctl_engines.kernels.loop_source import Instruction, Loop
from benchctl_engines.kernels.table import KernelRequest
from benchctl_engines.primitives.primitive import PRIMITIVES
from benchctl_engines.primitives.specs import HALVES, spec

FLOATS = ("float32", "float64")
WIDE = 2**31
UNARY = ("negative", "exp", "log", "sqrt", "tanh", "sin", "cos", "relu")
BINARY = ("add", "subtract", "multiply", "divide", "maximum", "greater", "equal", "relu_gradient")
POOL = {"window": (2, 2), "stride": (2, 2), "padding": ((0, 0), (0, 0))}
OVERLAP = {"window": (3, 3), "stride": (2, 2), "padding": ((1, 1), (1, 1))}

Asked = tuple[str, list[Any], dict[str, Any]]


def elementwise() -> Iterator[Asked]:
    """Every rule, every form of indexing, every dtype of arithmetic and of casting."""
    for dtype in FLOATS:
        x, mask = spec((6, 8), dtype), spec((6, 8), "bool")
        for name in UNARY:
            yield name, [x], {}
        for name in BINARY:
            yield name, [x, x], {}
        yield "where", [mask, x, x], {}
    for dtype in ("bool", "uint8", "int32", "int64"):
        yield "add", [spec((6, 8), dtype)] * 2, {}
        yield "maximum", [spec((6, 8), dtype)] * 2, {}
    x = spec((4, 6, 8), "float32")
    for shape in ((8,), (6, 1), (4, 1, 8), ()):
        yield "multiply", [x, spec(shape, "float32")], {}
    yield "multiply", [spec((4, 6, 7), "float32"), spec((7,), "float32")], {}
    yield "multiply", [spec((WIDE, 8), "float32"), spec((8,), "float32")], {}
    yield "multiply", [spec((WIDE,), "float32")] * 2, {}
    for axis in range(3):
        yield "bias_add", [x, spec((x.shape[axis],), "float32")], {"axis": axis}
    for source, target in itertools.permutations(("float32", "bool", "int64"), 2):
        yield "cast", [spec((6, 8), source)], {"dtype": target}


def fused() -> Iterator[Asked]:
    """Groups with several results, with sums, and with operands that broadcast."""
    flat, rows = (0, 1), (1,)
    for dtype in FLOATS:
        x, bias = spec((64, 32), dtype), spec((32,), dtype)
        relu = [Instruction("add", (0, 1)), Instruction("relu", (2,))]
        yield _loop((64, 32), dtype, [x, bias], [flat, rows], relu, (3,))
        chain = [
            Instruction("multiply", (0, 1)),
            Instruction("add", (2, 0)),
            Instruction("relu_gradient", (3, 1)),
        ]
        yield _loop((64, 32), dtype, [x, x], [flat, flat], chain, (2, 4), (3,))
        long = [Instruction("multiply", (i, i + 1)) for i in range(16)]
        yield _loop((64, 32), dtype, [x] * 16, [flat] * 16, long, (31,), (20, 25))


def _loop(shape, dtype, inputs, axes, instructions, stores, sums=()) -> Asked:
    loop = Loop(shape, dtype, tuple(inputs), tuple(axes), tuple(instructions), stores, sums)
    outputs = [spec(shape, dtype)] * len(stores) + [spec((), dtype)] * len(sums)
    return "fused_loop", inputs, {"loop": loop, "outputs": tuple(outputs)}


def reductions() -> Iterator[Asked]:
    """Short rows, long rows in one and two steps, columns, and 64-bit positions."""
    shapes = [((6, 8), (1,)), ((6, 9000), (1,)), ((9000, 6), (0,)), ((2, 3, 4, 5), (0, 2))]
    shapes += [((WIDE, 6), (0,)), ((6, WIDE), (1,)), ((WIDE, 6), (1,))]
    for dtype, (shape, axes), name in itertools.product(FLOATS, shapes, ("sum", "max")):
        yield name, [spec(shape, dtype)], {"axes": axes, "keepdims": False}


def shaping() -> Iterator[Asked]:
    """Words of each size; tiles, strides, offsets."""
    for dtype in ("uint8", "float32", "float64"):
        for shape, axes in (((40, 50), (1, 0)), ((4, 5, 8), (1, 0, 2)), ((3, 4, 5), (2, 1, 0))):
            yield "transpose", [spec(shape, dtype)], {"axes": axes}
    yield "transpose", [spec((WIDE, 32), "float32")], {"axes": (1, 0)}
    yield "transpose", [spec((WIDE, 3, 5), "float32")], {"axes": (2, 1, 0)}
    x = spec((6, 8), "float32")
    yield "broadcast_to", [spec((), "float32")], {"shape": (6, 8)}
    yield "slice", [x], {"starts": (1, 2), "stops": (6, 7), "steps": (2, 1)}
    yield "pad", [x], {"low": (1, 2), "high": (0, 3), "interior": (0, 1)}


def others() -> Iterator[Asked]:
    """Random numbers, updates, losses and pooling."""
    for dtype in FLOATS:
        for distribution in ("uniform", "normal"):
            attributes = {"shape": (5,), "dtype": dtype, "seed": 1, "site": 2}
            yield "random", [spec((), "int64")], {**attributes, "distribution": distribution}
        w, number = spec((6, 8), dtype), spec((), dtype)
        for value in (w, number):
            yield "assign", [w, value], {}
            yield "assign_sub", [w, value], {}
            yield "assign_sub_scaled", [w, value], {"scale": 0.1}
        for rows, labels in ((4, "int32"), (4, "int64"), (WIDE, "int64")):
            if (dtype, labels) == ("float64", "int64"):
                continue
            logits, classes = spec((rows, 10), dtype), spec((rows,), labels)
            yield "softmax_cross_entropy", [logits, classes], {}
            name = "softmax_cross_entropy_gradient"
            yield name, [logits, logits, classes, number], {}
            yield f"{name}_input", [logits, logits, logits, number], {}
            yield f"{name}_seed", [logits, logits, logits, classes], {}
        yield from pooling(dtype, 2)
    yield from pooling("float32", 2**26)


def pooling(dtype: str, images: int) -> Iterator[Asked]:
    """All rows in both layouts."""
    for window, layout in itertools.product((POOL, OVERLAP), ("NCHW", "NHWC")):
        attributes = {**window, "layout": layout}
        shape = (images, 4, 8, 8) if layout == "NCHW" else (images, 8, 8, 4)
        small = (images, 4, 4, 4)
        g, offsets = spec(small, dtype), spec(small, "uint8")
        x = spec(shape, dtype)
        yield "max_pool2d", [x], attributes
        yield "max_pool2d_gradient", [g, offsets], {**attributes, "input_shape": shape}
        yield "max_pool2d_gather", [x, offsets], attributes
        yield "average_pool2d", [x], attributes
        yield "average_pool2d_gradient", [g], {**attributes, "input_shape": shape}


def halves() -> Iterator[Asked]:
    """One of each kernel; both types have the same text, so most of it in one of them."""
    for dtype in HALVES:
        x, mask, labels = spec((64, 32), dtype), spec((64, 32), "bool"), spec((64,), "int64")
        yield "exp", [x], {}
        yield "add", [x, spec((32,), dtype)], {}
        yield "cast", [spec((64, 32), "float32")], {"dtype": dtype}
        yield "cast", [x], {"dtype": "float32"}
        yield "sum", [x], {"axes": (1,), "keepdims": False}
    yield "where", [mask, x, x], {}
    yield "greater", [x, x], {}
    chain = [Instruction("multiply", (0, 1)), Instruction("relu_gradient", (2, 1))]
    yield _loop((64, 32), dtype, [x, x], [(0, 1)] * 2, chain, (2, 3), (3,))
    yield "sum", [spec((9000, 6), dtype)], {"axes": (0,), "keepdims": False}
    yield "max", [spec((6, 9000), dtype)], {"axes": (1,), "keepdims": False}
    yield "transpose", [spec((40, 50), dtype)], {"axes": (1, 0)}
    yield "slice", [x], {"starts": (1, 2), "stops": (6, 7), "steps": (2, 1)}
    yield "softmax_cross_entropy", [x, labels], {}
    yield "softmax_cross_entropy_gradient", [x, x, labels, spec((), dtype)], {}
    yield from pooling(dtype, 2)


def asked() -> Iterator[Asked]:
    """All of the above."""
    for group in (elementwise, fused, reductions, shaping, others, halves):
        yield from group()


def texts_of(primitive: str, inputs: list[Any], attributes: dict[str, Any]) -> dict[str, None]:
    """What all rows that take the request compile."""
    outputs = PRIMITIVES[primitive].output_specs(inputs, attributes)
    driver = TextCollector()
    request = KernelRequest(tuple(inputs), outputs, attributes, driver=driver)
    rows = [row for row in rows_of(primitive) if row.when(request)]
    assert rows, f"no row takes {primitive} of {inputs}"
    for row in rows:
        row.prepare(request)
    return driver.texts


@generated("kernels")
def kernel_texts() -> Iterator[tuple[str, str]]:
    """(name, text), each text once."""
    seen: set[str] = set()
    for primitive, inputs, attributes in asked():
        for text in texts_of(primitive, inputs, attributes):
            if text not in seen:
                seen.add(text)
                yield f"{primitive} {', '.join(map(str, inputs[:3]))} {len(seen)}", text
