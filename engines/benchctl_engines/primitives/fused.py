"""A group of elementwise operations computed in one loop; made by the pass fuse_elementwise."""

from __future__ import annotations

from typing import Any

from .primitive import Primitive
from .specs import TensorSpec


def _fused_infer(
    *specs: TensorSpec, loop: Any, outputs: tuple[TensorSpec, ...]
) -> tuple[TensorSpec, ...]:
    return outputs


# Made after differentiation: no pullback. `loop` is a benchctl_engines.kernels.loop_source.Loop.
fused_loop = Primitive("fused_loop", _fused_infer)
