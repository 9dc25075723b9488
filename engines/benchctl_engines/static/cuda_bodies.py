"""Bodies on a GPU: their memory is workspace of the branch or loop that calls them.

A body runs at fixed addresses like the step around it, but is given the arrays of its results and
inputs. Its memory is planned before that of the step, which then finds it a place: the branches of
a `cond` share theirs, and what does not run at the same time shares it as other workspaces do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..devices.cuda.transfer import copy_in
from ..gpu.array import DeviceArray
from ..gpu.driver import Driver
from ..kernels.table import Prepared
from ..primitives.specs import TensorSpec, spec
from .body_program import (
    BodyPart,
    BodyProgram,
    BodyWriter,
    body_parts,
    folded_bytes,
    kernel_of,
    optimised_body,
)
from .control_launches import ArrayAccess, RowKey, control_launch, read_words, spare_specs
from .cuda_program import ALIGNMENT, CudaBuilder, copies_on
from .cuda_state import CudaState
from .graph import Node, Value
from .launch import Target
from .passes.plan_memory import aligned
from .program import Launch
from .switches import PassSwitches


def device_access(driver: Driver) -> ArrayAccess:
    """What a launch on the host does with arrays of a GPU: reading copies, and waits."""

    def read(array: DeviceArray) -> Any:
        host = np.empty(array.shape, array.dtype)
        driver.copy_to_host(host, array.pointer)
        return host[()]

    def store(array: DeviceArray, number: int) -> None:
        copy_in(driver, array, np.array(number, array.dtype))

    def row(stack: DeviceArray, key: RowKey) -> DeviceArray:
        made = spec(stack.shape[1:], stack.spec.dtype)
        return DeviceArray(stack.pointer + key[0] * made.nbytes, made, stack)

    return ArrayAccess(
        truth=lambda array: bool(read(array)),
        number=lambda array: int(read(array)),
        store=store,
        row=row,
        copy=copies_on(driver),
    )


class ControlPlan:
    """A branch or loop whose bodies are planned; `placed` makes its launch in memory of the step.

    `workspace_bytes` is what the launch and all bodies work in.
    """

    def __init__(
        self, node: Node, target: Target, state: CudaState, switches: PassSwitches
    ) -> None:
        assert target.driver is not None
        self.node = node
        self.kernel = kernel_of(node)
        self._driver = target.driver
        self._bodies = [
            _CudaBodyBuilder(node, part, state, switches, target)
            for part in body_parts(node, switches)
        ]
        self._spare = _Places(spare_specs(node))
        # Bodies of one launch take turns, and leave nothing behind for the next.
        most = max(each.workspace_bytes for each in self._bodies)
        # Never none at all: even arrays without elements have an address.
        self.workspace_bytes: int = max(self._spare.nbytes + most, ALIGNMENT)

    def host_reads(self) -> list[str]:
        """What the host reads for this launch and for those in its bodies."""
        own = read_words(self.node)
        inside = [read for each in self._bodies for read in each.host_reads()]
        return [own, *inside] if own else inside

    def placed(self, workspace: DeviceArray) -> tuple[Prepared, tuple[BodyProgram, ...]]:
        """The launch, and the bodies that it calls, at home in this workspace."""
        start = self._spare.nbytes
        bodies = tuple(each.build_body(_behind(workspace, start)) for each in self._bodies)
        spare = self._spare.arrays(workspace)
        access = device_access(self._driver)
        run = control_launch(self.node, [each.run for each in bodies], spare, access)
        return Prepared(run, bound_bytes=folded_bytes(bodies)), bodies


class _Places:
    """Arrays side by side, each at an aligned place."""

    def __init__(self, specs: Sequence[TensorSpec]) -> None:
        self._specs = tuple(specs)
        self.nbytes = sum(aligned(each.nbytes, ALIGNMENT) for each in self._specs)

    def arrays(self, memory: DeviceArray) -> tuple[DeviceArray, ...]:
        """The arrays, from the beginning of the memory."""
        made, offset = [], 0
        for each in self._specs:
            made.append(DeviceArray(memory.pointer + offset, each, memory))
            offset += aligned(each.nbytes, ALIGNMENT)
        return tuple(made)


def _behind(memory: DeviceArray, offset: int) -> DeviceArray:
    """The memory from an offset on."""
    left = spec((memory.nbytes - offset,), "uint8")
    return DeviceArray(memory.pointer + offset, left, memory)


class _CudaBodyBuilder(CudaBuilder, BodyWriter):
    """Plans a body and, once there is memory for it, writes it.

    Kernels may count on aligned arrays. A row of a stack that does not begin at an aligned place is
    copied into one before the body, or out of one behind it: its array is `staged`.
    """

    def __init__(
        self,
        node: Node,
        part: BodyPart,
        state: CudaState,
        switches: PassSwitches,
        target: Target,
    ) -> None:
        step, self._reports = optimised_body(part, target, switches)
        super().__init__(step, (), part.body.inputs, state, switches, target)
        self._label = part.label
        carries, rows = node.attributes.get("carries", 0), node.attributes.get("rows", 0)
        loops = part.label == "body"
        made = range(carries, len(step.fetches)) if loops else ()
        taken = range(carries, carries + rows) if loops else ()
        staged = [("o", place, step.fetches[place].spec) for place in made]
        staged += [("x", place, part.body.inputs[place].spec) for place in taken]
        unaligned = [each for each in staged if each[2].nbytes % ALIGNMENT]
        self._staged = _Places([each[2] for each in unaligned])
        self._staged_names = [f"{letter}{place}" for letter, place, _ in unaligned]
        self.workspace_bytes: int = self.plan.arena_bytes + self._staged.nbytes

    def build_body(self, memory: DeviceArray) -> BodyProgram:
        """The compiled body, at home in this memory."""
        self.memory = memory
        self._bind_plan()
        places = self._staged.arrays(_behind(memory, self.plan.arena_bytes))
        for name, array in zip(self._staged_names, places, strict=True):
            self.bound[f"s_{name}"] = array
        self.entering: list[tuple[str, str]] = []
        self._name_sources(())
        self.name_results()
        return self.write_body(self._label, self._launches(), self._reports)

    def _name_feed(self, value: Value, place: int, inputs: Sequence[DeviceArray]) -> None:
        name = f"x{place}"
        if name in self._staged_names:
            self.entering.append((f"s_{name}", name))
            name = f"s_{name}"
        self.names[value] = name

    def _name_result(self, value: Value, index: int) -> None:
        name = f"o{index}"
        if name in self._staged_names:
            self.copied.append((name, f"s_{name}"))
            name = f"s_{name}"
        self.names[value] = name

    def _rehearse(self, launches: Sequence[Launch]) -> None:
        """Kernels of a GPU are compiled when they are prepared."""

    def _copy(self) -> Callable[[Any, Any], None]:
        return copies_on(self.driver)
