"""Python's operators for tensors of both engines."""

from __future__ import annotations

from typing import Any

from . import elementwise, operations


class TensorOperators:
    """Mixin: x + y, x * y, -x, x @ y, and the methods that users expect on a tensor."""

    __slots__ = ()

    # NumPy must not take over `array * tensor`.
    __array_ufunc__ = None

    def __add__(self, other: Any) -> Any:
        return elementwise.add(self, other)

    def __radd__(self, other: Any) -> Any:
        return elementwise.add(other, self)

    def __sub__(self, other: Any) -> Any:
        return elementwise.subtract(self, other)

    def __rsub__(self, other: Any) -> Any:
        return elementwise.subtract(other, self)

    def __mul__(self, other: Any) -> Any:
        return elementwise.multiply(self, other)

    def __rmul__(self, other: Any) -> Any:
        return elementwise.multiply(other, self)

    def __truediv__(self, other: Any) -> Any:
        return elementwise.divide(self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return elementwise.divide(other, self)

    def __neg__(self) -> Any:
        return elementwise.negative(self)

    def __gt__(self, other: Any) -> Any:
        return elementwise.greater(self, other)

    def __lt__(self, other: Any) -> Any:
        return elementwise.greater(other, self)

    def __matmul__(self, other: Any) -> Any:
        return operations.matmul(self, other)

    def sum(self, axes: tuple[int, ...] | None = None, keepdims: bool = False) -> Any:
        """Sum over `axes`, all of them for None."""
        return operations.sum(self, axes, keepdims)

    def mean(self, axes: tuple[int, ...] | None = None, keepdims: bool = False) -> Any:
        """Mean over `axes`, all of them for None."""
        return operations.mean(self, axes, keepdims)

    def reshape(self, *shape: int) -> Any:
        """The same elements under another shape."""
        return operations.reshape(self, shape)

    @property
    def T(self) -> Any:  # noqa: N802 - the name that every array library uses
        """The axes reversed."""
        return operations.transpose(self)
