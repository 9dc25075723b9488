"""The rungs of an ablation: an engine's passes, switched on one by one and left out singly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from benchctl_engines.contract import Switch

ENGINE = "static"
ALL_OFF = f"{ENGINE}:passes=off"
ALL_ON = ENGINE
_ALL = "passes"

RungKind = Literal["eager", "off", "with", "without"]


@dataclass(frozen=True, slots=True)
class Rung:
    """One arm of an ablation: `label` for tables, `arm` as it is written on the command line.

    "with" has all passes up to this one, "without" all but this one.
    """

    kind: RungKind
    label: str
    arm: str


def passes_of(switches: Mapping[str, Switch], device: str = "cpu") -> tuple[str, ...]:
    """The engine's passes on a device in their order: what is on unless switched off."""
    kind = device.partition("/")[0].partition(":")[0]
    return tuple(
        name
        for name, each in switches.items()
        if each.values == ("on", "off") and each.default == "on" and name != _ALL
        if each.device in ("", kind)
    )


def ladder(passes: Sequence[str]) -> list[Rung]:
    """All rungs: eager, static with every pass off, with more and more of them, without each."""
    rungs = [Rung("eager", "eager", "eager"), Rung("off", "static, all passes off", ALL_OFF)]
    for count, name in enumerate(passes, start=1):
        switched = ",".join(f"{each}=on" for each in passes[:count])
        arm = ALL_ON if count == len(passes) else f"{ALL_OFF},{switched}"
        rungs.append(Rung("with", f"+ {name}", arm))
    rungs += [Rung("without", f"all but {name}", f"{ENGINE}:{name}=off") for name in passes]
    return rungs
