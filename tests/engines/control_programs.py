"""Small programs with branches and loops, and what runs them on both engines."""

from __future__ import annotations

import numpy as np

from benchctl_engines import eager, static
from benchctl_engines.devices.cpu import Device
from benchctl_engines.eager.engine import EagerVocabulary
from benchctl_engines.static import Graph, PassSwitches, Session
from benchctl_engines.static.workload_graph import StaticVocabulary

NAMES = ("x", "w", "rows", "p")


def drawn(length=4, size=3, positive=True, dtype="float64", seed=3):
    """x [size], w [size], rows [length, size], and p, whose sign decides branches."""
    rng = np.random.default_rng(seed)
    shapes = ((size,), (size,), (length, size))
    arrays = [rng.uniform(0.3, 1.0, shape).astype(dtype) for shape in shapes]
    return [*arrays, np.array(1.4 if positive else -1.4, dtype)]


# ----- branches -----------------------------------------------------------------------------------


def branch(ops, x, w, rows, p):
    y = ops.cond(
        ops.greater(p, 0.0),
        lambda x: ops.multiply(ops.tanh(ops.multiply(x, w)), w),
        lambda x: ops.multiply(x, x),
        (x,),
    )
    return ops.sum(ops.multiply(y, x))


def branch_of_one(ops, x, w, rows, p):
    """Each branch depends on what the other does not."""
    y = ops.cond(
        ops.greater(p, 0.0),
        lambda: ops.sum(ops.multiply(x, x)),
        lambda: ops.sum(ops.exp(w)),
    )
    return ops.multiply(y, p)


def identity_branch(ops, x, w, rows, p):
    """A result that is an operand, read together with the operand, before and after."""
    before = ops.multiply(x, w)
    y = ops.cond(ops.greater(p, 0.0), lambda: x, lambda: ops.multiply(before, w))
    later = ops.multiply(ops.add(y, x), ops.multiply(y, w))
    return ops.sum(ops.add(ops.multiply(later, x), ops.multiply(y, before)))


def several_results(ops, x, w, rows, p):
    def twice(x):
        y = ops.tanh(ops.multiply(x, w))
        return y, y, x

    a, b, c = ops.cond(
        ops.greater(p, 0.0), twice, lambda x: (ops.multiply(x, w), w, ops.negative(x)), (x,)
    )
    return ops.sum(ops.multiply(ops.add(a, ops.multiply(b, b)), c))


# ----- loops over rows ----------------------------------------------------------------------------


def recurrence(ops, x, w, rows, p):
    def body(h, row):
        h = ops.tanh(ops.add(ops.multiply(h, w), row))
        return h, h

    h, states = ops.scan(body, x, rows)
    return ops.add(ops.sum(ops.multiply(h, h)), ops.sum(ops.multiply(states, rows)))


def read_everywhere(ops, x, w, rows, p):
    """What the body reads is read twice in it, before it and after it."""
    before = ops.multiply(w, w)

    def body(h, row):
        y = ops.multiply(ops.add(ops.multiply(h, w), row), ops.multiply(w, p))
        return ops.tanh(y), ops.multiply(y, h)

    h, ys = ops.scan(body, ops.multiply(x, w), rows)
    last = ops.multiply(ops.multiply(h, w), ops.add(w, before))
    return ops.add(ops.sum(last), ops.sum(ops.multiply(ys, ops.multiply(w, w))))


def repeated_results(ops, x, w, rows, p):
    """One value as two carries and two rows, and an input as a result."""

    def body(carry, row):
        a, b, kept = carry
        h = ops.tanh(ops.add(ops.multiply(a, b), ops.multiply(row, kept)))
        return (h, h, kept), (h, ops.multiply(h, row), h, row)

    (a, b, kept), (s, t, u, v) = ops.scan(body, (x, w, w), rows)
    ends = ops.add(ops.multiply(a, b), kept)
    return ops.add(ops.sum(ends), ops.sum(ops.add(ops.multiply(s, t), ops.multiply(u, v))))


def without_rows(ops, x, w, rows, p):
    last, nothing = ops.scan(lambda h, row: (ops.multiply(h, ops.tanh(row)), None), x, rows)
    assert nothing is None
    return ops.sum(ops.multiply(last, w))


def ignored_carry(ops, x, w, rows, p):
    """The loop hands on what it never reads, and a row that depends on nothing carried."""

    def body(carry, row):
        _, count = carry
        return (ops.multiply(row, w), ops.add(count, 1.0)), ops.exp(row)

    (h, count), ys = ops.scan(body, (x, p), rows)
    return ops.add(ops.multiply(ops.sum(h), count), ops.sum(ys))


# ----- loops until a condition fails --------------------------------------------------------------


def halving(ops, x, w, rows, p):
    """As often as the sum needs to fall below a bound that the condition reads."""
    y = ops.while_loop(
        lambda h: ops.greater(ops.sum(h), 0.3),
        lambda h: ops.multiply(ops.multiply(h, 0.5), ops.tanh(ops.add(w, 1.0))),
        ops.multiply(x, w),
        limit=12,
    )
    return ops.sum(ops.multiply(y, ops.multiply(x, x)))


def counted(ops, x, w, rows, p):
    """Carries of several kinds; not at all where p is below zero."""

    def body(carry):
        left, h = carry
        return ops.subtract(left, 0.5), ops.multiply(ops.tanh(h), ops.multiply(w, h))

    left, h = ops.while_loop(lambda carry: ops.greater(carry[0], 0.0), body, (p, x), limit=5)
    return ops.add(ops.sum(ops.multiply(h, w)), ops.multiply(left, 0.25))


# ----- one within another -------------------------------------------------------------------------


def branch_in_loop(ops, x, w, rows, p):
    def body(h, row):
        h = ops.cond(
            ops.greater(ops.sum(row), ops.multiply(ops.sum(w), 0.9)),
            lambda: ops.tanh(ops.multiply(h, w)),
            lambda: ops.add(ops.multiply(h, row), ops.multiply(w, h)),
        )
        return h, ops.sum(h)

    h, sums = ops.scan(body, x, rows)
    return ops.add(ops.sum(ops.multiply(h, w)), ops.sum(ops.multiply(sums, sums)))


def loop_in_branch(ops, x, w, rows, p):
    def accumulated():
        return ops.scan(lambda h, row: (ops.multiply(ops.add(h, row), w), h), x, rows)[0]

    y = ops.cond(ops.greater(p, 0.0), accumulated, lambda: ops.multiply(x, w))
    return ops.sum(ops.multiply(y, ops.multiply(w, x)))


def loop_in_loop(ops, x, w, rows, p):
    def outer(h, row):
        def inner(g, other):
            return ops.tanh(ops.add(ops.multiply(g, w), ops.multiply(other, row))), g

        last, seen = ops.scan(inner, h, rows)
        return ops.multiply(last, row), ops.sum(seen)

    h, sums = ops.scan(outer, x, rows)
    return ops.add(ops.sum(h), ops.sum(sums))


def while_in_loop(ops, x, w, rows, p):
    def outer(h, row):
        grown = ops.while_loop(
            lambda g: ops.greater(2.0, ops.sum(g)),
            lambda g: ops.add(ops.multiply(g, 1.5), ops.multiply(w, row)),
            ops.multiply(h, row),
            limit=9,
        )
        return ops.tanh(grown), ops.sum(grown)

    h, sums = ops.scan(outer, x, rows)
    return ops.add(ops.sum(ops.multiply(h, w)), ops.sum(sums))


PROGRAMS = {
    each.__name__: each
    for each in (
        branch,
        branch_of_one,
        identity_branch,
        several_results,
        recurrence,
        read_everywhere,
        repeated_results,
        without_rows,
        ignored_carry,
        halving,
        counted,
        branch_in_loop,
        loop_in_branch,
        loop_in_loop,
        while_in_loop,
    )
}


# ----- running ------------------------------------------------------------------------------------


def run_eager(program, arrays, device="cpu"):
    """The loss and the gradients of the arrays, 0 where the loss does not depend on one."""
    place = Device(device, 1)
    tensors = [eager.tensor(each, requires_grad=True, device=place) for each in arrays]
    loss = program(EagerVocabulary(place), *tensors)
    found = eager.gradients(loss, tensors)
    return [loss.numpy(), *(_array(each, array) for each, array in zip(found, arrays, strict=True))]


def _array(gradient, array):
    return np.zeros_like(array) if gradient is None else gradient.numpy()


class Recorded:
    """A program with its gradients in a graph."""

    def __init__(self, program, arrays):
        self.graph = Graph()
        with self.graph.as_default():
            self.feeds = [
                static.placeholder(each.dtype.name, each.shape, name)
                for name, each in zip(NAMES, arrays, strict=True)
            ]
            self.loss = program(StaticVocabulary(self.graph), *self.feeds)
            self.gradients = static.gradients(self.loss, self.feeds)

    def session(self, switches=None):
        return Session(self.graph, switches=switches or PassSwitches.none(), threads=1)

    def feed(self, arrays):
        return dict(zip(self.feeds, arrays, strict=True))

    def run(self, arrays, switches=None):
        wanted = [each for each in self.gradients if each is not None]
        loss, *found = self.session(switches).run([self.loss, *wanted], self.feed(arrays))
        rest = iter(found)
        return [
            loss,
            *(
                np.zeros_like(array) if each is None else next(rest)
                for each, array in zip(self.gradients, arrays, strict=True)
            ),
        ]


def run_static(program, arrays, switches=None):
    """The loss and the gradients of the arrays, with every pass off unless switches say."""
    return Recorded(program, arrays).run(arrays, switches)
