"""The convolution kernels of the GPU, in the order in which they are tried.

1. `gemm`: a convolution that is a matrix product.
2. `winograd`: strict float32, 3x3 and stride 1, where fewer multiplications pay for the transforms.
3. `cudnn`: the library's plan.
4. `im2col_gemm`, `col2im_gemm`: what is left, and all of it where there is no library.
"""

from __future__ import annotations

from importlib import import_module

from .cuda_rows import candidates as candidates

_MODULES = ("cuda_conv_product", "cuda_conv_winograd", "cuda_conv_library", "cuda_conv_columns")

for _module in _MODULES:
    import_module(f"{__package__}.{_module}")
