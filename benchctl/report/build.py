"""From stored runs to the files of a report: one page, and every chart as PNG and SVG."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchctl.claims.evaluation import newest_claims, without_claims
from benchctl.history.acknowledgements import Acknowledgement
from benchctl.report.charts import (
    gradient,
    heads,
    layout,
    memory,
    overlap,
    peers,
    phases,
    sizes,
    vgg,
)
from benchctl.report.charts.chart import Chart, MissingChart
from benchctl.report.charts.claims import claim_sections
from benchctl.report.charts.files import svg_text, write_png
from benchctl.report.html import render_page
from benchctl.report.published import Published, load_published
from benchctl.report.trends import trend_sections
from benchctl.report.views import View, make_views
from benchctl.store.record import Run

PAGE_NAME = "index.html"
PICTURES_NAME = "pictures"

Draw = Callable[[View, Published], Chart | MissingChart]
CHARTS: tuple[Draw, ...] = (
    gradient.draw,
    phases.draw,
    sizes.draw,
    vgg.draw,
    layout.draw,
    heads.draw,
    memory.draw,
)
# Nobody who compares our engines is asked to install frameworks.
PEER_CHARTS: tuple[Draw, ...] = (peers.draw,)


@dataclass(frozen=True, slots=True)
class ReportFiles:
    """What was written, and which charts of the machine measured last had no data."""

    html: Path
    pngs: tuple[Path, ...]
    svgs: tuple[Path, ...]
    missing: tuple[MissingChart, ...]


def build_report(
    runs: Sequence[Run],
    out: Path,
    *,
    embed_records: bool = True,
    acknowledgements: Sequence[Acknowledgement] = (),
) -> ReportFiles:
    """Write the report of `runs` to the folder `out`.

    Of each case and machine the newest measurement is shown; the pictures of the machine measured
    last have plain names, those of others end in its id and threads. The cases of a run of claims
    are in its own sections alone: they were measured for verdicts. Raises OSError where `out`
    cannot be written.
    """
    published = load_published()
    claims, others = newest_claims(runs), without_claims(runs)
    trends = trend_sections(others, acknowledgements)
    drawn: list[tuple[View, tuple[Chart | MissingChart, ...]]] = []
    for view in make_views(others):
        machine = (view.machine_id, view.threads)
        found = claim_sections(claims.pop(machine)) if machine in claims else ()
        charts = draw_charts(view, published)
        drawn.append((view, (*found, *charts, *trends.get(machine, ()))))
    for run in claims.values():
        # Nothing but claims was measured there: of the other charts none is missed.
        drawn += [(view, claim_sections(run)) for view in make_views([run])]
    pictures = out / PICTURES_NAME
    pictures.mkdir(parents=True, exist_ok=True)
    page = out / PAGE_NAME
    page.write_text(render_page(drawn, embed_records=embed_records), encoding="utf-8")
    pngs: list[Path] = []
    svgs: list[Path] = []
    for place, (view, charts) in enumerate(drawn):
        suffix = f"-{view.machine_id or 'unknown'}-{view.threads}" if place else ""
        for chart in charts:
            if isinstance(chart, Chart):
                png, svg = write_pictures(chart, pictures, chart.name + suffix)
                pngs.append(png)
                svgs.append(svg)
    missing = [each for each in drawn[0][1] if isinstance(each, MissingChart)] if drawn else []
    return ReportFiles(page, tuple(pngs), tuple(svgs), tuple(missing))


def draw_charts(view: View, published: Published) -> tuple[Chart | MissingChart, ...]:
    """Every chart of one view, or what is missing for it."""
    chosen = (*CHARTS, *PEER_CHARTS) if view.peers else CHARTS
    if view.of(overlap.WORKLOAD):
        chosen = (*chosen, overlap.draw)
    return tuple(draw(view, published) for draw in chosen)


def write_pictures(chart: Chart, folder: Path, stem: str) -> tuple[Path, Path]:
    """The chart as PNG and as SVG; equal data give equal bytes."""
    png, svg = folder / f"{stem}.png", folder / f"{stem}.svg"
    write_png(chart.figure, png)
    svg.write_text(svg_text(chart.figure, stem), encoding="utf-8")
    return png, svg
