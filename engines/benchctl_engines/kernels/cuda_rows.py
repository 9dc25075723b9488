"""Rows of the table for the GPU that several may take: what can be done, and what should be.

The table holds a row where it can *and* should compute a request, so the first match is the choice
by rule. `candidates` gives every row that can: whoever measures picks among them.
"""

from __future__ import annotations

from collections.abc import Callable

from .table import Kernel, KernelRequest, Prepare, When, always, kernel, load_device

PLANS_TRIED = 8
"""The first guesses of a library, which ranks them itself, that whoever measures tries."""

_ABLE: dict[str, list[Kernel]] = {}


def gpu_row(
    primitive: str, name: str, *, can: When, should: When = always, plans: int = 1
) -> Callable[[Prepare], Prepare]:
    """Decorator that adds a row which takes what it `can` compute, and first what it `should`.

    `should` is asked only where `can` holds. `plans` is how many plans of a library it has to offer
    at most, by `KernelRequest.plan`.
    """

    def register(prepare: Prepare) -> Prepare:
        def preferred(request: KernelRequest) -> bool:
            return can(request) and should(request)

        able = Kernel(primitive, "gpu", name, can, prepare, plans)
        _ABLE.setdefault(primitive, []).append(able)
        return kernel(primitive, "gpu", name, when=preferred)(prepare)

    return register


def candidates(primitive: str, request: KernelRequest) -> tuple[Kernel, ...]:
    """Every row that can compute the request, whether or not the rule prefers it.

    They differ in time, workspace and rounding; all meet the tolerance of `request.precision`.
    Empty for a primitive for which there is never a choice.
    """
    load_device("gpu")
    rows = (row for row in _ABLE.get(primitive, ()) if row.name not in request.left_out)
    return tuple(row for row in rows if row.when(request))
