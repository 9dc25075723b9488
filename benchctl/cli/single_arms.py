"""What the verbs share that look into one arm after another: explain, profile and graph."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from benchctl.cli.errors import CliError
from benchctl.cli.exits import Exit
from benchctl.cli.request import Request, make_plan

if TYPE_CHECKING:
    from benchctl.store.record import ArmSpec, CaseSpec, Plan

DEFAULT_ENGINE = "static"


def plan_of_workload(
    name: str,
    engines: Sequence[str],
    *,
    device: str,
    precision: str,
    axes: Sequence[str],
    seed: int,
    threads: int | None,
) -> Plan:
    """The cases of one workload, on the engines named or on the one that has most to tell."""
    return make_plan(
        Request(
            names=(name,),
            engines=tuple(engines) or (DEFAULT_ENGINE,),
            device=device,
            precision=precision,
            axes=tuple(axes),
            seed=seed,
            threads=threads,
        )
    )


@contextmanager
def failures_of(case: CaseSpec, arm: ArmSpec) -> Iterator[None]:
    """Turn an `ArmFailure` into the `CliError` of this arm.

    Its exit code is 6 where the engine cannot run the case here, 5 where it failed.
    """
    from benchctl.measure.session import ArmFailure

    try:
        yield
    except ArmFailure as failure:
        unavailable = failure.status == "unavailable"
        raise CliError(
            f"{case.id} on {arm.id}: {failure.message}",
            failure.hint,
            Exit.NOTHING_MEASURED if unavailable else Exit.FAILED,
        ) from failure
