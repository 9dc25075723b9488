"""Typed access to the keys of one JSON object, with errors that say what was expected.

Keys that nobody asks for are ignored, so that a file with additional keys can still be read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


class SchemaError(ValueError):
    """A value that the schema does not allow; says what was expected and what was received."""


class Fields:
    """One JSON object under its name in error messages."""

    __slots__ = ("_data", "_name")

    def __init__(self, data: Any, name: str) -> None:
        if not isinstance(data, dict):
            raise SchemaError(f"{name} expected a JSON object, received {shown(data)}")
        self._data: dict[str, Any] = data
        self._name = name

    def has(self, key: str) -> bool:
        """Whether the key is there with a value other than null."""
        return self._data.get(key) is not None

    def text(self, key: str, default: str | None = None) -> str:
        """A string."""
        value = self._value(key, default)
        if not isinstance(value, str):
            raise self._unexpected(key, "a string", value)
        return value

    def flag(self, key: str, default: bool | None = None) -> bool:
        """True or false."""
        value = self._value(key, default)
        if not isinstance(value, bool):
            raise self._unexpected(key, "true or false", value)
        return value

    def whole(self, key: str, default: int | None = None, *, least: int | None = None) -> int:
        """A whole number, not below `least`."""
        value = self._value(key, default)
        if not is_whole(value):
            raise self._unexpected(key, "a whole number", value)
        if least is not None and value < least:
            raise self._unexpected(key, f"a whole number of at least {least}", value)
        return int(value)

    def optional_whole(self, key: str) -> int | None:
        """A whole number, or None where the key is missing or null."""
        return self.whole(key) if self.has(key) else None

    def number(self, key: str) -> float:
        """A number; the strings nan, inf and -inf stand for what JSON cannot write."""
        value = self._value(key, None)
        if value in ("nan", "inf", "-inf"):
            return float(value)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._unexpected(key, "a number", value)
        return float(value)

    def optional_number(self, key: str) -> float | None:
        """A number, or None where the key is missing or null."""
        return self.number(key) if self.has(key) else None

    def items(self, key: str, *, optional: bool = False) -> list[Any]:
        """A list; an optional one that is missing is empty."""
        value = self._value(key, [] if optional else None)
        if not isinstance(value, list):
            raise self._unexpected(key, "a list", value)
        return value

    def child(self, key: str, name: str) -> Fields:
        """The JSON object under a key."""
        return Fields(self._value(key, None), name)

    def children(self, key: str, name: str, *, optional: bool = False) -> list[Fields]:
        """A list of JSON objects."""
        return [Fields(each, name) for each in self.items(key, optional=optional)]

    def named_children(self, key: str, name: str) -> dict[str, Fields]:
        """A JSON object of JSON objects."""
        value = self._value(key, None)
        if not isinstance(value, dict):
            raise self._unexpected(key, "a JSON object", value)
        return {each: Fields(inner, f"{name} {each}") for each, inner in value.items()}

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of strings, empty where missing."""
        values = self.items(key, optional=True)
        for value in values:
            if not isinstance(value, str):
                raise self._unexpected(key, "a list of strings", value)
        return tuple(values)

    def wholes(self, key: str, *, optional: bool = False) -> tuple[int, ...]:
        """A list of whole numbers."""
        values = self.items(key, optional=optional)
        for value in values:
            if not is_whole(value):
                raise self._unexpected(key, "a list of whole numbers", value)
        return tuple(values)

    def numbers(self, key: str) -> tuple[float, ...]:
        """A list of numbers as `number` takes them, empty where missing."""
        name = f"{key!r} of {self._name}"
        return tuple(
            Fields({"item": each}, name).number("item") for each in self.items(key, optional=True)
        )

    def mapping(self, key: str) -> dict[str, Any]:
        """A JSON object with any values, its lists as tuples; empty where missing."""
        value = self._value(key, {})
        if not isinstance(value, dict):
            raise self._unexpected(key, "a JSON object", value)
        return {name: frozen(each) for name, each in value.items()}

    def text_mapping(self, key: str) -> dict[str, str]:
        """A JSON object whose values are strings, empty where missing."""
        found = self.mapping(key)
        for value in found.values():
            if not isinstance(value, str):
                raise self._unexpected(key, "a JSON object of strings", value)
        return found

    def whole_mapping(self, key: str) -> dict[str, int]:
        """A JSON object whose values are whole numbers, empty where missing."""
        found = self.mapping(key)
        for value in found.values():
            if not is_whole(value):
                raise self._unexpected(key, "a JSON object of whole numbers", value)
        return found

    def _value(self, key: str, default: Any) -> Any:
        value = self._data.get(key, default)
        if value is None:
            raise SchemaError(f"{self._name} expected the key {key!r}, which is missing or null")
        return value

    def _unexpected(self, key: str, expected: str, value: Any) -> SchemaError:
        return SchemaError(f"{key!r} of {self._name} expected {expected}, received {shown(value)}")


def is_whole(value: Any) -> bool:
    """Whether a JSON value is a whole number; true and false are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def shown(value: Any) -> str:
    """A value as an error message quotes it: its beginning."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def frozen(value: Any) -> Any:
    """A JSON value with its lists as tuples, as records hold them."""
    if isinstance(value, list):
        return tuple(frozen(each) for each in value)
    if isinstance(value, dict):
        return {key: frozen(each) for key, each in value.items()}
    return value


def plain(value: Any, name: str) -> Any:
    """A value as JSON can write it; raises `SchemaError` naming what it cannot.

    Tuples become lists, NumPy scalars numbers, paths strings, and nan, inf and -inf strings.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return finite(value)
    if isinstance(value, Mapping):
        return {str(key): plain(each, f"{name}.{key}") for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each, name) for each in value]
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        return plain(value.item(), name)
    if hasattr(value, "__fspath__"):
        return str(value)
    raise SchemaError(f"{name} expected something JSON can hold, received {shown(value)}")


def finite(value: float) -> float | str:
    """A float as JSON can write it: nan, inf and -inf as strings."""
    return float(value) if math.isfinite(value) else str(float(value))
