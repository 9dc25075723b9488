"""The documents are true: their commands work, their links lead somewhere, their tables agree."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner
from documents import (
    DEMONSTRATION,
    REFERENCE,
    ROOT,
    SHELL,
    benchctl_arguments,
    blocks_of,
    code_spans,
    documents,
    inline_commands,
    links,
    shell_commands,
    split_document,
    unpacked_wheel,
)

from benchctl.cli import VERBS, main
from benchctl.gate.noise import load_aa, noise_floor
from benchctl.measure.settings import MeasureSettings
from benchctl.stats.planner import minimum_rounds
from benchctl.stats.verdict import DEFAULT_MARGIN
from benchctl_engines.static.switches import PASS_NAMES, described_switches

DOCS = ROOT / "docs"
ENGINE_EXAMPLE = DOCS / "examples" / "reverse_engine"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PAGES = documents()
MADE_LOCALLY = ("results/runs", "results/report")

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def on_one_line(text: str) -> str:
    return " ".join(text.split())


# Commands ------------------------------------------------------------------------------------


def shown_commands() -> list[list[str]]:
    """Every benchctl command of a shell block, once."""
    found = {
        tuple(arguments): None
        for page in PAGES
        for arguments in benchctl_arguments(shell_commands(page))
    }
    return [list(arguments) for arguments in found]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that looks like a checkout in which one small run was measured."""
    folder = tmp_path_factory.mktemp("checkout")
    (folder / "docs").symlink_to(DOCS)
    measure = [sys.executable, "-m", "benchctl", "run", "xyz", "--engine", "numpy", "--rounds", "1"]
    done = subprocess.run(measure, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    write_model(folder / "model.onnx")
    if REFERENCE.is_file():
        (folder / "results" / "reference").symlink_to(REFERENCE.parent)
    return folder


def write_model(path: Path) -> None:
    """The user's own model that a page speaks of: one layer, its batch left open."""
    onnx = pytest.importorskip("onnx")
    helper, number = onnx.helper, onnx.TensorProto.FLOAT
    weights = onnx.numpy_helper.from_array(np.ones((4, 2), np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "model",
        [helper.make_tensor_value_info("x", number, ["batch", 4])],
        [helper.make_tensor_value_info("y", number, ["batch", 2])],
        [weights],
    )
    opset = helper.make_opsetid("", 17)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), str(path))


@pytest.fixture(scope="module")
def example_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example engine as `pip install` would leave it."""
    return unpacked_wheel(ENGINE_EXAMPLE, tmp_path_factory.mktemp("engine"))


def expected_exit(arguments: list[str]) -> int:
    """The lecture's own gradients are shown to be wrong."""
    return 5 if "expression=as_on_the_slide" in arguments else 0


SIDE_BY_SIDE = ("aa", "ablate", "bisect", "compare", "gate", "train")
"""Verbs that measure or train for minutes, or need two revisions: their own tests run them."""


def quick_form(arguments: list[str]) -> list[str]:
    """The same command where it would measure: only planned."""
    return [*arguments, "--dry-run"] if arguments[0] in ("run", "claims") else arguments


@pytest.mark.parametrize("arguments", shown_commands(), ids=" ".join)
def test_a_command_of_the_documents_works(
    arguments: list[str], checkout: Path, example_site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if arguments[0] in SIDE_BY_SIDE:
        assert unknown_words(arguments) == []
        return
    if "reverse" in arguments:
        monkeypatch.syspath_prepend(example_site)
    monkeypatch.chdir(checkout)
    done = CliRunner().invoke(main, quick_form(arguments))
    assert done.exit_code == expected_exit(arguments), done.output


@every_page
def test_a_command_in_prose_has_a_verb_and_options_that_exist(page: Path) -> None:
    for arguments in inline_commands(page):
        assert unknown_words(arguments) == [], arguments


def unknown_words(arguments: list[str]) -> list[str]:
    """The verb and the options that benchctl does not have."""
    context = click.Context(main)
    verb, known = arguments[0], options_of(main)
    unknown = []
    if not verb.startswith("-"):
        command = main.get_command(context, verb)
        if command is None:
            return [verb]
        known = options_of(command)
    for word in arguments:
        if word.startswith("-") and word != "-" and word not in known:
            unknown.append(word)
    return unknown


def options_of(command: click.Command) -> set[str]:
    parameters = command.get_params(click.Context(command))
    return {option for each in parameters for option in each.opts}


def test_an_unknown_verb_or_option_would_be_found() -> None:
    assert unknown_words(["rum", "xyz"]) == ["rum"]
    assert unknown_words(["run", "xyz", "--enginee", "eager"]) == ["--enginee"]
    assert unknown_words(["--help"]) == []


@every_page
def test_an_option_in_prose_exists(page: Path) -> None:
    context = click.Context(main)
    known = {"--group"}  # pip's
    for verb in VERBS:
        command = main.get_command(context, verb)
        assert command is not None
        known |= options_of(command)
    for span in code_spans(page):
        if span.startswith("--"):
            assert re.split(r"[ =]", span)[0] in known, span


@every_page
def test_other_commands_name_what_exists(page: Path) -> None:
    for words in shell_commands(page):
        if words[1:2] == ["-m"] and words[2].startswith("benchctl"):
            assert importlib.util.find_spec(words[2]), words
        if words[0].endswith("pip") and "--group" in words:
            assert words[words.index("--group") + 1] in PROJECT["dependency-groups"]
        if words[0].startswith((".ci/", "docs/")):
            assert os.access(ROOT / words[0], os.X_OK), words


# Links and paths -----------------------------------------------------------------------------


@every_page
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for target in links(page):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert may_be_absent(file) or file.exists(), target
        if anchor:
            assert anchor in anchors(file), target


def may_be_absent(file: Path) -> bool:
    """The page on the lecture's question is there as soon as there is a run to make it from."""
    return file.resolve() == DEMONSTRATION and not REFERENCE.is_file()


def anchors(page: Path) -> set[str]:
    """The headings of a page as GitHub names them."""
    _, prose = split_document(page.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@every_page
def test_a_path_in_prose_exists(page: Path) -> None:
    folders = ("benchctl", "docs", "engines", "workloads", "tests", "results", ".ci")
    for span in code_spans(page):
        is_path = re.fullmatch(r"[\w.-]+(/[\w.-]+)+/?", span)
        if is_path and span.split("/")[0] in folders and not span.startswith(MADE_LOCALLY):
            assert (ROOT / span).exists() or ROOT / span == REFERENCE, span


@every_page
def test_a_page_names_no_machine(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"(?<![\w.])/(home|root|Users|opt|work)/", text)


# Python --------------------------------------------------------------------------------------


def test_the_example_of_reading_results_runs(checkout: Path) -> None:
    (block,) = blocks_of(DOCS / "results-format.md", "python")
    done = subprocess.run(
        [sys.executable, "-c", block.text],
        cwd=checkout,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "numpy" in done.stdout


def test_the_example_of_an_input_pipeline_runs() -> None:
    (block,) = blocks_of(DOCS / "datasets.md", "python")
    exec(block.text, {})


def test_the_page_on_engines_shows_the_example_word_for_word() -> None:
    source = (ENGINE_EXAMPLE / "reverse_engine.py").read_text(encoding="utf-8")
    shown = blocks_of(DOCS / "writing-an-engine.md", "python")
    assert len(shown) >= 2
    for block in shown:
        assert block.text.rstrip() in source
    example = tomllib.loads((ENGINE_EXAMPLE / "pyproject.toml").read_text(encoding="utf-8"))
    entry, interpreter = blocks_of(DOCS / "writing-an-engine.md", "toml")
    entry_points = tomllib.loads(entry.text)["project"]["entry-points"]
    assert entry_points == example["project"]["entry-points"]
    assert "python" in tomllib.loads(interpreter.text)["tool"]["benchctl"]["engines"]["torch-old"]


def test_the_example_engine_is_measured_beside_ours(
    checkout: Path, example_site: Path, tmp_path: Path
) -> None:
    arguments = ["run", "xyz", "-a", "size=2x3", "--engine", "reverse", "--engine", "numpy"]
    limits = ["--rounds", "1", "--csv", "--store", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "benchctl", *arguments, *limits],
        env={**os.environ, "PYTHONPATH": str(example_site)},
        cwd=checkout,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert ",reverse,reverse,cpu,ok,1," in done.stdout


def test_the_example_engine_says_which_operations_it_lacks(
    example_site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(example_site)
    arguments = ["verify", "heads", "-a", "width=8", "-a", "channels=2", "--engine", "reverse"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 6, done.output
    assert "no operation" in done.output
    assert "matmul" in done.output


# Tables and figures of the text --------------------------------------------------------------


def first_cells(text: str, heading: str) -> list[str]:
    """The code in the first column of the tables under a heading."""
    section = text.split(f"\n{heading}\n")[1].split("\n## ")[0]
    cells = re.findall(r"^\| (`[^|]+`) \|", section, re.MULTILINE)
    return [code for cell in cells for code in re.findall(r"`([^`]+)`", cell)]


def subpackages(folder: Path) -> set[str]:
    return {f"{each.parent.name}/" for each in folder.glob("*/__init__.py")}


def test_the_architecture_names_every_part() -> None:
    text = read("docs/architecture.md")
    assert set(first_cells(text, "## benchctl")) == subpackages(ROOT / "benchctl")
    engines = ROOT / "engines" / "benchctl_engines"
    parts = set(first_cells(text, "## benchctl_engines")) - set(PASS_NAMES)
    modules = {each.name for each in engines.glob("*.py")} - {"__init__.py"}
    assert parts == subpackages(engines) | modules


def test_the_architecture_names_every_pass_with_its_description() -> None:
    listed = re.findall(r"^\| `(\w+)` \| (.+) \|$", read("docs/architecture.md"), re.MULTILINE)
    passes = [(name, text.replace("\\*", "*")) for name, text in listed if name in PASS_NAMES]
    switches = described_switches()
    assert passes == [(name, switches[name].description) for name in PASS_NAMES]


def test_the_method_names_the_settings_in_use() -> None:
    text = on_one_line(read("docs/measuring-method.md"))
    settings = MeasureSettings()
    first, later, sample = settings.warm_up, settings.later_warm_up, settings.sample
    words = {5: "five"}[first.window]
    for sentence in (
        f"at least {first.min_steps} steps and {first.min_seconds:g} s",
        f"the last {words} steps is within {first.tolerance:.0%}".replace("%", " %"),
        f"after {first.limit_seconds:g} s it ends anyway",
        f"has them warm up for {later.min_seconds:g} s",
        f"takes longer than {settings.cheap_start_seconds:g} s",
        f"A sample lasts at least {sample.min_sample_seconds * 1e3:g} ms",
        f"A round takes {sample.min_samples} to {sample.max_samples} samples",
        f"longer than {sample.long_step_seconds:g} s",
        f"lies beyond {DEFAULT_MARGIN:.0%}".replace("%", " %"),
        f"Fewer than {minimum_rounds()} rounds",
        f"fewer than {minimum_rounds(comparisons=2)} with two or three",
    ):
        assert sentence in text, sentence


def test_the_page_on_gates_quotes_the_committed_noise_floor() -> None:
    gates = load_aa(REFERENCE.parent)
    floor = noise_floor(gates, gates[0].machine_id)
    assert floor is not None
    text = on_one_line(read("docs/comparing.md"))
    minutes = [
        f"{seconds / 60:.0f} min" for seconds in (floor.seconds, *(p.seconds for p in floor.powers))
    ]
    for words in (
        f"{floor.gates} such gates",
        f"{floor.red} regressions",
        f"at most {floor.red_bound:.0%}".replace("%", " %"),
        *(f"{power.found} of {power.gates} gates" for power in floor.powers),
        *minutes,
    ):
        assert words in text, words


def test_dependencies_are_all_explained() -> None:
    text = read("docs/dependencies.md")
    core, development = (set(names(text, title)) for title in ("## Core", "## Development"))
    assert core == {requirement_name(each) for each in PROJECT["project"]["dependencies"]}
    groups = PROJECT["dependency-groups"]
    wanted = {requirement_name(each) for group in groups.values() for each in group} - {""}
    assert development == wanted
    assert set(first_cells(text, "## Extras")) == set(PROJECT["project"]["optional-dependencies"])


def names(text: str, heading: str) -> list[str]:
    """The packages named in the tables under a heading, in plain text."""
    section = text.split(f"\n{heading}\n")[1].split("\n## ")[0]
    rows = [row.strip("|").split("|") for row in section.splitlines() if row.startswith("| ")]
    cells = [row[-2] for row in rows if row[-2].strip() != "package"]
    return [name.strip() for cell in cells for name in cell.split(",") if "all of" not in cell]


def requirement_name(requirement: str | dict[str, str]) -> str:
    """The package that a requirement names; of an included group, nothing of its own."""
    if isinstance(requirement, dict):
        return ""
    return re.split(r"[<>=~!\[ ;]", requirement)[0]


def test_shell_blocks_are_found() -> None:
    found = {block.language for page in PAGES for block in blocks_of(page, *SHELL)}
    assert found == set(SHELL)
    assert len(shown_commands()) > 15
