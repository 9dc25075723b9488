"""Numbers carry the digits that their interval supports, and one unit serves a column."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from benchctl.report import numbers
from benchctl.report.text import duration_words

times = st.floats(min_value=1e-9, max_value=1e4)
widths = st.floats(min_value=1e-6, max_value=2.0)


def interval_around(value: float, width: float) -> numbers.Interval:
    return value * (1 - width / 4), value * (1 + width / 2)


@given(times, widths)
@example(1.9e-6, 0.1)
@example(999.96, 1e-4)
def test_rounding_is_small_against_the_interval(value: float, width: float) -> None:
    low, high = interval_around(value, width)
    text, symbol = numbers.format_seconds(value, (low, high)).split()
    size = next(unit.size for unit in numbers.TIME_UNITS if unit.symbol == symbol)
    half_width = (high - low) / 2
    # Four digits at most: a very narrow interval is limited by them instead.
    allowed = max(half_width / 2, 5.0001e-4 * value)
    # One digit at least: a very wide interval leaves the leading digit.
    assert abs(float(text) * size - value) <= allowed + 1e-12 * value


@given(times, widths)
def test_no_digit_is_finer_than_the_interval_supports(value: float, width: float) -> None:
    low, high = interval_around(value, width)
    text, symbol = numbers.format_seconds(value, (low, high)).split()
    size = next(unit.size for unit in numbers.TIME_UNITS if unit.symbol == symbol)
    half_width = (high - low) / 2 / size
    # The place of the last digit; whole digits that were rounded away are written as zeros.
    zeros = 0 if "." in text else len(text) - len(text.rstrip("0"))
    finest = 10.0 ** (int(Decimal(text).as_tuple().exponent) + zeros)
    leading = 10.0 ** math.floor(math.log10(value / size))
    assert finest * 10 > half_width * 0.999 or finest >= leading * 0.999


@given(times, widths)
def test_the_printed_interval_holds_the_printed_value(value: float, width: float) -> None:
    unit = numbers.pick_time_unit([value])
    interval = interval_around(value, width)
    text = numbers.format_seconds(value, interval, unit, show_unit=False)
    low, high = numbers.format_interval(value, interval, unit).split(" - ")
    assert float(low) <= float(text) <= float(high)


@given(st.lists(times, min_size=1, max_size=8))
def test_one_unit_serves_the_column(column: list[float]) -> None:
    unit = numbers.pick_time_unit(column)
    assert max(column) / unit.size < 1e5 or unit.symbol == "s"
    assert min(column) / unit.size >= 0.1 or max(column) / unit.size >= 100 or unit.symbol == "ns"


def test_a_column_without_values_has_a_unit() -> None:
    assert numbers.pick_time_unit([]).symbol == "s"
    assert numbers.pick_time_unit([0.0, math.nan]).symbol == "s"
    assert numbers.pick_byte_unit([]).symbol == "B"


@pytest.mark.parametrize(
    ("value", "interval", "text"),
    [
        (1.93e-6, (1.8e-6, 2.02e-6), "1.9 us"),
        (14.13e-6, (13.8e-6, 14.4e-6), "14.1 us"),
        (0.123456, (0.1, 0.9), "0.1 s"),
        (0.5, (0.5, 0.5), "0.5000 s"),
        (1234.0, (900.0, 1500.0), "1200 s"),
        (0.314159, None, "0.31 s"),
        (402e-3, None, "0.40 s"),
        (42e-3, None, "42 ms"),
        (0.0, None, "0 s"),
    ],
)
def test_examples(value: float, interval: numbers.Interval | None, text: str) -> None:
    assert numbers.format_seconds(value, interval) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (512, "0.51 kB"), (42, "42 B"), (1_300_000, "1.3 MB"), (553_430_000, "0.55 GB")],
)
def test_bytes_are_decimal(size: float, text: str) -> None:
    assert numbers.format_bytes(size) == text


def test_ratios_have_three_digits_at_most() -> None:
    assert numbers.format_ratio_interval(2.31527, (2.3149, 2.3156)) == "2.32x (2.31 - 2.32)"
    assert numbers.format_ratio_interval(2.3, (2.2, 2.4)) == "2.3x (2.2 - 2.4)"


@given(st.floats(min_value=10, max_value=1e12))
def test_counts_are_near_and_grouped(count: float) -> None:
    text = numbers.format_count(count)
    assert abs(int(text.replace(",", "")) - count) <= 0.05 * count
    assert all(len(group) == 3 for group in text.split(",")[1:])


@given(st.integers(min_value=0, max_value=10**6))
def test_durations_read_back(seconds: int) -> None:
    parts = [int(part) for part in numbers.format_duration(seconds).split(":")]
    assert sum(part * 60**place for place, part in enumerate(reversed(parts))) == seconds
    assert all(part < 60 for part in parts[1:])


@pytest.mark.parametrize(
    ("error", "text"),
    [(2.1e-8, "2e-8"), (0.0, "0"), (0.013, "0.013"), (3.14, "3.1"), (math.inf, "inf")],
)
def test_errors_are_short(error: float, text: str) -> None:
    assert numbers.format_error(error) == text


def test_no_end_of_an_interval_is_rounded_to_zero() -> None:
    unit = numbers.Unit("ms", 1e-3)
    assert numbers.format_interval(1.1e-3, (0.38e-3, 8e-3), unit) == "0.4 - 8.0"
    assert numbers.format_ratio_ends(1.1, (0.3, 2.6)) == "0.3 - 2.6"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "about 1 s"),
        (89, "about 89 s"),
        (240, "about 4 min"),
        (7100, "about 118 min"),
        (7200, "about 2 h"),
        (47 * 3600, "about 47 h"),
        (5 * 86400, "about 5 days"),
    ],
)
def test_a_wait_is_told_in_a_unit_that_one_can_imagine(seconds: float, words: str) -> None:
    assert duration_words(seconds) == words
