"""A folder for PYTHONPATH that says which engines and workloads a checkout brings.

    python tests/gpu/registered.py FOLDER

A machine with a GPU that is lent for minutes may reach no package registry, and need not: what
`pip install` would register is written from pyproject.toml. Prints nothing where the package is
installed.
"""

from __future__ import annotations

import re
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def registered(folder: Path) -> Path:
    """The folder with the metadata of the checkout, made anew."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    words = (ROOT / "benchctl" / "__init__.py").read_text(encoding="utf-8")
    [version] = re.findall(r'^__version__ = "(.+)"$', words, re.MULTILINE)
    made = folder / f"{project['name']}-{version}.dist-info"
    made.mkdir(parents=True, exist_ok=True)
    metadata = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {version}\n"
    (made / "METADATA").write_text(metadata, encoding="utf-8")
    lines = []
    for group, names in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in names.items())]
    (made / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def main(folder: Path) -> None:
    """Print the folder, where one is needed."""
    try:
        distribution("benchctl")
    except PackageNotFoundError:
        print(registered(folder))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
