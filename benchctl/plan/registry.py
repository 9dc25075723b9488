"""Engines and workloads by name, from entry points and from files; nothing is loaded to list."""

from __future__ import annotations

import importlib.metadata
import inspect
import sys
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from benchctl.plan.errors import MissingFileError, PlanError, UnknownNameError
from benchctl.plan.interpreters import ForeignEngine, configured_interpreters

if TYPE_CHECKING:
    from benchctl_engines.contract import Engine
    from benchctl_workloads.workload import Workload

ENGINES = "benchctl.engines"
WORKLOADS = "benchctl.workloads"
MODEL = ".onnx"
FILE_EXAMPLE = "or a file: ./my_workload.py, ./model.onnx"


def engine_names() -> list[str]:
    """Names of the installed engines, the in-house ones first, then those of other interpreters."""
    return list(dict.fromkeys([*_names(ENGINES), *configured_interpreters()]))


def workload_names() -> list[str]:
    """Names of the installed workloads, the in-house ones first."""
    return _names(WORKLOADS)


def load_engine(name: str) -> Engine:
    """The engine of that name; raises `PlanError` where there is none or it fails to load."""
    own = configured_interpreters().get(name)
    if own is not None:
        return ForeignEngine(name, load_installed_engine(own.engine), own.python)
    return load_installed_engine(name)


def load_installed_engine(name: str) -> Engine:
    """The engine that an installed package registers under that name; raises `PlanError`."""
    from benchctl_engines.contract import Engine

    engine = _make(_find(ENGINES, "engine", name), "engine")
    if not isinstance(engine, Engine):
        raise PlanError(
            f'engine "{name}": expected an object with the methods of Engine, received '
            f"{type(engine).__name__}",
            "benchctl_engines.contract.Engine lists them",
        )
    return engine


def frameworks_among(names: Iterable[str]) -> list[str]:
    """Those engines that are adapters to a framework, also where another interpreter runs them."""
    configured = configured_interpreters()
    own = {name: configured[name].engine if name in configured else name for name in names}
    return [name for name, other in own.items() if load_installed_engine(other).paradigm == "peer"]


def load_workload(name_or_path: str) -> Workload:
    """The workload of that name, or the one in that file ("file.py", "file.py:ClassName")."""
    from benchctl_workloads.workload import Workload

    if is_model_reference(name_or_path):
        return _load_model(name_or_path)
    if is_file_reference(name_or_path):
        # Imported only now, because it runs a user's file.
        from benchctl.plan.user_file import load_workload_file

        return load_workload_file(name_or_path)
    if is_import_reference(name_or_path):
        module, _, class_name = name_or_path.partition(":")
        made: Workload = getattr(import_module(module), class_name)()
        return made
    workload = _make(_find(WORKLOADS, "workload", name_or_path), "workload")
    if not isinstance(workload, Workload):
        raise PlanError(
            f'workload "{name_or_path}": expected a Workload, received {type(workload).__name__}',
            "its entry point must name a subclass of benchctl_workloads.Workload",
        )
    return workload


def is_import_reference(text: str) -> bool:
    """Whether `text` is a "package.module:Class" of the harness's own, not meant for users."""
    return ":" in text and text.startswith("benchctl.")


def is_file_reference(text: str) -> bool:
    """Whether `text` means a file and not a registered name."""
    path, _, _ = text.partition(".py:")
    return text.endswith((".py", MODEL)) or path != text or "/" in text


def is_model_reference(text: str) -> bool:
    """Whether `text` means an ONNX file."""
    return text.endswith(MODEL)


def _load_model(reference: str) -> Workload:
    from benchctl_workloads.onnx_models.reading import ModelError
    from benchctl_workloads.onnx_models.workload import load_onnx_workload

    path = Path(reference)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise MissingFileError(
            f"no model in {path}: the file {what}", "expected an ONNX file: ./model.onnx"
        )
    try:
        return load_onnx_workload(path, reference)
    except ModelError as error:
        raise PlanError(f"{path}: {error}", error.hint) from error


def file_of_reference(text: str) -> Path:
    """The file that "file.py" or "file.py:ClassName" means."""
    return Path(text if text.endswith((".py", MODEL)) else text.rpartition(":")[0])


def workload_reference(workload: Workload) -> str:
    """The text with which `load_workload` gives this workload again."""
    own = getattr(workload, "__benchctl_reference__", "")
    if own:
        return str(own)
    module = sys.modules.get(type(workload).__module__)
    return str(getattr(module, "__benchctl_reference__", workload.name))


def _names(group: str) -> list[str]:
    """Names of a group in the order of their distribution's file; ours come first."""
    found = importlib.metadata.entry_points(group=group)
    ordered = sorted(found, key=_is_foreign)
    return list(dict.fromkeys(each.name for each in ordered))


def _is_foreign(entry: importlib.metadata.EntryPoint) -> bool:
    return entry.dist is None or entry.dist.name != "benchctl"


def _find(group: str, kind: str, name: str) -> importlib.metadata.EntryPoint:
    found = {each.value: each for each in importlib.metadata.entry_points(group=group, name=name)}
    if not found:
        also = FILE_EXAMPLE if group == WORKLOADS else ""
        file = f"./{name}.py"
        is_file = group == WORKLOADS and bool(name) and Path(file).is_file()
        raise UnknownNameError(kind, name, _names(group), file if is_file else None, also)
    if len(found) > 1:
        raise PlanError(
            f'{kind} "{name}" is registered {len(found)} times: {", ".join(sorted(found))}',
            "uninstall all packages but one that register it",
        )
    return next(iter(found.values()))


def _make(entry: importlib.metadata.EntryPoint, kind: str) -> object:
    """What the entry point's class or factory returns."""
    owner = entry.dist.name if entry.dist else entry.value
    try:
        return entry.load()()
    except Exception as error:
        raise PlanError(
            f'{kind} "{entry.name}" of {owner} could not be loaded: '
            f"{type(error).__name__}: {first_line(error)}",
            f"python -c 'import {entry.module}' shows the whole error",
        ) from error


def first_line(error: BaseException) -> str:
    """The first line of an error's message."""
    return inspect.cleandoc(str(error)).partition("\n")[0]
