"""Arrays of another module than NumPy, which NumPy cannot read and whose functions refuse NumPy's.

It has what the hand-written steps use of CuPy. Each value is computed by NumPy, on the inside.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

__version__ = "0"
copies: list[str] = []
"""What went from one side to the other: "in" and "out"."""


class ForeignArray:
    """NumPy's array behind a wall."""

    __array_ufunc__ = None
    __array_priority__ = 1000

    def __init__(self, inside):
        assert isinstance(inside, np.ndarray)
        self._inside = inside

    def __array__(self, *arguments, **named):
        raise TypeError("NumPy was given an array of another module")

    def __array_function__(self, function, *arguments):
        raise TypeError(f"{function.__name__} of NumPy was given an array of another module")

    def __float__(self):
        raise TypeError("a hidden wait for the device")

    __bool__ = __int__ = __len__ = __iter__ = __float__

    @property
    def shape(self):
        return self._inside.shape

    @property
    def dtype(self):
        return self._inside.dtype

    @property
    def T(self):  # noqa: N802
        return ForeignArray(self._inside.T)

    def __getitem__(self, key):
        return wrapped(self._inside[opened(key)])

    def __setitem__(self, key, value):
        self._inside[opened(key)] = opened(value)

    def fill(self, value):
        self._inside.fill(value)


def opened(value):
    """NumPy's array inside; refuses NumPy's own, which a device could not read."""
    if isinstance(value, tuple | list):
        return type(value)(opened(each) for each in value)
    if isinstance(value, ForeignArray):
        return value._inside
    assert not isinstance(value, np.ndarray), "a NumPy array was given to another module"
    return value


def wrapped(value):
    return ForeignArray(np.asarray(value))


def _function(function):
    def call(*arguments, **named):
        given = {name: opened(each) for name, each in named.items()}
        result = function(*map(opened, arguments), **given)
        return named["out"] if "out" in named else wrapped(result)

    return call


def _method(name):
    return _function(getattr(np.ndarray, name))


def _in_place(name):
    def call(self, other):
        getattr(self._inside, name)(opened(other))
        return self

    return call


for _name in ("add", "sub", "mul", "truediv", "matmul"):
    for _kind in (f"__{_name}__", f"__r{_name}__"):
        setattr(ForeignArray, _kind, _method(_kind))
    setattr(ForeignArray, f"__i{_name}__", _in_place(f"__i{_name}__"))
for _name in ("__gt__", "__eq__", "__and__", "__invert__", "__neg__"):
    setattr(ForeignArray, _name, _method(_name))
ForeignArray.__iand__ = _in_place("__iand__")
for _name in ("reshape", "transpose", "sum", "max", "copy"):
    setattr(ForeignArray, _name, _method(_name))
for _name in (
    *("matmul", "maximum", "multiply", "exp", "log", "mean"),
    *("empty", "zeros", "ones", "zeros_like", "ones_like", "arange"),
):
    globals()[_name] = _function(getattr(np, _name))

lib = SimpleNamespace(
    stride_tricks=SimpleNamespace(
        sliding_window_view=_function(np.lib.stride_tricks.sliding_window_view)
    )
)


def array(host):
    """A copy on the other side."""
    assert isinstance(host, np.ndarray)
    copies.append("in")
    return ForeignArray(host.copy())


def asnumpy(value):
    """A copy on this side."""
    copies.append("out")
    return opened(value).copy()


class Device:
    """A place that is current inside a `with`."""

    current: list[int] = []  # noqa: RUF012

    def __init__(self, index):
        self.index = index

    def __enter__(self):
        self.current.append(self.index)

    def __exit__(self, *error):
        self.current.pop()


cuda = SimpleNamespace(Device=Device)


class Driver:
    """A GPU with a stream; `said` has what was done with both."""

    def __init__(self, index=1):
        self.facts = SimpleNamespace(
            name="a GPU", index=index, architecture=90, versions={"cuda": "13.0"}
        )
        self.said = []
        self.stream = self

    def __enter__(self):
        self.said.append(f"stream on {Device.current[-1]}")

    def __exit__(self, *error):
        self.said.append("left")

    def synchronize(self):
        self.said.append("wait")


def get_default_memory_pool():
    return SimpleNamespace(free_all_blocks=lambda: None)
