"""Numbers for people: one unit a column, and only the digits that the interval supports.

Everything inside the program is in seconds and bytes; this is the one place that turns them into
text. A number is rounded to the first digit of half its interval's width. A number without an
interval (a phase that was timed once) keeps two significant digits and all its whole ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MOST_SIGNIFICANT_DIGITS = 4
MOST_DIGITS_OF_RATIO = 3
DIGITS_WITHOUT_INTERVAL = 2

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit of display; `size` is how many seconds, bytes or joules it holds."""

    symbol: str
    size: float


TIME_UNITS = (Unit("ns", 1e-9), Unit("us", 1e-6), Unit("ms", 1e-3), Unit("s", 1.0))
ENERGY_UNITS = (Unit("uJ", 1e-6), Unit("mJ", 1e-3), Unit("J", 1.0), Unit("kJ", 1e3))
BYTE_UNITS = (Unit("B", 1.0), Unit("kB", 1e3), Unit("MB", 1e6), Unit("GB", 1e9))

_SMALLEST_IN_UNIT = 0.1
_LARGEST_IN_UNIT = 100_000.0


def pick_time_unit(seconds: Iterable[float]) -> Unit:
    """The unit in which a whole column of times reads well."""
    return _pick_unit(seconds, TIME_UNITS)


def pick_byte_unit(sizes: Iterable[float]) -> Unit:
    """The decimal unit in which a whole column of sizes in bytes reads well."""
    return _pick_unit(sizes, BYTE_UNITS)


def _pick_unit(values: Iterable[float], units: tuple[Unit, ...]) -> Unit:
    """The largest unit in which the smallest value is no tiny fraction.

    Where values are so far apart that the largest would fill the column with digits, the unit
    follows the largest instead.
    """
    positive = [value for value in values if value > 0 and math.isfinite(value)]
    if not positive:
        return units[0] if units is BYTE_UNITS else units[-1]
    smallest, largest = min(positive), max(positive)
    index = max(
        (i for i, unit in enumerate(units) if smallest >= _SMALLEST_IN_UNIT * unit.size), default=0
    )
    while index + 1 < len(units) and largest >= _LARGEST_IN_UNIT * units[index].size:
        index += 1
    return units[index]


def decimals_for(
    value: float, interval: Interval | None = None, most: int = MOST_SIGNIFICANT_DIGITS
) -> int:
    """How many decimals of `value` mean something; negative rounds to tens, hundreds, ...

    At least one significant digit of the value is kept, and not more than `most`.
    """
    if not math.isfinite(value) or value == 0:
        return 0
    leading = _place(value)
    if interval is None:
        return max(0, DIGITS_WITHOUT_INTERVAL - 1 - leading)
    half_width = (interval[1] - interval[0]) / 2
    finest = leading - (most - 1)
    if not math.isfinite(half_width) or half_width <= 0:
        return -finest
    return -min(leading, max(finest, _place(half_width)))


def _place(value: float) -> int:
    """The decimal place of the first significant digit: 0 for 4.2, 2 for 150, -3 for 0.0071."""
    return int(f"{abs(value):e}".partition("e")[2])


def format_number(value: float, decimals: int) -> str:
    """`value` with that many decimals; negative decimals round before the point."""
    if not math.isfinite(value):
        return "-"
    return f"{round(value, decimals):.{max(0, decimals)}f}"


def format_seconds(
    seconds: float,
    interval: Interval | None = None,
    unit: Unit | None = None,
    show_unit: bool = True,
) -> str:
    """A time such as `1.9 us`; the unit is the value's own unless a column gives one."""
    return _format_quantity(seconds, interval, unit or pick_time_unit([seconds]), show_unit)


def format_bytes(size: float, unit: Unit | None = None, show_unit: bool = True) -> str:
    """A size such as `1.3 MB` (decimal: 1 MB is 1,000,000 bytes)."""
    return _format_quantity(size, None, unit or pick_byte_unit([size]), show_unit)


def format_energies(joules: Sequence[float]) -> tuple[list[str], str]:
    """Energies of one arm in one unit, with the decimals that suit the first, and that unit."""
    unit = _pick_unit(joules, ENERGY_UNITS)
    decimals = decimals_for(joules[0] / unit.size) + 1
    return [format_number(each / unit.size, decimals) for each in joules], unit.symbol


def _format_quantity(value: float, interval: Interval | None, unit: Unit, show_unit: bool) -> str:
    scaled = value / unit.size
    within = None if interval is None else (interval[0] / unit.size, interval[1] / unit.size)
    decimals = decimals_for(scaled, within)
    if unit.symbol == "B":
        decimals = 0
    text = format_number(scaled, decimals)
    return f"{text} {unit.symbol}" if show_unit else text


def format_interval(value: float, interval: Interval, unit: Unit) -> str:
    """Both ends of an interval, `1.8 - 2.0`, with the digits that `value` is shown with."""
    low, high = interval[0] / unit.size, interval[1] / unit.size
    return _ends(low, high, decimals_for(value / unit.size, (low, high)))


def _ends(low: float, high: float, decimals: int) -> str:
    if low > 0 and round(low, decimals) == 0:
        # An end at zero would say that nothing takes no time.
        decimals = -_place(low)
    return f"{format_number(low, decimals)} - {format_number(high, decimals)}"


def format_ratio(ratio: float, interval: Interval | None = None) -> str:
    """A ratio such as `2.3x`."""
    return f"{format_number(ratio, decimals_for(ratio, interval, MOST_DIGITS_OF_RATIO))}x"


def format_ratio_ends(ratio: float, interval: Interval) -> str:
    """Both ends of a ratio's interval, `2.2 - 2.4`."""
    return _ends(*interval, decimals_for(ratio, interval, MOST_DIGITS_OF_RATIO))


def format_ratio_interval(ratio: float, interval: Interval) -> str:
    """A ratio with its interval, `2.3x (2.2 - 2.4)`."""
    return f"{format_ratio(ratio, interval)} ({format_ratio_ends(ratio, interval)})"


def format_count(count: float) -> str:
    """A large count rounded to two digits, three from 100 on: `168,000`, `47`, `5,200`."""
    if count < 10:
        return f"{math.ceil(count)}"
    digits = 3 if count >= 100_000 else 2
    return f"{round(round(count, digits - 1 - _place(count))):,}"


def format_error(error: float) -> str:
    """An error of a result: `2e-8`, `0.013`, `3.1`."""
    if error == 0:
        return "0"
    if not math.isfinite(error):
        return str(error)
    if error < 1e-2:
        mantissa, _, exponent = f"{error:.0e}".partition("e")
        return f"{mantissa}e{int(exponent)}"
    return f"{error:.2g}" if error < 100 else f"{error:.3g}"


def format_duration(seconds: float) -> str:
    """A wait such as `0:11`, `4:03` or `1:02:09`."""
    whole = max(0, round(seconds))
    hours, minutes = whole // 3600, whole % 3600 // 60
    if hours:
        return f"{hours}:{minutes:02d}:{whole % 60:02d}"
    return f"{minutes}:{whole % 60:02d}"
