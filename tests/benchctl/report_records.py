"""Synthetic runs for the tests of charts and pages: known times, seeded noise, no measuring."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchctl.store.record import (
    ArmResult,
    ArmRound,
    ArmSpec,
    CaseResult,
    CaseSpec,
    Memory,
    OutputCheck,
    Phases,
    Plan,
    Run,
    Verification,
)

SIZES = ("3x4", "32x32", "316x316", "1000x1000", "4096x4096")
LAYERS = ("conv1_1", "conv1_2", "conv2_1", "conv3_1", "conv4_2", "conv5_3")
COPY_BANDWIDTH = 12e9

# Overhead of one step and seconds an element, by engine.
STEP = {"static": (1.9e-6, 2.1e-9), "numpy": (4.4e-6, 9.6e-9), "eager": (14.1e-6, 7.0e-9)}
COLD = {
    "static": Phases("cold", 0.31, 1.2e-3, 0.4, 2e-5),
    "numpy": Phases("cold", 0.10, None, None, 3e-5),
    "eager": Phases("cold", 0.12, 5e-5, None, 9e-5),
}
WARM = {"static": Phases("warm", 0.30, 1.1e-3, 1.2e-2, 2e-5)}


def make_arm(
    arm: ArmSpec,
    seconds: float,
    *,
    rounds: int = 20,
    spread: float = 0.01,
    seed: str = "",
    phases: Sequence[Phases] | None = None,
    memory: Memory | None = None,
) -> ArmResult:
    """An arm whose rounds scatter around `seconds`."""
    rng = np.random.default_rng(zlib.crc32(f"{arm.id} {seed}".encode()))
    factors = np.exp(spread * rng.standard_normal((rounds, 3)))
    taken = tuple(
        ArmRound(index, tuple(float(seconds * each) for each in row), 10, process=index // 5)
        for index, row in enumerate(factors)
    )
    if phases is None:
        found = (COLD.get(arm.engine), WARM.get(arm.engine))
        phases = [each for each in found if each is not None]
    check = OutputCheck("c", True, 1e-7, 1e-5, 2e-8)
    return ArmResult(
        arm,
        "ok",
        verification=Verification(True, (check,)),
        phases=tuple(phases),
        memory=memory or Memory(),
        kernels=("numba_fused",),
        versions={"numpy": "2.4.0"},
        rounds=taken,
    )


def make_case(workload: str, parameters: Mapping[str, str | int | float], **facts: Any) -> CaseSpec:
    """A case with the id that a plan would give it."""
    text = ",".join(f"{name}={value}" for name, value in parameters.items())
    return CaseSpec(f"{workload}[{text}]", workload, parameters, **facts)


def make_run(
    cases: Sequence[CaseResult],
    arms: Sequence[ArmSpec],
    *,
    run_id: str = "20261123T101500-3f2a9c1b-7d0e55aa",
    started: str = "2026-11-23T10:15:00Z",
    machine_id: str = "3f2a9c1b77aa",
    threads: int = 2,
    rounds: int = 20,
    bandwidth: float | None = COPY_BANDWIDTH,
    suite: str = "slides",
    complete: bool = True,
) -> Run:
    """A run of `cases` on a made-up machine."""
    environment: dict[str, Any] = {"load_average": [0.2, 0.1, 0.1]}
    if bandwidth is not None:
        environment["copy_bandwidth_bytes_per_second"] = bandwidth
    specs = tuple(each.case for each in cases)
    plan = Plan(specs, tuple(arms), rounds, 7, threads, "numpy", suite)
    return Run(
        run_id,
        started,
        plan,
        {"id": machine_id, "cpu": "Example 9000", "cores": 2, "memory_bytes": 8_000_000_000},
        environment,
        {"benchctl": "0.1.0", "python": "3.11.7", "numpy": "2.4.0"},
        {"revision": "0123456789abcdef", "dirty": False},
        ("benchctl", "run", suite),
        tuple(cases),
        complete,
    )


def engines(*names: str) -> tuple[ArmSpec, ...]:
    """Arms of in-house engines without switches."""
    return tuple(ArmSpec(name, name) for name in names or ("static", "eager", "numpy"))


def xyz_cases(arms: Sequence[ArmSpec], sizes: Sequence[str] = SIZES) -> list[CaseResult]:
    """A sweep of the gradient over sizes."""
    results = []
    for size in sizes:
        rows, columns = map(int, size.split("x"))
        n = rows * columns
        parameters = {
            "expression": "product",
            "size": size,
            "dtype": "float32",
            "legacy_seed": "none",
        }
        case = make_case(
            "xyz",
            parameters,
            title=f"product, {size} float32, gradient of sum(x*y*z)",
            step="gradient",
            flops=5 * n - 1,
            bytes_moved=4 * (6 * n + 1),
        )
        measured = []
        for arm in arms:
            overhead, each = STEP.get(arm.engine, (8e-6, 4e-9))
            overhead *= 0.4 if arm.switches else 1
            memory = Memory(30 * n + 100_000, 16 * n)
            measured.append(make_arm(arm, overhead + each * n, seed=size, memory=memory))
        results.append(CaseResult(case, tuple(measured)))
    return results


def vgg_cases(arms: Sequence[ArmSpec], batch: int = 1) -> list[CaseResult]:
    """The slide's four variants in inference, and training in the default one."""
    base = {"static": 0.21, "eager": 0.24, "numpy": 0.62}
    results = []
    for mode in ("inference", "training"):
        for layout in ("NCHW", "NHWC"):
            for head in ("fc", "conv"):
                if mode == "training" and (layout, head) != ("NCHW", "fc"):
                    continue
                parameters = {
                    "layout": layout,
                    "head": head,
                    "mode": mode,
                    "batch": batch,
                    "image_size": 224,
                    "width": 64,
                }
                case = make_case(
                    "vgg16",
                    parameters,
                    title=f"VGG16 {layout} {head} {mode}, batch {batch}",
                    step="training" if mode == "training" else "forward",
                    flops=30_000_000_000,
                    parameter_count=138_357_544,
                )
                factor = (1.0 if layout == "NHWC" else 0.93) * (1.2 if head == "conv" else 1.0)
                factor *= 3.1 if mode == "training" else 1.0
                size = 2e9 if mode == "training" else 0.7e9
                measured = []
                for arm in arms:
                    share = {"static": 0.6, "eager": 0.8}.get(arm.engine, 1.0)
                    pool = None if arm.engine == "numpy" else int(size * share * 0.8)
                    memory = Memory(int(size * share), pool)
                    seconds = base.get(arm.engine, 0.3) * factor
                    measured.append(make_arm(arm, seconds, seed=case.id, memory=memory))
                results.append(CaseResult(case, tuple(measured)))
    return results


def layout_cases(arms: Sequence[ArmSpec], layers: Sequence[str] = LAYERS) -> list[CaseResult]:
    """Each convolution in both layouts, forward and backward."""
    results = []
    for place, layer in enumerate(layers):
        for direction in ("forward", "backward"):
            for layout in ("NCHW", "NHWC"):
                parameters = {
                    "layer": layer,
                    "layout": layout,
                    "direction": direction,
                    "batch": 1,
                    "image_size": 224,
                }
                case = make_case(
                    "layout",
                    parameters,
                    step="forward" if direction == "forward" else "gradient",
                    flops=10**9,
                )
                slower = 1 + 0.12 * (place - 2) if layout == "NHWC" else 1.0
                seconds = 0.008 * slower * (2.4 if direction == "backward" else 1.0)
                measured = [make_arm(arm, seconds, seed=case.id) for arm in arms]
                results.append(CaseResult(case, tuple(measured)))
    return results


def heads_cases(arms: Sequence[ArmSpec]) -> list[CaseResult]:
    """The classifier as dense layers and as convolutions."""
    results = []
    for mode in ("inference", "training"):
        for head in ("fc", "conv"):
            parameters = {"head": head, "layout": "NCHW", "mode": mode, "batch": 1}
            step = "forward" if mode == "inference" else "training"
            case = make_case("heads", parameters, step=step, flops=10**9)
            seconds = (0.02 if head == "fc" else 0.031) * (3 if mode == "training" else 1)
            measured = [make_arm(arm, seconds, seed=case.id) for arm in arms]
            results.append(CaseResult(case, tuple(measured)))
    return results


def slides_run(arms: Sequence[ArmSpec] = (), **facts: Any) -> Run:
    """A run that fills every chart."""
    arms = arms or (
        ArmSpec("static", "static"),
        ArmSpec("static:entry=callable", "static", switches={"entry": "callable"}),
        ArmSpec("eager", "eager"),
        ArmSpec("numpy", "numpy"),
    )
    plain = [arm for arm in arms if not arm.switches]
    cases = [
        *xyz_cases(arms),
        *vgg_cases(plain),
        *layout_cases(plain),
        *heads_cases(plain),
    ]
    return make_run(cases, arms, **facts)
