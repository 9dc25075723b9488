"""Operations that a framework's tensors have as operators of Python."""

from __future__ import annotations

from typing import Any

Tensor = Any


class PythonOperators:
    """Part of a vocabulary; see benchctl_engines.vocabulary."""

    def add(self, a: Tensor, b: Tensor) -> Tensor:
        return a + b

    def subtract(self, a: Tensor, b: Tensor) -> Tensor:
        return a - b

    def multiply(self, a: Tensor, b: Tensor) -> Tensor:
        return a * b

    def divide(self, a: Tensor, b: Tensor) -> Tensor:
        return a / b

    def negative(self, x: Tensor) -> Tensor:
        return -x
