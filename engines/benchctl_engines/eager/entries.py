"""What the tape is made of: entries of recorded calls, ending in leaves."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from itertools import count
from typing import TYPE_CHECKING, Any

from ..primitives.primitive import Saved
from .mode import mode
from .plans import Plan

if TYPE_CHECKING:
    from .tensor import Tensor

next_sequence = count(1).__next__
_KEPT_ASSIGNED = 4096


class Leaf:
    """The tape's end at a tensor that the user made and asked gradients for."""

    __slots__ = ("_tensor", "grad", "sequence")
    sources: tuple[Any, ...] = ()

    def __init__(self, tensor: Tensor) -> None:
        self.sequence = next_sequence()
        self.grad: Tensor | None = None
        # Weak: tensor and leaf would otherwise keep each other alive.
        self._tensor = weakref.ref(tensor)

    @property
    def tensor(self) -> Tensor | None:
        """The user's tensor, None once it is gone."""
        return self._tensor()


class Entry(Saved):
    """One recorded call. It holds what the primitive declares to save, and nothing else.

    Saved values are kept as arrays. Tensors of saved inputs are kept beside them only through
    their tape, so that a derivative of higher order can flow on.
    """

    __slots__ = ("arrays", "outs", "plan")

    def __init__(
        self,
        plan: Plan,
        arrays: Sequence[Any],
        sources: tuple[Any, ...],
        outs: Sequence[Any],
    ) -> None:
        self.sequence = next_sequence()
        self.plan = plan
        self.sources = sources
        self.arrays: Sequence[Any] | None = arrays
        self.outs = outs

    def pull(self, gradient: Any) -> Sequence[Any]:
        """The pullback's gradients; raises where the tape was already released.

        Arrays in and out, unless the backward pass is itself recorded: then tensors.
        """
        arrays = self.arrays
        if arrays is None:
            raise RuntimeError(
                "backward expected a tape that was not used yet, received one that an earlier "
                "backward released; pass keep_tape=True to that call to run it twice"
            )
        if self.sequence < mode.last_assignment:
            self._check_unchanged(arrays)
        plan = self.plan
        if not mode.plain:
            return self._pull_tensors(gradient)
        outs = self.outs
        if mode.releasing:
            # The pool can use the memory as soon as the pullback lets go of it.
            self.arrays = None
            self.outs = ()
        if None not in self.sources and plan.full_pullback is not None:
            return plan.full_pullback(gradient, arrays, outs)
        return plan.pullback(self.sources)(gradient, arrays, outs)

    def _check_unchanged(self, arrays: Sequence[Any]) -> None:
        for array in (*arrays, *self.outs):
            changed = mode.assigned.get(id(array))
            if changed is not None and changed[0]() is array and changed[1] > self.sequence:
                raise RuntimeError(
                    f"backward needs a value that {self.plan.primitive.name} used and that an "
                    "assignment has changed since; take the gradients before the assignment"
                )

    def _pull_tensors(self, gradient: Any) -> Sequence[Any]:
        from .tensor import Tensor

        plan = self.plan
        self.primitive = plan.primitive
        self.attributes = plan.attributes
        self.specs = plan.input_specs
        kinds = [plan.device.kind(each) for each in plan.input_specs]
        entries = self.sources if mode.recording else (None,) * len(kinds)
        self.inputs = [
            None if array is None else Tensor(array, kind, entry)
            for array, kind, entry in zip(self.arrays or (), kinds, entries, strict=True)
        ]
        # Output 0 continues the tape, so that a second derivative can flow through it.
        self.outputs = [
            None
            if array is None
            else Tensor(array, plan.kinds[i], self if i == 0 and mode.recording else None)
            for i, array in enumerate(self.outs)
        ]
        raw = not mode.recording
        if raw:
            gradient = Tensor(gradient, plan.kind)
        found: Sequence[Any] = plan.rule(gradient, self)
        self.inputs = self.outputs = ()
        if mode.releasing:
            self.arrays, self.outs = None, ()
        if raw:
            return [None if each is None else each.array for each in found]
        return found


def note_assignment(target: Tensor) -> None:
    """Remember that the array of `target` is about to change; raises `ValueError` on a result."""
    if isinstance(target.entry, Entry):
        raise ValueError(
            "assign expected a tensor that the user made, received the result of "
            f"{target.entry.plan.primitive.name}, whose gradient would then be wrong; "
            "use x.detach()"
        )
    mode.last_assignment = next_sequence()
    if len(mode.assigned) > _KEPT_ASSIGNED:
        mode.assigned = {key: pair for key, pair in mode.assigned.items() if pair[0]() is not None}
    mode.assigned[id(target.array)] = (weakref.ref(target.array), mode.last_assignment)


def recorded_entry(
    plan: Plan, arrays: Sequence[Any], sources: tuple[Any, ...], outs: Sequence[Any]
) -> Entry:
    """An entry with the declared values only."""
    if not plan.saves_all_inputs:
        arrays = [
            array if saved else None for array, saved in zip(arrays, plan.saved_inputs, strict=True)
        ]
    if plan.saves_outputs:
        outs = [
            array if saved else None for array, saved in zip(outs, plan.saved_outputs, strict=True)
        ]
    else:
        outs = ()
    return Entry(plan, arrays, sources, outs)
