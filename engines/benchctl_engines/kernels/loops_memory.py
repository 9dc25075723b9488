"""Runs of contiguous elements moved by the C library's memcpy from compiled code.

A loop over a run of 14 or 28 elements is too short for the compiler's vector code and pays for
bounds arithmetic; memcpy has a path for every length.
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic


def _copy_run(
    typing_context: Any, target: Any, target_start: Any, source: Any, source_start: Any, count: Any
) -> Any:
    """target.flat[target_start:][:count] = source.flat[source_start:][:count].

    Both arrays are C-contiguous and of one dtype, and do not overlap; nothing is checked.
    """
    signature = types.void(target, types.intp, source, types.intp, types.intp)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        target_type, _, source_type, _, _ = signature.args
        into = context.make_array(target_type)(context, builder, arguments[0])
        taken = context.make_array(source_type)(context, builder, arguments[2])
        cgutils.raw_memcpy(
            builder,
            builder.gep(into.data, [arguments[1]]),
            builder.gep(taken.data, [arguments[3]]),
            arguments[4],
            into.itemsize,
        )
        return context.get_dummy_value()

    return signature, generate


# called with the five operands only: Numba hands over the typing context itself
copy_run: Any = intrinsic(_copy_run)
