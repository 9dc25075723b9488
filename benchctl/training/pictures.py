"""Generated digits as a picture: a square of images in grey, each with its decision below."""

from __future__ import annotations

import math
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchctl_engines.contract import Array

_INCHES = 0.9


def save_pictures(path: Path, images: Array, decisions: Array, title: str) -> None:
    """Write images [N, H, W] from -1 to 1 as a PNG file; the same arrays give the same file."""
    side = math.isqrt(len(images) - 1) + 1
    figure = Figure(figsize=(_INCHES * side, _INCHES * side * 1.25), dpi=100)
    FigureCanvasAgg(figure)
    figure.subplots_adjust(left=0.02, right=0.98, bottom=0.05, top=0.93, hspace=0.2, wspace=0.05)
    figure.suptitle(title, fontsize=9)
    for place, (image, decision) in enumerate(zip(images, decisions, strict=True), start=1):
        axes = figure.add_subplot(side, side, place)
        axes.imshow(image, cmap="gray", vmin=-1.0, vmax=1.0)
        axes.set_title(f"{decision:+.2f}", fontsize=7, pad=2, y=-0.25)
        axes.set_axis_off()
    partial = path.with_name(f".{path.name}")
    figure.savefig(partial, format="png", metadata={"Software": None})
    partial.replace(path)
