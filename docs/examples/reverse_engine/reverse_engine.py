"""An engine of one's own: reverse mode on plain NumPy arrays, in one file."""

from collections import defaultdict
from contextlib import suppress

import numpy as np

from benchctl_engines.contract import AVAILABLE, Availability, RunnerFacts, Switch


class Value:
    """An array, the values it was made from, and the rule that gives each its gradient."""

    def __init__(self, array, sources=(), pull=None):
        self.array = np.asarray(array)
        self.sources = sources
        self.pull = pull


class Operations:
    """The operations that this engine has; benchctl_engines.vocabulary lists all there are."""

    def __init__(self, dtype):
        self.dtype = dtype
        self.tape = []

    def add(self, a, b):
        def pull(gradient):
            return gradient, gradient

        return self._binary(np.add, a, b, pull)

    def multiply(self, a, b):
        a, b = self._value(a), self._value(b)

        def pull(gradient):
            return gradient * b.array, gradient * a.array

        return self._binary(np.multiply, a, b, pull)

    def sum(self, x, axes=None, keepdims=False):
        shape = x.array.shape
        reduced = range(len(shape)) if axes is None else [axis % len(shape) for axis in axes]
        kept = [1 if axis in reduced else size for axis, size in enumerate(shape)]

        def pull(gradient):
            return (np.broadcast_to(gradient.reshape(kept), shape),)

        return self._record(x.array.sum(axes, keepdims=keepdims), (x,), pull)

    def gradients(self, objective, seed):
        """Gradients of every value that leads to `objective`, by value."""
        totals = {objective: seed}
        for made in reversed(self.tape):
            if made in totals:
                parts = made.pull(totals[made])
                for source, part in zip(made.sources, parts, strict=True):
                    part = sum_to(part, source.array.shape)
                    totals[source] = totals[source] + part if source in totals else part
        return totals

    def _value(self, operand):
        return operand if isinstance(operand, Value) else Value(np.asarray(operand, self.dtype))

    def _binary(self, function, a, b, pull):
        a, b = self._value(a), self._value(b)
        return self._record(function(a.array, b.array), (a, b), pull)

    def _record(self, array, sources, pull):
        made = Value(array, sources, pull)
        self.tape.append(made)
        return made


def sum_to(gradient, shape):
    """A gradient summed over the axes along which an operand of `shape` was broadcast."""
    added = gradient.ndim - len(shape)
    stretched = [axis for axis, size in enumerate(shape) if size == 1]
    axes = (*range(added), *(added + axis for axis in stretched))
    return gradient.sum(axes).reshape(shape) if axes else gradient


class ReverseRunner:
    """One case: the program runs anew at every step."""

    def __init__(self, workload, case, parameters, inputs, dtype):
        self.workload, self.case = workload, case
        self.arrays = {**parameters, **inputs}
        self.names = (tuple(parameters), tuple(inputs))
        self.dtype = dtype
        self.results = {}
        self.calls = 0

    def build(self):
        pass

    def compile(self):
        pass

    def load(self, inputs):
        self.arrays.update(inputs)

    def step(self):
        values = {name: Value(self._cast(array)) for name, array in self.arrays.items()}
        parameters, inputs = ({name: values[name] for name in names} for names in self.names)
        ops = Operations(self.dtype)
        outputs = self.workload.program(ops, parameters, inputs, self.case)
        self.results = {name: value.array for name, value in outputs.values.items()}
        self.calls = len(ops.tape)
        if self.workload.step(self.case) == "gradient":
            objective = outputs.objective
            seed = np.ones_like(objective.array) if outputs.seed is None else outputs.seed.array
            found = ops.gradients(objective, seed)
            for name in self.workload.differentiate(self.case):
                value = values[name]
                self.results[f"grad_{name}"] = found.get(value, np.zeros_like(value.array))

    def outputs(self):
        return dict(self.results)

    def facts(self):
        return RunnerFacts(kernels=("numpy",), counts={"calls": self.calls})

    def close(self):
        self.arrays, self.results = {}, {}

    def _cast(self, array):
        return array.astype(self.dtype, copy=False) if array.dtype.kind == "f" else array


class Probe:
    """Stands in for `Operations` to note what a program asks for, computing nothing."""

    def __init__(self):
        self.asked = []

    def __getattr__(self, name):
        self.asked.append(name)
        return Probe.compute_nothing

    @staticmethod
    def compute_nothing(*operands, **attributes):
        return object()


def missing_operations(workload, case):
    """Operations of a program that this engine lacks, as far as it can be told without arrays."""
    probe = Probe()
    with suppress(Exception):  # a program that looks at its arrays: the first step will tell
        workload.program(probe, defaultdict(object), defaultdict(object), case)
    return [name for name in dict.fromkeys(probe.asked) if not hasattr(Operations, name)]


class ReverseEngine:
    """Define by run, in as few lines as will do."""

    name = "reverse"
    paradigm = "eager"

    def versions(self):
        return {"numpy": np.__version__}

    def availability(self, device):
        if device == "cpu":
            return AVAILABLE
        return Availability(False, "the engine reverse computes on the CPU", "choose --device cpu")

    def supports(self, workload, case):
        if workload.step(case) == "training":
            return Availability(False, "no training step", "choose a forward or gradient step")
        missing = missing_operations(workload, case)
        if missing:
            hint = f"write them in {__name__}.Operations, or choose another engine"
            return Availability(False, f"no operation {', '.join(missing)}", hint)
        return AVAILABLE

    def switches(self):
        return {"dtype": Switch("same", ("same", "float64"), "compute in another type")}

    def prepare(self, workload, case, parameters, inputs, options):
        floats = [each.dtype for each in (*parameters.values(), *inputs.values())]
        same = next((dtype for dtype in floats if dtype.kind == "f"), np.dtype("float32"))
        dtype = np.float64 if options.switches.get("dtype") == "float64" else same
        return ReverseRunner(workload, case, parameters, inputs, dtype)
