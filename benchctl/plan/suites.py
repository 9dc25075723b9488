"""Named sets of cases: what to measure for which question."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from benchctl.plan.errors import UnknownNameError


@dataclass(frozen=True, slots=True)
class SuiteEntry:
    """One workload with the axis values to vary, on the arms named (none: those of the plan).

    `rounds` is None where the plan decides; `measure` holds settings of a measurement
    (`benchctl.measure.settings.MeasureSettings`) that differ for these cases.
    """

    workload: str
    axes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    arms: tuple[str, ...] = ()
    rounds: int | None = None
    measure: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Suite:
    """Entries that are measured together, in this order."""

    name: str
    summary: str
    entries: tuple[SuiteEntry, ...]


# What the suites need of VGG16's shapes: one of each that occurs.
VGG16_LAYERS = (
    "conv1_1",
    "conv1_2",
    "conv2_1",
    "conv2_2",
    "conv3_1",
    "conv3_2",
    "conv4_1",
    "conv4_2",
    "conv5_1",
)
LAYOUTS = ("NCHW", "NHWC")
HEADS = ("fc", "conv")
XYZ_ARMS = ("static", "static:entry=callable", "eager", "numpy")
XYZ_SIZES = (
    "3x4",
    "10x10",
    "32x32",
    "100x100",
    "316x316",
    "1000x1000",
    "2048x2048",
    "4096x4096",
)

# Where only the steady step is shown, a worker with an empty cache would be for nothing.
_STEADY_ONLY = {"cold": False}
_SMOKE = {"cold": False, "warm_up": {"min_seconds": 0.1, "limit_seconds": 2.0}}

SLIDES = Suite(
    name="slides",
    summary="the lecture's claims: everything the report's charts need",
    entries=(
        SuiteEntry(
            "xyz",
            {"expression": ("product",), "size": XYZ_SIZES[:1]},
            arms=XYZ_ARMS,
            rounds=12,
        ),
        SuiteEntry(
            "xyz",
            {"expression": ("product",), "size": XYZ_SIZES[1:]},
            arms=XYZ_ARMS,
            rounds=12,
            measure=_STEADY_ONLY,
        ),
        SuiteEntry(
            "vgg16",
            {"layout": LAYOUTS, "head": HEADS, "mode": ("inference",), "image_size": ("224",)},
            arms=("static", "eager", "numpy"),
            rounds=7,
        ),
        SuiteEntry(
            "vgg16",
            {"mode": ("training",), "batch": ("4",), "image_size": ("64",)},
            arms=("static", "eager", "numpy"),
            rounds=7,
            measure=_STEADY_ONLY,
        ),
        # Both engines call the same kernels: one shows what the layout does.
        SuiteEntry(
            "layout",
            {"layer": VGG16_LAYERS, "layout": LAYOUTS, "direction": ("forward", "backward")},
            arms=("static",),
            rounds=6,
            measure=_STEADY_ONLY,
        ),
        SuiteEntry(
            "heads",
            {"head": HEADS},
            arms=("static", "eager", "numpy"),
            rounds=8,
            measure=_STEADY_ONLY,
        ),
        SuiteEntry(
            "gan",
            {"batch": ("32",)},
            arms=("static", "eager"),
            rounds=7,
            measure=_STEADY_ONLY,
        ),
        # One engine is enough: the question is what hides behind its step.
        *(
            SuiteEntry(
                "input_pipeline",
                {"prepare": prepare, "prefetch": prefetch},
                arms=("static",),
                rounds=6,
                measure=_STEADY_ONLY,
            )
            for prepare, prefetch in ((("none",), ("0",)), (("numpy", "python"), ("0", "2")))
        ),
    ),
)

# Frameworks take their images in the order they know: those of ONNX as NCHW, TensorFlow and JAX
# as NHWC, torch in both. Each case has all that take part in it in every round.
_OWN = ("static", "eager", "numpy")
_TORCH = ("torch", "torch-compile")
_TENSORFLOW = ("tf-function", "tf-eager", "tf-graph", "keras")
_RUNTIMES = ("onnxruntime", "openvino", "ncnn")
_NCHW_ENGINES = (*_OWN, *_TORCH, *_RUNTIMES, "tinygrad")
_NHWC_ENGINES = (*_OWN, *_TORCH, *_TENSORFLOW, "jax")
# Sixteen images would take it half a minute a step.
_SECONDS_AN_IMAGE = "tinygrad"
_BY_LAYOUT = (("NCHW", _NCHW_ENGINES), ("NHWC", _NHWC_ENGINES))
_EVERYONE = (*_OWN, *_TORCH, *_TENSORFLOW, "jax", *_RUNTIMES, "tinygrad")
_PEERS = {"cold": False, "warm_up": {"min_seconds": 0.5, "limit_seconds": 5.0}}
# Ten engines whose start takes seconds: a process a round would double the hour.
_LONG = {**_PEERS, "restart_every": 100}

PEERS = Suite(
    name="peers",
    summary="every engine installed here on xyz, VGG16 and layout (pip install 'benchctl[peers]')",
    entries=(
        SuiteEntry(
            "xyz",
            {"size": ("3x4", "1000x1000")},
            arms=_EVERYONE,
            rounds=10,
            measure=_PEERS,
        ),
        *(
            SuiteEntry(
                "vgg16",
                {"layout": (layout,), "batch": (batch,)},
                arms=tuple(arm for arm in arms if batch == "1" or arm != _SECONDS_AN_IMAGE),
                rounds=9,
                measure=_PEERS if batch == "1" else _LONG,
            )
            for layout, arms in _BY_LAYOUT
            for batch in ("1", "16")
        ),
        SuiteEntry(
            "vgg16",
            {"layout": ("NHWC",), "mode": ("training",), "batch": ("8",)},
            arms=_NHWC_ENGINES,
            rounds=9,
            # Peaks count libraries once for each process, which share them: they fit into 24 GiB.
            measure={**_LONG, "memory_share": 1.2},
        ),
        *(
            SuiteEntry(
                "layout",
                {
                    "layer": ("conv4_2",),
                    "layout": (layout,),
                    "direction": ("forward", "backward"),
                },
                arms=arms,
                rounds=9,
                measure=_LONG,
            )
            for layout, arms in _BY_LAYOUT
        ),
    ),
)

DCGAN = Suite(
    name="dcgan",
    summary="one training step of the lecture's DCGAN against torch, TensorFlow and JAX",
    entries=tuple(
        SuiteEntry(
            "gan",
            {"layout": (layout,)},
            arms=("static", "eager", *frameworks),
            rounds=8,
            measure=_LONG,
        )
        for layout, frameworks in (("NCHW", _TORCH), ("NHWC", (*_TORCH, "tf-function", "jax")))
    ),
)

LAYERS = Suite(
    name="layers",
    summary="every convolution of VGG16, forward and backward, against torch",
    entries=(
        SuiteEntry(
            "layout",
            {"layer": VGG16_LAYERS, "layout": LAYOUTS, "direction": ("forward", "backward")},
            arms=("static", "eager", "torch"),
            rounds=7,
            measure=_PEERS,
        ),
    ),
)

# One process an arm: on a GPU it takes seconds to start, and the device is the same for all. Each
# precision is compared with torch at the same.
_ON_GPU = {
    "cold": False,
    "restart_every": 100,
    "warm_up": {"min_seconds": 0.3, "limit_seconds": 3.0},
}
_GPU_ARMS = tuple(
    f"{engine}@gpu{precision}"
    for precision in ("", "/tf32", "/fp16")
    for engine in ("static", "eager", "torch")
)
# What torch has to be asked for, and what makes our strict float32 its own Winograd's.
_GPU_COMPILED = tuple(
    f"{engine}@gpu{precision}"
    for precision in ("", "/tf32")
    for engine in ("static:autotune=on", "torch-compile")
)

GPU = Suite(
    name="gpu",
    summary="our engines and torch on a GPU: strict float32, TF32 and fp16",
    entries=(
        SuiteEntry(
            "xyz",
            {"size": ("3x4", "1000x1000")},
            arms=("static@gpu", "static:capture=off@gpu", "eager@gpu", "numpy@gpu", "torch@gpu"),
            rounds=8,
            measure=_ON_GPU,
        ),
        SuiteEntry(
            "layout",
            {
                "layer": ("conv1_2", "conv3_2", "conv5_1"),
                "layout": LAYOUTS,
                "direction": ("forward", "backward"),
                "batch": ("16",),
            },
            arms=("static@gpu", "static@gpu/tf32", "static@gpu/fp16"),
            rounds=7,
            measure=_ON_GPU,
        ),
        SuiteEntry(
            "vgg16",
            {"layout": LAYOUTS, "batch": ("1", "16"), "head": ("fc",), "mode": ("inference",)},
            arms=(*_GPU_ARMS, *_GPU_COMPILED),
            rounds=9,
            measure=_ON_GPU,
        ),
        # The float64 reference of such a step takes the CPU long: one of them must do.
        SuiteEntry(
            "vgg16",
            {"layout": ("NHWC",), "batch": ("32",), "mode": ("training",)},
            arms=(*_GPU_ARMS, *_GPU_COMPILED),
            rounds=9,
            measure={**_ON_GPU, "check_steps": 1},
        ),
    ),
)

# The answers that are asked for first, for a card that is there for minutes: every case is of one
# question, those that take the CPU long to check are checked by the tests, on fewer images.
GPU_QUICK = Suite(
    name="gpu-quick",
    summary="the first answers of a GPU that is there for minutes: static, eager and torch",
    entries=(
        SuiteEntry(
            "xyz",
            {"size": ("3x4",)},
            arms=("static@gpu", "static:capture=off@gpu", "eager@gpu", "torch@gpu"),
            rounds=7,
            measure=_ON_GPU,
        ),
        SuiteEntry(
            "vgg16",
            {"layout": ("NCHW",), "batch": ("16",), "mode": ("inference",)},
            arms=("static@gpu", "static:autotune=on@gpu", "eager@gpu", "torch@gpu"),
            rounds=7,
            measure=_ON_GPU,
        ),
        SuiteEntry(
            "vgg16",
            {"layout": ("NHWC",), "batch": ("16",), "mode": ("inference",)},
            arms=tuple(
                f"{engine}@gpu/{precision}"
                for precision in ("tf32", "fp16")
                for engine in ("static", "torch")
            ),
            rounds=7,
            measure={**_ON_GPU, "energy": True, "energy_rule": {"blocks": 2}},
        ),
        SuiteEntry(
            "vgg16",
            {"layout": ("NHWC",), "batch": ("32",), "mode": ("training",)},
            arms=("static@gpu", "torch@gpu", "static@gpu/tf32", "torch@gpu/tf32"),
            rounds=7,
            measure={**_ON_GPU, "check_outputs": False},
        ),
        SuiteEntry(
            "layout",
            {"layer": ("conv3_2",), "layout": LAYOUTS, "batch": ("16",)},
            arms=("static@gpu", "static@gpu/tf32", "static@gpu/fp16"),
            rounds=7,
            measure=_ON_GPU,
        ),
    ),
)

SMOKE = Suite(
    name="smoke",
    summary="one small case of everything, in under two minutes: does it work here?",
    entries=(
        SuiteEntry("xyz", {"size": ("3x4",)}, rounds=7),
        SuiteEntry("xyz", {"size": ("100x100",)}, rounds=7, measure=_SMOKE),
        SuiteEntry(
            "vgg16",
            {"mode": ("inference", "training"), "image_size": ("32",), "width": ("16",)},
            rounds=7,
            measure=_SMOKE,
        ),
        SuiteEntry("layout", {"layer": ("conv5_1",), "layout": LAYOUTS}, rounds=7, measure=_SMOKE),
        SuiteEntry("heads", {"head": HEADS, "width": ("256",)}, rounds=7, measure=_SMOKE),
    ),
)

_SUITES = {each.name: each for each in (SLIDES, SMOKE, PEERS, LAYERS, DCGAN, GPU, GPU_QUICK)}


def suite_names() -> list[str]:
    """Names of the suites."""
    return list(_SUITES)


def suite(name: str) -> Suite:
    """The suite of that name; raises `UnknownNameError`."""
    if name not in _SUITES:
        raise UnknownNameError("suite", name, _SUITES)
    return _SUITES[name]
