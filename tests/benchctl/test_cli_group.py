"""The command group: fast help, suggestions, errors as one line with an exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from benchctl.cli import VERBS, main
from benchctl.cli.errors import CliError, describe, render
from benchctl.cli.exits import MEANINGS, Exit
from benchctl.cli.group import LazyGroup
from benchctl.plan.errors import PlanError
from benchctl.store.errors import NoSuchRunError, RecordError, StoreError
from benchctl_workloads.workload import AxisError

HEAVY = ("numpy", "pandas", "matplotlib", "numba", "rich", "scipy", "jinja2", "psutil")


def modules_after(code: str, **environment: str) -> set[str]:
    """The modules that a fresh interpreter has after running `code`."""
    script = f"import sys\n{code}\nprint('MODULES', *sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **environment},
    )
    return set(done.stdout.partition("MODULES ")[2].split())


CALL = """
from benchctl.cli import main
try:
    main({arguments}, prog_name="benchctl")
except SystemExit as end:
    assert end.code == {code}, end.code
"""


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        (["--version"], 0),
        ([], 2),
        (["rum"], 2),
        *((([verb, "--help"], 0)) for verb in VERBS),
    ],
    ids=str,
)
def test_help_imports_nothing_heavy(arguments: list[str], code: int) -> None:
    loaded = modules_after(CALL.format(arguments=arguments, code=code))
    assert "benchctl.cli" in loaded
    assert not loaded & set(HEAVY)


def test_completing_a_verb_imports_no_verb() -> None:
    environment = {
        "_BENCHCTL_COMPLETE": "bash_complete",
        "COMP_WORDS": "benchctl r",
        "COMP_CWORD": "1",
    }
    loaded = modules_after(CALL.format(arguments=[], code=0), **environment)
    assert not loaded & set(HEAVY)
    assert "benchctl.cli.run" not in loaded


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_offers_verbs_and_prints_a_script(shell: str) -> None:
    script = CliRunner().invoke(main, ["completion", shell])
    assert script.exit_code == 0
    assert "_BENCHCTL_COMPLETE" in script.stdout
    words = {"bash": "benchctl re", "zsh": "benchctl re", "fish": "benchctl re"}[shell]
    environment = {
        "_BENCHCTL_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": "re" if shell == "fish" else "1",
    }
    offered = CliRunner().invoke(main, [], env=environment, prog_name="benchctl")
    assert "report" in offered.stdout
    assert "doctor" not in offered.stdout


def test_workloads_and_engines_are_completed() -> None:
    for words, expected in (("benchctl run xy", "xyz"), ("benchctl run --engine num", "numpy")):
        environment = {
            "_BENCHCTL_COMPLETE": "bash_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split()) - 1),
        }
        offered = CliRunner().invoke(main, [], env=environment, prog_name="benchctl")
        assert expected in offered.stdout, offered.output


def test_help_documents_every_exit_code() -> None:
    text = CliRunner().invoke(main, ["--help"]).stdout
    section = text.partition("Exit codes:")[2]
    for code, _ in MEANINGS:
        assert f"\n  {code.value} " in section
    assert {code for code, _ in MEANINGS} == set(Exit) - {Exit.BROKEN_PIPE}


def test_every_verb_of_the_table_exists_and_explains_itself() -> None:
    for verb in VERBS:
        result = CliRunner().invoke(main, [verb, "--help"])
        assert result.exit_code == 0, result.output
        assert "--debug" in result.stdout
        assert verb in result.stdout


def test_unknown_verb_suggests_the_nearest() -> None:
    result = CliRunner().invoke(main, ["reprot"])
    assert result.exit_code == 2
    assert result.stdout == ""
    assert 'no command "reprot". Did you mean report?' in result.stderr
    assert "Traceback" not in result.stderr


def test_version() -> None:
    from benchctl import __version__

    assert CliRunner().invoke(main, ["--version"]).stdout == f"benchctl {__version__}\n"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (CliError("nothing ran", "try this", Exit.NOTHING_MEASURED), 6),
        (PlanError("nothing ran", "try this"), 2),
        (AxisError("nothing ran"), 2),
        (StoreError("nothing ran", "try this"), 5),
        (NoSuchRunError("nothing ran", "try this"), 2),
        (RecordError(Path("a.jsonl"), 3, "nothing ran", "try this"), 2),
        (click.UsageError("nothing ran"), 2),
        (RuntimeError("nothing ran"), 70),
    ],
    ids=lambda value: type(value).__name__,
)
def test_errors_become_lines_and_exit_codes(error: Exception, code: int) -> None:
    group = failing_group(error)
    result = CliRunner().invoke(group, ["fail"])
    assert result.exit_code == code
    assert result.stderr.startswith("error: ")
    assert "nothing ran" in result.stderr
    assert "Traceback" not in result.stderr
    if getattr(error, "hint", ""):
        assert "\n       try this" in result.stderr


def test_debug_shows_the_traceback() -> None:
    group = failing_group(RuntimeError("nothing ran"))
    for arguments in (["--debug", "fail"], ["fail", "--debug"]):
        result = CliRunner().invoke(group, arguments)
        assert "Traceback (most recent call last)" in result.stderr
        assert "RuntimeError: nothing ran" in result.stderr
        assert result.exit_code == 70


def test_interruption_ends_with_130() -> None:
    result = CliRunner().invoke(failing_group(KeyboardInterrupt()), ["fail"])
    assert result.exit_code == 130


def test_colour_is_only_decoration() -> None:
    lines = render(describe(CliError("what", "why\ndo this")))
    plain = [click.unstyle(line) for line in lines]
    assert plain == ["error: what", "       why", "       do this"]
    assert lines != plain


def test_a_closed_pipe_is_no_error() -> None:
    command = f"{sys.executable} -m benchctl list --json | head -c 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    assert done.returncode in (0, 141)


def failing_group(error: BaseException) -> LazyGroup:
    """A group with one verb, `fail`, that raises `error`."""

    @click.command()
    def fail() -> None:
        raise error

    class Failing(LazyGroup):
        def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
            return fail

    group = Failing(name="group", verbs={"fail": ("nowhere:fail", "Fail.")})
    option = click.Option(["--debug"], is_flag=True, expose_value=False)
    group.params.append(option)
    fail.params.append(click.Option(["--debug"], is_flag=True, expose_value=False))
    return group
