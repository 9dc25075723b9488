"""Optimizers in the vocabulary: what a step keeps for the next is a parameter like any other.

`slots` gives the arrays that a training begins with, to be put beside the trained parameters;
`update` gives the new values of both, as `UpdatingProgram.update` wants them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..contract import Array
from ..vocabulary import own_operation
from .layer import LayerError


@dataclass(frozen=True, slots=True)
class SGD:
    """w <- w - learning_rate v, with v <- momentum v + g; without momentum nothing is kept.

    Nesterov's look ahead takes g + momentum v in place of v (Sutskever et al. 2013).
    """

    learning_rate: float = 0.01
    momentum: float = 0.0
    nesterov: bool = False
    name: str = "sgd"

    def __post_init__(self) -> None:
        _require_rate("SGD", self.learning_rate)
        _require_share("SGD", "momentum", self.momentum)
        if self.nesterov and self.momentum == 0.0:
            raise LayerError("SGD expected a momentum with nesterov, received 0; choose 0.9, say")

    def slots(self, trained: Mapping[str, Array]) -> dict[str, Array]:
        """A velocity for each trained parameter, 0 at first; none without momentum."""
        if self.momentum == 0.0:
            return {}
        return {self._velocity(name): np.zeros_like(each) for name, each in trained.items()}

    def update(
        self, ops: Any, parameters: Mapping[str, Any], gradients: Mapping[str, Any]
    ) -> dict[str, Any]:
        """New values of the parameters that have a gradient, and of their velocities."""
        if self.momentum == 0.0:
            pairs = [(parameters[name], gradient) for name, gradient in gradients.items()]
            made = _each(ops, "sgd_update", self._moved, pairs)
            return {name: value for name, (value,) in zip(gradients, made, strict=True)}
        rows = [
            (parameters[name], _slot(parameters, self._velocity(name)), gradient)
            for name, gradient in gradients.items()
        ]
        new = {}
        made = _each(ops, "momentum_update", self._moved_by_velocity, rows)
        for name, (value, velocity) in zip(gradients, made, strict=True):
            new[self._velocity(name)] = velocity
            new[name] = value
        return new

    def _moved(self, ops: Any, parameter: Any, gradient: Any) -> tuple[Any, ...]:
        return (ops.subtract(parameter, ops.multiply(gradient, self.learning_rate)),)

    def _moved_by_velocity(
        self, ops: Any, parameter: Any, kept: Any, gradient: Any
    ) -> tuple[Any, ...]:
        step = velocity = ops.add(ops.multiply(kept, self.momentum), gradient)
        if self.nesterov:
            step = ops.add(ops.multiply(velocity, self.momentum), gradient)
        moved = ops.subtract(parameter, ops.multiply(step, self.learning_rate))
        return moved, velocity

    def _velocity(self, name: str) -> str:
        return f"{self.name}/velocity/{name}"


@dataclass(frozen=True, slots=True)
class Adam:
    """Kingma and Ba 2015, algorithm 1: w <- w - learning_rate m' / (sqrt(v') + epsilon).

    m and v are moving averages of g and g * g that begin at 0; m' and v' are those over the moving
    average of 1, which corrects for their beginning without a difference of nearly equal numbers.
    """

    learning_rate: float = 0.001
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7
    name: str = "adam"

    def __post_init__(self) -> None:
        _require_rate("Adam", self.learning_rate)
        _require_share("Adam", "beta_1", self.beta_1)
        _require_share("Adam", "beta_2", self.beta_2)
        if self.epsilon <= 0.0:
            raise LayerError(
                f"Adam expected an epsilon above 0, received {self.epsilon}; a parameter without "
                "any gradient would become NaN"
            )

    def slots(self, trained: Mapping[str, Array]) -> dict[str, Array]:
        """The averages of each trained parameter, and of 1, all 0 at first."""
        kept: dict[str, Array] = {
            f"{self.name}/weight_{order}": np.zeros((), np.float32) for order in (1, 2)
        }
        for name, each in trained.items():
            for order in (1, 2):
                kept[f"{self.name}/moment_{order}/{name}"] = np.zeros_like(each)
        return kept

    def update(
        self, ops: Any, parameters: Mapping[str, Any], gradients: Mapping[str, Any]
    ) -> dict[str, Any]:
        """New values of the parameters that have a gradient, and of the averages."""
        weights, new = [], {}
        for order, beta in ((1, self.beta_1), (2, self.beta_2)):
            slot = f"{self.name}/weight_{order}"
            kept = ops.multiply(_slot(parameters, slot), beta)
            new[slot] = ops.add(kept, 1.0 - beta)
            weights.append(new[slot])
        rate = ops.divide(self.learning_rate, weights[0])
        scale = ops.sqrt(weights[1])
        slots = [
            tuple(f"{self.name}/moment_{order}/{name}" for order in (1, 2)) for name in gradients
        ]
        rows = [
            (parameters[name], *(_slot(parameters, slot) for slot in own), gradient)
            for own, (name, gradient) in zip(slots, gradients.items(), strict=True)
        ]
        made = _each(ops, "adam_update", self._moved, rows, (rate, scale))
        for name, own, (value, *averages) in zip(gradients, slots, made, strict=True):
            new.update(zip(own, averages, strict=True))
            new[name] = value
        return new

    def _moved(
        self,
        ops: Any,
        parameter: Any,
        first: Any,
        second: Any,
        gradient: Any,
        rate: Any,
        scale: Any,
    ) -> tuple[Any, ...]:
        own = own_operation(ops, "adam_update")
        if own is not None:
            betas, moments = (self.beta_1, self.beta_2), (first, second)
            made: tuple[Any, ...] = own(
                parameter, moments, gradient, (rate, scale), betas, self.epsilon
            )
            return made
        first = _average(ops, first, self.beta_1, gradient)
        second = _average(ops, second, self.beta_2, ops.multiply(gradient, gradient))
        size = ops.add(ops.divide(ops.sqrt(second), scale), self.epsilon)
        step = ops.divide(ops.multiply(first, rate), size)
        return ops.subtract(parameter, step), first, second


Optimizer = SGD | Adam


def _each(
    ops: Any,
    name: str,
    rule: Callable[..., tuple[Any, ...]],
    rows: Sequence[tuple[Any, ...]],
    shared: tuple[Any, ...] = (),
) -> list[tuple[Any, ...]]:
    """What a rule makes of each parameter; by one launch for all where the engine offers that."""
    own = own_operation(ops, "update_each")
    if own is not None:
        made: list[tuple[Any, ...]] = own(name, rule, rows, shared)
        return made
    return [rule(ops, *row, *shared) for row in rows]


def _average(ops: Any, old: Any, beta: float, value: Any) -> Any:
    return ops.add(ops.multiply(old, beta), ops.multiply(value, 1.0 - beta))


def _slot(parameters: Mapping[str, Any], name: str) -> Any:
    try:
        return parameters[name]
    except KeyError:
        raise LayerError(
            f"the optimizer expected the parameter {name!r} of its own, received none; add what "
            "slots(trained) gives to the parameters of the program"
        ) from None


def _require_rate(owner: str, rate: float) -> None:
    if not 0.0 < rate < math.inf:
        raise LayerError(f"{owner} expected a learning rate above 0, received {rate}")


def _require_share(owner: str, what: str, value: float) -> None:
    if not 0.0 <= value < 1.0:
        raise LayerError(f"{owner} expected {what} of at least 0 and below 1, received {value}")
