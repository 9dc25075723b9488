"""One elementwise body applied to many tensors by one launch: the updates of a training step.

Addresses and sizes travel as arguments of the launch and not in a table on the device: nothing has
to be copied where they change from step to step, and a recorded launch keeps them. A block works on
one chunk of one tensor, which it finds among the ends of all by halving.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..gpu.driver import Driver
from ..primitives.specs import spec
from .cuda_loop_source import NUMBER_LETTERS, Body, element_text, indented
from .cuda_source import C_TYPES, THREADS, VECTOR_BYTES, WIDE_ELEMENTS, Index, source

CHUNK = 64 * THREADS
"""Elements of a block: enough to hide what finding them costs, few enough to fill a card."""

ARGUMENT_BYTES = 4096
"""What the arguments of one launch may take on every card."""

_PLACE_BYTES = 8

Addresses = Sequence[int]
Launch = Callable[[Sequence[Addresses], Addresses, Sequence[int | float]], None]
"""Issues the work on (addresses of each tensor's outputs and inputs, shared scalars, numbers)."""


@dataclass(frozen=True, slots=True)
class ManySource:
    """Text whose kernel `name` takes the addresses, the size and the end of each tensor, then the
    addresses of the shared scalars, then the body's numbers.
    """

    text: str
    name: str
    signature: str


def prepare_many(driver: Driver, body: Body, shared: int, sizes: Sequence[int]) -> Launch:
    """What applies the body to tensors of these sizes, in as few launches as arguments allow.

    The last `shared` inputs of the body are scalars on the device that all tensors have in common.
    """
    arrays = len(body.outputs) + len(body.inputs) - shared
    common_bytes = _PLACE_BYTES * (shared + len(body.numbers))
    most = (ARGUMENT_BYTES - common_bytes) // (_PLACE_BYTES * (arrays + 2))
    index = Index(max(sizes, default=0) >= WIDE_ELEMENTS)
    filled = [place for place, size in enumerate(sizes) if size]
    parts = [filled[start : start + most] for start in range(0, len(filled), most)]
    launches = []
    for part in parts:
        written = write_many(body, shared, len(part), index)
        function = driver.module(written.text).function(written.name, written.signature)
        members, end = [], 0
        for place in part:
            end += -(-sizes[place] // CHUNK)
            members.append((place, sizes[place], end))
        launches.append((function.launch, (end, 1, 1), tuple(members)))
    block = (THREADS, 1, 1)

    def launch_all(
        tensors: Sequence[Addresses], common: Addresses, numbers: Sequence[int | float]
    ) -> None:
        for launch, grid, members in launches:
            arguments: list[int | float] = []
            for place, size, end in members:
                arguments += (*tensors[place], size, end)
            launch(grid, block, (*arguments, *common, *numbers))

    return launch_all


def write_many(body: Body, shared: int, tensors: int, index: Index) -> ManySource:
    """The text for so many tensors."""
    return _Writer(body, shared, tensors, index).write()


class _Writer:
    def __init__(self, body: Body, shared: int, tensors: int, index: Index) -> None:
        self.body = body
        self.tensors = tensors
        self.index = index
        full = len(body.inputs) - shared
        self.outputs = [(f"o{i}", C_TYPES[each]) for i, each in enumerate(body.outputs)]
        self.inputs = [(f"a{i}", C_TYPES[each]) for i, each in enumerate(body.inputs[:full])]
        self.scalars = [(f"c{i}", C_TYPES[each]) for i, each in enumerate(body.inputs[full:])]
        walked = (*body.outputs, *body.inputs[:full])
        self.width = VECTOR_BYTES // max(spec((), each).nbytes for each in walked)

    def write(self) -> ManySource:
        body, name = self.body, f"{self.body.name}_many"
        lines = [
            f"// {name}: {self.tensors} tensors",
            *element_text(body),
            "",
            f'extern "C" __global__ void __launch_bounds__({THREADS}, 1) {name}(',
            f"    {', '.join(self._parameters())}) {{",
            *indented(self._kernel()),
            "}",
        ]
        arrays = "P" * (len(self.outputs) + len(self.inputs))
        letters = f"{arrays}{self.index.letter}i" * self.tensors + "P" * len(self.scalars)
        letters += "".join(NUMBER_LETTERS[each] for each in body.numbers)
        text = source(self.index) + "\n".join(lines) + "\n"
        return ManySource(text, name, letters)

    def _parameters(self) -> list[str]:
        """An output may be one of the inputs, so that no pointer is the only way to its memory."""
        parameters = []
        for tensor in range(self.tensors):
            parameters += [f"{kind}* {name}_{tensor}" for name, kind in self.outputs]
            parameters += [f"const {kind}* {name}_{tensor}" for name, kind in self.inputs]
            parameters += [f"index_t n_{tensor}", f"int end_{tensor}"]
        parameters += [f"const {kind}* {name}" for name, kind in self.scalars]
        return parameters + [f"{each} s{i}" for i, each in enumerate(self.body.numbers)]

    def _kernel(self) -> list[str]:
        declared = [f"{kind}* {name};" for name, kind in self.outputs]
        declared += [f"const {kind}* {name};" for name, kind in self.inputs]
        names = [name for name, _ in (*self.outputs, *self.inputs)]
        union = " | ".join(f"address({name})" for name in names)
        return [
            *declared,
            "index_t n;",
            "int before;",
            "const int block = (int)blockIdx.x;",
            *self._choice(0, self.tensors),
            *[f"const {kind} {name}_all = {name}[0];" for name, kind in self.scalars],
            f"const index_t start = (index_t)(block - before) * {CHUNK};",
            f"const index_t stop = n - start < {CHUNK} ? n : start + {CHUNK};",
            f"const index_t packs = ({union}) % {VECTOR_BYTES} == 0"
            f" ? (stop - start) / {self.width} : 0;",
            f"for (index_t p = threadIdx.x; p < packs; p += {THREADS}) {{",
            *indented(self._pack()),
            "}",
            f"for (index_t i = start + packs * {self.width} + threadIdx.x; i < stop;"
            f" i += {THREADS}) {{",
            *indented(self._single()),
            "}",
        ]

    def _choice(self, low: int, high: int) -> list[str]:
        """Which of the tensors from `low` to before `high` the block works on."""
        if high - low == 1:
            lines = [f"{name} = {name}_{low};" for name, _ in (*self.outputs, *self.inputs)]
            return [*lines, f"n = n_{low};", f"before = {f'end_{low - 1}' if low else '0'};"]
        middle = (low + high) // 2
        return [
            f"if (block < end_{middle - 1}) {{",
            *indented(self._choice(low, middle)),
            "} else {",
            *indented(self._choice(middle, high)),
            "}",
        ]

    def _pack(self) -> list[str]:
        width = self.width
        lines = [f"const index_t at = start + p * {width};"]
        lines += [
            f"const Pack<{kind}, {width}> {name}_pack = load<{width}>({name} + at);"
            for name, kind in self.inputs
        ]
        lines += [f"Pack<{kind}, {width}> {name}_pack;" for name, kind in self.outputs]
        lines += ["#pragma unroll", f"for (int k = 0; k < {width}; k++)"]
        lines.append(
            "    " + self._call([f"{name}_pack.at[k]" for name, _ in self.inputs], ".at[k]")
        )
        return [*lines, *(f"store<{width}>({name} + at, {name}_pack);" for name, _ in self.outputs)]

    def _single(self) -> list[str]:
        lines = [f"{kind} {name}_pack;" for name, kind in self.outputs]
        lines.append(self._call([f"{name}[i]" for name, _ in self.inputs], ""))
        return [*lines, *(f"{name}[i] = {name}_pack;" for name, _ in self.outputs)]

    def _call(self, inputs: list[str], element: str) -> str:
        numbers = [f"s{i}" for i in range(len(self.body.numbers))]
        scalars = [f"{name}_all" for name, _ in self.scalars]
        outputs = [f"{name}_pack{element}" for name, _ in self.outputs]
        return f"element({', '.join([*inputs, *scalars, *numbers, *outputs])});"
