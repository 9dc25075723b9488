"""Engines under another interpreter: configured in one place, and run where they belong."""

from __future__ import annotations

import sys
import venv
from pathlib import Path

import pytest
from click.testing import CliRunner
from measure_plans import new_journal, results_of

from benchctl.cli import main
from benchctl.measure.observer import SilentObserver
from benchctl.measure.session import measure
from benchctl.plan.arms import parse_arm
from benchctl.plan.errors import PlanError
from benchctl.plan.interpreters import (
    INTERPRETERS,
    Interpreter,
    configured_interpreters,
    interpreter_of,
)
from benchctl.plan.registry import engine_names, load_engine
from benchctl.plan.schedule import build_plan
from benchctl.plan.suites import SuiteEntry
from benchctl.store.reader import load_run


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def configure(folder: Path, text: str) -> None:
    (folder / "pyproject.toml").write_text(text)


def test_paths_are_relative_to_the_file_and_links_are_kept(project):
    link = project / "envs" / "python"
    link.parent.mkdir()
    link.symlink_to(sys.executable)
    configure(
        project,
        '[tool.benchctl.engines.old]\nengine = "numpy"\npython = "envs/python"\n'
        '[tool.benchctl.engines.eager]\npython = "/usr/bin/python3"\n',
    )
    (project / "below").mkdir()
    for folder in (project, project / "below"):
        assert configured_interpreters(folder) == {
            "old": Interpreter("numpy", str(link)),
            "eager": Interpreter("eager", "/usr/bin/python3"),
        }
    assert engine_names()[-1] == "old"
    assert load_engine("old").availability("cpu").ok


def test_a_python_that_is_not_there_says_where_it_was_expected(project):
    configure(project, '[tool.benchctl.engines.old]\nengine = "numpy"\npython = "no/python"\n')
    state = load_engine("old").availability("cpu")
    assert not state.ok
    assert str(project / "no" / "python") in state.reason and "pyproject.toml" in state.hint


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("engines = 3", "expected tables, received 3"),
        ("[tool.benchctl.engines]\nold = 3", "old expected a table, received 3"),
        ("[tool.benchctl.engines.old]", "old expected a python"),
        ("[tool.benchctl.engines.old]\npython = 3", "old python expected text, received 3"),
        ('[tool.benchctl.engines.old]\npyton = "x"', "old has no key 'pyton'"),
    ],
)
def test_a_slip_in_the_table_is_named(project, text, words):
    configure(project, text if text.startswith("[") else f"[tool.benchctl]\n{text}")
    with pytest.raises(PlanError) as caught:
        configured_interpreters()
    assert words in caught.value.message


def test_an_arm_takes_the_switches_of_its_engine(project):
    configure(
        project,
        f'[tool.benchctl.engines.other]\nengine = "static"\npython = "{sys.executable}"\n',
    )
    arm = parse_arm("other:entry=callable")
    assert (arm.engine, arm.switches) == ("other", {"entry": "callable"})
    with pytest.raises(PlanError, match="no switch"):
        parse_arm("other:entrance=callable")


def test_a_plan_carries_its_interpreters(project):
    configure(
        project,
        f'[tool.benchctl.engines.other]\nengine = "numpy"\npython = "{sys.executable}"\n',
    )
    plan = build_plan([SuiteEntry("xyz", {"size": ("3x4",)})], arms=("other", "numpy"))
    assert plan.settings[INTERPRETERS] == {"other": {"engine": "numpy", "python": sys.executable}}
    other, own = plan.arms
    assert interpreter_of(plan, other) == Interpreter("numpy", sys.executable)
    assert interpreter_of(plan, own) is None
    alone = build_plan([SuiteEntry("xyz", {"size": ("3x4",)})], arms=("numpy",))
    assert INTERPRETERS not in alone.settings


@pytest.fixture(scope="module")
def other_python(tmp_path_factory) -> Path:
    """A python of an environment that has NumPy and nothing of ours."""
    folder = tmp_path_factory.mktemp("other") / "env"
    venv.create(folder, with_pip=False, symlinks=True)
    import numpy

    packages = next((folder / "lib").glob("python*")) / "site-packages"
    root = Path(numpy.__file__).parents[1]
    for name in ("numpy", "numpy.libs"):
        if (root / name).exists():
            (packages / name).symlink_to(root / name)
    return folder / "bin" / "python"


@pytest.mark.slow
def test_an_engine_runs_under_its_own_interpreter(project, other_python):
    configure(
        project,
        f'[tool.benchctl.engines.other]\nengine = "numpy"\npython = "{other_python}"\n'
        f'[tool.benchctl.engines.bare]\nengine = "eager"\npython = "{other_python}"\n',
    )
    quick = {"cold": False, "warm_up": {"min_seconds": 0.01}}
    entry = SuiteEntry("xyz", {"size": ("3x4",)}, rounds=2)
    plan = build_plan(
        [entry], arms=("numpy", "other", "bare"), settings={"measure": quick}, threads=1
    )
    journal = new_journal(project, plan)
    measure(plan, journal, SilentObserver())
    found = results_of(load_run(journal.path))
    assert found["other"].status == "ok", found["other"].message
    assert len(found["other"].rounds) == 2 and found["other"].verification.ok
    assert found["other"].versions["python"].startswith("3.")
    assert "python" not in found["numpy"].versions
    # What that environment lacks is the matter of its arm alone.
    assert found["bare"].status in ("unavailable", "crashed")
    assert "numba" in found["bare"].message
    assert found["numpy"].status == "ok"


@pytest.mark.slow
def test_the_command_line_knows_the_name(project, other_python):
    configure(
        project,
        f'[tool.benchctl.engines.other]\nengine = "numpy"\npython = "{other_python}"\n',
    )
    result = CliRunner().invoke(
        main, ["verify", "xyz", "-a", "size=3x4", "--engine", "other", "--engine", "numpy"]
    )
    assert result.exit_code == 0, result.output
    assert "other ok" in result.stdout
    listed = CliRunner().invoke(main, ["list"])
    assert "other" in listed.stdout
