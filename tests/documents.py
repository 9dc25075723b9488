"""What the tests of the documents share: code blocks, commands and links of a Markdown file."""

from __future__ import annotations

import re
import shlex
import zipfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "results" / "reference" / "slides.jsonl"
DEMONSTRATION = ROOT / "docs" / "why-was-tensorflow-ten-times-slower.md"
SHELL = ("", "sh")


def documents() -> list[Path]:
    """Every Markdown file that a reader of the repository opens."""
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


@dataclass(frozen=True)
class Block:
    """One fenced block; `heading` is the nearest heading above."""

    language: str
    text: str
    heading: str


def split_document(text: str) -> tuple[list[Block], str]:
    """The fenced blocks of a Markdown text, and the prose without them."""
    blocks: list[Block] = []
    prose: list[str] = []
    heading, language, inside = "", "", None
    for line in text.splitlines():
        if line.startswith("```"):
            if inside is None:
                language, inside = line[3:].strip(), []
            else:
                blocks.append(Block(language, "\n".join(inside) + "\n", heading))
                inside = None
        elif inside is not None:
            inside.append(line)
        else:
            if line.startswith("#"):
                heading = line.lstrip("#").strip()
            prose.append(line)
    assert inside is None, "a fenced block is not closed"
    return blocks, "\n".join(prose)


def blocks_of(path: Path, *languages: str) -> list[Block]:
    """The blocks of a document in one of these languages."""
    blocks, _ = split_document(path.read_text(encoding="utf-8"))
    return [block for block in blocks if block.language in languages]


def code_spans(path: Path) -> list[str]:
    """The inline code of a document."""
    _, prose = split_document(path.read_text(encoding="utf-8"))
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)]


def links(path: Path) -> list[str]:
    """The targets of all links and pictures of a document."""
    _, prose = split_document(path.read_text(encoding="utf-8"))
    return re.findall(r"\]\(([^)\s]+)\)", prose)


def simple_commands(line: str) -> list[list[str]]:
    """The words of every simple command of a shell line, without comments and redirections."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    commands: list[list[str]] = [[]]
    redirected = False
    for word in lexer:
        if set(word) <= set("&|;"):
            commands.append([])
        elif set(word) <= set("<>"):
            redirected = True
        elif redirected:
            redirected = False
        else:
            commands[-1].append(word)
    return [words for words in commands if words]


def shell_commands(path: Path) -> list[list[str]]:
    """Every simple command of a document's shell blocks."""
    lines = [line for block in blocks_of(path, *SHELL) for line in block.text.splitlines()]
    return [words for line in lines for words in simple_commands(line)]


def benchctl_arguments(commands: list[list[str]]) -> list[list[str]]:
    """What follows `benchctl` in those commands that call it."""
    return [words[1:] for words in commands if Path(words[0]).name == "benchctl"]


def inline_commands(path: Path) -> list[list[str]]:
    """The arguments of every `benchctl ...` in a document's prose."""
    spans = [span for span in code_spans(path) if span.startswith("benchctl ")]
    return benchctl_arguments([words for span in spans for words in simple_commands(span)])


def unpacked_wheel(project: Path, folder: Path) -> Path:
    """A folder to put on the import path, with what a wheel of `project` installs."""
    from hatchling.builders.wheel import WheelBuilder

    built = WheelBuilder(str(project)).build(directory=str(folder / "dist"), versions=["standard"])
    site = folder / "site"
    with zipfile.ZipFile(next(iter(built))) as wheel:
        wheel.extractall(site)
    return site
