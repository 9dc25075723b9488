"""Winograd's minimal filtering F(m, r) in exact arithmetic, and as sequences of vector operations.

m outputs of a correlation with r taps need n = m + r - 1 multiplications:
y = A^T ((G g) * (B^T d)). The matrices follow from n - 1 points and the point at infinity by
Lagrange interpolation (Toom and Cook; Lavin and Gray 2016 for convolutions).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from math import prod
from typing import Any

Matrix = tuple[tuple[Fraction, ...], ...]

# Points come in pairs +a, -a, which share half of their sums. Small powers of two cost no
# rounding; the largest matrix entries, and with them the error, grow with the last points.
POINTS = tuple(map(Fraction, ("0", "1", "-1", "2", "-2", "1/2", "-1/2")))
TILE_SIZES = (2, 4, 6)


@dataclass(frozen=True, slots=True)
class Transforms:
    """The matrices of F(m, r): input [n, n] is B^T, filter [n, r] is G, output [m, n] is A^T."""

    input: Matrix
    filter: Matrix
    output: Matrix


@cache
def transforms(m: int, r: int = 3) -> Transforms:
    """The matrices of F(m, r), exact."""
    n = m + r - 1
    points = POINTS[: n - 1]
    input_rows, filter_rows = [], []
    for i, point in enumerate(points):
        others = [each for j, each in enumerate(points) if j != i]
        input_rows.append((*_polynomial(others), Fraction(0)))
        scale = prod((point - each for each in others), start=Fraction(1))
        filter_rows.append(tuple(point**k / scale for k in range(r)))
    input_rows.append(_polynomial(points))
    filter_rows.append((*(Fraction(0),) * (r - 1), Fraction(1)))
    output_rows = [(*(point**k for point in points), Fraction(int(k == m - 1))) for k in range(m)]
    return Transforms(tuple(input_rows), tuple(filter_rows), tuple(output_rows))


def _polynomial(roots: Sequence[Fraction]) -> tuple[Fraction, ...]:
    """Coefficients of the monic polynomial with these roots, lowest power first."""
    coefficients = [Fraction(1)]
    for root in roots:
        shifted = [Fraction(0), *coefficients]
        scaled = [*(root * each for each in coefficients), Fraction(0)]
        coefficients = [a - b for a, b in zip(shifted, scaled, strict=True)]
    return tuple(coefficients)


def transposed(matrix: Matrix) -> Matrix:
    """The matrix with rows and columns exchanged."""
    return tuple(zip(*matrix, strict=True))


def emit_product(matrix: Matrix, values: Sequence[Any], vectors: Any) -> list[Any]:
    """matrix @ values as vector operations; None among the results stands for zero.

    Columns, and else rows, that agree up to signs are computed together: points +a and -a always
    do, and that halves the multiplications.
    """
    pair = _opposite_columns(matrix)
    if pair is not None:
        i, j = pair
        total = vectors.add(values[i], values[j])
        difference = vectors.subtract(values[i], values[j])
        rows = []
        for row in matrix:
            same = row[i] == row[j]
            kept = [each for at, each in enumerate(row) if at not in pair]
            zero = Fraction(0)
            rows.append((*kept, row[i] if same else zero, zero if same else row[i]))
        kept_values = [each for at, each in enumerate(values) if at not in pair]
        return emit_product(tuple(rows), [*kept_values, total, difference], vectors)
    results: list[Any] = [None] * len(matrix)
    waiting = list(range(len(matrix)))
    while waiting:
        i = waiting.pop(0)
        partners = [each for each in waiting if _opposite(matrix[i], matrix[each])]
        if not partners:
            results[i] = _combination(matrix[i], values, vectors)
            continue
        j = partners[0]
        waiting.remove(j)
        both = list(zip(matrix[i], matrix[j], strict=True))
        even = _combination([(a + b) / 2 for a, b in both], values, vectors)
        odd = _combination([(a - b) / 2 for a, b in both], values, vectors)
        results[i] = vectors.add(even, odd)
        results[j] = vectors.subtract(even, odd)
    return results


def _opposite_columns(matrix: Matrix) -> tuple[int, int] | None:
    """Two columns, each not zero, that agree up to the sign in every row, and differ somewhere."""
    columns = transposed(matrix)
    for i, left in enumerate(columns):
        for j in range(i + 1, len(columns)):
            # Worth it only where both signs occur: each then saves work in half of the rows.
            if _opposite(left, columns[j]) and sum(map(bool, left)) > 1:
                return i, j
    return None


def _opposite(left: Sequence[Fraction], right: Sequence[Fraction]) -> bool:
    pairs = [(a, b) for a, b in zip(left, right, strict=True) if a or b]
    if not all(abs(a) == abs(b) for a, b in pairs):
        return False
    return any(a == b for a, b in pairs) and any(a == -b for a, b in pairs)


def _combination(coefficients: Sequence[Fraction], values: Sequence[Any], vectors: Any) -> Any:
    """The sum of coefficients * values, units first so that no multiplication stands alone."""
    terms = [(a, value) for a, value in zip(coefficients, values, strict=True) if a]
    terms.sort(key=lambda term: term[0] != 1)
    total = None
    for a, value in terms:
        if total is None:
            total = value if a == 1 else vectors.multiply(vectors.constant(float(a)), value)
        elif abs(a) == 1:
            total = vectors.add(total, value) if a > 0 else vectors.subtract(total, value)
        else:
            total = vectors.multiply_add(vectors.constant(float(a)), value, total)
    return total
