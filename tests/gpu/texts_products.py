"""The texts of products and convolutions, as the rows put them together."""

from __future__ import annotations

from collections.abc import Iterator

from texts import generated

from benchctl_engines.kernels.cuda_parts import LARGEST_INT32, index_types, text_of
from benchctl_engines.kernels.cuda_winograd_text import winograd_text
from benchctl_engines.primitives.specs import HALVES


@generated("products")
def product_texts() -> Iterator[tuple[str, str]]:
    yield "winograd", winograd_text()
    for dtype in ("float32", "float64", *HALVES):
        for count in (1,) if dtype in HALVES else (1, LARGEST_INT32):
            types, letter = index_types(dtype, [count])
            for name in ("im2col", "filters"):
                yield f"{name} {dtype} {letter}", types + text_of(f"{name}.cuh")
