"""An arm from the text a user writes: engine, switches, device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from benchctl.plan.errors import PlanError, UnknownNameError, did_you_mean
from benchctl.plan.registry import load_engine
from benchctl.store.record import ArmSpec

if TYPE_CHECKING:
    from benchctl_engines.contract import Switch

DEVICES = ("cpu", "gpu")


def parse_arm(text: str, device: str = "cpu") -> ArmSpec:
    """The arm that "static:entry=callable,prune=off" means; "@gpu" at the end overrides `device`.

    Switches are checked against those of the engine. Raises `PlanError`.
    """
    body, at, own_device = text.strip().partition("@")
    device = own_device if at else device
    if device not in DEVICES:
        raise PlanError(
            f'device expected {" or ".join(DEVICES)}, received "{device}".'
            f"{did_you_mean(device, DEVICES)}"
        )
    engine_name, colon, switch_text = body.partition(":")
    engine = load_engine(engine_name)
    switches = _parse_switches(engine_name, switch_text, engine.switches()) if colon else {}
    arm_id = body if device == "cpu" else f"{body}@{device}"
    return ArmSpec(id=arm_id, engine=engine_name, device=device, switches=switches)


def _parse_switches(engine: str, text: str, known: Mapping[str, Switch]) -> dict[str, str]:
    switches: dict[str, str] = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        if not equals or not name or not value:
            raise PlanError(
                f'switch of engine {engine} expected as name=value, received "{part}"',
                _example(engine, known),
            )
        if name not in known:
            raise UnknownNameError("switch", name, known, owner=f"engine {engine}")
        if name in switches:
            raise PlanError(f"switch {name} of engine {engine} is given twice")
        values = known[name].values
        if values and value not in values:
            raise PlanError(
                f"switch {name} of engine {engine} expected {' or '.join(values)}, received "
                f'"{value}".{did_you_mean(value, values)}'
            )
        switches[name] = value
    return switches


def _example(engine: str, known: Mapping[str, Switch]) -> str:
    for name, switch in known.items():
        return f"for instance {engine}:{name}={switch.default}"
    return f"engine {engine} has no switches"
