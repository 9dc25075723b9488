"""The parts of README.md that come from the committed reference run: a screen, tables, charts.

A part stands between two comments and is rewritten as a whole:

    <!-- screen: xyz size=3x4 -->          one case as the terminal shows it
    <!-- table: vgg16 mode=inference -->   the cases that fit, as a Markdown table
    <!-- chart: sizes -->                  a picture of the report, written to docs/pictures
    <!-- frameworks: vgg16 from=peers -->  how the frameworks of these cases ran
    <!-- end -->

`from=NAME` among the words asks for results/reference/NAME.jsonl, a run with frameworks: tables are
then those of implementations. Without it the parts come from slides.jsonl.
`python -m benchctl.report.readme` in a checkout rewrites README.md, the demonstration page and the
page of claims.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchctl.compare.case_tables import implementation_summary, tables_of_run
from benchctl.compare.peers import peer_names
from benchctl.compare.summary import CaseSummary, RunSummary, summarise
from benchctl.report.build import draw_charts, write_pictures
from benchctl.report.charts.chart import Chart
from benchctl.report.claims_page import RUN as CLAIMS_RUN
from benchctl.report.claims_page import write_claims_page
from benchctl.report.demonstration import PICTURES_NAME, DemonstrationError, write_demonstration
from benchctl.report.frameworks import framework_lines, framework_table, frameworks_of
from benchctl.report.markdown import escape, table_markdown
from benchctl.report.published import load_published
from benchctl.report.results import compact_table, result_table
from benchctl.report.text import case_findings, case_lines, machine_words
from benchctl.report.views import make_views
from benchctl.store.errors import StoreError
from benchctl.store.reader import load_run
from benchctl.store.record import Run

README = Path("README.md")
REFERENCE = Path("results/reference/slides.jsonl")
DEMONSTRATION = Path("docs/why-was-tensorflow-ten-times-slower.md")
PICTURES = DEMONSTRATION.parent / PICTURES_NAME

END = "<!-- end -->"
_FROM = re.compile(r" from=(\w+)")
_MARKER = re.compile(r"<!-- (screen|table|chart|frameworks): (.+?) -->")


class ReadmeError(Exception):
    """A part that cannot be filled; the message names its marker and what was expected."""


@dataclass(frozen=True, slots=True)
class Source:
    """What the parts are made of: one run, its summary and its charts by name.

    `others` are further runs, by the name that `from=` gives them. Names of pictures begin with
    `prefix`.
    """

    run: Run
    summary: RunSummary
    charts: Mapping[str, Chart]
    reference: Path = REFERENCE
    others: Mapping[str, Source] = field(default_factory=dict)
    prefix: str = ""

    def picture(self, chart: str) -> str:
        """The name of a chart's file, without its ending."""
        return f"{self.prefix}{chart}"


def make_source(
    run: Run, reference: Path = REFERENCE, with_peers: Mapping[str, Run] | None = None
) -> Source:
    """Everything that parts may show of a run; `reference` is its path as the text names it.

    `with_peers` are the runs with frameworks, by the name that `from=` gives them.
    """
    found = with_peers or {}
    # One picture of all of them, each case as it was measured last; those on a GPU have their own.
    charts = {
        on_gpu: _charts_of(*(each for each in found.values() if is_on_gpu(each) == on_gpu))
        for on_gpu in (False, True)
    }
    others = {
        name: Source(
            other,
            implementation_summary(other),
            charts[is_on_gpu(other)],
            REFERENCE.with_name(f"{name}.jsonl"),
            prefix="gpu-" if is_on_gpu(other) else "",
        )
        for name, other in found.items()
    }
    return Source(run, summarise(run), _charts_of(run), reference, others)


def is_on_gpu(run: Run) -> bool:
    """Whether some arm of a run was on a GPU."""
    return any(arm.device != "cpu" for arm in run.plan.arms)


def _charts_of(*runs: Run) -> dict[str, Chart]:
    views = make_views(runs)
    drawn = draw_charts(views[0], load_published()) if views else ()
    return {chart.name: chart for chart in drawn if isinstance(chart, Chart)}


def fill(text: str, source: Source) -> str:
    """`text` with everything between markers made anew; raises `ReadmeError`."""
    filled: list[str] = []
    lines = iter(text.splitlines())
    for line in lines:
        filled.append(line)
        marker = _MARKER.fullmatch(line)
        if marker:
            _skip_part(lines, line)
            kind, words = marker.groups()
            filled += ["", *_PARTS[kind](*_choose_source(words, source)), "", END]
    return "\n".join(filled) + "\n"


def _choose_source(words: str, source: Source) -> tuple[str, Source]:
    """The words without `from=NAME`, and the run that it names; raises `ReadmeError`."""
    match = _FROM.search(words)
    if match is None:
        return words, source
    if match[1] not in source.others:
        known = ", ".join(source.others) or "none"
        raise ReadmeError(f"{words} expected a committed run after from= ({known})")
    return _FROM.sub("", words), source.others[match[1]]


def parts(text: str) -> list[tuple[str, str]]:
    """Every marker with what stands below it, stripped; raises `ReadmeError`."""
    found = []
    lines = iter(text.splitlines())
    for line in lines:
        if _MARKER.fullmatch(line):
            found.append((line, "\n".join(_skip_part(lines, line)).strip()))
    return found


def _skip_part(lines: Iterator[str], marker: str) -> list[str]:
    """The lines up to the end of a part, which is taken too."""
    old: list[str] = []
    for line in lines:
        if line == END:
            return old
        if _MARKER.fullmatch(line):
            break
        old.append(line)
    raise ReadmeError(f"{marker} expected {END!r} below it, received none before the next marker")


# The kinds of parts --------------------------------------------------------------------------


def _screen(words: str, source: Source) -> list[str]:
    cases = matching_cases(words, source.summary)
    if len(cases) != 1:
        ids = ", ".join(case.case.id for case in cases)
        raise ReadmeError(f"screen: {words} expected one case, received {len(cases)}: {ids}")
    run, wanted = source.run, cases[0].case.id
    tables = tables_of_run(summarise(run))
    shown = [each for each in tables if each.everything.case.id == wanted]
    frameworks = framework_lines(
        frameworks_of(run.plan, peer_names(run), [each.everything for each in shown])
    )
    lines = case_lines(shown[0], machine_words(run), frameworks)
    return ["```text", *lines, "```", "", _provenance(source)]


def _table(words: str, source: Source) -> list[str]:
    cases = matching_cases(words, source.summary)
    if len(cases) == 1:
        lines = table_markdown(result_table(cases[0]))
        findings = [escape(sentence) for sentence in case_findings(cases[0])]
        lines += ["", "\n".join(findings)] if findings else []
    else:
        order = [arm.id for arm in source.run.plan.arms]
        lines = table_markdown(compact_table(cases, order))
    return [*lines, "", _provenance(source)]


def _provenance(source: Source) -> str:
    name = source.reference.name
    return (
        f"Measured on {escape(machine_words(source.run))}, {source.run.started_utc[:10]}: "
        f"[{name}]({source.reference.as_posix()})."
    )


def _chart(words: str, source: Source) -> list[str]:
    chart = source.charts.get(words)
    if chart is None:
        drawn = ", ".join(source.charts) or "none"
        raise ReadmeError(
            f"chart: {words} expected a chart that the run has data for ({drawn}); "
            "benchctl run slides measures them all"
        )
    return [
        f"![{escape(chart.headline)}]({(PICTURES / source.picture(chart.name)).as_posix()}.png)"
    ]


def _frameworks(words: str, source: Source) -> list[str]:
    cases = matching_cases(words, source.summary)
    found = frameworks_of(source.run.plan, peer_names(source.run), cases)
    if not found:
        raise ReadmeError(f"frameworks: {words} expected cases with a framework, received none")
    return table_markdown(framework_table(found))


_PARTS: Mapping[str, Callable[[str, Source], list[str]]] = {
    "screen": _screen,
    "table": _table,
    "chart": _chart,
    "frameworks": _frameworks,
}


def matching_cases(words: str, summary: RunSummary) -> list[CaseSummary]:
    """The cases of `workload axis=value ...`; raises `ReadmeError` where there is none."""
    workload, *pairs = words.split()
    wanted = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
    if len(wanted) != len(pairs):
        raise ReadmeError(f"{words} expected a workload and axis=value, received {pairs}")
    cases = [
        case
        for case in summary.cases
        if case.case.workload == workload
        and all(str(case.case.parameters.get(name)) == value for name, value in wanted.items())
    ]
    if not cases:
        known = ", ".join(dict.fromkeys(case.case.workload for case in summary.cases))
        raise ReadmeError(f"{words} fits no case of run {summary.run.run_id} (of {known})")
    return cases


# The files -----------------------------------------------------------------------------------


def update_documents(root: Path) -> tuple[Path, ...]:
    """Rewrite README.md, the pages made from committed runs, and their pictures.

    Returns the files written. Raises `ReadmeError`, `DemonstrationError` and `StoreError` before
    README.md is touched.
    """
    source = load_source(root)
    readme = root / README
    text = fill(readme.read_text(encoding="utf-8"), source)
    written = dict.fromkeys(write_demonstration(source.run, root / DEMONSTRATION))
    for words in charts_named(text):
        name, owner = _choose_source(words, source)
        picture = owner.picture(name)
        written |= dict.fromkeys(write_pictures(owner.charts[name], root / PICTURES, picture))
    readme.write_text(text, encoding="utf-8")
    return (readme, *written, write_claims_page(root))


def load_source(root: Path) -> Source:
    """The committed runs of a checkout; raises `StoreError`."""
    reference = root / REFERENCE
    # A run of claims holds verdicts, and cases measured for them alone: it has a page of its own.
    others = sorted(set(reference.parent.glob("*.jsonl")) - {reference, root / CLAIMS_RUN})
    runs = {path.stem: load_run(path) for path in others}
    return make_source(load_run(reference), with_peers=runs)


def charts_named(text: str) -> list[str]:
    """The charts that markers in `text` ask for, in their words."""
    markers = (_MARKER.fullmatch(line) for line in text.splitlines())
    return [match[2] for match in markers if match and match[1] == "chart"]


def main(arguments: Sequence[str]) -> int:
    """Update the documents of the checkout in the working folder, or in the one folder given."""
    root = Path(arguments[0]) if arguments else Path.cwd()
    try:
        written = update_documents(root)
    except (ReadmeError, DemonstrationError, StoreError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.writelines(f"{path}\n" for path in written)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
