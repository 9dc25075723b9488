"""Imports point downward only."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = {
    "benchctl": ROOT / "benchctl",
    "benchctl_workloads": ROOT / "workloads" / "benchctl_workloads",
    "benchctl_engines": ROOT / "engines" / "benchctl_engines",
}

# What each part may not import, by prefix. The longest matching part decides.
FORBIDDEN = {
    "benchctl_engines": ("benchctl", "benchctl_workloads"),
    "benchctl_workloads": ("benchctl",),
    "benchctl_engines.primitives": (
        "benchctl_engines.kernels",
        "benchctl_engines.devices",
        "benchctl_engines.eager",
        "benchctl_engines.static",
        "benchctl_engines.manual",
        "benchctl_engines.reverse_mode",
    ),
    "benchctl_engines.kernels": (
        "benchctl_engines.devices",
        "benchctl_engines.eager",
        "benchctl_engines.static",
        "benchctl_engines.manual",
        "benchctl_engines.reverse_mode",
    ),
    "benchctl_engines.devices": (
        "benchctl_engines.eager",
        "benchctl_engines.static",
        "benchctl_engines.manual",
    ),
    "benchctl_engines.gpu": (
        "benchctl_engines.kernels",
        "benchctl_engines.devices",
        "benchctl_engines.eager",
        "benchctl_engines.static",
        "benchctl_engines.manual",
        "benchctl_engines.reverse_mode",
    ),
    "benchctl_engines.reverse_mode": (
        "benchctl_engines.primitives",
        "benchctl_engines.kernels",
        "benchctl_engines.eager",
        "benchctl_engines.static",
    ),
    "benchctl_engines.eager": ("benchctl_engines.static", "benchctl_engines.manual"),
    "benchctl_engines.static": ("benchctl_engines.eager", "benchctl_engines.manual"),
    "benchctl_engines.manual": ("benchctl_engines.eager", "benchctl_engines.static"),
    "benchctl_engines.layers": tuple(
        f"benchctl_engines.{name}"
        for name in ("primitives", "kernels", "devices", "eager", "static", "manual", "peers")
    ),
    "benchctl_engines.contract": tuple(
        f"benchctl_engines.{name}"
        for name in ("primitives", "kernels", "devices", "eager", "static", "manual")
    ),
}


def within(module: str, part: str) -> bool:
    return module == part or module.startswith(part + ".")


def modules(package: str, folder: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.rglob("*.py")):
        words = path.relative_to(folder).with_suffix("").parts
        yield ".".join([package, *(word for word in words if word != "__init__")]), path


def imported(source: str, module: str, is_package: bool) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of everything that the source imports, inside functions too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                up = node.level - 1 if is_package else node.level
                parts = module.split(".")
                base = ".".join([*parts[: len(parts) - up], *filter(None, [base])])
            for alias in node.names:
                yield node.lineno, f"{base}.{alias.name}"


def violations(module: str, source: str, is_package: bool = False) -> list[str]:
    """Imports of `module` that the layers forbid, as `module:line imports name`."""
    found = []
    for line, name in imported(source, module, is_package):
        wrong = any(
            within(module, part) and any(within(name, each) for each in forbidden)
            for part, forbidden in FORBIDDEN.items()
        )
        # The harness sees engines through the contract alone; programs of users are run by it.
        of_users = within(module, "benchctl.claims.programs")
        if within(module, "benchctl") and within(name, "benchctl_engines") and not of_users:
            wrong = wrong or not within(name, "benchctl_engines.contract")
        if wrong:
            found.append(f"{module}:{line} imports {name}")
    return found


@pytest.mark.parametrize("package", SOURCES)
def test_imports_point_downward(package):
    found = []
    for module, path in modules(package, SOURCES[package]):
        found += violations(module, path.read_text(), path.name == "__init__.py")
    assert not found


@pytest.mark.parametrize("package", SOURCES)
def test_every_package_was_found(package):
    assert len(list(modules(package, SOURCES[package]))) > 5


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("benchctl_engines.contract", "import benchctl.cli"),
        ("benchctl_engines.eager.tensor", "from benchctl_workloads import Workload"),
        ("benchctl_workloads.xyz", "from benchctl.store import record"),
        ("benchctl_engines.primitives.losses", "from ..kernels.table import select"),
        ("benchctl_engines.primitives.losses", "from ..kernels import table"),
        ("benchctl_engines.primitives.losses", "from .. import kernels"),
        ("benchctl_engines.primitives.losses", "def f():\n    from ..static import Graph"),
        ("benchctl_engines.kernels.cpu_gemm", "import benchctl_engines.eager.tensor"),
        ("benchctl_engines.eager.tape", "from ..static.graph import Value"),
        ("benchctl_engines.layers.losses", "from ..primitives import operations"),
        ("benchctl_engines.static.passes.prune", "from ...eager import tensor"),
        ("benchctl_engines.manual.layers", "from ..eager.tensor import Tensor"),
        ("benchctl_engines.manual.layers", "if True:\n    from benchctl_engines import static"),
        ("benchctl.measure.arm", "from benchctl_engines.static.engine import StaticEngine"),
        ("benchctl.measure.arm", "import benchctl_engines.eager"),
        ("benchctl.measure.arm", "import benchctl_engines"),
    ],
)
def test_a_bad_import_is_flagged(module, source):
    assert violations(module, source)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("benchctl.measure.arm", "from benchctl_engines.contract import Engine"),
        ("benchctl.plan.registry", "from benchctl_workloads import Workload"),
        ("benchctl_workloads.xyz", "from benchctl_engines.contract import Case"),
        ("benchctl_engines.static.program", "from ..kernels.table import Prepared"),
        ("benchctl_engines.eager.tensor", "from ..devices.cpu import Device"),
        ("benchctl_engines.kernels.table", "from ..primitives.specs import TensorSpec"),
    ],
)
def test_a_downward_import_is_not(module, source):
    assert not violations(module, source)


def test_a_relative_import_in_a_package_file_is_resolved():
    source = "from ..static.graph import Graph"
    assert violations("benchctl_engines.eager", source, is_package=True)
