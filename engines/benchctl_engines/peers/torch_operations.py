"""The vocabulary in eager PyTorch, on tensors in the workload's own axis order.

An NHWC image stays [N, H, W, C]; its view [N, C, H, W] is what PyTorch calls channels_last.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from typing import Any

from ..vocabulary import NO_PADDING, Padding, Pair, transposed_size
from .counter_random import CounterRandom, Key, philox_words
from .python_control_flow import PythonControlFlow
from .window_counts import window_counts

Tensor = Any
Axes = tuple[int, ...] | None
_TO_NCHW = (0, 3, 1, 2)
_TO_NHWC = (0, 2, 3, 1)
_RSCK_TO_KCRS = (3, 2, 0, 1)
_WORD = 0xFFFFFFFF


class Pending:
    """A product or convolution not yet computed: PyTorch adds its bias in the same call.

    Any other use computes it, so that a program may take it for the tensor it stands for.
    `arrange` turns what `compute` returns into the workload's axis order.
    """

    def __init__(
        self,
        compute: Callable[[Tensor], Tensor],
        axis: int,
        rank: int,
        arrange: Callable[[Tensor], Tensor] | None = None,
        bias: Tensor = None,
    ) -> None:
        self._compute = compute
        self._axis = axis
        self._rank = rank
        self._arrange = arrange
        self._bias = bias
        self._value: Tensor = None

    def with_bias(self, bias: Tensor, axis: int) -> Pending | None:
        """The same with a bias, or None where it cannot take this one."""
        if self._value is not None or self._bias is not None or axis % self._rank != self._axis:
            return None
        return Pending(self._compute, self._axis, self._rank, self._arrange, bias)

    def value(self) -> Tensor:
        """The tensor, computed once."""
        if self._value is None:
            self._value = self._arranged(self._compute(self._bias))
        return self._value

    def rectified(self, relu: Callable[[Tensor], Tensor], relu_: Callable[[Tensor], Tensor]) -> Any:
        """relu of the tensor, in place where nobody has seen the tensor yet.

        The tensor itself is not kept then; another use computes it anew.
        """
        if self._value is not None:
            return relu(self._value)
        # Before the axes are arranged: autograd pays for changing a view in place.
        return self._arranged(relu_(self._compute(self._bias)))

    def _arranged(self, tensor: Tensor) -> Tensor:
        return tensor if self._arrange is None else self._arrange(tensor)

    @classmethod
    def __torch_function__(
        cls, function: Any, types: Any, arguments: Any = (), named: Any = None
    ) -> Any:
        """PyTorch calls this when one of its functions is given a Pending."""
        named = {name: computed(each) for name, each in (named or {}).items()}
        return function(*map(computed, arguments), **named)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.value(), name)

    def __neg__(self) -> Tensor:
        return -self.value()


def _add_operators() -> None:
    """Arithmetic with a Pending on either side; Python looks these up on the class only."""
    for name in ("add", "sub", "mul", "truediv", "gt"):
        function = getattr(operator, name)

        def forward(self: Pending, other: Any, function: Any = function) -> Tensor:
            return function(self.value(), computed(other))

        def reflected(self: Pending, other: Any, function: Any = function) -> Tensor:
            return function(computed(other), self.value())

        setattr(Pending, f"__{name}__", forward)
        if name != "gt":
            setattr(Pending, f"__r{name}__", reflected)


_add_operators()


def computed(x: Any) -> Any:
    """The tensor that `x` is or stands for."""
    return x.value() if isinstance(x, Pending) else x


class TorchOperations(PythonControlFlow, CounterRandom):
    """Native operations; see benchctl_engines.vocabulary."""

    add = staticmethod(operator.add)
    subtract = staticmethod(operator.sub)
    multiply = staticmethod(operator.mul)
    divide = staticmethod(operator.truediv)
    greater = staticmethod(operator.gt)
    negative = staticmethod(operator.neg)

    def __init__(self) -> None:
        torch = import_module("torch")
        self._torch = torch
        self._functional = import_module("torch.nn.functional")
        self.where = torch.where
        self.exp = torch.exp
        self.log = torch.log
        self.sqrt = torch.sqrt
        self.tanh = torch.tanh

    # Named on the class too: what an adapter has is asked of the class, without the framework.
    where: Any = None
    exp: Any = None
    log: Any = None
    sqrt: Any = None
    tanh: Any = None

    def maximum(self, a: Tensor, b: Tensor) -> Tensor:
        # torch.maximum would share the gradient of a tie.
        return self._torch.where(b > a, b, a)

    def relu(self, x: Tensor) -> Tensor:
        if isinstance(x, Pending):
            return x.rectified(self._torch.relu, self._torch.relu_)
        return self._torch.relu(x)

    def sum(self, x: Tensor, axes: Axes = None, keepdims: bool = False) -> Tensor:
        if axes is None and not keepdims:
            return x.sum()
        return x if axes == () else x.sum(_axes(x, axes), keepdim=keepdims)

    def mean(self, x: Tensor, axes: Axes = None, keepdims: bool = False) -> Tensor:
        return x if axes == () else x.mean(_axes(x, axes), keepdim=keepdims)

    def max(self, x: Tensor, axes: Axes = None, keepdims: bool = False) -> Tensor:
        return x if axes == () else x.amax(_axes(x, axes), keepdim=keepdims)

    def reshape(self, x: Tensor, shape: tuple[int, ...]) -> Tensor:
        return x.reshape(shape)

    def transpose(self, x: Tensor, axes: Axes = None) -> Tensor:
        return x.permute(axes if axes is not None else tuple(reversed(range(x.ndim))))

    def broadcast_to(self, x: Tensor, shape: tuple[int, ...]) -> Tensor:
        return x.broadcast_to(shape)

    def slice(
        self,
        x: Tensor,
        starts: tuple[int, ...],
        stops: tuple[int, ...],
        steps: tuple[int, ...] | None = None,
    ) -> Tensor:
        steps = steps or (1,) * len(starts)
        return computed(x)[tuple(map(slice, starts, stops, steps))]

    def pad(self, x: Tensor, widths: tuple[Pair, ...]) -> Tensor:
        return self._functional.pad(x, [each for pair in reversed(widths) for each in pair])

    def concatenate(self, parts: Sequence[Tensor], axis: int = 0) -> Tensor:
        return self._torch.cat([computed(each) for each in parts], axis)

    def matmul(
        self, a: Tensor, b: Tensor, transpose_a: bool = False, transpose_b: bool = False
    ) -> Pending:
        a, b = computed(a), computed(b)
        a, b = a.t() if transpose_a else a, b.t() if transpose_b else b
        return Pending(partial(self._product, a, b), axis=1, rank=2)

    def conv2d(
        self,
        x: Tensor,
        w: Tensor,
        stride: Pair = (1, 1),
        padding: Padding = NO_PADDING,
        layout: str = "NCHW",
    ) -> Pending:
        x, w = computed(x), computed(w)
        if layout == "NCHW":
            return Pending(partial(self._convolution, x, w, stride, padding), axis=1, rank=4)
        x, w = x.permute(_TO_NCHW), w.permute(_RSCK_TO_KCRS)
        convolution = partial(self._convolution, x, w, stride, padding)
        return Pending(convolution, axis=3, rank=4, arrange=_to_nhwc)

    def conv2d_transpose(
        self,
        x: Tensor,
        w: Tensor,
        stride: Pair = (1, 1),
        padding: Padding = NO_PADDING,
        output_padding: Pair = (0, 0),
        layout: str = "NCHW",
    ) -> Pending:
        x, w = computed(x), computed(w)
        window = stride, padding, output_padding
        if layout == "NCHW":
            return Pending(partial(self._transposed, x, w, *window), axis=1, rank=4)
        x, w = x.permute(_TO_NCHW), w.permute(_RSCK_TO_KCRS)
        transposed = partial(self._transposed, x, w, *window)
        return Pending(transposed, axis=3, rank=4, arrange=_to_nhwc)

    def bias_add(self, x: Tensor, b: Tensor, axis: int = -1) -> Tensor:
        if isinstance(x, Pending) and (biased := x.with_bias(b, axis)) is not None:
            return biased
        trailing = x.ndim - 1 - axis % x.ndim
        return x + b.reshape(-1, *(1,) * trailing)

    def max_pool2d(
        self,
        x: Tensor,
        window: Pair = (2, 2),
        stride: Pair | None = None,
        padding: Padding = NO_PADDING,
        layout: str = "NCHW",
    ) -> Tensor:
        x = computed(x) if layout == "NCHW" else x.permute(_TO_NCHW)
        halves = tuple(size // 2 for size in window)
        even = _even(padding)
        if even is None or even[0] > halves[0] or even[1] > halves[1]:
            x, even = self._functional.pad(x, _flat(padding), value=float("-inf")), (0, 0)
        y = self._functional.max_pool2d(x, window, stride, even)
        return y if layout == "NCHW" else _to_nhwc(y)

    def average_pool2d(
        self,
        x: Tensor,
        window: Pair = (2, 2),
        stride: Pair | None = None,
        padding: Padding = NO_PADDING,
        layout: str = "NCHW",
    ) -> Tensor:
        x = computed(x) if layout == "NCHW" else x.permute(_TO_NCHW)
        halves = tuple(size // 2 for size in window)
        even = _even(padding)
        if even is not None and even[0] <= halves[0] and even[1] <= halves[1]:
            y = self._functional.avg_pool2d(x, window, stride, even, count_include_pad=False)
        else:
            padded = self._functional.pad(x, _flat(padding))
            sums = self._functional.avg_pool2d(padded, window, stride, divisor_override=1)
            counts = window_counts(x.shape[2:], window, stride or window, padding)
            y = sums / self._torch.as_tensor(counts, dtype=x.dtype)
        return y if layout == "NCHW" else _to_nhwc(y)

    def softmax_cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        return self._functional.cross_entropy(logits, labels.long())

    # What the layers of a network are made of, as PyTorch's own layers compute it ---------------

    def leaky_relu(self, x: Tensor, slope: float) -> Tensor:
        return self._functional.leaky_relu(computed(x), slope)

    def sigmoid(self, x: Tensor) -> Tensor:
        return self._torch.sigmoid(computed(x))

    def softmax(self, x: Tensor, axis: int) -> Tensor:
        return self._torch.softmax(computed(x), axis)

    def batch_normalization(
        self, x: Tensor, scale: Tensor, shift: Tensor, epsilon: float, axis: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        x, channels, last = computed(x), len(scale), axis % x.ndim == 3
        count = x.numel() // channels
        # As moving averages of momentum 1 PyTorch gives the statistics too.
        mean, variance = scale.new_zeros(channels), scale.new_zeros(channels)
        images = x.permute(_TO_NCHW) if last else x
        y = self._functional.batch_norm(
            images, mean, variance, scale, shift, training=True, momentum=1.0, eps=epsilon
        )
        return _to_nhwc(y) if last else y, mean, variance * ((count - 1) / count)

    def adam_update(
        self,
        parameter: Tensor,
        moments: tuple[Tensor, Tensor],
        gradient: Tensor,
        rates: tuple[Tensor, Tensor],
        betas: tuple[float, float],
        epsilon: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The passes of torch.optim.Adam, on copies of what it changes."""
        (first, second), (rate, scale), (beta_1, beta_2) = moments, rates, betas
        first = first.lerp(gradient, 1.0 - beta_1)
        second = (second * beta_2).addcmul_(gradient, gradient, value=1.0 - beta_2)
        size = second.sqrt().div_(scale).add_(epsilon).div_(rate)
        return parameter.addcdiv(first, size, value=-1.0), first, second

    @property
    def dropout(self) -> Callable[[Tensor, float], Tensor] | None:
        """PyTorch's own while random numbers are its own."""
        return self._dropout if self.own_random else None

    def _dropout(self, x: Tensor, rate: float) -> Tensor:
        return self._functional.dropout(computed(x), rate)

    def _value(self, tensor: Tensor) -> Tensor:
        return computed(tensor)

    def _stacked(self, rows: Sequence[Tensor]) -> Tensor:
        return self._torch.stack(tuple(rows))

    def _own(self, shape: tuple[int, ...], dtype: str, normal: bool, site: int) -> Tensor:
        draw = self._torch.randn if normal else self._torch.rand
        place = self._step.device
        return draw(shape, dtype=getattr(self._torch, dtype), device=place)

    def _words(self, blocks: int, key: Key) -> Tensor:
        """PyTorch has no such generator on the CPU; its whole numbers of 64 bits wrap around."""
        index = self._torch.arange(blocks, device=self._step.device)
        counter = (index & _WORD, index >> 32, self._step & _WORD, (self._step >> 32) & _WORD)
        return self._torch.stack(philox_words(counter, key, _product_words, int), 1).reshape(-1)

    def _shifted(self, words: Tensor, bits: int, dtype: str) -> Tensor:
        return (words >> bits).to(getattr(self._torch, dtype))

    def _normal(self, uniform: Tensor, ulp: float) -> Tensor:
        radius = (-2.0 * (uniform[0::2] + ulp).log()).sqrt()
        angle = 2.0 * math.pi * uniform[1::2]
        return self._torch.stack([radius * angle.cos(), radius * angle.sin()], 1).reshape(-1)

    def _product(self, a: Tensor, b: Tensor, bias: Tensor) -> Tensor:
        return self._torch.mm(a, b) if bias is None else self._torch.addmm(bias, a, b)

    def _convolution(
        self, x: Tensor, w: Tensor, stride: Pair, padding: Padding, bias: Tensor
    ) -> Tensor:
        even = _even(padding)
        if even is None:
            x, even = self._functional.pad(x, _flat(padding)), (0, 0)
        return self._functional.conv2d(x, w, bias, stride, even)

    def _transposed(
        self,
        x: Tensor,
        w: Tensor,
        stride: Pair,
        padding: Padding,
        output_padding: Pair,
        bias: Tensor,
    ) -> Tensor:
        """PyTorch cuts as much from both ends; what the far end lacks is its output padding."""
        axes = [
            _cut(*each)
            for each in zip(x.shape[2:], w.shape[2:], stride, padding, output_padding, strict=True)
        ]
        cuts, extras, places = zip(*axes, strict=True)
        y = self._functional.conv_transpose2d(x, w, bias, stride, cuts, extras)
        rows, columns = places
        if (rows.stop, columns.stop) == tuple(y.shape[2:]) and rows.start == columns.start == 0:
            return y
        # Batch normalisation takes three times as long on the part of an array.
        nchw = y.is_contiguous()
        memory = self._torch.contiguous_format if nchw else self._torch.channels_last
        return y[:, :, rows, columns].contiguous(memory_format=memory)


def _cut(
    positions: int, window: int, stride: int, padding: Pair, output_padding: int
) -> tuple[int, int, slice]:
    """(what PyTorch cuts from both ends, its output padding, the part of that to keep)."""
    near, far = padding
    size = transposed_size(positions, window, stride, padding, output_padding)
    more = output_padding + near - far
    if more >= stride:
        return 0, output_padding, slice(near, near + size)
    return near, max(more, 0), slice(0, size)


def _product_words(constant: int, word: Tensor) -> tuple[Tensor, Tensor]:
    product = word * constant
    return (product >> 32) & _WORD, product & _WORD


def _to_nhwc(x: Tensor) -> Tensor:
    return x.permute(_TO_NHWC)


def _axes(x: Tensor, axes: Axes) -> tuple[int, ...]:
    return tuple(range(x.ndim)) if axes is None else tuple(axes)


def _even(padding: Padding) -> Pair | None:
    """(rows, columns) where both sides have the same padding; None where they differ."""
    (top, bottom), (left, right) = padding
    return (top, left) if top == bottom and left == right else None


def _flat(padding: Padding) -> list[int]:
    """The padding of the last two axes in PyTorch's order, last axis first."""
    rows, columns = padding
    return [*columns, *rows]
