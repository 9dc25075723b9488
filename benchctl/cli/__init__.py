"""The command line: parse, call, render; the only place that prints or exits."""

from __future__ import annotations

import click

from benchctl import __version__
from benchctl.cli.group import LazyGroup

VERBS = {
    "run": ("benchctl.cli.run:run", "Measure workloads, files or suites on several engines."),
    "show": ("benchctl.cli.show:show", "Show the tables of a stored run again."),
    "report": ("benchctl.cli.report:report", "Make the HTML page and the charts of the store."),
    "compare": (
        "benchctl.cli.compare:compare",
        "Compare two runs, engines, revisions or commands.",
    ),
    "gate": ("benchctl.cli.gate:gate", "Fail where a revision is slower than another."),
    "aa": (
        "benchctl.cli.aa:aa",
        "Measure this machine's noise floor with gates of unchanged code.",
    ),
    "check": ("benchctl.cli.check:check", "Say why a run's results are unstable, and what to do."),
    "history": ("benchctl.cli.history:history", "Show how results changed over revisions."),
    "bisect": ("benchctl.cli.bisect:bisect", "Find the revision at which a case changed."),
    "merge": ("benchctl.cli.merge:merge", "Join shards of one plan into one run."),
    "export": ("benchctl.cli.export_run:export_run", "Write a run in another tool's format."),
    "import": ("benchctl.cli.import_results:import_results", "Read another tool's results."),
    "explain": ("benchctl.cli.explain:explain", "Show what an engine makes of a workload."),
    "graph": ("benchctl.cli.graph:graph", "Draw a step's graph before and after the passes."),
    "profile": ("benchctl.cli.profile:profile", "Show where a step's time goes, by kernel."),
    "ablate": ("benchctl.cli.ablate:ablate", "Show what each pass of the static engine is worth."),
    "claims": ("benchctl.cli.claims:claims", "Judge the lecture's claims by experiments."),
    "train": ("benchctl.cli.train:train", "Train the lecture's GAN and draw what it makes."),
    "verify": ("benchctl.cli.verify:verify", "Check every engine's results against float64."),
    "list": ("benchctl.cli.list:list_verb", "List workloads with axes, engines and suites."),
    "doctor": ("benchctl.cli.doctor:doctor", "Check this machine for what disturbs measuring."),
    "env": ("benchctl.cli.env:env", "Show machine, environment and versions."),
    "completion": ("benchctl.cli.completion:completion", "Print the script for shell completion."),
}


@click.group(
    cls=LazyGroup,
    verbs=VERBS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Each command explains itself: benchctl run --help",
)
@click.version_option(__version__, prog_name="benchctl", message="%(prog)s %(version)s")
def main() -> None:
    """Measure and compare engines honestly: static graphs, eager execution, NumPy by hand.

    \b
    benchctl run xyz                    the first table, in under half a minute
    benchctl run vgg16 -a batch=1,4     one workload over several axis values
    benchctl run slides                 every experiment of the report
    benchctl report                     one HTML page with a chart for each finding
    """


main.params.append(
    click.Option(["--debug"], is_flag=True, expose_value=False, help="Show tracebacks of errors.")
)
