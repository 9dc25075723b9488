"""The eager engine: what is recorded, what is released, and what may share memory."""

from __future__ import annotations

import gc
import sys
import weakref

import numpy as np
import pytest

from benchctl_engines import eager, static
from benchctl_engines.devices.cpu import LENDING_BYTES, POOLED_BYTES, BufferPool, Device
from benchctl_engines.eager import no_grad, tensor
from benchctl_engines.eager.engine import EagerVocabulary
from benchctl_engines.primitives.nan_check import NanError
from benchctl_engines.primitives.primitive import PRIMITIVES, OperandError, UndeclaredSaveError
from benchctl_engines.primitives.specs import ShapeError, spec


def leaf(*numbers, **options):
    return tensor(np.array(numbers, "float32"), requires_grad=True, **options)


# ----- the tape ---------------------------------------------------------------------------------


def test_the_lecture_example():
    rng = np.random.default_rng(0)
    x0, y0, z0 = (rng.standard_normal((3, 4)).astype("float32") for _ in range(3))
    x, y, z = (tensor(each, requires_grad=True) for each in (x0, y0, z0))
    c = eager.sum(x * y * z)
    c.backward()
    np.testing.assert_allclose(c.item(), (x0 * y0 * z0).sum(dtype=float), rtol=1e-6)
    np.testing.assert_allclose(x.grad.numpy(), y0 * z0, rtol=1e-6)
    np.testing.assert_allclose(y.grad.numpy(), x0 * z0, rtol=1e-6)
    np.testing.assert_allclose(z.grad.numpy(), x0 * y0, rtol=1e-6)


def test_nothing_is_recorded_without_need():
    x, constant = leaf(1, 2), tensor([3.0, 4.0])
    assert not (constant * constant).requires_grad
    assert (x * constant).requires_grad
    with no_grad():
        assert not (x * constant).requires_grad
        with no_grad():
            pass
        assert not (x * x).requires_grad
    assert (x * x).requires_grad
    assert not (x * x).detach().requires_grad


def test_no_grad_ends_with_an_error_too():
    with pytest.raises(KeyError), no_grad():
        raise KeyError
    assert (leaf(1) * 2.0).requires_grad


def test_comparisons_carry_no_gradient():
    x = leaf(1, -1)
    assert not (x > 0.0).requires_grad
    eager.sum(eager.where(x > 0.0, x * 3.0, x)).backward()
    np.testing.assert_array_equal(x.grad.numpy(), [3, 1])


def test_a_second_backward_needs_keep_tape():
    x = leaf(1, 2)
    y = eager.sum(x * x)
    y.backward()
    with pytest.raises(RuntimeError, match=r"keep_tape=True"):
        y.backward()
    x.grad = None
    y = eager.sum(x * x)
    y.backward(keep_tape=True)
    y.backward()
    np.testing.assert_array_equal(x.grad.numpy(), [4, 8])
    with pytest.raises(RuntimeError, match=r"keep_tape=True"):
        y.backward()


def test_a_tape_released_in_part_is_refused_too():
    x = leaf(1, 2)
    shared = x * x
    other = eager.sum(shared * 2.0)
    eager.sum(shared).backward()
    with pytest.raises(RuntimeError, match="tape"):
        other.backward()


def test_backward_without_a_tape_says_what_is_missing():
    with pytest.raises(ValueError, match="requires_grad=True"):
        eager.sum(tensor([1.0])).backward()
    with pytest.raises(ShapeError, match="seed"):
        (leaf(1, 2) * 2.0).backward()
    with pytest.raises(ShapeError, match="seed like"):
        (leaf(1, 2) * 2.0).backward(np.ones(3, "float32"))
    with pytest.raises(ShapeError, match="seed like"):
        (leaf(1, 2) * 2.0).backward(np.ones(2, "float64"))
    with pytest.raises(ShapeError, match="requires_grad"):
        tensor([1, 2], requires_grad=True)


def test_a_seed_weighs_the_gradient():
    x = leaf(1, 2)
    (x * x).backward(np.array([10, 100], "float32"))
    np.testing.assert_array_equal(x.grad.numpy(), [20, 400])


def test_the_seed_given_is_not_changed():
    x, seed = leaf(1, 2), np.array([10, 100], "float32")
    (x + x + x * x).backward(seed)
    np.testing.assert_array_equal(seed, [10, 100])


def test_gradients_of_intermediate_values():
    x = leaf(2)
    y = x * x
    z = eager.sum(y * y)
    dy, dx = eager.gradients(z, [y, x])
    assert (dy.item(), dx.item()) == (8.0, 32.0)
    assert x.grad is None


def test_higher_orders():
    x = tensor(np.array([0.5]), requires_grad=True)
    value = eager.sum(x * x * x * x)
    expected = [4 * 0.5**3, 12 * 0.5**2, 24 * 0.5, 24.0]
    for each in expected:
        (value,) = eager.gradients(eager.sum(value), [x], create_graph=True)
        assert value.item() == pytest.approx(each)


def test_a_long_chain_needs_no_recursion():
    x = leaf(1)
    y = x
    for _ in range(5000):
        y = y + 1.0
    eager.sum(y).backward()
    assert x.grad.item() == 1.0


def test_a_pullback_reads_only_what_its_primitive_saves(monkeypatch):
    def greedy(gradient, saved):
        return saved.input(0), None

    monkeypatch.setattr(PRIMITIVES["add"], "rule", greedy)
    device = Device("cpu")
    x = leaf(1, device=device)
    with pytest.raises(UndeclaredSaveError, match="add reads input 0"):
        eager.sum(x + tensor([1.0], device=device)).backward()


def test_only_declared_values_are_kept_alive():
    x = leaf(1, 2)
    inner = x * 2.0
    array = weakref.ref(inner.numpy())
    out = eager.sum(inner)  # sum saves neither input nor output
    del inner
    gc.collect()
    assert array() is None
    kept = x * 3.0
    array = weakref.ref(kept.numpy())
    out = out + eager.sum(kept * kept)  # multiply saves its inputs
    del kept
    gc.collect()
    assert array() is not None
    out.backward()
    assert array() is None


# ----- what may share memory --------------------------------------------------------------------


def test_accumulating_into_one_gradient_leaves_its_twin_alone():
    x, y = leaf(1, 2), leaf(3, 4)
    z = x + y  # hands one array to both
    loss = eager.sum(z * z) + eager.sum(x * 10.0)
    loss.backward()
    np.testing.assert_array_equal(x.grad.numpy(), [18, 22])
    np.testing.assert_array_equal(y.grad.numpy(), [8, 12])
    eager.sum(x * 100.0).backward()
    np.testing.assert_array_equal(x.grad.numpy(), [118, 122])
    np.testing.assert_array_equal(y.grad.numpy(), [8, 12])


def test_many_consumers_accumulate_without_touching_the_others():
    x, y = leaf(1), leaf(1)
    z = x + y
    total = z + z + z + x + x + y
    eager.sum(total + total).backward()
    assert (x.grad.item(), y.grad.item()) == (10.0, 8.0)


def test_scaling_a_gradient_in_place_changes_no_other():
    x, y = leaf(1, 2), leaf(3, 4)
    eager.sum((x + y) * 2.0).backward()
    x.grad.numpy()[...] *= 0.0
    np.testing.assert_array_equal(y.grad.numpy(), [2, 2])


def test_a_gradient_changed_in_place_does_not_spoil_later_backwards():
    x, y = tensor(1.0, requires_grad=True), tensor(2.0, requires_grad=True)
    (x + y).backward()
    x.grad.numpy()[...] = 0.0
    w = tensor(3.0, requires_grad=True)
    (w * 2.0).backward()
    assert w.grad.item() == 2.0


def test_arrays_given_are_used_not_copied_and_not_changed():
    array = np.ones(3, "float32")
    x = tensor(array, requires_grad=True)
    assert x.numpy() is array
    for _ in range(2):
        eager.sum(eager.relu(x) + x * x).backward()
    np.testing.assert_array_equal(array, 1)
    strided = np.arange(6.0).reshape(2, 3).T
    np.testing.assert_array_equal((tensor(strided) * 1.0).numpy(), strided)


def test_updates_change_the_tensor_itself():
    w = leaf(1, 2)
    with no_grad():
        same = eager.assign_sub(w, tensor([0.5, 0.5]))
        assert same is w
        np.testing.assert_array_equal(w.numpy(), [0.5, 1.5])
        eager.assign(w, 7.0)
    np.testing.assert_array_equal(w.numpy(), [7, 7])


# ----- memory -----------------------------------------------------------------------------------


def _training_step(x, device):
    hidden = eager.tanh(x * 2.0 + 1.0)
    loss = eager.sum(hidden * hidden)
    (gradient,) = eager.gradients(loss, [x])
    return gradient


def test_blocks_come_back_to_the_pool():
    device = Device("cpu")
    array = np.ones(POOLED_BYTES, "float32")
    x = tensor(array, requires_grad=True, device=device)
    held = []
    for _ in range(6):
        gradient = _training_step(x, device)
        held.append(device.pool.held_bytes)
    assert held[0] > 0
    assert held[1:] == [held[1]] * 5
    assert held[1] <= held[0] + array.nbytes
    del gradient
    gc.collect()
    device.pool.clear()
    assert device.pool.held_bytes == 0


def test_a_block_in_use_is_not_handed_out_again():
    pool = BufferPool()
    wanted = spec((100,), "float32")
    first = pool.take(wanted)
    view = first[10:20].reshape(2, 5)
    first[...] = 3
    del first
    second = pool.take(wanted)
    second[...] = 4
    assert not np.shares_memory(view, second)
    np.testing.assert_array_equal(view, 3)
    address = view.ctypes.data - 40
    del view
    third = pool.take(wanted)
    assert third.ctypes.data == address and third.ctypes.data % 64 == 0
    assert pool.held_bytes == 800


def test_scratch_of_like_sizes_shares_a_block():
    pool = BufferPool()
    for nbytes in (900_000, 1_000_000, 1 << 20, 600_000):
        scratch = pool.take_scratch(nbytes)
        assert scratch.nbytes == nbytes and scratch.ctypes.data % 64 == 0
        scratch[...] = 1
        del scratch
    assert pool.held_bytes == 1 << 20
    both = pool.take_scratch(600_000), pool.take_scratch(700_000)
    assert not np.shares_memory(*both)


def test_an_idle_block_of_up_to_twice_the_size_is_used_again():
    pool = BufferPool()
    large = pool.take(spec((LENDING_BYTES // 2,), "float32"))
    busy = pool.take(spec((LENDING_BYTES // 4,), "float32"))
    address = large.ctypes.data
    assert pool.held_bytes == 3 * LENDING_BYTES
    del large
    second = pool.take(spec((LENDING_BYTES // 4,), "float32"))
    assert second.ctypes.data == address and not np.shares_memory(second, busy)
    # In use now, whatever its size: neither size is handed the same block.
    again = pool.take(spec((LENDING_BYTES // 2,), "float32"))
    assert not np.shares_memory(second, again)
    del again
    small = pool.take(spec((LENDING_BYTES // 4 - 1,), "float32"))
    assert small.nbytes == LENDING_BYTES - 4
    assert pool.held_bytes == 5 * LENDING_BYTES + small.nbytes


@pytest.mark.parametrize("keep_tape", [False, True])
def test_a_released_tape_frees_its_memory_while_the_result_lives(keep_tape):
    device = Device("cpu")
    x = tensor(np.ones(POOLED_BYTES, "float32"), requires_grad=True, device=device)
    y = x
    for _ in range(10):
        y = eager.tanh(y)
    loss = eager.sum(y)
    del y
    loss.backward(keep_tape=keep_tape)
    held = device.pool.held_bytes
    taken = [device.pool.take(x.spec) for _ in range(10)]
    assert (device.pool.held_bytes > held) == keep_tape
    assert len(taken) == 10 and loss.requires_grad


def test_without_the_pool_results_are_the_same():
    array = np.linspace(-1, 1, POOLED_BYTES).astype("float32")
    results = []
    for pooled in (True, False):
        device = Device("cpu", pooled=pooled)
        x = tensor(array, requires_grad=True, device=device)
        results.append(_training_step(x, device).numpy().copy())
        assert (device.pool.held_bytes > 0) == pooled
    np.testing.assert_array_equal(*results)


def test_numbers_in_a_loop_are_not_kept_for_ever():
    device = Device("cpu")
    x = tensor([1.0], device=device)
    for number in range(5000):
        x * (1.0 / (number + 1))
    assert len(device.constants) < 5000


# ----- numbers and dtypes -----------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "number", [2, 2.5, np.float64(2.5), np.float32(2.5), np.int64(2), True], ids=repr
)
def test_numbers_adopt_the_dtype_of_a_float_tensor(number, dtype):
    x = tensor(np.ones(2, dtype))
    if number is True:
        number = 1
    for result in (x * number, number * x, x + number, number - x, x / number, number / x):
        assert result.dtype == dtype == str(result.numpy().dtype)
    expected = np.ones(2, dtype) - np.asarray(number, dtype)
    np.testing.assert_array_equal((x - number).numpy(), expected)


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_numbers_adopt_the_dtype_of_an_integer_tensor(dtype):
    x = tensor(np.array([1, 2], dtype))
    for number in (3, np.int64(3), np.int32(3)):
        result = x * number
        assert result.dtype == dtype
        np.testing.assert_array_equal(result.numpy(), [3, 6])


def test_division_of_integers_is_refused_by_the_shape_rule():
    with pytest.raises(ShapeError, match="divide expected"):
        tensor([4, 6]) / tensor([2, 3])


def test_negative_zero_is_its_own_number():
    x = tensor([1.0])
    assert not np.signbit((x * 0.0).numpy()[0])
    assert np.signbit((x * -0.0).numpy()[0])


def test_arrays_beside_tensors_keep_their_shape():
    x = tensor(np.array(3.0))
    result = x * np.array(2.0)
    assert result.numpy().shape == result.shape == ()
    assert result.item() == 6.0
    y = tensor(np.ones((2, 3)))
    np.testing.assert_array_equal((np.arange(3.0) * y).numpy(), [[0, 1, 2]] * 2)
    np.testing.assert_array_equal((y * np.arange(6.0).reshape(3, 2).T).numpy()[0], [0, 2, 4])


def test_python_data_becomes_float32_and_int64():
    assert tensor([1.5, 2.0]).dtype == "float32"
    assert tensor(2).dtype == "int64"
    assert tensor([True]).dtype == "bool"
    assert tensor(np.float64(1)).dtype == "float64"
    assert tensor([1, 2], dtype="float64").dtype == "float64"


@pytest.mark.parametrize("wrong", ["2", None, object()])
def test_other_objects_are_refused(wrong):
    with pytest.raises(OperandError, match="expected a tensor, an array or a number"):
        eager.add(tensor([1.0]), wrong)


def test_plain_numbers_alone_decide_no_engine():
    with pytest.raises(OperandError, match="at least one tensor"):
        eager.add(1.0, 2.0)


# ----- hooks, devices, mixing -------------------------------------------------------------------


class Log:
    def __init__(self):
        self.events = []

    def before(self, primitive, specs):
        self.events.append(("before", primitive.name, specs))

    def after(self, primitive, specs, result):
        self.events.append(("after", primitive.name, result))


def test_hooks_see_every_call_before_and_after():
    device, log = Device("cpu"), Log()
    x = tensor([1.0, 2.0], requires_grad=True, device=device)
    x * x
    device.hooks.append(log)
    y = eager.tanh(x * x)
    assert [event[:2] for event in log.events] == [
        ("before", "multiply"),
        ("after", "multiply"),
        ("before", "tanh"),
        ("after", "tanh"),
    ]
    assert log.events[0][2] == (x.spec, x.spec)
    assert log.events[3][2] is y
    eager.sum(y).backward()
    assert ("before", "broadcast_to") in [event[:2] for event in log.events]
    device.hooks.clear()
    count = len(log.events)
    x * x
    assert len(log.events) == count


def test_two_hooks_nest():
    device, order = Device("cpu"), []

    class Named:
        def __init__(self, name):
            self.name = name

        def before(self, *arguments):
            order.append(f"before {self.name}")

        def after(self, *arguments):
            order.append(f"after {self.name}")

    device.hooks += [Named("a"), Named("b")]
    tensor([1.0], device=device) * 2.0
    assert order == ["before a", "before b", "after b", "after a"]


def test_tensors_of_two_devices_do_not_mix():
    one, other = Device("cpu"), Device("cpu")
    with pytest.raises(OperandError, match="one device"):
        tensor([1.0], device=one) + tensor([1.0], device=other)


def test_truth_length_and_numbers_of_a_tensor():
    assert bool(tensor([1.0]) > tensor([0.0]))
    assert float(tensor(2.5)) == 2.5 and len(tensor([1, 2, 3])) == 3
    with pytest.raises(TypeError, match="scalar"):
        len(tensor(1.0))
    assert repr(tensor([1.0])) == "tensor([1.], dtype=float32)"
    assert repr(leaf(1)).endswith("requires_grad=True)")


@pytest.mark.parametrize("function", ["transpose", "sum", "bias_add"])
def test_axes_out_of_range_are_refused(function):
    x = tensor(np.ones((2, 3), "float32"))
    with pytest.raises(ShapeError, match="ax"):
        if function == "transpose":
            eager.transpose(x, (5, 0))
        elif function == "sum":
            eager.sum(x, (2,))
        else:
            eager.bias_add(x, tensor([1.0, 2.0, 3.0]), axis=7)


def test_window_arguments_may_be_lists():
    x, w = tensor(np.ones((1, 1, 4, 4), "float32")), tensor(np.ones((1, 1, 3, 3), "float32"))
    assert eager.conv2d(x, w, stride=[1, 1], padding=[[1, 1], [0, 0]]).shape == (1, 1, 4, 2)
    assert eager.max_pool2d(x, [2, 2]).shape == (1, 1, 2, 2)


def test_the_vocabulary_counts_random_sites_anew_each_step():
    ops = EagerVocabulary(Device("cpu"), seed=1)
    ops.begin_step(0)
    first = [ops.random_uniform((4,)).numpy() for _ in range(2)]
    ops.begin_step(0)
    again = [ops.random_uniform((4,)).numpy() for _ in range(2)]
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first[0], first[1])


def test_both_engines_export_the_same_operations():
    shared = set(eager.__all__) - {"Tensor", "check_nan", "no_grad", "tensor"}
    assert shared <= set(static.__all__)


# ----- looking for NaNs -------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_nan_names_its_line_while_somebody_looks():
    x = eager.tensor([4.0, -1.0], requires_grad=True)
    with eager.check_nan(), pytest.raises(NanError, match=r"sqrt made a NaN") as caught:
        eager.sqrt(x)
    assert f"test_eager.py:{sys._getframe(0).f_lineno - 1}" in str(caught.value)
    assert np.isnan(eager.sqrt(x).numpy()[1]), "nobody looks any more"


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_nan_of_the_backward_pass_is_found_too():
    x = eager.tensor([0.0], requires_grad=True)
    y = eager.sum(eager.multiply(eager.sqrt(x), 0.0))
    with eager.check_nan(), pytest.raises(NanError):
        y.backward()


def test_looking_for_nans_changes_no_result():
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((3, 3), dtype=np.float32) for _ in range(2)]

    def gradients():
        a, b = (eager.tensor(each, requires_grad=True) for each in arrays)
        eager.sum(eager.tanh(eager.matmul(a, b)) * b).backward()
        return a.grad.numpy(), b.grad.numpy()

    plain = gradients()
    with eager.check_nan():
        watched = gradients()
    for one, other in zip(plain, watched, strict=True):
        np.testing.assert_array_equal(one, other)
