"""Elementwise kernels on the CPU: NumPy's ufuncs for small arrays, generated loops for large ones.

The generated loop of a single operation and that of a fused group come from the same writer, so
that fusing shows what fusing buys and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..contract import Array
from ..primitives import elementwise, fused
from ..primitives.primitive import Primitive
from ..primitives.specs import TensorSpec
from .code_cache import load_module
from .compile_tally import TALLY
from .loop_source import (
    PARALLEL_SIZE,
    Instruction,
    Loop,
    broadcast_axes,
    raw_capable,
    write_source,
)
from .rehearsal import register
from .table import KernelRequest, Prepared, kernel

# NumPy computes these in vector registers; a compiled scalar loop calls the C library per element.
_VECTORISED_BY_NUMPY = {"exp", "log", "tanh", "sin", "cos"}


# NumPy 2.4 deprecates its output as a positional argument.
_KEYWORD_OUT = {"maximum"}


def compiled_loop(loop: Loop, threads: int) -> Callable[..., None]:
    """The compiled function `loop(*outputs, *inputs)`, from the cache where it is warm."""
    module = load_module(write_source(loop, threads))
    _compile(module)
    function: Callable[..., None] = module.loop
    return function


def _compile(module: Any) -> None:
    """Compile now, not at the first call: compiling is a phase of its own."""
    loop = module.loop
    if loop.signatures:
        return
    loop.compile(module.SIGNATURE)
    register(loop)
    TALLY.count(cached=bool(loop.stats.cache_hits))


def compiled_raw_loop(loop: Loop, threads: int) -> Callable[..., int]:
    """The loop's raw form: `loop(*outputs, *inputs)` of ndarrays, 0 when done.

    Returns 1 where shapes and raises TypeError where dtype, rank or contiguity are not as
    compiled. The entry point is called past Numba's dispatcher, which would look at every type.
    """
    module = load_module(write_source(loop, threads, raw=True))
    _compile(module)
    compiled = module.loop.get_compile_result(module.SIGNATURE)
    function: Callable[..., int] = compiled.entry_point
    return function


def operand_axes(
    name: str, operand: TensorSpec, position: int, shape: tuple[int, ...], attributes: Any
) -> tuple[int, ...]:
    """Axes of the iteration along which operand `position` of primitive `name` varies."""
    if name == "bias_add" and position == 1:
        axis = attributes["axis"]
        return (axis,) if shape[axis] != 1 else ()
    return broadcast_axes(operand.shape, shape)


def single_loop(name: str, request: KernelRequest) -> Loop:
    """The loop of one elementwise primitive."""
    shape = request.outputs[0].shape
    axes = tuple(
        operand_axes(name, operand, position, shape, request.attributes)
        for position, operand in enumerate(request.inputs)
    )
    count = len(request.inputs)
    arithmetic = next((each.dtype for each in request.inputs if each.floating), "float64")
    return Loop(
        shape=shape,
        dtype=arithmetic,
        inputs=request.inputs,
        axes=axes,
        instructions=(Instruction(name, tuple(range(count))),),
        stores=(count,),
    )


def loops_take(name: str, operands: Sequence[TensorSpec]) -> bool:
    """Whether a generated loop computes this as NumPy does: floats, and masks only to choose by.

    The arithmetic of NumPy's bool arrays is logic, that of compiled scalars is not.
    """
    numbers = operands[1:] if name == "where" else operands
    return all(each.floating for each in numbers)


def _large(name: str) -> Callable[[KernelRequest], bool]:
    def when(request: KernelRequest) -> bool:
        return request.outputs[0].size >= PARALLEL_SIZE and loops_take(name, request.inputs)

    return when


def _prepare_ufunc(name: str) -> Callable[[KernelRequest], Prepared]:
    def prepare(request: KernelRequest) -> Prepared:
        ufunc = getattr(np, name)
        if name in _KEYWORD_OUT:
            return _prepare_keyword_out(ufunc)
        # A ufunc gives a NumPy scalar, not an array, where the result has no axes.
        make = ufunc if request.outputs[0].rank else None
        if len(request.inputs) == 1:

            def run_unary(out: Array, x: Array) -> None:
                ufunc(x, out)

            return Prepared(run_unary, make=make)

        def run_binary(out: Array, a: Array, b: Array) -> None:
            ufunc(a, b, out)

        return Prepared(run_binary, make=make)

    return prepare


def _prepare_keyword_out(ufunc: Any) -> Prepared:
    def run(out: Array, a: Array, b: Array) -> None:
        ufunc(a, b, out=out)

    return Prepared(run)


def _prepare_generated(name: str) -> Callable[[KernelRequest], Prepared]:
    def prepare(request: KernelRequest) -> Prepared:
        return Prepared(compiled_loop(single_loop(name, request), request.threads))

    return prepare


def _prepare_where(request: KernelRequest) -> Prepared:
    def run(out: Array, condition: Array, a: Array, b: Array) -> None:
        # np.where makes a temporary, because out may be a or b.
        out[...] = np.where(condition, a, b)

    return Prepared(run)


def _prepare_relu(request: KernelRequest) -> Prepared:
    zero = np.zeros((), request.inputs[0].dtype)

    def run(out: Array, x: Array) -> None:
        np.maximum(x, zero, out=out)

    return Prepared(run)


def _prepare_relu_gradient(request: KernelRequest) -> Prepared:
    zero = np.zeros((), request.inputs[0].dtype)

    def run(out: Array, g: Array, y: Array) -> None:
        # Chosen, not multiplied: 0 times an infinite gradient would be NaN.
        out[...] = np.where(y > zero, g, zero)

    return Prepared(run)


def _prepare_bias_add(request: KernelRequest) -> Prepared:
    axis, rank = request.attributes["axis"], request.inputs[0].rank
    shape = tuple(-1 if each == axis else 1 for each in range(rank))

    def run(out: Array, x: Array, b: Array) -> None:
        np.add(x, b.reshape(shape), out)

    return Prepared(run)


def _prepare_cast(request: KernelRequest) -> Prepared:
    def run(out: Array, x: Array) -> None:
        np.copyto(out, x, casting="unsafe")

    return Prepared(run)


def _prepare_fused(request: KernelRequest) -> Prepared:
    loop: Loop = request.attributes["loop"]
    threads = request.threads
    if not raw_capable(loop):
        return Prepared(compiled_loop(loop, threads))

    def compile_raw() -> Callable[..., int]:
        return compiled_raw_loop(loop, threads)

    def compile_plain() -> Callable[..., None]:
        return compiled_loop(loop, threads)

    return Prepared(_Lazy(compile_plain), raw=compile_raw)


class _Lazy:
    """A function that is compiled when it is first called."""

    __slots__ = ("_compile", "_function")

    def __init__(self, compile: Callable[[], Callable[..., None]]) -> None:
        self._compile = compile
        self._function: Callable[..., None] | None = None

    def __call__(self, *arrays: Array) -> None:
        if self._function is None:
            self._function = self._compile()
        self._function(*arrays)


_COMPOSED: dict[str, Callable[[KernelRequest], Prepared]] = {
    "where": _prepare_where,
    "relu": _prepare_relu,
    "relu_gradient": _prepare_relu_gradient,
    "bias_add": _prepare_bias_add,
}


def _prepare_copy(request: KernelRequest) -> Prepared:
    def run(out: Array, x: Array) -> None:
        np.copyto(out, x)

    return Prepared(run)


def _register() -> None:
    primitives = [each for each in vars(elementwise).values() if isinstance(each, Primitive)]
    for primitive in primitives:
        name, rule = primitive.name, primitive.scalar
        if rule is None:
            continue
        if name not in _VECTORISED_BY_NUMPY:
            kernel(name, "cpu", "generated_loop", when=_large(name))(_prepare_generated(name))
        if name in _COMPOSED:
            kernel(name, "cpu", "numpy")(_COMPOSED[name])
        elif rule.ufunc:
            kernel(name, "cpu", "numpy_ufunc")(_prepare_ufunc(rule.ufunc))
        else:
            kernel(name, "cpu", "generated_loop_small")(_prepare_generated(name))
    kernel("cast", "cpu", "numpy")(_prepare_cast)
    kernel("copy", "cpu", "numpy")(_prepare_copy)
    kernel(fused.fused_loop.name, "cpu", "generated_loop")(_prepare_fused)


_register()
