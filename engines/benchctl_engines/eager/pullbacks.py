"""First-order pullbacks as generated straight-line functions over arrays.

A backward pass that is not itself recorded needs no tensors. The rule is traced once per plan and
needs, and written as a function that calls the kernels one after the other: the same kernels in
the same order as running the rule, so the results are the same to the bit.
"""

from __future__ import annotations

import linecache
from collections.abc import Callable, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..primitives.specs import TensorSpec
from ..primitives.trace import PullbackTrace, TracedCall, trace_pullback

if TYPE_CHECKING:
    from .plans import Plan


class Pullback(Protocol):
    """A generated pullback.

    `gives[i]` tells whether input i gets a gradient at all, `fresh` whether all that it gives are
    new arrays, none handed on from its arguments or given twice.
    """

    gives: tuple[bool, ...]
    fresh: bool

    def __call__(self, g: Any, inputs: Any, outputs: Any) -> Sequence[Any]:
        """One array or None per input."""


_numbers = count()


def compiled_pullback(plan: Plan, needs: Sequence[bool], plan_of: Callable[..., Plan]) -> Pullback:
    """`pullback(g, saved_inputs, saved_outputs)` on arrays for calls of `plan`.

    `plan_of(primitive, specs, attributes)` gives the plan of each call of the rule.
    """
    trace = trace_pullback(plan.primitive, plan.input_specs, plan.specs, plan.attributes, needs)
    bound: dict[str, Any] = {"empty": np.empty, "take": plan.device.pool.take}
    lines = ["def pullback(g, inputs, outputs):"]
    lines += _loads(trace, "i", "inputs") + _loads(trace, "o", "outputs")
    for index, call in enumerate(trace.calls):
        called = plan_of(call.primitive, call.operand_specs, call.attributes)
        lines += _launch_lines(index, call, called, bound)
    lines.append(f"    return ({', '.join(str(name) for name in trace.gradients)},)")
    source = "\n".join(lines) + "\n"
    filename = f"<pullback of {plan.primitive.name} {next(_numbers)}>"
    linecache.cache[filename] = (len(source), None, source.splitlines(True), filename)
    exec(compile(source, filename, "exec"), bound)
    function: Pullback = bound["pullback"]
    function.gives = tuple(name is not None for name in trace.gradients)
    given = [name for name in trace.gradients if name is not None]
    function.fresh = len(set(given)) == len(given) and all(name[0] == "t" for name in given)
    return function


def _loads(trace: PullbackTrace, letter: str, place: str) -> list[str]:
    """Lines that read the saved values in use."""
    used = {
        name
        for call in trace.calls
        for name in call.operands
        if isinstance(name, str) and name.startswith(letter)
    }
    return [f"    {name} = {place}[{name[1:]}]" for name in sorted(used)]


def _launch_lines(index: int, call: TracedCall, called: Plan, bound: dict[str, Any]) -> list[str]:
    operands = []
    for place, name in enumerate(call.operands):
        if isinstance(name, str):
            operands.append(name)
        else:
            bound[f"c{index}_{place}"] = called.device.from_host(
                name, called.input_specs[place].dtype
            )
            operands.append(f"c{index}_{place}")
    if called.make is not None:
        bound[f"k{index}"] = called.make
        return [f"    {call.results[0]} = k{index}({', '.join(operands)})"]
    bound[f"k{index}"] = called.run
    lines = []
    for place, (name, each) in enumerate(zip(call.results, called.specs, strict=True)):
        lines.append(f"    {name} = {_allocation(f'{index}_{place}', each, called, bound)}")
    arguments = [*call.results, *operands]
    if called.workspace is not None:
        bound["scratch"] = called.device.scratch
        bound[f"w{index}"] = called.workspace
        arguments.append(f"scratch(w{index})")
    lines.append(f"    k{index}({', '.join(arguments)})")
    return lines


def _allocation(key: str, spec: TensorSpec, called: Plan, bound: dict[str, Any]) -> str:
    if called.device.pooled and spec.nbytes >= called.device.pooled_bytes:
        bound[f"s{key}"] = spec
        return f"take(s{key})"
    bound[f"d{key}"] = spec.numpy_dtype
    return f"empty({spec.shape}, d{key})"
