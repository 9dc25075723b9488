"""What is written about tensors, blocks and graphs: one place, so that all formats say the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from benchctl.graphs.blocks import Block
from benchctl.graphs.places import Flow
from benchctl.report.numbers import format_bytes, format_seconds
from benchctl_engines.contract import GraphOperation, GraphTensor, GraphView

_MOST_LINES = 4
"""Launches, or results, of one block that are named; more are counted."""


def shape_words(tensor: GraphTensor) -> str:
    """`1x64x224x224 NCHW`, with the type unless it is float32; a scalar is `scalar`."""
    sizes = "x".join(map(str, tensor.shape)) or "scalar"
    others = [each for each in (tensor.layout, tensor.dtype) if each not in ("", "float32")]
    return " ".join([sizes, *others])


def tensor_words(tensor: GraphTensor) -> str:
    """Shape and size."""
    return f"{shape_words(tensor)}, {format_bytes(tensor.nbytes)}"


def counted(names: Iterable[str]) -> str:
    """Names in the order of their first use, with how often: `conv2d, relu x 2`."""
    return ", ".join(
        f"{name} x {count}" if count > 1 else name for name, count in Counter(names).items()
    )


def view_words(view: GraphView, seconds: float = 0.0) -> str:
    """A whole graph in one line: operations, parameters, arena, time."""
    count = len(view.operations)
    compiled = any(each.kernel for each in view.operations)
    word = "launch" if compiled else "operation"
    facts = [f"{count} {word}{'' if count == 1 else 'es' if compiled else 's'}"]
    if seconds:
        facts[0] += f" taking {format_seconds(seconds)}"
    parameters = [each.nbytes for each in view.tensors if each.kind == "parameter"]
    if parameters:
        word = "parameter" if len(parameters) == 1 else "parameters"
        facts.append(f"{len(parameters)} {word} of {format_bytes(sum(parameters))}")
    if view.buffers:
        apart = sum(each.nbytes for each in view.buffers)
        word = "buffer" if len(view.buffers) == 1 else "buffers"
        facts.append(
            f"arena of {format_bytes(view.arena_bytes)} for {len(view.buffers)} {word} of "
            f"{format_bytes(apart)} in all"
        )
    return ", ".join(facts)


class BlockWords:
    """The words of one box."""

    def __init__(self, block: Block, flow: Flow, view: GraphView) -> None:
        self._block = block
        self._operations = block.operations
        self._flow = flow
        self._buffers = view.buffers
        self._inside = {each.name for each in block.operations}

    def title(self) -> str:
        """The layer, or the operation."""
        return self._block.layer or self._operations[0].primitive

    def lines(self) -> list[str]:
        """What runs, what it reads and changes, what it makes and where."""
        if any(each.kernel for each in self._operations):
            lines = self._launch_lines()
        else:
            names = [each.primitive for each in self._operations]
            lines = [counted(names)] if self._block.layer else []
        return [*lines, *self._read_lines(), *self._result_lines(), *self._scratch_lines()]

    def time_lines(self, seconds: float, whole: float) -> list[str]:
        """Its time and its part of the whole; nothing where no times were taken."""
        if not whole:
            return []
        share = seconds / whole
        percent = f"{share:.0%}" if share > 0.1 else f"{share:.1%}"
        return [f"{format_seconds(seconds)}, {percent} of the time"]

    def _launch_lines(self) -> list[str]:
        if len(self._operations) > _MOST_LINES:
            kernels = counted(each.kernel for each in self._operations)
            return [f"{len(self._operations)} launches: {kernels}"]
        lines = []
        for each in self._operations:
            lines.append(each.kernel)
            if len(each.parts) > 1:
                lines.append(f"fused: {counted(each.parts)}")
        return lines

    def _read_lines(self) -> list[str]:
        read = dict.fromkeys(name for each in self._operations for name in each.inputs)
        changed = dict.fromkeys(each.changes for each in self._operations if each.changes)
        sources = [self._flow.tensors[name] for name in read]
        parameters = [each for each in sources if each.kind == "parameter"]
        lines = []
        if parameters:
            names = _few([self._short(each) for each in parameters])
            size = format_bytes(sum(each.nbytes for each in parameters))
            lines.append(f"reads {names}: {size}")
        constants = [each for each in sources if each.kind == "constant"]
        if constants and not self._block.layer:
            lines.append(
                "constant " + _few([each.value or tensor_words(each) for each in constants])
            )
        if changed:
            lines.append("changes " + _few([self._short(self._flow.tensors[x]) for x in changed]))
        return lines

    def _short(self, tensor: GraphTensor) -> str:
        name = tensor.name.rpartition(":")[0] or tensor.name
        begin = name[: len(self._block.layer) + 1]
        own = bool(self._block.layer) and begin[:-1] == self._block.layer and len(name) > len(begin)
        if own and begin[-1] in "/._":
            return name[len(begin) :]
        # What an optimizer keeps: `adam/moment_1/dense/weight` is `weight (moment_1)` in `dense`.
        kept, inside, last = name.partition(f"/{self._block.layer}/")
        return f"{last} ({kept.rpartition('/')[2]})" if inside and self._block.layer else name

    def _result_lines(self) -> list[str]:
        results = [
            (each, self._flow.tensors[name])
            for each in self._operations
            if not each.changes
            for name in each.outputs
            if self._leaves(name)
        ]
        sizes: dict[str, list[int]] = {}
        for operation, made in results:
            line = f"makes {tensor_words(made)}{self._where(operation, made)}"
            sizes.setdefault(line, []).append(made.nbytes)
        lines = [
            f"{line}, {len(alike)} times" if len(alike) > 1 else line
            for line, alike in sizes.items()
        ]
        if len(lines) <= _MOST_LINES:
            return lines
        rest = [size for alike in list(sizes.values())[_MOST_LINES - 1 :] for size in alike]
        more = f"and {len(rest)} more, {format_bytes(sum(rest))}"
        return [*lines[: _MOST_LINES - 1], more]

    def _leaves(self, name: str) -> bool:
        readers = self._flow.readers.get(name, ())
        outside = any(each.name not in self._inside for each in readers)
        return outside or name in self._flow.returned

    def _where(self, operation: GraphOperation, made: GraphTensor) -> str:
        if made.buffer < 0:
            return ""
        inputs = (self._flow.tensors[name] for name in operation.inputs)
        in_place = any(each.buffer == made.buffer for each in inputs)
        at = format_bytes(self._buffers[made.buffer].offset_bytes)
        return f", {'in place' if in_place else 'buffer'} {made.buffer} at {at}"

    def _scratch_lines(self) -> list[str]:
        own = [each.workspace for each in self._operations if each.workspace >= 0]
        size = sum(self._buffers[place].nbytes for place in own)
        return [f"scratch {format_bytes(size)}"] if own else []


def _few(names: Sequence[str], most: int = 4) -> str:
    if len(names) <= most:
        return ", ".join(names)
    return f"{', '.join(names[:most])} and {len(names) - most} more"
