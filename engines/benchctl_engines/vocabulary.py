"""The operations that a workload may use: the seam between what is computed and how.

Every engine, in-house or adapter, gives a workload an object with these methods. Operands are that
engine's own tensors; plain Python numbers are taken where a tensor is expected and adopt the dtype
of the other operand. Axis letters: N batch, C channels in, K channels out, H W input, R S filter,
P Q output. Filters are stored [K, C, R, S] for layout NCHW and [R, S, C, K] for NHWC. `padding` is
((top, bottom), (left, right)).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

Tensor = Any
Nest = Any
"""A tensor or a tuple of tensors."""
Pair = tuple[int, int]
Padding = tuple[Pair, Pair]
NO_PADDING: Padding = ((0, 0), (0, 0))


def transposed_size(
    positions: int, window: int, stride: int, padding: Pair, output_padding: int
) -> int:
    """Size of the result of a transposed convolution along one axis."""
    return (positions - 1) * stride + window - sum(padding) + output_padding


class Vocabulary(Protocol):
    """What `ops` in `Workload.program` offers."""

    # Elementwise, shapes broadcast by NumPy's rule -------------------------------------------

    def add(self, a: Tensor, b: Tensor) -> Tensor:
        """a + b."""

    def subtract(self, a: Tensor, b: Tensor) -> Tensor:
        """a - b."""

    def multiply(self, a: Tensor, b: Tensor) -> Tensor:
        """a * b."""

    def divide(self, a: Tensor, b: Tensor) -> Tensor:
        """a / b."""

    def maximum(self, a: Tensor, b: Tensor) -> Tensor:
        """The larger of a and b; a tie sends the gradient to a."""

    def greater(self, a: Tensor, b: Tensor) -> Tensor:
        """a > b, as bool; no gradient."""

    def where(self, condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """a where the bool `condition` holds, b elsewhere."""

    def negative(self, x: Tensor) -> Tensor:
        """-x."""

    def exp(self, x: Tensor) -> Tensor:
        """e to the power x."""

    def log(self, x: Tensor) -> Tensor:
        """Natural logarithm."""

    def sqrt(self, x: Tensor) -> Tensor:
        """Square root."""

    def tanh(self, x: Tensor) -> Tensor:
        """Hyperbolic tangent."""

    def relu(self, x: Tensor) -> Tensor:
        """max(x, 0); the gradient at 0 is 0."""

    # Reductions ------------------------------------------------------------------------------

    def sum(self, x: Tensor, axes: tuple[int, ...] | None = None, keepdims: bool = False) -> Tensor:
        """Sum over `axes`, all of them for None."""

    def mean(
        self, x: Tensor, axes: tuple[int, ...] | None = None, keepdims: bool = False
    ) -> Tensor:
        """Mean over `axes`, all of them for None."""

    def max(self, x: Tensor, axes: tuple[int, ...] | None = None, keepdims: bool = False) -> Tensor:
        """Maximum over `axes`; ties share the gradient equally."""

    # Shape -----------------------------------------------------------------------------------

    def reshape(self, x: Tensor, shape: tuple[int, ...]) -> Tensor:
        """The same elements in row-major order; one size may be -1."""

    def transpose(self, x: Tensor, axes: tuple[int, ...] | None = None) -> Tensor:
        """Axes in another order, reversed for None."""

    def broadcast_to(self, x: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Repeat along axes of size 1 and new leading axes."""

    def slice(
        self,
        x: Tensor,
        starts: tuple[int, ...],
        stops: tuple[int, ...],
        steps: tuple[int, ...] | None = None,
    ) -> Tensor:
        """x[start:stop:step] on every axis; 0 <= start <= stop <= size, step >= 1."""

    def pad(self, x: Tensor, widths: tuple[Pair, ...]) -> Tensor:
        """Zeros before and after every axis: ((before, after), ...)."""

    def concatenate(self, parts: Sequence[Tensor], axis: int = 0) -> Tensor:
        """Tensors side by side along `axis`; their other sizes are equal."""

    # Linear algebra and vision -----------------------------------------------------------------

    def matmul(
        self, a: Tensor, b: Tensor, transpose_a: bool = False, transpose_b: bool = False
    ) -> Tensor:
        """Matrix product of rank-2 tensors: [N, K] x [K, M] -> [N, M]."""

    def conv2d(
        self,
        x: Tensor,
        w: Tensor,
        stride: Pair = (1, 1),
        padding: Padding = NO_PADDING,
        layout: str = "NCHW",
    ) -> Tensor:
        """Cross-correlation of x with the filters w."""

    def conv2d_transpose(
        self,
        x: Tensor,
        w: Tensor,
        stride: Pair = (1, 1),
        padding: Padding = NO_PADDING,
        output_padding: Pair = (0, 0),
        layout: str = "NCHW",
    ) -> Tensor:
        """Transposed convolution: how `conv2d` with these arguments carries a gradient back.

        x has the K channels and P, Q positions of that convolution's output, the result its C
        channels and (P - 1) * stride + R - top - bottom + output_padding rows; an output padding
        is smaller than the stride. Filters are stored as for `conv2d`: [K, C, R, S] or
        [R, S, C, K].
        """

    def bias_add(self, x: Tensor, b: Tensor, axis: int = -1) -> Tensor:
        """x + b with the vector b along `axis` (1 for NCHW images, -1 for NHWC and matrices)."""

    def max_pool2d(
        self,
        x: Tensor,
        window: Pair = (2, 2),
        stride: Pair | None = None,
        padding: Padding = NO_PADDING,
        layout: str = "NCHW",
    ) -> Tensor:
        """Maximum over windows; `stride` is the window where None; a tie goes to the first."""

    def average_pool2d(
        self,
        x: Tensor,
        window: Pair = (2, 2),
        stride: Pair | None = None,
        padding: Padding = NO_PADDING,
        layout: str = "NCHW",
    ) -> Tensor:
        """Mean over windows, padding not counted; `stride` is the window where None."""

    def softmax_cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean over the batch of -log softmax(logits)[label]: [N, classes], int [N] -> []."""

    # Random, from a counter: the same numbers on every engine for one seed --------------------

    def random_uniform(self, shape: tuple[int, ...], dtype: str = "float32") -> Tensor:
        """Numbers in [0, 1); new ones every step."""

    def random_normal(self, shape: tuple[int, ...], dtype: str = "float32") -> Tensor:
        """Standard normal numbers; new ones every step."""

    # Control flow that depends on data ---------------------------------------------------------
    #
    # Branches and bodies are functions of tensors that use `ops`. Where tensors are many, they are
    # a tuple; whatever else a body uses of the program around it, it simply uses, and gradients
    # flow there too. Random numbers are drawn outside.

    def cond(
        self,
        predicate: Tensor,
        then: Callable[..., Nest],
        otherwise: Callable[..., Nest],
        operands: Sequence[Tensor] = (),
    ) -> Nest:
        """then(*operands) where the bool scalar `predicate` holds, otherwise(*operands) elsewhere.

        Only the branch taken is computed. Both give a tensor, or both a tuple of as many, with the
        same shapes and dtypes. What only the other branch depends on has a gradient of zeros.
        """

    def scan(self, body: Callable[[Nest, Nest], Any], carry: Nest, xs: Nest) -> tuple[Nest, Nest]:
        """body(carry, x) -> (carry, y) for one row x of xs after another: (last carry, stacked ys).

        Rows are along axis 0 of [T, ...]: the tensors of xs have the same T, at least 1; each y
        [...] becomes ys [T, ...], and may be None. The body keeps shapes and dtypes of the carry.
        """

    def while_loop(
        self,
        condition: Callable[[Nest], Tensor],
        body: Callable[[Nest], Nest],
        carry: Nest,
        limit: int | None = None,
    ) -> Nest:
        """body(carry) -> carry while condition(carry), a bool scalar, holds: the last carry.

        At most `limit` times, if one is given: a gradient needs one on engines with a graph, where
        memory for what backward reads of each iteration is set aside. The body keeps shapes and
        dtypes of the carry.
        """


class LayerOperations(Protocol):
    """What an engine may have beside the vocabulary: any of these, or none.

    The package `layers` asks `own_operation` for them and otherwise writes them in the vocabulary.
    Adapters have what their frameworks compute in fewer passes than the operations one by one.
    """

    def leaky_relu(self, x: Tensor, slope: float) -> Tensor:
        """x where it is positive, slope * x elsewhere; the gradient at 0 is the slope."""

    def sigmoid(self, x: Tensor) -> Tensor:
        """1 / (1 + exp(-x))."""

    def softmax(self, x: Tensor, axis: int) -> Tensor:
        """exp(x) over its sum along `axis`."""

    def batch_normalization(
        self, x: Tensor, scale: Tensor, shift: Tensor, epsilon: float, axis: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(scale * (x - mean) / sqrt(variance + epsilon) + shift, mean, variance).

        Statistics are those of x over all axes but `axis` (1 for NCHW images, -1 for NHWC and
        matrices), at least two elements; the variance divides by their number. Gradients flow
        through the statistics into the first result only: the others are for moving averages.
        """

    @property
    def dropout(self) -> Callable[[Tensor, float], Tensor] | None:
        """(x, rate) to x with a share dropped and the rest scaled by 1 / (1 - rate).

        None while random numbers are those of the vocabulary, which decide what is dropped.
        """

    def adam_update(
        self,
        parameter: Tensor,
        moments: tuple[Tensor, Tensor],
        gradient: Tensor,
        rates: tuple[Tensor, Tensor],
        betas: tuple[float, float],
        epsilon: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(parameter - rate * m / (sqrt(v) / scale + epsilon), m, v), with rates = (rate, scale).

        m and v are the new moving averages of the gradient and of its square. Nothing is changed.
        """

    def update_each(
        self,
        name: str,
        rule: Callable[..., tuple[Tensor, ...]],
        rows: Sequence[tuple[Tensor, ...]],
        shared: tuple[Tensor, ...] = (),
    ) -> list[tuple[Tensor, ...]]:
        """rule(ops, *row, *shared) of each row, elementwise, in fewer launches than rows."""


def own_operation(ops: Vocabulary, name: str) -> Any:
    """What an engine has of its own beside the vocabulary, None where it has not."""
    # Asked of the class: an object that records what it is asked for would have anything.
    return getattr(ops, name) if hasattr(type(ops), name) else None
