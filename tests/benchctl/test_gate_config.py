"""`[tool.benchctl]`: what it may hold, and errors that name the key."""

from __future__ import annotations

import pytest

from benchctl.gate.config import EXACT_COUNTS, GateCase, GateConfig, load_config, read_config
from benchctl.gate.decide import GateRule
from benchctl.gate.errors import GateError

FULL = """
[tool.benchctl]
paths = ["src"]
build = "{python} -m pip install --no-deps --target {target} {source}"

[tool.benchctl.gate]
margin = 0.03
screen_rounds = 14
quarantine = ["xyz[size=3x4] eager"]
cases = [
    "./benchmarks/parse.py",
    { workload = "xyz", axes = { size = ["3x4", "100x100"] }, engines = ["static"], margin = 0.1 },
]

[tool.benchctl.gate.commands]
startup = "python -m mypackage --version"

[tool.benchctl.gate.counts]
peak = 0.01
"""


def test_everything_is_read():
    config = read_config(FULL)
    assert config.paths == ("src",)
    assert config.build.startswith("{python} -m pip")
    assert config.rule == GateRule(margin=0.03, screen_rounds=14)
    assert config.quarantine == {"xyz[size=3x4] eager"}
    assert config.commands == {"startup": "python -m mypackage --version"}
    assert config.counts == {**EXACT_COUNTS, "peak": 0.01}
    first, second = config.cases
    assert first == GateCase("./benchmarks/parse.py")
    assert second == GateCase("xyz", {"size": ("3x4", "100x100")}, ("static",), 0.1)


def test_a_project_without_a_word_has_defaults(tmp_path):
    assert load_config(tmp_path) == GateConfig()
    assert read_config("[project]\nname = 'x'\n") == GateConfig()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[tool.benchctl]\npath = ['src']", "no key 'path'"),
        ("[tool.benchctl]\npaths = 'src'", "paths expected a list"),
        ("[tool.benchctl.gate]\nmargin = '2 %'", "margin expected a number"),
        ("[tool.benchctl.gate]\nscreen_rounds = 1.5", "screen_rounds expected a whole number"),
        ("[tool.benchctl.gate]\nmargin = true", "margin expected a number"),
        ("[tool.benchctl.gate]\nconfirm_alpha = 1.0", "out of range"),
        ("[tool.benchctl.gate]\ncases = [{ axes = {} }]", "cases[0] expected a workload"),
        ("[tool.benchctl.gate]\ncases = [{ workload = 'x', axis = {} }]", "no key 'axis'"),
        ("[tool.benchctl.gate.commands]\nstartup = ['a']", "commands.startup expected text"),
        ("[tool.benchctl.gate]\ncounts = { a = 'b' }", "counts a expected a number"),
        ("[tool.benchctl", "mend the file"),
    ],
)
def test_errors_name_the_place(text, words):
    with pytest.raises(GateError, match=r"pyproject\.toml") as caught:
        read_config(text)
    assert words in str(caught.value)
