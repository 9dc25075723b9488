"""A workload from a user's own file, with errors that name the user's line."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType

from benchctl.plan.errors import MissingFileError, PlanError, UnknownNameError
from benchctl.plan.registry import first_line
from benchctl_workloads.workload import Axis, Workload


def load_workload_file(reference: str) -> Workload:
    """The one workload of "file.py", or the named one of "file.py:ClassName".

    The file's folder is put on the import path, last, so that it can import its neighbours. A
    workload without a name is called as its file. Raises `PlanError`.
    """
    before, colon, after = reference.rpartition(":")
    has_class = bool(colon) and before.endswith(".py")
    path = Path(before if has_class else reference)
    module = _import_file(path)
    module.__dict__["__benchctl_reference__"] = reference
    kind = _pick_class(module, path, after if has_class else "")
    if not kind.name:
        kind.name = path.stem
    try:
        workload = kind()
    except Exception as error:
        raise PlanError(f"{describe_error(error, path)} while making {kind.__name__}()") from error
    _check(workload, path)
    return workload


def describe_error(error: BaseException, path: Path) -> str:
    """Where in the user's file an error arose, and which: "file.py:12: NameError: ..."."""
    line = None
    if isinstance(error, SyntaxError) and _same_file(error.filename, path):
        line = error.lineno
    for frame in traceback.extract_tb(error.__traceback__):
        if _same_file(frame.filename, path):
            line = frame.lineno
    where = f"{path}:{line}" if line else str(path)
    message = error.msg if isinstance(error, SyntaxError) else first_line(error)
    return f"{where}: {type(error).__name__}: {message}"


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise MissingFileError(
            f"no workload in {path}: the file {what}", "expected ./my_workload.py"
        )
    absolute = path.resolve()
    digest = hashlib.sha256(str(absolute).encode()).hexdigest()[:12]
    name = f"benchctl_user_{digest}"
    spec = importlib.util.spec_from_file_location(name, absolute)
    if spec is None or spec.loader is None:
        raise PlanError(f"no workload in {path}: expected a Python file, ending in .py")
    if str(absolute.parent) not in sys.path:
        sys.path.append(str(absolute.parent))
    module = importlib.util.module_from_spec(spec)
    # Dataclasses and tracebacks look a class's module up by its name.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        hint = f"python {path} shows the whole error"
        raise PlanError(describe_error(error, path), hint) from error
    return module


def _pick_class(module: ModuleType, path: Path, class_name: str) -> type[Workload]:
    classes = {
        name: each
        for name, each in vars(module).items()
        if isinstance(each, type)
        and issubclass(each, Workload)
        and each.__module__ == module.__name__
    }
    if not classes:
        raise PlanError(
            f"no workload in {path}: expected a class that derives from Workload",
            "class Mine(Workload): ... with from benchctl_workloads.workload import Workload",
        )
    if class_name:
        if class_name not in classes:
            raise UnknownNameError(f"workload in {path}", class_name, classes)
        return classes[class_name]
    if len(classes) > 1:
        choices = ", ".join(f"{path}:{name}" for name in classes)
        raise PlanError(f"{path} holds {len(classes)} workloads: say which", f"one of {choices}")
    return next(iter(classes.values()))


def _check(workload: Workload, path: Path) -> None:
    """Raise on the slips that would otherwise surface deep inside a worker."""
    kind = type(workload)
    for method in ("inputs", "program"):
        if getattr(kind, method) is getattr(Workload, method):
            raise PlanError(f"{path}: {kind.__name__} has no method {method}")
    for name in dir(Workload):
        is_method = callable(getattr(Workload, name)) and not name.startswith("_")
        if is_method and not callable(getattr(workload, name)):
            value = getattr(workload, name)
            raise PlanError(
                f"{path}: {kind.__name__}.{name} expected a method, received {value!r}",
                f"def {name}(self, case, ...): return {value!r}",
            )
    if not all(isinstance(axis, Axis) for axis in workload.axes):
        raise PlanError(f"{path}: {kind.__name__}.axes expected a tuple of Axis")


def _same_file(filename: str | None, path: Path) -> bool:
    return filename is not None and Path(filename).resolve() == path.resolve()
