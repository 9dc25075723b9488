"""Gradients of sum(x*y*z) and of sum(x*y + z) by hand, and the slide's mixture of both."""

from __future__ import annotations

from collections.abc import Mapping

from benchctl_engines.contract import Array
from benchctl_engines.manual.array_module import array_module


def product_gradient(
    parameters: dict[str, Array], inputs: Mapping[str, Array]
) -> Mapping[str, Array]:
    """c = sum(x*y*z): grad_x = y*z, grad_y = x*z, grad_z = x*y, the last shared with c."""
    x, y, z = inputs["x"], inputs["y"], inputs["z"]
    a = x * y
    return {"c": (a * z).sum(), "grad_x": y * z, "grad_y": x * z, "grad_z": a}


def multiply_add_gradient(
    parameters: dict[str, Array], inputs: Mapping[str, Array]
) -> Mapping[str, Array]:
    """c = sum(x*y + z): grad_x = y, grad_y = x, grad_z = 1; copies, so that inputs stay apart."""
    x, y, z = inputs["x"], inputs["y"], inputs["z"]
    b = x * y + z
    ones = array_module(z).ones_like(z)
    return {"c": b.sum(), "grad_x": y.copy(), "grad_y": x.copy(), "grad_z": ones}


def as_on_the_slide(
    parameters: dict[str, Array], inputs: Mapping[str, Array]
) -> Mapping[str, Array]:
    """The lecture's mistake, kept to be caught.

    The forward pass multiplies by z; the gradients are those of adding z, with the names grad_x
    and grad_y swapped.
    """
    x, y, z = inputs["x"], inputs["y"], inputs["z"]
    a = x * y
    b = a * z
    c = b.sum()
    grad_c = 1.0
    grad_b = grad_c * array_module(b).ones_like(b)
    grad_a = grad_b.copy()
    grad_z = grad_b.copy()
    grad_x = grad_a * x
    grad_y = grad_a * y
    return {"c": c, "grad_x": grad_x, "grad_y": grad_y, "grad_z": grad_z}
