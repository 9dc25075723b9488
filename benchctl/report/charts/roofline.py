"""The roofline: rates of kernels under the machine's limits, by operations a byte."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchctl.measure.limits import Limits
from benchctl.report.charts import style
from benchctl.report.profile import ProfileRow

MOST_LABELS = 6
LABEL_WIDTH, LABEL_HEIGHT = 6.0, 1.25
"""Dots nearer to each other than these factors cannot both have a label."""

_LEAST_AREA, _MOST_AREA = 18.0, 420.0


@style.styled
def draw_roofline(
    rows: Sequence[ProfileRow], step_seconds: float, limits: Limits, title: str, foot: str
) -> Figure:
    """A dot for every kernel and shape, as large as its share of the step.

    Raises `ValueError` where no row has arithmetic, bytes and time.
    """
    shown = [row for row in rows if row.flops and row.bytes_moved and row.seconds]
    if not shown:
        raise ValueError("a roofline expected kernels with arithmetic, received none")
    figure = style.new_figure(5.2)
    axes = style.panels(figure, 1)[0]
    _draw_roof(axes, shown, limits)
    kinds = list(dict.fromkeys(row.kernel.partition(":")[0] for row in shown))
    for place, kind in enumerate(kinds):
        own = [row for row in shown if row.kernel.partition(":")[0] == kind]
        look = style.other_look(place)
        axes.scatter(
            [row.intensity for row in own],
            [row.flops_per_second / 1e9 for row in own],
            s=[_area(row.seconds / step_seconds) for row in own],
            color=look.color,
            marker=look.marker,
            alpha=0.75,
            edgecolor=style.INK,
            linewidth=0.5,
            label=kind,
        )
    for row in _labelled(shown):
        axes.annotate(
            f"{row.kernel.partition(':')[2] or row.kernel} {row.shapes.partition(' ')[0]}",
            (row.intensity, row.flops_per_second / 1e9),
            xytext=(6, 5),
            textcoords="offset points",
            fontsize=7,
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("operations a byte moved")
    axes.set_ylabel("GFLOP/s")
    handles, _ = axes.get_legend_handles_labels()
    for handle in handles:
        if hasattr(handle, "set_sizes"):
            handle.set_sizes([40.0])
    style.finish(figure, title, foot, handles, columns=4)
    return figure


def _labelled(rows: Sequence[ProfileRow]) -> list[ProfileRow]:
    """The longest rows, but none whose label would lie over that of a longer one."""
    labelled: list[ProfileRow] = []
    for row in sorted(rows, key=lambda row: -row.seconds):
        crowded = any(
            _factor(row.intensity, other.intensity) < LABEL_WIDTH
            and _factor(row.flops_per_second, other.flops_per_second) < LABEL_HEIGHT
            for other in labelled
        )
        if not crowded:
            labelled.append(row)
    return labelled[:MOST_LABELS]


def _factor(one: float, other: float) -> float:
    return max(one / other, other / one)


def _area(share: float) -> float:
    return _LEAST_AREA + (_MOST_AREA - _LEAST_AREA) * min(share, 1.0)


def _draw_roof(axes: Axes, rows: Sequence[ProfileRow], limits: Limits) -> None:
    ridge = limits.gemm_flops_per_second / limits.copy_bytes_per_second
    low = min(0.5 * min(row.intensity for row in rows), 0.2 * ridge)
    high = max(2.0 * max(row.intensity for row in rows), 5.0 * ridge)
    along = np.geomspace(low, high, 200)
    roof = np.minimum(limits.gemm_flops_per_second, along * limits.copy_bytes_per_second)
    axes.plot(
        along, roof / 1e9, color=style.INK, linewidth=1.4, label="limit: copy, matrix product"
    )
