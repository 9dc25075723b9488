"""CUDA text for elementwise loops: one pass over memory, 16 bytes at a time where they can be.

A `Body` says what is done with one element, a `Walk` where the elements lie. The text holds no
sizes, so one compilation serves all shapes that are walked alike.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..primitives.specs import spec
from .cuda_source import C_TYPES, HALF_TYPES, THREADS, VECTOR_BYTES, Index, source
from .cuda_walk import Walk


@dataclass(frozen=True, slots=True)
class Body:
    """What is computed for one element.

    `lines` are C statements that read x0, x1, ... (elements of the inputs) and s0, ... (`numbers`,
    C types of arguments passed by value), set y0, ... (elements of the outputs) and add to t0, ...
    (`sums` of them, in double precision, whose totals are stored as `sum_dtype`). Dtypes are those
    of specs. `in_place`: an output may be one of the inputs.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    lines: tuple[str, ...]
    numbers: tuple[str, ...] = ()
    sums: int = 0
    sum_dtype: str = "float32"
    in_place: bool = False


NUMBER_LETTERS = {"float": "f", "double": "d", "int": "i", "long long": "q"}


@dataclass(frozen=True, slots=True)
class LoopSource:
    """Text of a loop. Its kernel `name` takes the addresses of outputs, totals and inputs (and of
    the partial sums), then the numbers, then `sizes`.

    A kernel `name`_totals with `totals_signature` folds the partial sums of many blocks.
    `width` elements are moved at a time.
    """

    text: str
    name: str
    signature: str
    sizes: tuple[int, ...]
    width: int
    totals_signature: str


def write_loop(body: Body, walk: Walk, index: Index) -> LoopSource:
    """The text for this body and walk."""
    return _Writer(body, walk, index).write()


class _Writer:
    def __init__(self, body: Body, walk: Walk, index: Index) -> None:
        self.body = body
        self.walk = walk
        self.index = index
        self.outputs = len(body.outputs)
        self.names = [f"o{i}" for i in range(self.outputs)]
        self.names += [f"a{i}" for i in range(len(body.inputs))]
        self.types = [C_TYPES[each] for each in (*body.outputs, *body.inputs)]
        self.nested = [i for i in range(len(self.names)) if not self._is_plain(i)]
        self.width = self._width()
        # Sizes that the kernel is given, in order, and the letters of their types.
        self.parameters: list[str] = ["index_t n"]
        self.sizes: list[int] = [walk.count]
        self.letters: list[str] = [index.letter]
        self.strides: dict[tuple[int, int], str] = {}

    def _is_scalar(self, operand: int) -> bool:
        place = self.walk.places[operand]
        return operand >= self.outputs and place.scalar and not place.offset

    def _is_plain(self, operand: int) -> bool:
        """Whether its element is found without coordinates."""
        return self.walk.flat(operand) or self._is_scalar(operand)

    def _width(self) -> int:
        """Elements of the widest dtype in 16 bytes, or 1 where some operand must go singly."""
        dtypes = (*self.body.outputs, *self.body.inputs)
        width = VECTOR_BYTES // max(spec((), each).nbytes for each in dtypes)
        for operand in self.nested:
            repeated = operand >= self.outputs and self.walk.constant_in_row(operand, width)
            if not repeated and not self.walk.packs(operand, width):
                return 1
        return width

    def write(self) -> LoopSource:
        """The whole module."""
        body, name = self.body, self.body.name
        pointers = self._pointers()
        self._declare_sizes()
        numbers = [f"{each} s{i}" for i, each in enumerate(body.numbers)]
        parameters = ", ".join([*pointers, *numbers, *self.parameters])
        lines = [
            f"// {name}",
            *element_text(body),
            "",
            f'extern "C" __global__ void __launch_bounds__({THREADS}, 1) {name}({parameters}) {{',
            *self._loop(),
            "}",
        ]
        if body.sums:
            lines += self._totals()
        letters = "P" * len(pointers) + "".join(NUMBER_LETTERS[each] for each in body.numbers)
        files: tuple[str, ...] = ()
        files += ("halves",) if HALF_TYPES & {*self.types, C_TYPES[body.sum_dtype]} else ()
        files += ("folds",) if body.sums else ()
        return LoopSource(
            text=source(self.index, *files) + "\n".join(lines) + "\n",
            name=name,
            signature=letters + "".join(self.letters),
            sizes=tuple(self.sizes),
            width=self.width,
            totals_signature="P" * body.sums + "Pi",
        )

    # ----- parameters -----------------------------------------------------------------------

    def _pointers(self) -> list[str]:
        restrict = "" if self.body.in_place else " __restrict__"
        outputs = [f"{self.types[i]}*{restrict} {self.names[i]}" for i in range(self.outputs)]
        total = C_TYPES[self.body.sum_dtype]
        outputs += [f"{total}* __restrict__ total{i}" for i in range(self.body.sums)]
        inputs = [
            f"const {self.types[i]}*{restrict} {self.names[i]}"
            for i in range(self.outputs, len(self.names))
        ]
        partial = ["double* __restrict__ partial"] if self.body.sums else []
        return [*outputs, *inputs, *partial]

    def _declare_sizes(self) -> None:
        if not self.nested:
            return
        for axis in range(1, len(self.walk.sizes)):
            self.parameters.append(f"DIVISOR(d{axis})")
            self.sizes += self.index.divisor(self.walk.sizes[axis])
            self.letters.append(self.index.divisor_letters)
        for operand in self.nested:
            name, place = self.names[operand], self.walk.places[operand]
            for axis, stride in enumerate(place.strides):
                if stride == 0 or (stride == 1 and axis == len(place.strides) - 1):
                    continue
                self._declare(f"{name}_stride{axis}", stride)
                self.strides[operand, axis] = f"{name}_stride{axis}"
            if place.offset:
                self._declare(f"{name}_offset", place.offset)

    def _declare(self, name: str, size: int) -> None:
        self.parameters.append(f"index_t {name}")
        self.sizes.append(size)
        self.letters.append(self.index.letter)

    # ----- the loop -------------------------------------------------------------------------

    def _call(self, inputs: list[str], outputs: list[str]) -> str:
        numbers = [f"s{i}" for i in range(len(self.body.numbers))]
        totals = [f"t{i}" for i in range(self.body.sums)]
        return f"element({', '.join([*inputs, *numbers, *outputs, *totals])});"

    def _loop(self) -> list[str]:
        lines = [
            "const index_t first = (index_t)blockIdx.x * blockDim.x + threadIdx.x;",
            "const index_t threads = (index_t)gridDim.x * blockDim.x;",
        ]
        for operand in range(self.outputs, len(self.names)):
            if self._is_scalar(operand):
                name = self.names[operand]
                lines.append(f"const {self.types[operand]} {name}_all = {name}[0];")
        lines += [f"double t{i} = 0.0;" for i in range(self.body.sums)]
        start = "first"
        if self.width > 1:
            lines += self._packed_loop()
            start = f"packs * {self.width} + first"
        lines += [
            f"for (index_t i = {start}; i < n; i += threads) {{",
            *indented(self._single_element()),
            "}",
        ]
        for i in range(self.body.sums):
            lines += [
                f"t{i} = fold_block<Sum>(t{i});",
                "if (threadIdx.x == 0) {",
                f"    if (gridDim.x == 1) total{i}[0] = ({C_TYPES[self.body.sum_dtype]})t{i};",
                f"    else partial[{i} * gridDim.x + blockIdx.x] = t{i};",
                "}",
            ]
        return indented(lines)

    def _packed_loop(self) -> list[str]:
        width = self.width
        packed = [i for i in range(len(self.names)) if self._is_packed(i)]
        union = " | ".join(f"address({self.names[i]})" for i in packed)
        inside = [f"const index_t i = p * {width};", *self._coordinates()]
        arguments: list[str] = []
        for operand in range(self.outputs, len(self.names)):
            name, kind = self.names[operand], self.types[operand]
            if self._is_scalar(operand):
                arguments.append(f"{name}_all")
                continue
            at = f"{name} + {self._position(operand)}"
            if operand in packed:
                inside.append(f"const Pack<{kind}, {width}> {name}_pack = load<{width}>({at});")
                arguments.append(f"{name}_pack.at[k]")
            else:
                inside.append(f"const {kind} {name}_row = *({at});")
                arguments.append(f"{name}_row")
        inside += [f"Pack<{self.types[i]}, {width}> o{i}_pack;" for i in range(self.outputs)]
        inside += [
            "#pragma unroll",
            f"for (int k = 0; k < {width}; k++)",
            "    " + self._call(arguments, [f"o{i}_pack.at[k]" for i in range(self.outputs)]),
        ]
        inside += [
            f"store<{width}>(o{i} + {self._position(i)}, o{i}_pack);" for i in range(self.outputs)
        ]
        return [
            f"const index_t packs = ({union}) % {VECTOR_BYTES} == 0 ? n / {width} : 0;",
            "for (index_t p = first; p < packs; p += threads) {",
            *indented(inside),
            "}",
        ]

    def _single_element(self) -> list[str]:
        lines = self._coordinates()
        arguments = [
            f"{self.names[operand]}_all"
            if self._is_scalar(operand)
            else f"{self.names[operand]}[{self._position(operand)}]"
            for operand in range(self.outputs, len(self.names))
        ]
        lines += [f"{self.types[i]} o{i}_one;" for i in range(self.outputs)]
        lines.append(self._call(arguments, [f"o{i}_one" for i in range(self.outputs)]))
        lines += [f"o{i}[{self._position(i)}] = o{i}_one;" for i in range(self.outputs)]
        return lines

    def _is_packed(self, operand: int) -> bool:
        if self._is_scalar(operand):
            return False
        return self.walk.flat(operand) or self.walk.packs(operand, self.width)

    def _coordinates(self) -> list[str]:
        """c0, c1, ... of position i, where some operand is not walked flat."""
        if not self.nested:
            return []
        lines = []
        rest = "i"
        for axis in range(len(self.walk.sizes) - 1, 0, -1):
            lines.append(f"const index_t r{axis} = QUOTIENT({rest}, d{axis});")
            lines.append(f"const index_t c{axis} = {rest} - r{axis} * d{axis};")
            rest = f"r{axis}"
        return [*lines, f"const index_t c0 = {rest};"]

    def _position(self, operand: int) -> str:
        if self.walk.flat(operand):
            return "i"
        place = self.walk.places[operand]
        terms = [
            f"c{axis} * {self.strides[operand, axis]}"
            if (operand, axis) in self.strides
            else f"c{axis}"
            for axis, stride in enumerate(place.strides)
            if stride
        ]
        if place.offset:
            terms.append(f"{self.names[operand]}_offset")
        return " + ".join(terms) or "0"

    # ----- sums of many blocks --------------------------------------------------------------

    def _totals(self) -> list[str]:
        kind, sums = C_TYPES[self.body.sum_dtype], self.body.sums
        totals = [f"{kind}* __restrict__ total{i}" for i in range(sums)]
        parameters = ", ".join([*totals, "const double* __restrict__ partial", "int blocks"])
        stores = [
            f"    if (threadIdx.x == 0 && blockIdx.x == {i}) total{i}[0] = ({kind})t;"
            for i in range(sums)
        ]
        return [
            "",
            "// One block a sum.",
            f'extern "C" __global__ void __launch_bounds__({THREADS}, 1) '
            f"{self.body.name}_totals({parameters}) {{",
            "    double t = 0.0;",
            f"    for (int b = threadIdx.x; b < blocks; b += {THREADS})",
            "        t += partial[blockIdx.x * blocks + b];",
            "    t = fold_block<Sum>(t);",
            *stores,
            "}",
        ]


def element_text(body: Body) -> list[str]:
    """The computation of one element as a function of the device."""
    parameters = [f"const {C_TYPES[each]} x{i}" for i, each in enumerate(body.inputs)]
    parameters += [f"const {each} s{i}" for i, each in enumerate(body.numbers)]
    parameters += [f"{C_TYPES[each]}& y{i}" for i, each in enumerate(body.outputs)]
    parameters += [f"double& t{i}" for i in range(body.sums)]
    return [
        f"static __device__ __forceinline__ void element({', '.join(parameters)}) {{",
        *indented(list(body.lines)),
        "}",
    ]


def indented(lines: list[str]) -> list[str]:
    """The lines of a block, four columns further in."""
    return [line if line.startswith("#") else f"    {line}" for line in lines]
