"""The comparison behind a bisection: two revisions of one case on one arm, measured now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from benchctl.compare.pairs import compare_rounds
from benchctl.gate.config import GateConfig, load_config
from benchctl.gate.errors import GateError
from benchctl.gate.plans import fresh_processes
from benchctl.gate.revisions import repository_root, revision_subject
from benchctl.history.bisect import Compare, RevisionFailedError
from benchctl.measure.environment import machine_facts
from benchctl.measure.observer import SilentObserver
from benchctl.measure.session import measure
from benchctl.plan.order import round_seed
from benchctl.plan.subjects import Subject, with_subjects
from benchctl.store.journal import Journal
from benchctl.store.locations import utc_now
from benchctl.store.reader import load_run
from benchctl.store.record import Plan, Run


@contextmanager
def make_comparison(plan: Plan, folder: Path) -> Iterator[Compare]:
    """Compares revisions of the project around `folder` on the one case and arm of `plan`.

    The first revision stays checked out until the end. A revision that cannot be built or run
    raises `RevisionFailedError`.
    """
    config = load_config(repository_root(folder))
    calls = 0
    with ExitStack() as stack:
        bases: dict[str, Subject] = {}

        def compare(base: str, revision: str, rounds: int) -> Sequence[float]:
            nonlocal calls
            calls += 1
            if base not in bases:
                bases[base] = stack.enter_context(_checked_out("base", folder, base, config))
            with _checked_out("head", folder, revision, config) as head:
                # New inputs for every step, a resumed one too: none repeats another's luck.
                seed = round_seed(plan.seed, f"{revision} {rounds}", calls)
                own = replace(plan, rounds=rounds, seed=seed)
                run = _measured(with_subjects(fresh_processes(own), (bases[base], head)))
            return _log_ratios(run, base, revision)

        yield compare


@contextmanager
def _checked_out(name: str, folder: Path, revision: str, config: GateConfig) -> Iterator[Subject]:
    with ExitStack() as stack:
        try:
            subject = stack.enter_context(
                revision_subject(name, folder, revision, config.paths, config.build)
            )
        except GateError as error:
            raise RevisionFailedError(revision, error.message) from error
        yield subject


def _measured(plan: Plan) -> Run:
    """The run of a plan; only its ratios are of interest, so it is kept nowhere."""
    run = Run("", utc_now(), plan, machine_facts(), {}, {}, {}, ("benchctl", "bisect"), (), False)
    with TemporaryDirectory(prefix="benchctl-bisect-") as store:
        journal = Journal.create(Path(store), run)
        with journal:
            measure(plan, journal, SilentObserver())
        return load_run(journal.path)


def _log_ratios(run: Run, base: str, revision: str) -> list[float]:
    (pair,) = compare_rounds(run, base, revision).pairs
    # The reference comes from the second revision's workload: where that fails, both arms do.
    for side, result in ((revision, pair.head), (base, pair.base)):
        if result.status != "ok":
            raise RevisionFailedError(side, result.message or result.status)
    return list(pair.log_ratios.values())
