"""Elementwise kernels of a GPU: loops generated from the rules that the CPU's loops come from.

Results are those of the CPU to the last bit, but for the functions of a mathematical library
(exp, log, tanh, sin, cos), denormal float32, which a driver may let flush to zero, and floats that
are cast to an integer that cannot hold them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..primitives import elementwise, fused
from ..primitives.primitive import PRIMITIVES, Primitive
from ..primitives.specs import TensorSpec, summed_dtype
from .cpu_elementwise import operand_axes
from .cuda_loop_source import Body
from .cuda_loops import prepare_copy, prepare_loop
from .cuda_source import C_TYPES, WORK_TYPES
from .cuda_walk import Place, dense_strides, spread
from .loop_source import Instruction, Loop
from .table import KernelRequest, Prepared, kernel

COMPARISONS = ("greater", "equal")
"""Of numbers, with truth values as results."""

_NAMED_OPERATIONS = 4
"""A fused kernel's name tells its first operations, so that a profile can be read."""


def body_of(
    inputs: Sequence[TensorSpec],
    instructions: Sequence[Instruction],
    stores: Sequence[int],
    sums: Sequence[int],
    dtype: str,
    in_place: bool = False,
) -> Body:
    """The body of operations numbered as in `loop_source.Loop`; `dtype` is the arithmetic's.

    Halves are computed with in float32, and rounded where they are stored.
    """
    values = [f"(float)x{i}" if each.half else f"x{i}" for i, each in enumerate(inputs)]
    dtypes = [each.dtype for each in inputs]
    # Integers and truth values have rules as well, and are computed with as they are stored.
    real = WORK_TYPES.get(dtype, C_TYPES[dtype])
    lines: list[str] = []
    for place, each in enumerate(instructions):
        rule = PRIMITIVES[each.primitive].scalar
        assert rule is not None, f"{each.primitive} has no scalar rule"
        expression = rule.cuda([values[argument] for argument in each.arguments], real)
        compared = each.primitive in COMPARISONS
        lines.append(f"const {'bool' if compared else real} v{place} = {expression};")
        values.append(f"v{place}")
        dtypes.append("bool" if compared else dtype)
    lines += [f"y{i} = {values[value]};" for i, value in enumerate(stores)]
    lines += [f"t{i} += (double){values[value]};" for i, value in enumerate(sums)]
    return Body(
        name=_kernel_name([each.primitive for each in instructions], bool(sums), dtype),
        inputs=tuple(each.dtype for each in inputs),
        outputs=tuple(dtypes[value] for value in stores),
        lines=tuple(lines),
        sums=len(sums),
        sum_dtype=summed_dtype(dtype),
        in_place=in_place,
    )


def _kernel_name(operations: list[str], summed: bool, dtype: str) -> str:
    words = operations[:_NAMED_OPERATIONS]
    if len(operations) > _NAMED_OPERATIONS:
        words.append(f"and_{len(operations) - _NAMED_OPERATIONS}_more")
    if summed:
        words.append("sum")
    return "_".join(["loop", *words, dtype])


def _arithmetic(name: str, inputs: Sequence[TensorSpec]) -> str:
    return inputs[1].dtype if name == "where" else inputs[0].dtype


def _prepare_single(primitive: Primitive) -> Callable[[KernelRequest], Prepared]:
    name = primitive.name

    def prepare(request: KernelRequest) -> Prepared:
        inputs, shape = request.inputs, request.outputs[0].shape
        count = len(inputs)
        body = body_of(
            inputs,
            [Instruction(name, tuple(range(count)))],
            [count],
            [],
            _arithmetic(name, inputs),
            in_place=bool(primitive.inplace),
        )
        places = [
            spread(shape, operand_axes(name, operand, position, shape, request.attributes))
            for position, operand in enumerate(inputs)
        ]
        return prepare_loop(request, body, shape, (Place(dense_strides(shape)), *places))

    return prepare


def _is_arithmetic(request: KernelRequest) -> bool:
    """All but truth values, whose difference NumPy refuses as well."""
    return request.outputs[0].dtype != "bool"


def _prepare_cast(request: KernelRequest) -> Prepared:
    (x,), (out,) = request.inputs, request.outputs
    if x.dtype == out.dtype:
        return prepare_copy(request)
    body = Body(
        f"cast_{x.dtype}_{out.dtype}",
        (x.dtype,),
        (out.dtype,),
        (f"y0 = ({C_TYPES[out.dtype]})x0;",),
    )
    place = Place(dense_strides(x.shape))
    return prepare_loop(request, body, x.shape, (place, place))


def _prepare_fused(request: KernelRequest) -> Prepared:
    loop: Loop = request.attributes["loop"]
    body = body_of(loop.inputs, loop.instructions, loop.stores, loop.sums, loop.dtype)
    whole = Place(dense_strides(loop.shape))
    places = [whole] * len(loop.stores) + [spread(loop.shape, axes) for axes in loop.axes]
    return prepare_loop(request, body, loop.shape, places)


def _register() -> None:
    for primitive in vars(elementwise).values():
        if not isinstance(primitive, Primitive) or primitive.scalar is None:
            continue
        row = kernel(primitive.name, "gpu", "generated_loop")
        if primitive.name == "subtract":
            row = kernel(primitive.name, "gpu", "generated_loop", when=_is_arithmetic)
        row(_prepare_single(primitive))
    kernel("cast", "gpu", "generated_loop")(_prepare_cast)
    kernel("copy", "gpu", "copy")(prepare_copy)
    kernel(fused.fused_loop.name, "gpu", "generated_loop")(_prepare_fused)


_register()
