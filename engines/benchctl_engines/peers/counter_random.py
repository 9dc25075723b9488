"""The vocabulary's random numbers in frameworks: the same for one seed as on our own engines.

Philox4x32-10 (Salmon et al. 2011), keyed by seed and call site, counted by element and step. A
framework that has this generator gives its words; the others compute them with whole numbers. That
takes much longer than their own generators do, which therefore draw what is timed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..contract import Case, Program
from ..primitives.randomness import philox_key
from .probed_program import probe_program

Tensor = Any
Key = tuple[int, int]
_WORD = 0xFFFFFFFF
_MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
_KEY_STEPS = 0x9E3779B9, 0xBB67AE85
_ROUNDS = 10


def draws_random_numbers(workload: Program, case: Case) -> bool:
    """Whether a program asks for random numbers, or cannot be asked without arrays."""
    probed = probe_program(workload, case)
    return probed.values is None or any(
        call.operation.startswith("random_") for call in probed.calls
    )


def philox_words(
    counter: tuple[Any, Any, Any, Any],
    key: Key,
    product: Callable[[int, Any], tuple[Any, Any]],
    word: Callable[[int], Any],
) -> tuple[Any, Any, Any, Any]:
    """The four words of each counter.

    `product(a, b)` gives the high and the low word of a * b, `word` a number as the framework
    takes it beside words.
    """
    c0, c1, c2, c3 = counter
    for turn in range(_ROUNDS):
        k0, k1 = ((each + turn * step) & _WORD for each, step in zip(key, _KEY_STEPS, strict=True))
        high_0, low_0 = product(_MULTIPLIERS[0], c0)
        high_1, low_1 = product(_MULTIPLIERS[1], c2)
        c0, c1, c2, c3 = high_1 ^ c1 ^ word(k0), low_1, high_0 ^ c3 ^ word(k1), low_0
    return c0, c1, c2, c3


class CounterRandom:
    """Mixin of a framework's operations; the runner says when a step begins."""

    _seed: int
    _step: Any
    _site: int
    own_random = False
    """Whether to draw with the framework's own generator."""

    def begin_step(self, seed: int, step: Any) -> None:
        """Restart the count of call sites; `step` is its number, as the framework holds it."""
        self._seed, self._step, self._site = seed, step, 0

    def random_uniform(self, shape: tuple[int, ...], dtype: str = "float32") -> Tensor:
        return self._random(tuple(shape), dtype, False)

    def random_normal(self, shape: tuple[int, ...], dtype: str = "float32") -> Tensor:
        return self._random(tuple(shape), dtype, True)

    def _random(self, shape: tuple[int, ...], dtype: str, normal: bool) -> Tensor:
        site, self._site = self._site, self._site + 1
        if self.own_random:
            return self._own(shape, dtype, normal, site)
        single, count = dtype == "float32", math.prod(shape)
        blocks = -(-count // (4 if single else 2))
        words = self._words(blocks, philox_key(self._seed, site))
        if single:
            ulp = 2.0**-24
            uniform = self._shifted(words, 8, dtype) * ulp
        else:
            ulp = 2.0**-53
            high, low = self._shifted(words[0::2], 5, dtype), self._shifted(words[1::2], 6, dtype)
            uniform = (high * 2.0**26 + low) * ulp
        values = self._normal(uniform, ulp) if normal else uniform
        return self._reshaped(values[:count], shape)

    def _own(self, shape: tuple[int, ...], dtype: str, normal: bool, site: int) -> Tensor:
        """Numbers of the framework's own generator."""
        raise NotImplementedError

    def _words(self, blocks: int, key: Key) -> Tensor:
        """The words [4 * blocks] of this step, those of a counter side by side."""
        raise NotImplementedError

    def _shifted(self, words: Tensor, bits: int, dtype: str) -> Tensor:
        """Words without their lowest bits, as floating numbers."""
        raise NotImplementedError

    def _normal(self, uniform: Tensor, ulp: float) -> Tensor:
        """Box and Muller over pairs of neighbours."""
        raise NotImplementedError

    def _reshaped(self, values: Tensor, shape: tuple[int, ...]) -> Tensor:
        return values.reshape(shape)
