"""The workloads: what is computed, written once for every engine."""

from benchctl_engines.contract import Outputs

from .workload import Axis, AxisError, AxisValue, Cost, Tolerance, Workload, make_case

__all__ = [
    "Axis",
    "AxisError",
    "AxisValue",
    "Cost",
    "Outputs",
    "Tolerance",
    "Workload",
    "make_case",
]
