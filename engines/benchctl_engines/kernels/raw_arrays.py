"""A NumPy array as an argument of compiled code, taken apart without Numba's own unboxing.

Numba makes a reference-counted wrapper for every array argument of a call, about 80 ns each: most
of a small step. A `RawArray` argument reads the array object's fields in place and checks them:
rank, dtype, contiguity; the caller checks that it is an ndarray. The array must outlive the call,
as any argument does.

The offsets are those of PyArrayObject and PyArray_Descr in NumPy's C ABI (ndarraytypes.h), the
same in NumPy 1 and 2 for the fields that are read.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import (
    NativeValue,
    make_attribute_wrapper,
    models,
    register_model,
    unbox,
)

_POINTER_BYTES = 8
_DATA, _RANK, _SIZES, _DESCR, _FLAGS = 16, 24, 32, 56, 64
_BYTE_ORDER, _TYPE_NUMBER = 26, 28
_CONTIGUOUS_ALIGNED = 0x0101
MAX_RANK = 6


class RawArray(types.Type):
    """A C-contiguous array of one dtype and rank; fields data, size, d0, d1, ..."""

    def __init__(self, dtype: str, rank: int) -> None:
        self.element = getattr(types, dtype)
        self.type_number = np.dtype(dtype).num
        self.rank = rank
        super().__init__(name=f"RawArray({dtype}, {rank})")


@register_model(RawArray)
class RawArrayModel(models.StructModel):
    """A pointer and the sizes."""

    def __init__(self, manager: Any, array: RawArray) -> None:
        members = [("data", types.CPointer(array.element)), ("size", types.intp)]
        members += [(f"d{axis}", types.intp) for axis in range(array.rank)]
        super().__init__(manager, array, members)


for _field in ("data", "size", *(f"d{axis}" for axis in range(MAX_RANK))):
    make_attribute_wrapper(RawArray, _field, _field)


@unbox(RawArray)
def unbox_raw_array(array: RawArray, object_pointer: Any, c: Any) -> NativeValue:
    """Read the fields; a TypeError is set where the array is not as declared."""
    builder = c.builder
    byte = ir.IntType(8)
    int32, intp = ir.IntType(32), ir.IntType(64)

    def read(base: Any, offset: int, kind: Any) -> Any:
        place = builder.gep(base, [ir.Constant(intp, offset)])
        return builder.load(builder.bitcast(place, kind.as_pointer()))

    base = builder.bitcast(object_pointer, byte.as_pointer())
    descr = read(base, _DESCR, byte.as_pointer())
    flags = builder.and_(read(base, _FLAGS, int32), ir.Constant(int32, _CONTIGUOUS_ALIGNED))
    tests = [
        builder.icmp_signed("==", read(base, _RANK, int32), ir.Constant(int32, array.rank)),
        builder.icmp_signed("==", flags, ir.Constant(int32, _CONTIGUOUS_ALIGNED)),
        builder.icmp_signed(
            "==", read(descr, _TYPE_NUMBER, int32), ir.Constant(int32, array.type_number)
        ),
        builder.icmp_signed("!=", read(descr, _BYTE_ORDER, byte), ir.Constant(byte, ord(">"))),
    ]
    good = tests[0]
    for test in tests[1:]:
        good = builder.and_(good, test)
    made = cgutils.create_struct_proxy(array)(c.context, builder)
    made.data = builder.bitcast(read(base, _DATA, byte.as_pointer()), made.data.type)
    made.size = ir.Constant(intp, 1)
    for axis in range(array.rank):
        setattr(made, f"d{axis}", ir.Constant(intp, 0))
    with builder.if_else(good) as (then, otherwise):
        with then:
            sizes = read(base, _SIZES, byte.as_pointer())
            size: Any = ir.Constant(intp, 1)
            for axis in range(array.rank):
                length = read(sizes, axis * _POINTER_BYTES, intp)
                setattr(made, f"d{axis}", length)
                size = builder.mul(size, length)
            made.size = size
        with otherwise:
            c.pyapi.err_set_string("PyExc_TypeError", f"expected {array.name}")
    return NativeValue(made._getvalue(), is_error=builder.not_(good))
