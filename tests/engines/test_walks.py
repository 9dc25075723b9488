"""Remembered backward walks give what the shared walk gives, or step aside."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchctl_engines import eager
from benchctl_engines.devices.cpu import Device
from benchctl_engines.eager import tape

OPERATIONS = (
    eager.add,
    eager.multiply,
    eager.subtract,
    lambda a, b: eager.relu(a) * b,
    lambda a, b: eager.tanh(a) + b,
    lambda a, b: eager.where(eager.greater(a, b), a, b),
)


def run(recipe, device, values):
    """Loss gradients of a random program: each step joins two earlier tensors by an operation."""
    tensors = [eager.tensor(each, requires_grad=True, device=device) for each in values]
    leaves = list(tensors)
    for operation, first, second in recipe:
        a, b = tensors[first % len(tensors)], tensors[second % len(tensors)]
        tensors.append(OPERATIONS[operation](a, b))
    found = eager.gradients(eager.sum(tensors[-1]), leaves)
    return [None if each is None else each.numpy().copy() for each in found]


def without_memory(recipe, values, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(tape, "remembered_gradients", lambda *arguments: None)
        return run(recipe, Device("cpu"), values)


STEP = st.tuples(st.integers(0, len(OPERATIONS) - 1), st.integers(0, 9), st.integers(0, 9))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(recipes=st.lists(st.lists(STEP, min_size=1, max_size=7), min_size=1, max_size=6))
def test_the_same_bits_as_the_shared_walk(recipes):
    """One device sees many tapes, so that a walk made for one meets others that look alike."""
    monkeypatch = pytest.MonkeyPatch()
    device = Device("cpu")
    rng = np.random.default_rng(len(recipes))
    for recipe in recipes * 2:
        values = [rng.standard_normal((2, 3), dtype="float32") for _ in range(3)]
        got = run(recipe, device, values)
        expected = without_memory(recipe, values, monkeypatch)
        for a, b in zip(got, expected, strict=True):
            assert (a is None) == (b is None)
            if a is not None:
                assert a.tobytes() == b.tobytes()


def leaf(*values, device):
    return eager.tensor(np.array(values, "float32"), requires_grad=True, device=device)


def test_a_tape_with_other_links_is_not_taken_for_the_remembered_one():
    device = Device("cpu")
    x, y = leaf(2.0, 3.0, device=device), leaf(5.0, 7.0, device=device)
    first = eager.gradients(eager.sum(x * y), [x, y])
    np.testing.assert_array_equal(first[0].numpy(), [5, 7])
    (square,) = eager.gradients(eager.sum(x * x), [x])
    np.testing.assert_array_equal(square.numpy(), [4, 6])
    again = eager.gradients(eager.sum(x * y), [x, y])
    np.testing.assert_array_equal(again[1].numpy(), [2, 3])


def test_a_walk_is_remembered_and_used_again(monkeypatch):
    device = Device("cpu")
    x, y = leaf(2.0, device=device), leaf(5.0, device=device)
    eager.gradients(eager.sum(x * y), [x, y])
    monkeypatch.setattr(tape, "pull_back", None)
    got = eager.gradients(eager.sum(x * y), [x, y])
    np.testing.assert_array_equal(got[0].numpy(), [5])


def test_a_released_tape_is_refused_as_ever():
    device = Device("cpu")
    x = leaf(2.0, device=device)
    loss = eager.sum(x * x)
    eager.gradients(loss, [x])
    with pytest.raises(RuntimeError, match="keep_tape"):
        eager.gradients(loss, [x])


def test_hooks_see_the_backward_pass_of_a_remembered_tape():
    class Counter:
        calls = 0

        def before(self, primitive, specs):
            Counter.calls += 1

        def after(self, primitive, specs, result):
            pass

    device = Device("cpu")
    x = leaf(2.0, device=device)
    eager.gradients(eager.sum(x * x), [x])
    device.hooks.append(Counter())
    eager.gradients(eager.sum(x * x), [x])
    assert Counter.calls > 2
