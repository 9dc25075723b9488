"""Where a step's time goes, as a table: kernels, rates, and how near they come to the limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchctl.measure.limits import Limits
from benchctl.report.table import Column, Table

Launch = Mapping[str, Any]
"""A launch as a worker tells it: the fields of `benchctl_engines.contract.LaunchTime`."""


@dataclass(frozen=True, slots=True)
class ProfileRow:
    """Calls of one kernel with one shape; all figures are sums over the calls of a step."""

    kernel: str
    shapes: str
    calls: int
    seconds: float
    flops: int
    bytes_moved: int
    origin: str = ""

    @property
    def flops_per_second(self) -> float:
        """The rate of arithmetic."""
        return self.flops / self.seconds if self.seconds else 0.0

    @property
    def bytes_per_second(self) -> float:
        """The rate of memory."""
        return self.bytes_moved / self.seconds if self.seconds else 0.0

    @property
    def intensity(self) -> float:
        """Operations a byte."""
        return self.flops / self.bytes_moved if self.bytes_moved else 0.0


def launch_rows(launches: Sequence[Launch]) -> list[ProfileRow]:
    """One row a launch, in the order in which they run."""
    return [
        ProfileRow(
            each["kernel"],
            each["shapes"],
            1,
            each["seconds"],
            each["flops"],
            each["bytes_moved"],
            each["origin"],
        )
        for each in launches
    ]


def kernel_rows(launches: Sequence[Launch]) -> list[ProfileRow]:
    """One row a kernel and shape, the longest first."""
    groups: dict[tuple[str, str], list[ProfileRow]] = {}
    for row in launch_rows(launches):
        groups.setdefault((row.kernel, row.shapes), []).append(row)
    rows = [
        ProfileRow(
            kernel,
            shapes,
            len(group),
            sum(row.seconds for row in group),
            sum(row.flops for row in group),
            sum(row.bytes_moved for row in group),
        )
        for (kernel, shapes), group in groups.items()
    ]
    return sorted(rows, key=lambda row: -row.seconds)


def profile_table(
    rows: Sequence[ProfileRow],
    step_seconds: float,
    limits: Limits,
    *,
    by_launch: bool,
    phases: Mapping[str, float] | None = None,
) -> Table:
    """A line a row; what no kernel accounts for comes last. `phases` are seconds of the step's."""
    titles = ["kernel", "result"]
    titles += ["made at"] if by_launch else ["calls"]
    titles += ["us", "share", "GFLOP/s", "of GEMM", "GB/s", "of copy", "of roofline"]
    words = {"kernel", "result", "made at"}
    columns = tuple(Column(title, align_right=title not in words) for title in titles)
    total = sum(row.seconds for row in rows)
    cells = [_cells(row, max(step_seconds, total), limits, by_launch) for row in rows]
    outside = step_seconds - total
    share = f"{max(outside, 0.0) / step_seconds:.1%}"
    cells.append(("outside kernels", "", "", f"{max(outside, 0.0) * 1e6:.1f}", share, *[""] * 5))
    roof = sum(roof_seconds(row, limits) for row in rows)
    notes = [
        f"one step {step_seconds * 1e6:,.1f} us, kernels {total * 1e6:,.1f} us; timed apart, so a "
        "step may be shorter than its kernels with clocks around them",
        f"limits: {limits.words}",
        f"layer-wise roofline: {roof * 1e6:,.1f} us, the sum over launches of the longer of "
        f"operations at the product's rate and bytes at the copy's; kernels reach "
        f"{_ratio(roof, total):.0%} of it, the step {_ratio(roof, step_seconds):.0%}",
        "a convolution counts as the direct sum, whatever computes it: Winograd's may exceed the "
        "matrix product; what lies in a cache may exceed the copy",
    ]
    if phases:
        whole = sum(phases.values())
        parts = (f"{n} {s * 1e6:,.1f} us ({_ratio(s, whole):.0%})" for n, s in phases.items())
        notes.insert(1, f"phases, with marks between them alone: {', '.join(parts)}")
    return Table(columns, tuple(cells), tuple(notes))


def roof_seconds(row: ProfileRow, limits: Limits) -> float:
    """The least time of a row's work under the limits."""
    arithmetic = row.flops / limits.gemm_flops_per_second
    return max(arithmetic, row.bytes_moved / limits.copy_bytes_per_second)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _cells(
    row: ProfileRow, whole_seconds: float, limits: Limits, by_launch: bool
) -> tuple[str, ...]:
    return (
        row.kernel,
        row.shapes,
        row.origin if by_launch else str(row.calls),
        f"{row.seconds * 1e6:.1f}",
        f"{row.seconds / whole_seconds:.1%}",
        f"{row.flops_per_second / 1e9:.1f}",
        f"{row.flops_per_second / limits.gemm_flops_per_second:.0%}",
        f"{row.bytes_per_second / 1e9:.1f}",
        f"{row.bytes_per_second / limits.copy_bytes_per_second:.0%}",
        f"{_ratio(roof_seconds(row, limits), row.seconds):.0%}",
    )


def trace_document(launches: Sequence[Launch], title: str) -> dict[str, Any]:
    """One step for chrome://tracing and Perfetto: complete events, microseconds."""
    process = {"ph": "M", "pid": 1, "tid": 1, "name": "process_name", "args": {"name": title}}
    events = [
        {
            "name": each["kernel"],
            "cat": "kernel",
            "ph": "X",
            "pid": 1,
            "tid": 1,
            "ts": each["start_seconds"] * 1e6,
            "dur": each["seconds"] * 1e6,
            "args": {
                "result": each["shapes"],
                "flops": each["flops"],
                "bytes_moved": each["bytes_moved"],
                "made_at": each["origin"],
                "phase": each.get("phase", ""),
            },
        }
        for each in launches
    ]
    return {"displayTimeUnit": "ms", "traceEvents": [process, *events]}
