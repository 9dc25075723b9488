"""Engines and workloads by name and by file, through real package metadata."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchctl.plan import registry
from benchctl.plan.errors import PlanError, UnknownNameError

WORKLOAD = """
import numpy as np
from benchctl_engines.contract import Outputs
from benchctl_workloads.workload import Axis, Cost, Workload


class Doubling(Workload):
    name = "doubling"
    axes = (Axis("length", 8), Axis("mode", "plain", values=("plain", "fancy")))

    def inputs(self, case, rng):
        return {"x": rng.random(case["length"])}

    def program(self, ops, parameters, inputs, case):
        return Outputs({"y": ops.add(inputs["x"], inputs["x"])})

    def cost(self, case):
        return Cost(case["length"], 16 * case["length"])
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A function that writes a file into the current folder, which is empty."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def write_file(name: str, text: str) -> str:
        (tmp_path / name).write_text(text)
        return f"./{name}"

    return write_file


@pytest.fixture
def plug_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A function that installs a package with entry points, as its metadata would say."""

    def install(distribution: str, group: str, entries: dict[str, str], source: str = "") -> None:
        site = tmp_path / distribution
        info = site / f"{distribution}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n"
        )
        lines = [f"[{group}]", *(f"{name} = {value}" for name, value in entries.items())]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
        (site / f"{distribution}_plug.py").write_text(source)
        monkeypatch.syspath_prepend(str(site))

    return install


def test_own_engines_and_workloads_are_registered() -> None:
    assert {"static", "eager", "numpy"} <= set(registry.engine_names())
    assert {"xyz", "vgg16", "layout", "heads"} <= set(registry.workload_names())


def test_listing_imports_nothing_heavy() -> None:
    """Names and their errors, as `--help` and completion need them."""
    code = """
import sys
from benchctl.plan import registry
from benchctl.plan.suites import suite_names
registry.engine_names(), registry.workload_names(), suite_names()
print([name for name in ("numpy", "numba", "pandas", "matplotlib", "rich",
       "benchctl_engines", "benchctl_workloads") if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def test_a_slip_gets_a_suggestion_and_the_choices() -> None:
    with pytest.raises(UnknownNameError) as caught:
        registry.load_workload("vgg17")
    message = str(caught.value)
    assert message.startswith('no workload "vgg17". Did you mean vgg16? (')
    assert ", ".join(sorted(registry.workload_names())) in message
    assert message.endswith("; or a file: ./my_workload.py, ./model.onnx)")
    with pytest.raises(UnknownNameError, match=r'no engine "Statik". Did you mean static\?'):
        registry.load_engine("Statik")


def test_a_name_like_no_other_gets_no_suggestion() -> None:
    with pytest.raises(UnknownNameError) as caught:
        registry.load_engine("qqqqqq")
    assert caught.value.suggestion is None
    assert "Did you mean" not in str(caught.value)


def test_a_file_of_that_name_is_suggested(write) -> None:
    write("doubling.py", WORKLOAD)
    with pytest.raises(UnknownNameError, match=r"Did you mean ./doubling.py\?"):
        registry.load_workload("doubling")


def test_a_plug_in_is_found_and_made(plug_in) -> None:
    plug_in("doubler", registry.WORKLOADS, {"doubling": "doubler_plug:Doubling"}, WORKLOAD)
    assert "doubling" in registry.workload_names()
    workload = registry.load_workload("doubling")
    assert workload.cost({"length": 3}).flops == 3
    assert registry.workload_reference(workload) == "doubling"


def test_a_broken_plug_in_is_named_with_its_error(plug_in) -> None:
    plug_in(
        "wreck", registry.ENGINES, {"wreck": "wreck_plug:make"}, "import no_such_library_at_all\n"
    )
    assert "wreck" in registry.engine_names()
    with pytest.raises(PlanError) as caught:
        registry.load_engine("wreck")
    assert 'engine "wreck" of wreck could not be loaded: ModuleNotFoundError' in str(caught.value)
    assert "no_such_library_at_all" in str(caught.value)
    assert "import wreck_plug" in caught.value.hint


def test_a_plug_in_of_the_wrong_kind_is_refused(plug_in) -> None:
    plug_in("odd", registry.ENGINES, {"odd": "odd_plug:dict"}, "dict = dict\n")
    with pytest.raises(PlanError, match=r"methods of Engine, received dict"):
        registry.load_engine("odd")


def test_a_name_registered_twice_is_refused(plug_in) -> None:
    plug_in("first", registry.WORKLOADS, {"twin": "first_plug:Doubling"}, WORKLOAD)
    plug_in("second", registry.WORKLOADS, {"twin": "second_plug:Doubling"}, WORKLOAD)
    with pytest.raises(PlanError, match=r"registered 2 times: first_plug.*second_plug"):
        registry.load_workload("twin")


def test_a_file_with_one_workload(write) -> None:
    path = write("mine.py", WORKLOAD)
    workload = registry.load_workload(path)
    assert workload.name == "doubling"
    assert registry.workload_reference(workload) == path
    again = registry.load_workload(registry.workload_reference(workload))
    assert type(again).__name__ == "Doubling"


def test_a_workload_without_a_name_is_called_as_its_file(write) -> None:
    path = write("nameless.py", WORKLOAD.replace('    name = "doubling"\n', ""))
    assert registry.load_workload(path).name == "nameless"


def test_several_workloads_in_a_file_are_told_apart_by_class(write) -> None:
    path = write("two.py", WORKLOAD + "\n\nclass Other(Doubling):\n    name = 'other'\n")
    with pytest.raises(PlanError, match=r"two\.py holds 2 workloads") as caught:
        registry.load_workload(path)
    assert "two.py:Doubling, two.py:Other" in caught.value.hint
    workload = registry.load_workload(f"{path}:Other")
    assert workload.name == "other"
    assert registry.workload_reference(workload) == f"{path}:Other"
    with pytest.raises(UnknownNameError, match=r'"Othr". Did you mean Other\?'):
        registry.load_workload(f"{path}:Othr")


def test_a_workload_may_import_its_neighbour(write) -> None:
    write("neighbour_of_mine.py", "LENGTH = 5\n")
    path = write("mine.py", "from neighbour_of_mine import LENGTH\n" + WORKLOAD)
    assert registry.load_workload(path).name == "doubling"


@pytest.mark.parametrize(
    ("slip", "line", "error"),
    [
        ("x = 1\ny = 1 +\n", 2, "SyntaxError"),
        ("import json\n\njson.loads('{')\n", 3, "JSONDecodeError"),
        ("def f():\n    return missing\n\nf()\n", 2, "NameError: name 'missing' is not defined"),
        ("import no_such_library_at_all\n", 1, "ModuleNotFoundError"),
        ("import sys\nsys.exit('enough')\n", 2, "SystemExit: enough"),
    ],
)
def test_a_file_that_fails_names_the_users_line(write, slip: str, line: int, error: str) -> None:
    path = write("slip.py", slip)
    before = dict(sys.modules)
    with pytest.raises(PlanError) as caught:
        registry.load_workload(path)
    assert str(caught.value).startswith(f"slip.py:{line}: {error}")
    assert "\n" not in str(caught.value)
    assert not [name for name in sys.modules.keys() - before if name.startswith("benchctl_user")]


def test_a_constructor_that_fails_names_the_users_line(write) -> None:
    text = WORKLOAD + "\n    def __init__(self):\n        raise OSError('no data')\n"
    path = write("mine.py", text)
    line = len(text.splitlines())
    with pytest.raises(PlanError, match=rf"^mine.py:{line}: OSError: no data"):
        registry.load_workload(path)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("(Workload)", "", "expected a class that derives from Workload"),
        ("def inputs", "def input", "Doubling has no method inputs"),
        ("def program", "def programme", "Doubling has no method program"),
        ('name = "doubling"', 'name = "doubling"\n    step = "training"', "step expected a method"),
        ("axes = (", "axes = (1, ", "axes expected a tuple of Axis"),
    ],
)
def test_a_file_that_is_not_a_workload_says_what_is_missing(
    write, before: str, after: str, message: str
) -> None:
    path = write("mine.py", WORKLOAD.replace(before, after))
    with pytest.raises(PlanError, match=message):
        registry.load_workload(path)


def test_a_file_that_is_not_there(write, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"missing.py: the file does not exist"):
        registry.load_workload("./missing.py")
    (tmp_path / "folder.py").mkdir()
    with pytest.raises(PlanError, match=r"folder.py: the file is a folder"):
        registry.load_workload("folder.py")
    with pytest.raises(PlanError, match="expected a Python file"):
        registry.load_workload(write("mine.txt", WORKLOAD))
