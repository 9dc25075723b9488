"""The cases that several claims share, so that each is measured once."""

from __future__ import annotations

from collections.abc import Mapping

from benchctl.claims.claim import ROUNDS, STEADY
from benchctl.plan.suites import SuiteEntry
from benchctl.store.record import CaseSpec

SMALL = {"expression": ("product",), "size": ("3x4",)}
"""The lecture's own size: where an engine's own time is all there is."""
LARGE = {"expression": ("product",), "size": ("1000x1000",)}
"""Where memory is all there is."""
VGG = {"layout": ("NHWC",), "head": ("fc",), "image_size": ("64",), "width": ("16",)}
"""VGG16 with a quarter of its channels: layers enough for every pass, seconds enough for none."""


def case_words(case: CaseSpec) -> str:
    """A case among those of other workloads: `xyz, 3x4`."""
    return f"{case.workload}, {case.title}"


def product(axes: Mapping[str, tuple[str, ...]], *arms: str) -> SuiteEntry:
    """The gradient of sum(x*y*z)."""
    return SuiteEntry("xyz", axes, arms=arms, rounds=ROUNDS, measure=STEADY)


def vgg16(mode: str, *arms: str) -> SuiteEntry:
    """A step of the small VGG16."""
    return SuiteEntry("vgg16", {**VGG, "mode": (mode,)}, arms=arms, rounds=ROUNDS, measure=STEADY)
