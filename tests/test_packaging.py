"""The wheel holds what it needs, imports point downward, versions agree."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import pytest
from documents import ROOT, unpacked_wheel

from benchctl import __version__
from benchctl.plan.registry import engine_names, load_engine, load_workload, workload_names

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
FOLDERS = {
    "benchctl": ROOT / "benchctl",
    "benchctl_workloads": ROOT / "workloads" / "benchctl_workloads",
    "benchctl_engines": ROOT / "engines" / "benchctl_engines",
}
# What each package may import of ours: the layers below it, or single modules of them.
ALLOWED = {
    "benchctl": ("benchctl", "benchctl_workloads", "benchctl_engines.contract"),
    "benchctl_workloads": (
        "benchctl_workloads",
        "benchctl_engines.contract",
        "benchctl_engines.layers",
        "benchctl_engines.manual",
        "benchctl_engines.eager.reference_run",
    ),
    "benchctl_engines": ("benchctl_engines",),
}
# What a dependency brings along, in the version that it chooses.
INSTALLED_BY = {"llvmlite": "numba", "markupsafe": "jinja2"}
PUBLISHED = Path("results/published/slides.json")


# The wheel -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What installing the wheel would put on the import path."""
    return unpacked_wheel(ROOT, tmp_path_factory.mktemp("wheel"))


def test_the_wheel_holds_three_packages_and_nothing_else(site: Path) -> None:
    tops = {each.name for each in site.iterdir()}
    assert tops == {*FOLDERS, f"benchctl-{__version__}.dist-info"}


@pytest.mark.parametrize("package", FOLDERS)
def test_the_wheel_holds_every_file_of_a_package(site: Path, package: str) -> None:
    def files(folder: Path) -> set[str]:
        found = (each for each in folder.rglob("*") if each.is_file())
        return {str(each.relative_to(folder)) for each in found if "__pycache__" not in each.parts}

    added = {"report/published.json"} if package == "benchctl" else set()
    assert files(site / package) == files(FOLDERS[package]) | added
    assert "py.typed" in files(site / package)


def test_the_wheel_carries_the_published_figures_and_the_licence(site: Path) -> None:
    carried = site / "benchctl" / "report" / "published.json"
    assert carried.read_bytes() == (ROOT / PUBLISHED).read_bytes()
    assert [each.name for each in site.glob("*.dist-info/licenses/*")] == ["LICENSE"]


def test_the_wheel_works_outside_the_checkout(site: Path, tmp_path: Path) -> None:
    code = """
import json, benchctl, benchctl_engines, benchctl_workloads
from benchctl.plan.registry import engine_names, load_engine, workload_names, load_workload
from benchctl.report.html import render_page
from benchctl.report.published import load_published, published_path
load_published()
files = [each.__file__ for each in (benchctl, benchctl_engines, benchctl_workloads)]
names = [load_engine(each).name for each in engine_names()]
names += [load_workload(each).name for each in workload_names()]
print(json.dumps({"files": [*files, str(published_path())], "names": names}))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(site)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    assert all(file.startswith(str(site)) for file in found["files"]), found
    entry_points = PROJECT["project"]["entry-points"]
    expected = [*entry_points["benchctl.engines"], *entry_points["benchctl.workloads"]]
    assert sorted(found["names"]) == sorted(expected)


# Entry points --------------------------------------------------------------------------------


def test_entry_points_give_what_they_are_named_after() -> None:
    entry_points = PROJECT["project"]["entry-points"]
    assert set(entry_points["benchctl.engines"]) <= set(engine_names())
    for name in entry_points["benchctl.engines"]:
        assert load_engine(name).name == name
    assert set(entry_points["benchctl.workloads"]) <= set(workload_names())
    for name in entry_points["benchctl.workloads"]:
        assert load_workload(name).name == name


# Layers --------------------------------------------------------------------------------------


def imported_modules(source: str, package: str) -> Iterator[str]:
    """The modules that a source imports by absolute name; relative imports stay in the package."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                yield package
            elif node.module == package or node.module not in FOLDERS:
                yield str(node.module)
            else:  # `from benchctl_engines import eager` imports a module by another spelling
                yield from (f"{node.module}.{name.name}" for name in node.names)


def upward_imports(source: str, package: str) -> list[str]:
    """Imports of our packages that `package` may not make."""
    ours = (each for each in imported_modules(source, package) if each.split(".")[0] in FOLDERS)
    return [each for each in ours if not is_allowed(each, package)]


def is_allowed(module: str, package: str) -> bool:
    exported = package == "benchctl" and module.startswith("benchctl_workloads")
    return exported or any(
        module == allowed or module.startswith(f"{allowed}.") for allowed in ALLOWED[package]
    )


# What a user would write, run in processes of its own and imported by nothing.
PROGRAMS = FOLDERS["benchctl"] / "claims" / "programs"


def sources(package: str) -> list[Path]:
    found = sorted(FOLDERS[package].rglob("*.py"))
    return [path for path in found if PROGRAMS not in path.parents]


@pytest.mark.parametrize("package", FOLDERS)
def test_imports_point_downward_only(package: str) -> None:
    assert len(sources(package)) > 5
    for path in sources(package):
        assert upward_imports(path.read_text(encoding="utf-8"), package) == [], path


@pytest.mark.parametrize(
    ("source", "package", "found"),
    [
        ("import benchctl.cli", "benchctl_engines", ["benchctl.cli"]),
        ("from benchctl import plan", "benchctl_workloads", ["benchctl.plan"]),
        ("from benchctl_workloads import Workload", "benchctl_engines", None),
        ("def f():\n    from benchctl_engines.eager import tensor", "benchctl", None),
        ("from benchctl_engines import static as tf", "benchctl", None),
        ("from benchctl_engines.contract import Engine", "benchctl", []),
        ("from benchctl_engines import contract", "benchctl", []),
        ("from .kernels import table", "benchctl_engines", []),
        ("import numpy", "benchctl_engines", []),
    ],
)
def test_an_upward_import_would_be_found(
    source: str, package: str, found: list[str] | None
) -> None:
    result = upward_imports(source, package)
    assert result == found if found is not None else len(result) == 1


# Dependencies and versions -------------------------------------------------------------------


def requirement_names(requirements: list[str]) -> set[str]:
    return {re.split(r"[<>=~!\[ ;]", each)[0].lower() for each in requirements}


def test_every_import_is_declared() -> None:
    """A package that only the developer has would break a fresh installation."""
    declared = requirement_names(PROJECT["project"]["dependencies"])
    optional = {"cupy", "pynvml"}
    owners = packages_distributions()
    for package in FOLDERS:
        for path in sources(package):
            for module in imported_modules(path.read_text(encoding="utf-8"), package):
                top = module.split(".")[0]
                if top in FOLDERS or top in sys.stdlib_module_names or top in optional:
                    continue
                distributions = {each.lower() for each in owners.get(top, [top])}
                needed = {INSTALLED_BY.get(each, each) for each in distributions}
                assert needed & declared, f"{path} imports {module}"


def test_versions_agree() -> None:
    assert distribution("benchctl").version == __version__
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {__version__}\n" in citation
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert newest is not None
    assert newest[1] == __version__


def test_the_oldest_python_is_the_one_that_tools_check_for() -> None:
    oldest = PROJECT["project"]["requires-python"].removeprefix(">=")
    assert PROJECT["tool"]["mypy"]["python_version"] == oldest
    assert PROJECT["tool"]["ruff"]["target-version"] == f"py{oldest.replace('.', '')}"
    classifiers = PROJECT["project"]["classifiers"]
    assert f"Programming Language :: Python :: {oldest}" in classifiers
