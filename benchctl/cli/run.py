"""`benchctl run`: plan, measure, store, show."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from benchctl.cli.errors import CliError
from benchctl.cli.exits import Exit
from benchctl.cli.options import (
    autotune_option,
    axis_option,
    complete_names,
    device_option,
    duration,
    engine_option,
    format_options,
    precision_option,
    seed_option,
    store_option,
    threads_option,
)
from benchctl.cli.output import Output, exit_code, failure_notes
from benchctl.cli.request import (
    Request,
    make_plan,
    missing_engines,
    require_something_measurable,
)
from benchctl.cli.screen import note, write

if TYPE_CHECKING:
    from benchctl.store.journal import Journal
    from benchctl.store.record import CaseSpec, Plan, Run

LAST = "last"


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete_names)
@engine_option("Engine to measure, with switches; repeatable.  [default: static, eager, numpy]")
@device_option
@precision_option
@autotune_option
@axis_option
@click.option("--suite", default="", metavar="NAME", help="Suite to measure, as named by `list`.")
@click.option("--rounds", type=click.IntRange(min=1), metavar="N", help="Rounds of every case.")
@click.option(
    "--budget", callback=duration, metavar="TIME", help="Stop after about this long: 30s, 5m."
)
@click.option(
    "--timeout",
    callback=duration,
    metavar="TIME",
    help="Give up on an engine that does not answer for this long.  [default: 10m a sample]",
)
@click.option("--reference", default="", metavar="ENGINE", help="Compare with this one.")
@seed_option
@threads_option
@click.option(
    "--shard",
    metavar="I/N|auto",
    help="Measure the I-th of N parts of the plan; auto asks a job array. `merge` joins them.",
)
@format_options
@store_option
@click.option("--dry-run", is_flag=True, help="Show the plan and a time estimate; run nothing.")
@click.option(
    "--resume",
    metavar="[RUN]",
    is_flag=False,
    flag_value=LAST,
    help="Measure what a run lacks; without RUN the newest one that is not complete.",
)
@click.option(
    "--keep-blas-override",
    is_flag=True,
    help="Leave OPENBLAS_CORETYPE and OPENBLAS_L2_SIZE to the engines.",
)
@click.option(
    "--energy",
    is_flag=True,
    help="Also measure joules a step of the arms on a GPU, about 20 s each.",
)
def run(
    names: tuple[str, ...],
    engines: tuple[str, ...],
    device: str,
    precision: str,
    autotune: bool,
    axes: tuple[str, ...],
    suite: str,
    rounds: int | None,
    budget: float | None,
    timeout: float | None,
    reference: str,
    seed: int,
    threads: int | None,
    shard: str | None,
    json_target: str | None,
    markdown: bool,
    csv_format: bool,
    full: bool,
    store: Path,
    dry_run: bool,
    resume: str | None,
    keep_blas_override: bool,
    energy: bool,
) -> int:
    """Measure workloads, files or suites on several engines.

    NAME is a workload, a file such as ./my_workload.py, or a suite. Results are checked against
    float64 before anything is timed, and every finished round is stored at once.

    \b
    benchctl run xyz                                     all in-house engines
    benchctl run vgg16 -a batch=1,8 -a head=fc,conv      every combination
    benchctl run xyz --engine static --engine static:fuse_elementwise=off
    benchctl run ./my_workload.py --budget 2m --markdown
    benchctl run slides --dry-run                        what it would measure, and how long
    """
    output = Output(json_target, markdown, csv_format, full)
    output.check()
    if resume is not None:
        _refuse_beside_resume(names)
        return _resume(store, resume, budget, output)
    request = Request(
        names=names,
        engines=engines,
        device=device,
        precision=precision,
        autotune=autotune,
        axes=axes,
        suite=suite,
        rounds=rounds,
        budget_seconds=budget,
        seed=seed,
        threads=threads,
        reference=reference,
        keep_blas_override=keep_blas_override,
        timeout_seconds=timeout,
        energy=energy,
    )
    plan = make_plan(request)
    if energy and not any(arm.device.startswith("gpu") for arm in plan.arms):
        raise click.UsageError(
            "--energy expected an engine on a GPU, received none; add --device gpu"
        )
    if shard is not None:
        from benchctl.plan.shards import parse_shard, shard_plan

        plan = shard_plan(plan, *parse_shard(shard))
    if dry_run:
        from benchctl.report.plans import plan_lines

        write(plan_lines(plan))
        missing = missing_engines(plan)
        note(f"note: {arm} cannot run here: {state.reason}" for arm, state in missing.items())
        return int(Exit.OK)
    require_something_measurable(plan)
    return _measure(plan, create_journal(store, plan), store, output)


_OF_THE_PLAN = {
    "engines": "--engine",
    "device": "--device",
    "precision": "--precision",
    "autotune": "--autotune",
    "axes": "--axis",
    "suite": "--suite",
    "rounds": "--rounds",
    "reference": "--reference",
    "seed": "--seed",
    "threads": "--threads",
    "shard": "--shard",
    "dry_run": "--dry-run",
    "keep_blas_override": "--keep-blas-override",
    "energy": "--energy",
    "timeout": "--timeout",
}
"""Options that a stored plan has already decided, by parameter."""


def _refuse_beside_resume(names: tuple[str, ...]) -> None:
    """Raise for names and options that a resumed run would have to ignore."""
    context = click.get_current_context()
    given = [
        option
        for parameter, option in _OF_THE_PLAN.items()
        if context.get_parameter_source(parameter) is ParameterSource.COMMANDLINE
    ]
    if names or given:
        left_out = ", ".join([*names, *given])
        raise click.UsageError(f"--resume goes on with a stored plan: leave out {left_out}")


def create_journal(store: Path, plan: Plan) -> Journal:
    """A new run of `plan` in the store, with where and with what it is measured."""
    from benchctl.measure.environment import (
        git_facts,
        machine_facts,
        software_versions,
        volatile_facts,
    )
    from benchctl.measure.settings import removed_variables, settings_of, worker_environment
    from benchctl.store.errors import DiskFullError, StoreError
    from benchctl.store.journal import Journal
    from benchctl.store.locations import utc_now
    from benchctl.store.record import Run

    settings = settings_of(plan)
    variables = worker_environment(settings, plan.threads, settings.cache_folder)
    environment = volatile_facts(plan.threads, variables)
    environment.update(_machine_limits(plan, variables))
    run = Run(
        run_id="",
        started_utc=utc_now(),
        plan=plan,
        machine=machine_facts(),
        environment={**environment, "removed_variables": removed_variables(settings)},
        versions=software_versions(),
        git=git_facts(Path.cwd()),
        command=("benchctl", *sys.argv[1:]),
        cases=(),
        complete=False,
    )
    try:
        return Journal.create(store, run)
    except StoreError as error:
        # Nothing was measured yet: but for a full disk, a matter of the configuration.
        code = Exit.FAILED if isinstance(error, DiskFullError) else Exit.USAGE
        hint = error.hint or "choose another folder: --store DIR"
        raise CliError(error.message, hint, code) from error


MEMORY_BOUND_BYTES = 32 * 2**20
ARITHMETIC_BOUND_FLOPS = 10**9
"""From here on a case is worth comparing with what the machine can do at best."""


def _machine_limits(plan: Plan, variables: Mapping[str, str]) -> dict[str, float]:
    """The machine's rates, where a case of the plan comes near one of them."""
    large = any(
        case.bytes_moved >= MEMORY_BOUND_BYTES or case.flops >= ARITHMETIC_BOUND_FLOPS
        for case in plan.cases
    )
    if not large:
        return {}
    from benchctl.measure.limits import LimitsError, measure_limits

    try:
        found = measure_limits(plan.threads, variables)
    except LimitsError as error:
        note(f"note: {error}")
        return {}
    return {
        "copy_bandwidth_bytes_per_second": found.copy_bytes_per_second,
        "gemm_flops_per_second": found.gemm_flops_per_second,
        "clock_step_seconds": found.clock_step_seconds,
    }


def _resume(store: Path, name: str, budget: float | None, output: Output) -> int:
    from benchctl.store.journal import Journal
    from benchctl.store.reader import find_run, load_store

    if name == LAST:
        open_runs = [each for each in load_store(store)[0] if not each.complete]
        if not open_runs:
            raise CliError(
                f"no incomplete run in {store}: nothing to resume",
                f"benchctl show --all{_store_argument(store)} lists what is there",
            )
        done = open_runs[-1]
    else:
        done = find_run(store, name)
    if done.complete or done.path is None:
        raise CliError(
            f"run {done.run_id} is complete: nothing to resume",
            f"benchctl show {done.run_id} shows it",
        )
    return _measure(done.plan, Journal.resume(done.path), store, output, done, budget)


def _measure(
    plan: Plan,
    journal: Journal,
    store: Path,
    output: Output,
    done: Run | None = None,
    budget: float | None = None,
) -> int:
    """Measure what is left of a plan and show the run; an interruption says how to go on."""
    from benchctl.cli.progress import make_observer
    from benchctl.measure.session import measure
    from benchctl.store.reader import load_run

    observer = make_observer(plan)
    try:
        with journal, ended_like_ctrl_c():
            measure(
                plan, journal, observer, done=done, budget_seconds=budget or plan.budget_seconds
            )
    except KeyboardInterrupt:
        observer.stop()
        note(kept_lines("interrupted", load_run(journal.path), store))
        return int(Exit.INTERRUPTED)
    except Exception:
        observer.stop()
        note(kept_lines("stopped", load_run(journal.path), store))
        raise
    observer.stop()
    return _show(load_run(journal.path), output, store)


def measured_run(plan: Plan, store: Path) -> Run | None:
    """The run of a plan, measured and stored; None where it was interrupted, which is told."""
    from benchctl.cli.progress import make_observer
    from benchctl.measure.session import measure
    from benchctl.store.reader import load_run

    journal = create_journal(store, plan)
    observer = make_observer(plan)
    try:
        with journal, ended_like_ctrl_c():
            measure(plan, journal, observer, budget_seconds=plan.budget_seconds)
    except KeyboardInterrupt:
        observer.stop()
        note(kept_lines("interrupted", load_run(journal.path), store))
        return None
    finally:
        observer.stop()
    return load_run(journal.path)


@contextmanager
def ended_like_ctrl_c() -> Iterator[None]:
    """Let a request to end (SIGTERM, SIGHUP) stop the workers and keep the rounds like Ctrl-C.

    A signal that is ignored, as under nohup, stays ignored.
    """

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = {}
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            before[number] = signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _show(run: Run, output: Output, store: Path) -> int:
    from benchctl.compare.summary import summarise

    output.show(run, summarise(run))
    if output.machine_readable:
        note(failure_notes(run))
        note(f"Saved {run.path}")
    else:
        write(["", *saved_lines(run, store)])
    return int(exit_code(run))


def saved_lines(run: Run, store: Path) -> list[str]:
    """Where the run lies and, if it measured something, which verbs go on from here."""
    lines = [f"  Saved {run.path}"]
    measured = [(case.case, arm.arm) for case in run.cases for arm in case.arms if arm.rounds]
    if not measured:
        return lines
    case, _ = measured[0]
    arms = [arm for other, arm in measured if other is case]
    arm = next((each for each in arms if each.engine == "static"), arms[0])
    why = " ".join(["benchctl explain", shlex.quote(case.workload), *axis_arguments(case)])
    return [
        *lines,
        f"  chart: benchctl report{_store_argument(store)}",
        f"  why:   {why} --engine {arm.id.partition('@')[0]}",
    ]


def axis_arguments(case: CaseSpec) -> list[str]:
    """The `-a` options that choose a case: only the axes that do not have their default."""
    from benchctl.plan.errors import PlanError
    from benchctl.plan.registry import load_workload

    try:
        defaults = {axis.name: axis.default for axis in load_workload(case.workload).axes}
    except PlanError:
        # A run resumed without its workload: name every axis.
        defaults = {}
    return [
        f"-a {name}={value}"
        for name, value in case.parameters.items()
        if defaults.get(name) != value
    ]


def kept_lines(why: str, run: Run, store: Path) -> list[str]:
    """What is kept of a run that ended early, and the command that measures the rest."""
    rounds = sum(max((len(arm.rounds) for arm in case.arms), default=0) for case in run.cases)
    return [
        f"{why}: {rounds} finished round{'' if rounds == 1 else 's'} kept in {run.path}",
        f"       benchctl run --resume {run.run_id}{_store_argument(store)}    measures the rest",
        f"       benchctl show {run.run_id}{_store_argument(store)}            shows what is there",
    ]


def _store_argument(store: Path) -> str:
    return "" if store == Path("results") else f" --store {shlex.quote(str(store))}"
