"""The switches of the static engine: one per pass, in one frozen dataclass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

from ..contract import Switch
from ..devices.gpu_switches import AUTOTUNE
from ..kernels.convolution_choice import CONVOLUTION, NAME


@dataclass(frozen=True, slots=True)
class PassSwitches:
    """Which passes run. `prune` cannot be left out: a session runs what is fetched.

    `gather_updates` and `capture` are stages of the device "gpu" alone: updates share launches, and
    the step, once it has run, is recorded and replayed.
    `check_nan` stops at the first operation whose result holds a NaN; `poison` fills dead memory
    with NaN, so that a read of it shows.
    """

    fold_constants: bool = True
    simplify_algebra: bool = True
    merge_common: bool = True
    assign_layouts: bool = True
    fuse_epilogues: bool = True
    fuse_updates: bool = True
    fuse_elementwise: bool = True
    schedule: bool = True
    plan_memory: bool = True
    bind_early: bool = True
    gather_updates: bool = True
    capture: bool = True
    check_nan: bool = False
    poison: bool = False

    @classmethod
    def none(cls) -> PassSwitches:
        """Every pass and stage off."""
        return cls(**dict.fromkeys((*PASS_NAMES, *GPU_STAGES), False))

    @classmethod
    def only(cls, *names: str) -> PassSwitches:
        """Every pass off but these."""
        return replace(cls.none(), **dict.fromkeys(names, True))

    @classmethod
    def from_text(cls, switches: Mapping[str, str]) -> PassSwitches:
        """From the command line's on and off; `passes=off` turns all off that are not named."""
        base = cls.none() if switches.get("passes") == "off" else cls()
        given = {
            each.name: switches[each.name] == "on" for each in fields(cls) if each.name in switches
        }
        return replace(base, **given)


PASS_NAMES = (
    "fold_constants",
    "simplify_algebra",
    "merge_common",
    "assign_layouts",
    "fuse_epilogues",
    "fuse_updates",
    "fuse_elementwise",
    "schedule",
    "plan_memory",
    "bind_early",
)
"""The passes in the order in which they run, after prune."""

GPU_STAGES = ("gather_updates", "capture")
"""What follows the passes on a GPU."""

_DESCRIPTIONS = {
    "fold_constants": "compute what depends on constants alone once, when compiling",
    "simplify_algebra": "drop x*1, x/1, double transposes, reshape chains, needless broadcasts",
    "merge_common": "compute equal expressions once",
    "assign_layouts": "chains of convolutions written in NCHW run in NHWC",
    "fuse_epilogues": "bias, relu and 2x2 pooling inside the convolution or matrix product",
    "fuse_updates": "w -= rate * gradient without materialising the product",
    "fuse_elementwise": "groups of elementwise operations as one generated loop",
    "schedule": "order operations so that memory is freed early",
    "plan_memory": "share one arena between buffers that are not alive together",
    "bind_early": "generate the step as straight-line code over fixed buffers",
    "gather_updates": "on a GPU: updates in place at the end of the step, alike ones in one launch",
    "capture": "on a GPU: record the step after two runs, and replay it as one launch",
    "check_nan": "stop at the first result with a NaN, naming the line that made it",
    "poison": "fill dead memory with NaN (for tests)",
}


def described_switches() -> dict[str, Switch]:
    """The switches as the contract describes them."""
    default = PassSwitches()
    result = {
        "entry": Switch(
            "run", ("run", "callable"), "step through Session.run or through make_callable"
        ),
        "passes": Switch("on", ("on", "off"), "all passes at once; single ones can still be set"),
        "autotune": AUTOTUNE,
        NAME: CONVOLUTION,
    }
    for each in fields(PassSwitches):
        value = "on" if getattr(default, each.name) else "off"
        device = "gpu" if each.name in GPU_STAGES else ""
        result[each.name] = Switch(value, ("on", "off"), _DESCRIPTIONS[each.name], device)
    return result
