"""An array in device memory: an address, a shape and a dtype, and whoever owns the memory."""

from __future__ import annotations

from typing import Any

from ..primitives.specs import TensorSpec


class DeviceArray:
    """C-contiguous numbers at `pointer`; `owner` keeps the memory alive for as long as this does.

    It has no arithmetic: kernels are given its address.
    """

    __slots__ = ("__weakref__", "owner", "pointer", "spec")

    def __init__(self, pointer: int, spec: TensorSpec, owner: Any) -> None:
        self.pointer = pointer
        self.spec = spec
        self.owner = owner

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes."""
        return self.spec.shape

    @property
    def dtype(self) -> Any:
        """NumPy's dtype of the elements on the host."""
        return self.spec.numpy_dtype

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return self.spec.nbytes

    def viewed(self, spec: TensorSpec) -> DeviceArray:
        """The same memory as an array of another spec of no more bytes."""
        return DeviceArray(self.pointer, spec, self.owner)

    def __repr__(self) -> str:
        return f"DeviceArray({self.spec} at {self.pointer:#x})"
