"""Graphs of real workloads for the tests of pictures, made in this process."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from benchctl.plan.cases import expand_cases, parse_axes
from benchctl.plan.registry import load_workload
from benchctl_engines.contract import EngineOptions, StepGraphs
from benchctl_engines.static.engine import StaticEngine, StaticRunner
from benchctl_engines.static.program import Program

SMALL_VGG = ("image_size=32", "width=16")


@dataclass(frozen=True)
class Drawn:
    """A runner on the static engine, compiled but not run, and what it says of its graphs."""

    runner: StaticRunner
    graphs: StepGraphs
    program: Program


@cache
def drawn(name: str, *axes: str, passes: str = "on") -> Drawn:
    """The graphs of one case; `axes` read `mode=training`."""
    runner = built(name, *axes, passes=passes)
    runner.compile()
    session = runner._open_session()
    program = session.compiled(runner._fetches, list(runner._placeholders.values()))
    return Drawn(runner, runner.graphs(), program)


@cache
def built(name: str, *axes: str, passes: str = "on") -> StaticRunner:
    """A runner whose graph is recorded."""
    workload = load_workload(name)
    (case,) = expand_cases(workload, parse_axes(axes))
    parameters = workload.parameters(case.parameters, np.random.default_rng(0))
    inputs = workload.inputs(case.parameters, np.random.default_rng(1))
    options = EngineOptions(switches={"passes": passes})
    runner = StaticEngine().prepare(workload, case.parameters, parameters, inputs, options)
    runner.build()
    return runner
