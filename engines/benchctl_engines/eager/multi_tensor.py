"""Updates of many parameters by one launch, as the optimizers of frameworks have it on a GPU.

A rule of an optimizer is written down once, from the scalar rules of its operations, so that one
launch gives the bits that the operations one by one give.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from ..devices.cpu import Device
from ..devices.launch_clock import Call
from ..kernels.cuda_elementwise import COMPARISONS
from ..kernels.cuda_loop_source import Body
from ..kernels.cuda_many import Launch, prepare_many
from ..kernels.cuda_source import C_TYPES
from ..kernels.cuda_state import scaled_body
from ..primitives.primitive import PRIMITIVES
from ..primitives.specs import TensorSpec
from ..primitives.work import Work
from .entries import note_assignment
from .mode import mode
from .tensor import Tensor

Rule = Callable[..., tuple[Any, ...]]
"""(ops, arrays of one parameter, scalars that all share) -> its new values."""


class ManyPlan:
    """A launch made ready for tensors of given specs; `call` is what a profile says of it."""

    __slots__ = ("call", "kernel", "numbers", "results", "run")

    def __init__(
        self,
        kernel: str,
        launch: Launch,
        numbers: Sequence[int | float],
        specs: Sequence[TensorSpec],
        arrays: int,
        results: int = 0,
    ) -> None:
        self.kernel = kernel
        self.run = launch
        self.numbers = tuple(numbers)
        self.results = results
        moved = arrays * sum(each.nbytes for each in specs)
        work = Work(sum(each.size for each in specs), moved)
        self.call = Call(kernel, f"{len(specs)} tensors", work)


class MultiTensor:
    """The launches over many tensors of one GPU."""

    def __init__(self, device: Device) -> None:
        self._device = device

    def subtract_scaled(
        self, targets: Sequence[Tensor], gradients: Sequence[Tensor], scale: float
    ) -> None:
        """target -= scale * gradient for each pair, in place; one launch a dtype."""
        for dtype in dict.fromkeys(each.dtype for each in targets):
            pairs = [
                (target, gradient)
                for target, gradient in zip(targets, gradients, strict=True)
                if target.dtype == dtype
            ]
            specs = tuple(target.spec for target, _ in pairs)
            plan = self._plan(
                ("assign_sub_scaled", scale, specs), partial(self._scaled_plan, specs, scale)
            )
            for target, _ in pairs:
                note_assignment(target)
            plan.run(
                [_addresses(target, target, given) for target, given in pairs], (), plan.numbers
            )

    def update_each(
        self,
        ops: Any,
        name: str,
        rule: Rule,
        tensors: Sequence[Sequence[Any]],
        shared: Sequence[Any],
    ) -> list[tuple[Any, ...]]:
        """What `rule` makes of each parameter's arrays; see `CudaVocabulary.update_each`."""
        dtypes = {each.dtype for each in (*(t for row in tensors for t in row), *shared)}
        if mode.recording or len(dtypes) != 1:
            # A launch for all has no place on the tape, and computes in one dtype.
            return [rule(ops, *row, *shared) for row in tensors]
        specs = tuple(row[0].spec for row in tensors)
        owner = getattr(rule, "__self__", None)
        key = (name, owner, getattr(rule, "__func__", rule), specs, len(shared))
        plan = self._plan(key, lambda: self._rule_plan(name, rule, tensors[0], specs, len(shared)))
        device = self._device
        made, places = [], []
        for row, spec in zip(tensors, specs, strict=True):
            kind = device.kind(spec)
            new = [Tensor(device.empty(spec), kind) for _ in range(plan.results)]
            made.append(tuple(new))
            places.append(_addresses(*new, *row))
        plan.run(places, _addresses(*shared), plan.numbers)
        return made

    # Made ready ------------------------------------------------------------------------------

    def _plan(self, key: tuple[Any, ...], make: Callable[[], ManyPlan]) -> ManyPlan:
        key = (MultiTensor, *key)
        plan: ManyPlan | None = self._device.plans.get(key)
        if plan is None:
            plan = self._device.plans[key] = make()
            self._device.kernel_names[plan.kernel] = None
        return plan

    def _prepare(self, body: Body, shared: int, specs: Sequence[TensorSpec]) -> Launch:
        driver = self._device.driver
        assert driver is not None, "a launch over many tensors is for a GPU"
        return prepare_many(driver, body, shared, [each.size for each in specs])

    def _scaled_plan(self, specs: Sequence[TensorSpec], scale: float) -> ManyPlan:
        body, number = scaled_body(specs[0].dtype, scale)
        launch = self._prepare(body, 0, specs)
        return ManyPlan("assign_sub_scaled:multi_tensor", launch, (number,), specs, arrays=3)

    def _rule_plan(
        self, name: str, rule: Rule, row: Sequence[Any], specs: Sequence[TensorSpec], shared: int
    ) -> ManyPlan:
        body, numbers = written_rule(name, rule, len(row), shared, specs[0].dtype)
        launch = self._prepare(body, shared, specs)
        results = len(body.outputs)
        arrays = results + len(row)
        return ManyPlan(f"{name}:multi_tensor", launch, numbers, specs, arrays, results)


def _addresses(*tensors: Any) -> list[int]:
    return [each.array.pointer for each in tensors]


# A rule as the body of a loop ------------------------------------------------------------------


def written_rule(
    name: str, rule: Rule, arrays: int, shared: int, dtype: str
) -> tuple[Body, list[float]]:
    """The body that computes a rule, and the numbers that it takes by value.

    A rule may use elementwise operations of floating numbers alone; raises `AttributeError`.
    """
    recorder = _Recorder(dtype)
    operands = [_Word(f"x{place}") for place in range(arrays + shared)]
    results = rule(recorder, *operands)
    stores = [f"y{place} = {each.text};" for place, each in enumerate(results)]
    body = Body(
        name=f"{name}_{dtype}",
        inputs=(dtype,) * (arrays + shared),
        outputs=(dtype,) * len(results),
        lines=(*recorder.lines, *stores),
        numbers=(C_TYPES[dtype],) * len(recorder.numbers),
    )
    return body, recorder.numbers


class _Word:
    """A value of a rule, by the name that it has in the text."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


class _Recorder:
    """Stands for the vocabulary while a rule is written down."""

    def __init__(self, dtype: str) -> None:
        self.lines: list[str] = []
        self.numbers: list[float] = []
        self._real = C_TYPES[dtype]

    def __getattr__(self, name: str) -> Callable[..., _Word]:
        primitive = PRIMITIVES.get(name)
        rule = None if primitive is None else primitive.scalar
        if rule is None or name in COMPARISONS:
            raise AttributeError(f"a rule of an optimizer expected elementwise numbers, not {name}")

        def call(*arguments: _Word | float) -> _Word:
            words = [self._word(each) for each in arguments]
            made = f"v{len(self.lines)}"
            self.lines.append(f"const {self._real} {made} = {rule.cuda(words, self._real)};")
            return _Word(made)

        return call

    def _word(self, value: _Word | float) -> str:
        if isinstance(value, _Word):
            return value.text
        self.numbers.append(float(value))
        return f"s{len(self.numbers) - 1}"
