"""What the engines of this package share: whether their packages are here, and how they start."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import ClassVar, Protocol

from ..contract import (
    AVAILABLE,
    Array,
    Availability,
    Case,
    EngineOptions,
    Paradigm,
    Program,
    Runner,
    Switch,
)
from ..devices.availability import cuda_availability, gpu_index
from ..primitives.half_storage import STORED_AS
from .probed_program import probe_program


class MakeRunner(Protocol):
    """The class of a runner."""

    def __call__(
        self,
        workload: Program,
        case: Case,
        parameters: Mapping[str, Array],
        inputs: Mapping[str, Array],
        options: EngineOptions,
    ) -> Runner: ...


class PeerEngine:
    """An engine that hands the program to installed packages, on the CPU or perhaps a GPU."""

    name: str
    paradigm: Paradigm = "peer"
    packages: ClassVar[tuple[str, ...]]
    """What is imported."""
    extra: ClassVar[str]
    """The extra of benchctl that installs the packages."""
    distributions: ClassVar[tuple[str, ...]] = ()
    """Installed names that versions are asked of, where they are not those of the packages."""
    runner: ClassVar[MakeRunner]
    cuda_hint: ClassVar[str] = ""
    """How to install a build for GPUs; empty where the engine runs on the CPU only."""

    def without_cuda(self) -> str:
        """Why the installed build cannot use a GPU; empty where it can."""
        return f"the engine {self.name} computes on the CPU"

    def versions(self) -> Mapping[str, str]:
        """Versions as installed, without importing anything; what is absent is left out."""
        return installed_versions(self.distributions or self.packages)

    def availability(self, device: str) -> Availability:
        """Whether the packages can be imported and use `device`, found without importing them."""
        index = gpu_index(device)
        if device != "cpu" and (index is None or not self.cuda_hint):
            return Availability(
                False,
                f"the engine {self.name} computes on the CPU, not on device {device!r}",
                "choose --device cpu, or an engine that runs there",
            )
        missing = [package for package in self.packages if find_spec(package) is None]
        if not missing:
            return AVAILABLE if index is None else self._availability_on_gpu(index)
        verb = "is" if len(missing) == 1 else "are"
        return Availability(
            False,
            f"{' and '.join(missing)} {verb} not installed",
            f'pip install "benchctl[{self.extra}]"',
        )

    def _availability_on_gpu(self, index: int) -> Availability:
        reason = self.without_cuda()
        if reason:
            return Availability(False, reason, f"{self.cuda_hint}, or --device cpu")
        return cuda_availability(index)

    def switches(self) -> Mapping[str, Switch]:
        """None: it runs as its users run it."""
        return {}

    def prepare(
        self,
        workload: Program,
        case: Case,
        parameters: Mapping[str, Array],
        inputs: Mapping[str, Array],
        options: EngineOptions,
    ) -> Runner:
        """The engine's runner of a case."""
        return self.runner(workload, case, parameters, inputs, options)


class FrameworkEngine(PeerEngine):
    """A framework whose own operations are the vocabulary."""

    operations: ClassVar[type]
    """The class of `ops`."""
    fixed_shapes: ClassVar[bool] = False
    """Whether inputs must keep the shapes that the engine was prepared for."""

    def supports(self, workload: Program, case: Case) -> Availability:
        """Whether every operation that the program asks for exists here."""
        if self.fixed_shapes and getattr(workload, "varying_shapes", False):
            return varying_shapes_refused(self.name)
        names = dict.fromkeys(call.operation for call in probe_program(workload, case).calls)
        missing = [name for name in names if not hasattr(self.operations, name)]
        if missing:
            return Availability(
                False,
                f"the engine {self.name} has no operation {', '.join(missing)}",
                "choose another engine",
            )
        return AVAILABLE


def varying_shapes_refused(engine: str) -> Availability:
    """Why an engine that is made for inputs of one shape cannot run a case of several."""
    return Availability(
        False,
        f"the engine {engine} is prepared for inputs of one shape, and those of the case have "
        "several",
        "choose another workload, or an engine that takes any shape",
    )


def installed_versions(distributions: tuple[str, ...]) -> dict[str, str]:
    """The version of each distribution that is installed, by its name."""
    versions = {}
    for distribution in distributions:
        with suppress(PackageNotFoundError):
            versions[distribution] = version(distribution)
    return versions


def place_words(device: str, precision: str, threads: int) -> str:
    """Where a framework runs: `the CPU, 2 threads`, `gpu:1, float32 strictly`."""
    if gpu_index(device) is None:
        return f"the CPU, {threads} threads"
    if precision in STORED_AS:
        return f"{device}, float32 stored as {STORED_AS[precision]}"
    products = "float32 strictly" if precision == "fp32" else f"products in {precision.upper()}"
    return f"{device}, {products}"


def no_gradient(name: str) -> ValueError:
    """The error for a gradient that does not exist."""
    return ValueError(
        f"the gradient of {name!r} was asked for, and nothing that is differentiated depends on it"
    )
