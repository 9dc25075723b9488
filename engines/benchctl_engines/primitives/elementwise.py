"""Elementwise primitives: operands broadcast by NumPy's rule."""

from __future__ import annotations

from typing import Any

from .primitive import Primitive, Saved, same_as_first
from .reductions import narrow_sum, sum_to
from .scalar_rules import Scalar, ScalarRule, scalar_function
from .specs import ShapeError, TensorSpec, broadcast_shapes, same_dtype, spec

_where = scalar_function("where")


def _broadcasting(name: str) -> Any:
    def infer(*specs: TensorSpec) -> TensorSpec:
        dtype = same_dtype(name, *specs)
        return spec(broadcast_shapes(name, *(each.shape for each in specs)), dtype)

    return infer


def _comparing(name: str) -> Any:
    def infer(*specs: TensorSpec) -> TensorSpec:
        same_dtype(name, *specs)
        return spec(broadcast_shapes(name, *(each.shape for each in specs)), "bool")

    return infer


def _floating(name: str) -> Any:
    def infer(x: TensorSpec) -> TensorSpec:
        if not x.floating:
            raise ShapeError(f"{name} expected float32 or float64, received {x}")
        return x

    return infer


def _dividing(*specs: TensorSpec) -> TensorSpec:
    if not all(each.floating for each in specs):
        received = " and ".join(str(each) for each in specs)
        raise ShapeError(f"divide expected float32 or float64, received {received}")
    result: TensorSpec = _broadcasting("divide")(*specs)
    return result


def _binary(name: str, infer: Any = None, **options: Any) -> Primitive:
    rule = ScalarRule(scalar_function(name), 2)
    infer = infer or _broadcasting(name)
    return Primitive(name, infer, inplace=((0, 0), (0, 1)), scalar=rule, **options)


def _unary(name: str, **options: Any) -> Primitive:
    rule = ScalarRule(scalar_function(name), 1)
    return Primitive(name, _floating(name), inplace=((0, 0),), scalar=rule, **options)


# ----- arithmetic -------------------------------------------------------------------------------

add = _binary("add")
subtract = _binary("subtract")
multiply = _binary("multiply", saves_inputs=(0, 1))
divide = _binary("divide", infer=_dividing, saves_inputs=(0, 1))
negative = _unary("negative")


@add.pullback
def add_pullback(g: Any, saved: Saved) -> tuple[Any, ...]:
    return sum_to(g, saved.specs[0], saved.needs[0]), sum_to(g, saved.specs[1], saved.needs[1])


@subtract.pullback
def subtract_pullback(g: Any, saved: Saved) -> tuple[Any, ...]:
    second = negative(g) if saved.needs[1] else None
    return sum_to(g, saved.specs[0], saved.needs[0]), sum_to(second, saved.specs[1], saved.needs[1])


@multiply.pullback
def multiply_pullback(g: Any, saved: Saved) -> tuple[Any, ...]:
    first = multiply(g, saved.input(1)) if saved.needs[0] else None
    second = multiply(g, saved.input(0)) if saved.needs[1] else None
    return sum_to(first, saved.specs[0], saved.needs[0]), sum_to(
        second, saved.specs[1], saved.needs[1]
    )


@divide.pullback
def divide_pullback(g: Any, saved: Saved) -> tuple[Any, ...]:
    a, b = saved.input(0), saved.input(1)
    first = divide(g, b) if saved.needs[0] else None
    second = None
    if saved.needs[1]:
        # d(a/b)/db = -a / b^2
        second = negative(divide(multiply(g, a), multiply(b, b)))
    return sum_to(first, saved.specs[0], saved.needs[0]), sum_to(
        second, saved.specs[1], saved.needs[1]
    )


@negative.pullback
def negative_pullback(g: Any, saved: Saved) -> tuple[Any, ...]:
    return (negative(g),)


# ----- transcendental ---------------------------------------------------------------------------

exp = _unary("exp", saves_outputs=(0,))
log = _unary("log", saves_inputs=(0,))
sqrt = _unary("sqrt", saves_outputs=(0,))
tanh = _unary("tanh", saves_outputs=(0,))
sin = _unary("sin", saves_inputs=(0,))
cos = _unary("cos", saves_inputs=(0,))


@exp.pullback
def exp_pullback(g: Any, saved: Saved) -> tuple[Any, ...]:
    return (multiply(g, saved.output()),)


@log.pullback
def log_pullback(g: Any, saved: Saved) -> tuple[Any, ...]:
    return (divide(g, saved.input(0)),)


@sqrt.pullback
def sqrt_pullback(g: Any, saved: Saved) -> tuple[Any, ...]:
    y = saved.output()
    return (divide(g, add(y, y)),)


@tanh.pullback
def tanh_pullback(g: Any, saved: Saved) -> tuple[Any, ...]:
    y = saved.output()
    return (multiply(g, subtract(1.0, multiply(y, y))),)


@sin.pullback
def sin_pullback(g: Any, saved: Saved) -> tuple[Any, ...]:
    return (multiply(g, cos(saved.input(0))),)


@cos.pullback
def cos_pullback(g: Any, saved: Saved) -> tuple[Any, ...]:
    return (negative(multiply(g, sin(saved.input(0)))),)


# ----- comparing and choosing -------------------------------------------------------------------

greater = Primitive(
    "greater", _comparing("greater"), scalar=ScalarRule(scalar_function("greater"), 2)
)
equal = Primitive("equal", _comparing("equal"), scalar=ScalarRule(scalar_function("equal"), 2))


def _maximum_rule(a: Scalar, b: Scalar) -> Scalar:
    # A tie takes a. A NaN in b fails b > a, hence the second test that keeps it.
    return _where(b > a, b, _where(scalar_function("equal")(b, b), a, b))


def _where_infer(condition: TensorSpec, a: TensorSpec, b: TensorSpec) -> TensorSpec:
    if condition.dtype != "bool":
        raise ShapeError(f"where expected a bool condition, received {condition}")
    dtype = same_dtype("where", a, b)
    return spec(broadcast_shapes("where", condition.shape, a.shape, b.shape), dtype)


maximum = Primitive(
    "maximum",
    _broadcasting("maximum"),
    saves_inputs=(0, 1),
    inplace=((0, 0), (0, 1)),
    scalar=ScalarRule(_maximum_rule, 2, ufunc="maximum"),
)
where = Primitive(
    "where",
    _where_infer,
    saves_inputs=(0,),
    inplace=((0, 1), (0, 2)),
    scalar=ScalarRule(scalar_function("where"), 3),
)


@maximum.pullback
def maximum_pullback(g: Any, saved: Saved) -> tuple[Any, ...]:
    second_wins = greater(saved.input(1), saved.input(0))
    first = where(second_wins, 0.0, g) if saved.needs[0] else None
    second = where(second_wins, g, 0.0) if saved.needs[1] else None
    return sum_to(first, saved.specs[0], saved.needs[0]), sum_to(
        second, saved.specs[1], saved.needs[1]
    )


@where.pullback
def where_pullback(g: Any, saved: Saved) -> tuple[Any, ...]:
    condition = saved.input(0)
    first = where(condition, g, 0.0) if saved.needs[1] else None
    second = where(condition, 0.0, g) if saved.needs[2] else None
    return (
        None,
        sum_to(first, saved.specs[1], saved.needs[1]),
        sum_to(second, saved.specs[2], saved.needs[2]),
    )


# ----- rectifier --------------------------------------------------------------------------------


def _relu_rule(x: Scalar) -> Scalar:
    # The second test keeps a NaN; -0 becomes 0.
    return _where(x > 0.0, x, _where(scalar_function("equal")(x, x), 0.0, x))


def _relu_gradient_rule(g: Scalar, y: Scalar) -> Scalar:
    return _where(y > 0.0, g, 0.0)


relu = Primitive(
    "relu",
    _floating("relu"),
    saves_outputs=(0,),
    inplace=((0, 0),),
    scalar=ScalarRule(_relu_rule, 1),
)
relu_gradient = Primitive(
    "relu_gradient",
    same_as_first,
    saves_inputs=(1,),
    inplace=((0, 0),),
    scalar=ScalarRule(_relu_gradient_rule, 2),
)


@relu.pullback
def relu_pullback(g: Any, saved: Saved) -> tuple[Any, ...]:
    return (relu_gradient(g, saved.output()),)


@relu_gradient.pullback
def relu_gradient_pullback(g: Any, saved: Saved) -> tuple[Any, ...]:
    return relu_gradient(g, saved.input(1)), None


# ----- bias and dtype ---------------------------------------------------------------------------


def _bias_infer(x: TensorSpec, b: TensorSpec, *, axis: int) -> TensorSpec:
    same_dtype("bias_add", x, b)
    if not 0 <= axis < x.rank or b.shape != (x.shape[axis],):
        raise ShapeError(
            f"bias_add expected a vector of the size of axis {axis}, received {x} and {b}"
        )
    return x


def _add_rule(x: Scalar, b: Scalar) -> Scalar:
    return x + b


bias_add = Primitive("bias_add", _bias_infer, inplace=((0, 0),), scalar=ScalarRule(_add_rule, 2))


@bias_add.pullback
def bias_add_pullback(g: Any, saved: Saved) -> tuple[Any, ...]:
    axis = saved.attributes["axis"]
    others = tuple(each for each in range(saved.specs[0].rank) if each != axis)
    return g, narrow_sum(g, others) if saved.needs[1] else None


def _cast_infer(x: TensorSpec, *, dtype: str) -> TensorSpec:
    return spec(x.shape, dtype)


cast = Primitive("cast", _cast_infer)


@cast.pullback
def cast_pullback(g: Any, saved: Saved) -> tuple[Any, ...]:
    if not saved.specs[0].floating:
        return (None,)
    return (cast(g, dtype=saved.specs[0].dtype),)
