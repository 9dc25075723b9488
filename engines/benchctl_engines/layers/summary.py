"""A model as a table of text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .initializers import Shape

_ELEMENT_BYTES = 4
_HEADINGS = ("layer", "kind", "output", "parameters", "multiply-adds", "weights", "result")
_LEFT = 3


@dataclass(frozen=True, slots=True)
class LayerRow:
    """One layer: the result's shape, parameters, and multiply-adds of one example."""

    name: str
    kind: str
    output_shape: Shape
    parameters: int
    trainable_parameters: int
    multiply_adds: int

    @property
    def parameter_bytes(self) -> int:
        """Size of the parameters in float32."""
        return _ELEMENT_BYTES * self.parameters

    def output_bytes(self, batch: int) -> int:
        """Size of the result for a batch in float32."""
        count = batch
        for size in self.output_shape:
            count *= size
        return _ELEMENT_BYTES * count


def summary_text(title: str, inputs: Sequence[Shape], rows: Sequence[LayerRow], batch: int) -> str:
    """The table, and what the layers come to."""
    cells = [list(_HEADINGS)]
    for row in rows:
        cells.append(
            [
                row.name,
                row.kind,
                _times(row.output_shape),
                f"{row.parameters:,}",
                f"{batch * row.multiply_adds:,}",
                _bytes(row.parameter_bytes),
                _bytes(row.output_bytes(batch)),
            ]
        )
    parameters = sum(row.parameters for row in rows)
    cells.append(
        [
            "all",
            "",
            "",
            f"{parameters:,}",
            f"{batch * sum(row.multiply_adds for row in rows):,}",
            _bytes(sum(row.parameter_bytes for row in rows)),
            _bytes(sum(row.output_bytes(batch) for row in rows)),
        ]
    )
    widths = [max(len(line[column]) for line in cells) for column in range(len(_HEADINGS))]
    lines = ["  ".join(_aligned(line, widths)).rstrip() for line in cells]
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    given = " and ".join(map(_times, inputs))
    trained = sum(row.trainable_parameters for row in rows)
    head = f"{title}: input {given}, batch {batch}"
    foot = f"{trained:,} parameters are trained, {parameters - trained:,} are not"
    return "\n".join([head, lines[0], rule, *lines[1:-1], rule, lines[-1], foot])


def _aligned(line: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [
        cell.ljust(width) if column < _LEFT else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(line, widths, strict=True))
    ]


def _times(shape: Shape) -> str:
    return "x".join(map(str, shape))


def _bytes(count: int) -> str:
    """As B, KiB, MiB or GiB with three digits."""
    size, units = float(count), ["GiB", "MiB", "KiB", "B"]
    while size >= 1000 and len(units) > 1:
        size /= 1024
        units.pop()
    return f"{size:.3g} {units[-1]}"
