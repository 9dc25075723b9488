"""Backward walks remembered by the shape of the tape.

Training repeats itself: the tape of this step has the plans and links of the last one. For a small
tape the order in which the shared walk (reverse_mode.pull_back) visits its entries is found once
and written as a function that first compares the tape with what it was made for and then calls the
same pullbacks in the same order. A tape that differs in anything is left to the walk itself.
"""

from __future__ import annotations

import linecache
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count, pairwise
from typing import Any, Protocol

from ..contract import Array
from .entries import Entry, Leaf
from .mode import mode

MAX_ENTRIES = 64
MAX_WALKS = 4
"""Shapes remembered per last operation: a program that never repeats stops being remembered."""


class RememberedWalk(Protocol):
    """A generated walk; `fresh` tells whether its gradients are arrays of nobody else's."""

    fresh: bool

    def __call__(self, e0: Any, g_e0: Array) -> dict[Any, Array] | None:
        """Gradients by leaf, None where the tape is another."""


_numbers = count()


def remembered_gradients(
    entry: Entry, seed: Array, adder: Callable[[Any, Any, bool], Any]
) -> tuple[RememberedWalk, dict[Any, Array]] | None:
    """The walk taken and its gradients by leaf, as the shared walk would give them.

    None where the shared walk must be taken.
    """
    plan = entry.plan
    for walk in plan.walks:
        found = walk(entry, seed)
        if found is not None:
            return walk, found
    if len(plan.walks) >= MAX_WALKS or entry.sequence < mode.last_assignment:
        return None
    made = _remember(entry, adder)
    if made is None:
        return None
    plan.walks.append(made)
    found = made(entry, seed)
    return None if found is None else (made, found)


def _remember(start: Entry, adder: Callable[[Any, Any, bool], Any]) -> RememberedWalk | None:
    """The function for tapes like this one, None where the tape is too long or was released."""
    order = _visiting_order(start)
    if order is None:
        return None
    names: dict[Any, str] = {each: f"e{index}" for index, each in enumerate(order)}
    bound: dict[str, Any] = {"Entry": Entry, "Leaf": Leaf, "add": adder}
    compare = _comparison(order, names, bound)
    compute = _computation(order, names, bound)
    lines = ["def walk(e0, g_e0):", *(f"    {line}" for line in [*compare, *compute])]
    source = "\n".join(lines) + "\n"
    filename = f"<backward walk {next(_numbers)}>"
    linecache.cache[filename] = (len(source), None, source.splitlines(True), filename)
    exec(compile(source, filename, "exec"), bound)
    function: RememberedWalk = bound["walk"]
    function.fresh = all(each.plan.pullback(each.sources).fresh for each in order)
    return function


def _visiting_order(start: Entry) -> list[Entry] | None:
    """The entries from the latest to the earliest."""
    heap = [(-start.sequence, start)]
    seen = {start}
    order: list[Entry] = []
    while heap:
        entry = heappop(heap)[1]
        if entry.arrays is None or len(order) == MAX_ENTRIES:
            return None
        order.append(entry)
        for source in _receivers(entry):
            if isinstance(source, Entry) and source not in seen:
                seen.add(source)
                heappush(heap, (-source.sequence, source))
    return order


def _receivers(entry: Entry) -> list[Any]:
    """Per input, the source that its gradient goes to, None where there is none."""
    gives = entry.plan.pullback(entry.sources).gives
    return [source if given else None for source, given in zip(entry.sources, gives, strict=True)]


def _comparison(order: list[Entry], names: dict[Any, str], bound: dict[str, Any]) -> list[str]:
    """Lines that return None where the tape differs, and name its entries and leaves."""
    lines = ["arrays_e0 = e0.arrays", "if arrays_e0 is None:", "    return None"]
    bound["mode"] = mode
    known = {order[0]}
    for index, entry in enumerate(order):
        fetched: list[str] = []
        tests: list[str] = []
        for place, source in enumerate(entry.sources):
            if source is None:
                fetched.append(f"none{index}_{place}")
                tests.append(f"none{index}_{place} is not None")
            elif source in known:
                fetched.append(f"again{index}_{place}")
                tests.append(f"again{index}_{place} is not {names[source]}")
            else:
                known.add(source)
                name = names.setdefault(source, f"n{len(names)}")
                fetched.append(name)
                if isinstance(source, Leaf):
                    tests.append(f"{name}.__class__ is not Leaf")
                else:
                    bound[f"plan_{name}"] = source.plan
                    tests.append(f"{name}.__class__ is not Entry or {name}.plan is not plan_{name}")
        lines.append(f"{', '.join(fetched)}, = e{index}.sources")
        lines += [f"if {' or '.join(tests)}:", "    return None"]
    for entry in order[1:]:
        name = names[entry]
        lines += [f"arrays_{name} = {name}.arrays", f"if arrays_{name} is None:", "    return None"]
    # After an assignment the walk itself finds out whether it matters.
    lines += [f"if {names[order[-1]]}.sequence < mode.last_assignment:", "    return None"]
    distinct = [names[each] for each in known]
    if len(distinct) > 2:
        lines += [f"if len({{{', '.join(distinct)}}}) != {len(distinct)}:", "    return None"]
    for before, after in pairwise(order):
        if after not in before.sources:  # else it is older by construction
            lines += [
                f"if {names[before]}.sequence < {names[after]}.sequence:",
                "    return None",
            ]
    return lines


def _computation(order: list[Entry], names: dict[Any, str], bound: dict[str, Any]) -> list[str]:
    """Lines that call the pullbacks and sum what meets at one value."""
    lines: list[str] = []
    arrived: dict[Any, int] = {order[0]: 1}
    for entry in order:
        name = names[entry]
        bound[f"pull_{name}"] = entry.plan.pullback(entry.sources)
        results = []
        sums = []
        for place, (source, receiver) in enumerate(
            zip(entry.sources, _receivers(entry), strict=True)
        ):
            if receiver is None:
                results.append("unused")
            elif source not in arrived:
                arrived[source] = 1
                results.append(f"g_{names[source]}")
            else:
                total, part = f"g_{names[source]}", f"part{place}"
                results.append(part)
                sums.append(f"{total} = add({total}, {part}, {arrived[source] > 1})")
                arrived[source] += 1
        # Released before the pullback runs, as in the walk: the arguments keep the arrays alive.
        lines += [
            f"{name}.arrays = None",
            f"{', '.join(results)}, = pull_{name}(g_{name}, arrays_{name}, {name}.outs)",
            f"{name}.outs = ()",
            f"del arrays_{name}, g_{name}",
            *sums,
        ]
    leaves = [names[each] for each in arrived if isinstance(each, Leaf)]
    lines.append(f"return {{{', '.join(f'{leaf}: g_{leaf}' for leaf in leaves)}}}")
    return lines
