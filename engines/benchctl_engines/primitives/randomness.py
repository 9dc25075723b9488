"""Random numbers from a counter: the same key gives the same numbers on every engine."""

from __future__ import annotations

from .primitive import Primitive
from .specs import ShapeError, TensorSpec, spec


def _random_infer(
    step: TensorSpec,
    *,
    shape: tuple[int, ...],
    dtype: str,
    seed: int,
    site: int,
    distribution: str,
) -> TensorSpec:
    if distribution not in ("uniform", "normal"):
        raise ShapeError(f"random expected uniform or normal, received {distribution!r}")
    if dtype not in ("float32", "float64"):
        raise ShapeError(f"random expected float32 or float64, received {dtype}")
    if step.shape != () or step.dtype != "int64":
        raise ShapeError(f"random expected an int64 scalar as its step, received {step}")
    return spec(shape, dtype)


_LOW_WORD = 0xFFFFFFFF
# Spreads the upper half of a long seed over the word that holds the site.
_SEED_SPREAD = 0x9E3779B1


def philox_key(seed: int, site: int) -> tuple[int, int]:
    """The two 32-bit words of the key: one stream for each seed and place in the program."""
    return seed & _LOW_WORD, ((seed >> 32) * _SEED_SPREAD + site) & _LOW_WORD


# Philox4x32-10 (Salmon et al. 2011), keyed by (seed, site), counted by (element, step): a pure
# function of its key, so passes may treat it like any other operation.
random = Primitive("random", _random_infer)
