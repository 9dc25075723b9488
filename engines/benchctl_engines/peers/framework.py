"""What the engines of this package share: whether a framework is here, and what a program asks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any, ClassVar

from ..contract import AVAILABLE, Availability, Case, Paradigm, Program, Switch


class FrameworkEngine:
    """An engine that hands the program to an installed framework, on the CPU."""

    name: str
    paradigm: Paradigm = "peer"
    package: ClassVar[str]
    """The module that the framework is imported as."""
    extra: ClassVar[str]
    """The extra of benchctl that installs it."""
    distributions: ClassVar[tuple[str, ...]]
    """Installed names that versions are asked of; those that are absent are left out."""
    operations: ClassVar[type]
    """The class of `ops`."""

    def versions(self) -> Mapping[str, str]:
        """Versions as installed, without importing the framework."""
        return installed_versions(self.distributions)

    def availability(self, device: str) -> Availability:
        """Whether the framework is installed; these adapters compute on the CPU."""
        return package_availability(self.name, self.package, self.extra, device)

    def supports(self, workload: Program, case: Case) -> Availability:
        """Whether every operation that the program asks for exists here."""
        names = dict.fromkeys(name for name, _ in operations_asked(workload, case))
        missing = [name for name in names if not hasattr(self.operations, name)]
        if missing:
            return Availability(
                False,
                f"the engine {self.name} has no operation {', '.join(missing)}",
                "choose another engine",
            )
        return AVAILABLE

    def switches(self) -> Mapping[str, Switch]:
        """None: the framework runs as its users run it."""
        return {}


def package_availability(engine: str, package: str, extra: str, device: str) -> Availability:
    """Whether `package` can be imported, found out without importing it."""
    if device != "cpu":
        return Availability(
            False,
            f"the engine {engine} computes on the CPU, not on device {device!r}",
            "choose --device cpu, or an engine that runs there",
        )
    if find_spec(package) is None:
        return Availability(
            False, f"{package} is not installed", f'pip install "benchctl[{extra}]"'
        )
    return AVAILABLE


def installed_versions(distributions: tuple[str, ...]) -> dict[str, str]:
    """The version of each distribution that is installed, by its name."""
    versions = {}
    for distribution in distributions:
        with suppress(PackageNotFoundError):
            versions[distribution] = version(distribution)
    return versions


def no_gradient(name: str) -> ValueError:
    """The error for a gradient that does not exist."""
    return ValueError(
        f"the gradient of {name!r} was asked for, and nothing that is differentiated depends on it"
    )


class Stand:
    """Stands in for a tensor in a program that is only read."""

    def _itself(self, *operands: object) -> Stand:
        return self

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _itself
    __truediv__ = __rtruediv__ = __neg__ = _itself


class Reader:
    """Stands in for `ops`: notes what a program asks for and computes nothing."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Mapping[str, Any]]] = []

    def __getattr__(self, name: str) -> Callable[..., Stand]:
        def note(*operands: Any, **attributes: Any) -> Stand:
            self.asked.append((name, attributes))
            return Stand()

        return note


def operations_asked(workload: Program, case: Case) -> list[tuple[str, Mapping[str, Any]]]:
    """Operations of a program with their keyword arguments, as far as can be told without arrays.

    A program that looks at its arrays is read up to there; its first step will tell the rest.
    """
    reader = Reader()
    with suppress(Exception):
        workload.program(reader, defaultdict(Stand), defaultdict(Stand), case)
    return reader.asked
