"""An arm from the text a user writes: engine, switches, device, precision."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from benchctl.plan.errors import PlanError, UnknownNameError, did_you_mean
from benchctl.plan.registry import load_engine
from benchctl.store.record import STRICT, ArmSpec

if TYPE_CHECKING:
    from benchctl_engines.contract import Switch

DEVICES = ("cpu", "gpu")
"""The kinds of device; `gpu:1` is the second GPU, `gpu` the first."""

PRECISIONS = (STRICT, "tf32", "fp16", "bf16")
"""How a GPU computes and stores float32; see `benchctl_engines.contract.Precision`."""

AUTOTUNE = "autotune"
"""The switch by which an engine chooses its kernels by measuring them."""

_GPU = re.compile(r"gpu(?::(\d+))?")


def parse_arm(
    text: str, device: str = "cpu", precision: str = "", autotune: bool = False
) -> ArmSpec:
    """The arm that "static:entry=callable,prune=off" means.

    "@gpu", "@gpu:1" or "@gpu/tf32" at its end overrides `device`, and with a precision `precision`.
    Switches are checked against those of the engine. `autotune` switches that on where the engine
    has it, on a GPU. Raises `PlanError`.
    """
    body, at, own_place = text.strip().partition("@")
    device, precision = parse_place(own_place if at else device, precision)
    engine_name, colon, switch_text = body.partition(":")
    engine = load_engine(engine_name)
    switches = _parse_switches(engine_name, switch_text, engine.switches()) if colon else {}
    _check_device_of_switches(engine_name, switches, engine.switches() if colon else {}, device)
    if autotune and device != "cpu" and AUTOTUNE in engine.switches() and AUTOTUNE not in switches:
        switches[AUTOTUNE] = "on"
        body += f"{',' if colon else ':'}{AUTOTUNE}=on"
    arm_id = body if device == "cpu" else f"{body}@{device}"
    if precision != STRICT:
        arm_id += f"/{precision}"
    return ArmSpec(
        id=arm_id, engine=engine_name, device=device, switches=switches, precision=precision
    )


def parse_place(text: str, precision: str = "") -> tuple[str, str]:
    """(device, precision) of "cpu", "gpu", "gpu:1" or "gpu/tf32"; raises `PlanError`.

    `precision` holds where the text names none; strict float32 where neither does.
    """
    device, slash, own = text.partition("/")
    found = _GPU.fullmatch(device)
    if found is not None:
        device = "gpu" if int(found[1] or 0) == 0 else f"gpu:{int(found[1])}"
    elif device != "cpu":
        raise PlanError(
            f'device expected cpu, gpu or gpu:N, received "{device}".'
            f"{did_you_mean(device, DEVICES)}"
        )
    chosen = own if slash else precision or STRICT
    if chosen not in PRECISIONS:
        raise PlanError(
            f'precision expected {" or ".join(PRECISIONS)}, received "{chosen}".'
            f"{did_you_mean(chosen, PRECISIONS)}"
        )
    if chosen != STRICT and device == "cpu":
        raise PlanError(
            f"precision {chosen} expected a GPU, received device cpu: the CPU computes float32 as "
            "it is",
            f"--device gpu --precision {chosen}, or leave --precision out",
        )
    return device, chosen


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


def _check_device_of_switches(
    engine: str, given: Mapping[str, str], known: Mapping[str, Switch], device: str
) -> None:
    """Raise for a switch that does nothing on this device."""
    for name in given:
        wanted = known[name].device
        if wanted and wanted != device.partition(":")[0]:
            raise PlanError(
                f"switch {name} of engine {engine} is for device {wanted}, received {device}",
                f"--device {wanted}, or leave {name} out",
            )


def _example(engine: str, known: Mapping[str, Switch]) -> str:
    for name, switch in known.items():
        return f"for instance {engine}:{name}={switch.default}"
    return f"engine {engine} has no switches"
