"""Every setting of a measurement, with the defaults that `benchctl run` uses."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchctl.measure.energy import EnergyRule
from benchctl.measure.protocol import INTERPRETER, WORKING_FOLDER
from benchctl.measure.sampler import SampleRule, WarmUpRule
from benchctl.store.files import write_whole
from benchctl.store.record import Plan

if TYPE_CHECKING:
    from benchctl.plan.interpreters import Interpreter
    from benchctl.plan.subjects import Subject

BLAS_OVERRIDES = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
"""Variables that force BLAS kernels other than those the machine would choose."""


_FIRST_WARM_UP = WarmUpRule(min_seconds=0.1)
_LATER_WARM_UP = WarmUpRule(min_steps=1, min_seconds=0.02, settle=False)
_SAMPLE = SampleRule()
_ENERGY = EnergyRule()


@dataclass(frozen=True, slots=True)
class MeasureSettings:
    """How cases are measured; all times in seconds.

    `warm_up` is for a new process, `later_warm_up` for each round, on its own inputs.
    A warm worker is replaced after `restart_every` rounds, since rounds of one process are not
    independent; where starting one takes longer than `cheap_start_seconds`, only once that is under
    `restart_share` of the time. `check_outputs` off times an engine without a reference. Of a
    training step the losses of `check_steps` steps are compared, of fewer where those after the
    first would take more than `check_seconds` in float64. `cold` off leaves out the worker with
    the empty cache, and the outputs are then checked in one with the usual cache. With `energy`
    arms on a GPU run steady steps for longer, by `energy_rule`, after their rounds. Workers of one
    case are kept together while the sum of their peaks is under `memory_share` of the free memory.
    `threads` is what engines get where that is not the plan's number.
    """

    cache_directory: str | None = None
    check_outputs: bool = True
    check_steps: int = 5
    check_seconds: float = 120.0
    cold: bool = True
    energy: bool = False
    energy_rule: EnergyRule = _ENERGY
    keep_blas_override: bool = False
    restart_every: int = 1
    restart_share: float = 1 / 2
    cheap_start_seconds: float = 1.5
    minimum_rounds: int = 6
    memory_share: float = 0.8
    threads: int | None = None
    warm_up: WarmUpRule = _FIRST_WARM_UP
    later_warm_up: WarmUpRule = _LATER_WARM_UP
    sample: SampleRule = _SAMPLE
    import_timeout_seconds: float = 120.0
    prepare_timeout_seconds: float = 1200.0
    sample_timeout_seconds: float = 600.0
    reference_timeout_seconds: float = 1800.0
    stop_timeout_seconds: float = 3.0

    @property
    def cache_folder(self) -> Path:
        """Where compiled kernels are kept between runs."""
        return Path(self.cache_directory) if self.cache_directory else user_cache_folder()


def settings_of(plan: Plan) -> MeasureSettings:
    """The settings under the plan's key `measure`, defaults elsewhere; raises `ValueError`."""
    given: Mapping[str, Any] = plan.settings.get("measure", {})
    known = [each.name for each in fields(MeasureSettings)]
    for name in given:
        if name not in known:
            raise ValueError(
                f"settings of a measurement expected one of {', '.join(known)}, received {name!r}"
            )
    rules: dict[str, Any] = {
        "warm_up": WarmUpRule,
        "later_warm_up": WarmUpRule,
        "sample": SampleRule,
        "energy_rule": EnergyRule,
    }
    values: dict[str, Any] = {
        name: rules[name](**value) if name in rules and isinstance(value, Mapping) else value
        for name, value in given.items()
    }
    return replace(MeasureSettings(), **values)


def user_cache_folder() -> Path:
    """The folder of benchctl in the user's cache folder."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "benchctl"
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "benchctl"


def removed_variables(
    settings: MeasureSettings, environment: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The variables of this process that its workers do not get, with their values."""
    if settings.keep_blas_override:
        return {}
    environment = os.environ if environment is None else environment
    return {name: environment[name] for name in BLAS_OVERRIDES if environment.get(name)}


def worker_environment(
    settings: MeasureSettings,
    threads: int,
    cache_directory: Path,
    environment: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """The environment of a worker: thread counts fixed, kernel cache chosen, overrides removed.

    A worker finds the modules that this process finds, and no others.
    """
    given = dict(os.environ if environment is None else environment)
    for name in removed_variables(settings, given):
        del given[name]
    count = str(threads)
    return given | {
        "OMP_NUM_THREADS": count,
        "OPENBLAS_NUM_THREADS": count,
        "MKL_NUM_THREADS": count,
        "NUMBA_NUM_THREADS": count,
        "NUMBA_CACHE_DIR": str(cache_directory / "numba"),
        "PYTHONHASHSEED": "0",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }


COMMAND_PYTHONPATH = "BENCHCTL_COMMAND_PYTHONPATH"
"""The variable with what a command line under test is to have as its PYTHONPATH."""


def subject_environment(subject: Subject, environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a worker that runs a subject: its modules before those of this process.

    The harness itself stays the one that runs here, whatever revision the subject brings along.
    """
    paths = [str(harness_link()), *subject.paths, environment.get("PYTHONPATH", "")]
    own = [*subject.paths, os.environ.get("PYTHONPATH", "")]
    found = {
        **environment,
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        COMMAND_PYTHONPATH: os.pathsep.join(path for path in own if path),
    }
    if subject.folder:
        found[WORKING_FOLDER] = subject.folder
    return found


def interpreter_environment(
    interpreter: Interpreter, environment: Mapping[str, str]
) -> dict[str, str]:
    """The environment of a worker under another interpreter: of this one's modules only ours."""
    folder = linked_packages("benchctl", "benchctl_engines", "benchctl_workloads")
    return {**environment, INTERPRETER: interpreter.python, "PYTHONPATH": str(folder)}


def harness_link() -> Path:
    """A folder from which `benchctl` alone can be imported: the package that runs here."""
    return linked_packages("benchctl")


def linked_packages(*names: str) -> Path:
    """A folder from which these packages of ours can be imported, and nothing else."""
    sources = [_package_folder(name) for name in names]
    digest = hashlib.sha256("\n".join(map(str, sources)).encode()).hexdigest()[:12]
    folder = user_cache_folder() / "harness" / digest
    for source in sources:
        link = folder / source.name
        if not link.exists():
            folder.mkdir(parents=True, exist_ok=True)
            # Another process may have made it meanwhile; one whose target is gone leads nowhere.
            link.unlink(missing_ok=True)
            with contextlib.suppress(FileExistsError):
                link.symlink_to(source, target_is_directory=True)
    if len(sources) > 1:
        _register(folder / "benchctl.dist-info")
    return folder


def _package_folder(name: str) -> Path:
    found = find_spec(name)
    assert found is not None and found.origin is not None, "our own packages are installed"
    return Path(found.origin).resolve().parent


def _register(folder: Path) -> None:
    """Tell an interpreter that finds the packages here which engines and workloads they bring."""
    with contextlib.suppress(PackageNotFoundError):
        own = distribution("benchctl")
        folder.mkdir(exist_ok=True)
        for name in ("METADATA", "entry_points.txt"):
            text = own.read_text(name)
            file = folder / name
            if text is not None and not (file.is_file() and file.read_text("utf-8") == text):
                write_whole(file, text, replace=True)
