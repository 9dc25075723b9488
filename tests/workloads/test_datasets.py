"""Pipelines: order, batches and memory against plain indexing; threads that always end."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchctl_workloads.datasets import Dataset, DatasetError, buffers
from benchctl_workloads.datasets.prefetch import THREAD_NAME

COUNT = 23
X = np.arange(COUNT * 3, dtype=np.float32).reshape(COUNT, 3)
LABELS = np.arange(COUNT)
quick = settings(max_examples=40, deadline=None)
ahead = pytest.mark.parametrize("prefetch", [0, 2])


def both() -> Dataset:
    return Dataset.from_arrays({"x": X, "labels": LABELS})


def numbers(count: int = COUNT) -> Dataset:
    return Dataset.from_arrays(np.arange(count))


def order_of(iteration) -> list[int]:
    """The row numbers that came, of single elements or of batches."""
    return [int(each) for (part,) in iteration for each in np.atleast_1d(part)]


def threads() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == THREAD_NAME]


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    assert threads() == []


def wait_until(condition, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.001)


# Elements and batches --------------------------------------------------------------------------


def test_elements_are_rows_as_dicts_or_tuples():
    for number, element in enumerate(both()):
        assert list(element) == ["x", "labels"]
        np.testing.assert_array_equal(element["x"], X[number])
        assert isinstance(element["labels"], np.ndarray) and element["labels"] == number
    for number, (x, label) in enumerate(Dataset.from_arrays(X, LABELS)):
        np.testing.assert_array_equal(x, X[number])
        assert label == number


@quick
@given(st.integers(0, 40), st.integers(1, 45), st.booleans(), st.booleans())
def test_batches_are_slices(count, size, drop, one_by_one):
    """Gathered rows and stacked elements alike."""
    x = X[:1] + np.arange(count)[:, None]
    rows = Dataset.from_arrays(x, range(count))
    batches = (rows.map(lambda element: element) if one_by_one else rows).batch(size, drop)
    found = list(batches)
    assert batches.count == len(found) == (count // size if drop else -(-count // size))
    for number, (part, label) in enumerate(found):
        place = slice(number * size, (number + 1) * size)
        np.testing.assert_array_equal(label, np.arange(count)[place])
        np.testing.assert_array_equal(part, x[place])
    assert not drop or all(len(label) == size for _, label in found)


def test_a_batch_has_the_dtype_of_its_arrays():
    for dataset in (both(), both().map(dict)):
        batch = next(dataset.batch(4).epoch())
        assert (batch["x"].dtype, batch["labels"].dtype) == (np.float32, LABELS.dtype)
        assert batch["x"].shape == (4, 3) and batch["labels"].shape == (4,)


def test_the_data_of_a_dataset_cannot_be_changed_on_the_way():
    def scale(element):
        element["x"] *= 2
        return element

    before = X.copy()
    with pytest.raises(DatasetError, match=r"map\(scale\) failed on element 0") as caught:
        list(both().map(scale))
    assert isinstance(caught.value.__cause__, ValueError)
    np.testing.assert_array_equal(X, before)


def test_a_mapped_array_on_disk_is_gathered_from_there(tmp_path):
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    (batch,) = next(Dataset.from_arrays(mapped).shuffle(COUNT, 1).batch(5).epoch())
    assert type(batch) is np.ndarray and {tuple(row) for row in batch} <= {tuple(row) for row in X}


# Order -----------------------------------------------------------------------------------------


@quick
@given(st.integers(0, 60), st.integers(1, 70), st.integers(0, 2**32), st.integers(1, 5))
def test_shuffling_is_a_permutation_within_the_reach_of_its_buffer(count, size, seed, epoch):
    shuffled = numbers(count).shuffle(size, seed)
    order = order_of(shuffled.epoch(epoch))
    assert sorted(order) == list(range(count))
    assert all(number <= place + size - 1 for place, number in enumerate(order))
    assert order_of(shuffled.batch(7).epoch(epoch)) == order
    elements = numbers(count).map(tuple).shuffle(size, seed)
    assert sorted(order_of(elements.epoch(epoch))) == list(range(count))


def test_a_buffer_of_one_keeps_the_order_and_a_full_one_gives_every_order_alike():
    assert order_of(numbers().shuffle(1, 3)) == list(range(COUNT))
    shuffled = numbers(3).shuffle(3, 5)
    found: dict[tuple[int, ...], int] = {}
    for epoch in range(1, 1201):
        order = tuple(order_of(shuffled.epoch(epoch)))
        found[order] = found.get(order, 0) + 1
    assert len(found) == 6
    # 200 of each are expected, with a standard deviation of 12.9.
    assert all(140 < times < 260 for times in found.values())


def test_an_early_element_may_come_late():
    """A buffer is no window: its oldest element stays as long as it is not drawn."""
    delays = [
        place - number
        for epoch in range(1, 20)
        for place, number in enumerate(order_of(numbers(200).shuffle(10, 1).epoch(epoch)))
    ]
    assert max(delays) > 30


def test_an_epoch_depends_on_its_number_and_the_seeds_alone():
    shuffled = numbers().shuffle(8, 4)
    orders = [order_of(shuffled.epoch(epoch)) for epoch in (1, 2, 3)]
    assert len({tuple(order) for order in orders}) == 3
    assert order_of(shuffled.epoch(2)) == orders[1]
    assert order_of(shuffled) == orders[0]
    assert order_of(shuffled.repeat(3)) == [*orders[0], *orders[1], *orders[2]]
    assert order_of(shuffled.repeat(2).epoch(2))[:COUNT] == orders[2]
    endless = iter(shuffled.repeat())
    assert order_of(next(endless) for _ in range(2 * COUNT)) == [*orders[0], *orders[1]]
    assert order_of(numbers().shuffle(8, 5)) != orders[0]
    assert order_of(numbers().shuffle(8, [4, 1])) != orders[0]


def test_one_seed_serves_several_stages():
    """Drawing the same numbers twice would undo or repeat the first shuffle."""

    def draw(element, rng):
        return (rng.integers(1 << 40, size=1),)

    once = numbers().map(draw, 7)
    twice = numbers().map(tuple).map(draw, 7)
    assert order_of(once) != order_of(twice)
    assert order_of(once) == order_of(once)
    assert order_of(once.epoch(2)) != order_of(once)


@quick
@given(st.integers(1, 30), st.integers(1, 12), st.integers(1, 6), st.integers(1, 4), st.booleans())
def test_what_works_ahead_changes_nothing(count, buffer, batch, size, early):
    def noisy(element, rng):
        return (element[0] + rng.standard_normal(element[0].shape),)

    begin = Dataset.from_arrays(np.arange(count, dtype=float)).shuffle(buffer, 2)
    if early:
        begin = begin.prefetch(size)
    plain = begin.batch(batch).map(noisy, 9).repeat(2)
    for (wanted,), (found,) in zip(plain, plain.prefetch(size), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_an_epoch_without_elements_ends_an_endless_repeat():
    assert list(numbers(3).batch(4, drop_remainder=True).repeat()) == []


# The thread ------------------------------------------------------------------------------------


class Counting:
    """A function to map that tells how often it was called, and in which threads."""

    def __init__(self) -> None:
        self.calls = 0
        self.names: set[str] = set()

    def __call__(self, element):
        self.calls += 1
        self.names.add(threading.current_thread().name)
        return element


@pytest.mark.parametrize("size", [1, 3])
def test_a_thread_works_ahead_and_no_further_than_told(size):
    counting = Counting()
    with numbers().map(counting).prefetch(size).epoch() as elements:
        assert threads() == [] and counting.calls == 0
        for taken in range(1, 5):
            next(elements)
            wait_until(lambda taken=taken: counting.calls == taken + size)
        time.sleep(0.02)
        assert counting.calls == 4 + size
        assert counting.names == {THREAD_NAME} and len(threads()) == 1


def test_without_prefetch_there_is_no_thread():
    counting = Counting()
    assert len(list(numbers().map(counting).prefetch(0))) == COUNT
    assert counting.names == {threading.current_thread().name}


@ahead
def test_an_error_comes_after_the_elements_before_it_and_with_its_cause(prefetch):
    def decode(element):
        if element[0] == 3:
            raise OSError("the disk is gone")
        return element

    found = []
    with pytest.raises(DatasetError) as caught:
        for element in numbers().map(decode).batch(1).prefetch(prefetch):
            found.append(int(element[0][0]))
    assert found == [0, 1, 2]
    assert str(caught.value) == "map(decode) failed on element 3: OSError: the disk is gone"
    assert isinstance(caught.value.__cause__, OSError)
    # Held by its traceback, the pipeline has ended none the less.
    assert threads() == []


def test_an_error_after_a_thread_ends_that_thread():
    def refuse(element):
        raise ValueError("no")

    with pytest.raises(DatasetError) as caught:
        list(numbers().prefetch(2).map(refuse))
    assert threads() == [] and caught.value.__cause__ is not None


def leave_a_loop(dataset):
    for _ in dataset:
        break


def leave_a_context(dataset):
    with dataset.epoch() as elements:
        next(elements)


def close_it(dataset):
    elements = iter(dataset)
    next(elements)
    elements.close()
    elements.close()
    assert list(elements) == []


def forget_it(dataset):
    elements = iter(dataset)
    next(elements)
    del elements
    gc.collect()


def fail_beside_it(dataset):
    with pytest.raises(KeyboardInterrupt), dataset.epoch() as elements:
        next(elements)
        raise KeyboardInterrupt


def never_begin(dataset):
    iter(dataset)
    iter(dataset).close()


@pytest.mark.parametrize(
    "leave", [leave_a_loop, leave_a_context, close_it, forget_it, fail_beside_it, never_begin]
)
@pytest.mark.parametrize("stages", ["one", "nested", "repeated"])
def test_a_consumer_who_stops_early_leaves_no_thread(leave, stages):
    dataset = numbers().batch(2).prefetch(1)
    if stages == "nested":
        dataset = dataset.map(tuple).prefetch(3)
    if stages == "repeated":
        dataset = dataset.repeat().map(tuple)
    leave(dataset)
    assert threads() == []


def test_closing_waits_for_the_element_that_is_being_made():
    began, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    def slow(element):
        if element[0] == 1:
            began.set()
            may_end.wait(20)
            ended.set()
        return element

    elements = iter(numbers().map(slow).prefetch(1))
    next(elements)
    began.wait(20)
    closing = threading.Thread(target=elements.close)
    closing.start()
    closing.join(0.02)
    assert closing.is_alive()
    may_end.set()
    closing.join(20)
    assert ended.is_set() and not closing.is_alive()


UNFINISHED = """
import numpy as np
from benchctl_workloads.datasets import Dataset

batches = iter(Dataset.from_arrays(np.arange(100)).batch(2).map(tuple).repeat().prefetch(2))
print(next(batches)[0].sum())
"""


def test_a_program_that_leaves_an_iteration_open_ends():
    """Also one whose thread is then between two elements."""
    done = subprocess.run(
        [sys.executable, "-c", UNFINISHED], capture_output=True, text=True, timeout=60, check=True
    )
    assert (done.stdout.strip(), done.stderr) == ("1", "")


# Memory ----------------------------------------------------------------------------------------


def places(dataset: Dataset) -> set[int]:
    """Where the batches of a consumer who keeps none of them lie."""
    found = set()
    for batch in dataset:
        found.add(batch[0].ctypes.data)
        del batch
    return found


@pytest.mark.parametrize("one_by_one", [False, True])
def test_a_batch_nobody_holds_gives_its_memory_to_a_later_one(one_by_one):
    begin = numbers(600).map(tuple) if one_by_one else numbers(600)
    batches = begin.batch(3)
    assert batches.count == 200
    assert len(places(batches)) == 1
    assert len(places(batches.repeat(2).shuffle(4, 0))) <= 16
    assert len(places(batches.map(tuple).prefetch(2))) <= 6


def assert_kept_batches_are_right() -> None:
    """Whole ones, and a view of one row."""
    dataset = Dataset.from_arrays(X).batch(4).prefetch(1)
    kept = list(dataset)
    np.testing.assert_array_equal(np.concatenate([each for (each,) in kept]), X)
    rows = [batch[0] for (batch,) in dataset]
    np.testing.assert_array_equal(rows, X[::4])


def test_a_batch_that_is_kept_is_not_overwritten():
    assert_kept_batches_are_right()


def test_memory_that_is_given_away_too_early_would_be_found(monkeypatch):
    def careless(self, rows):
        if not self._owners:
            self._owners.append(np.empty(self._shape, self._dtype))
        return self._owners[0][:rows]

    monkeypatch.setattr(buffers.Buffers, "take", careless)
    with pytest.raises(AssertionError):
        assert_kept_batches_are_right()


def test_a_consumer_who_keeps_many_batches_frees_them_by_letting_go():
    count = 2 * buffers.MOST_KEPT
    iteration = iter(numbers(count).batch(1))
    owners = [next(iteration)[0].base for _ in range(count)]
    references = [sys.getrefcount(owner) for owner in owners]
    nobody_else = sys.getrefcount(owners[0])
    # The pipeline watches the last ones.
    mine, watched = references[: -buffers.MOST_KEPT], references[-buffers.MOST_KEPT :]
    assert set(watched) == {mine[0] + 1} and len(set(mine)) == 1 and nobody_else <= mine[0]


# What is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Dataset.from_arrays(), "at least one array, received none"),
        (lambda: Dataset.from_arrays(X, LABELS[:-1]), r"shapes \[23, 3\], \[22\]"),
        (lambda: Dataset.from_arrays(np.float32(1)), r"the same number of rows, .* \[\]"),
        (
            lambda: numbers().shuffle(0, 1),
            "shuffle expected a buffer size of 1 or more, received 0",
        ),
        (lambda: numbers().shuffle(4, -1), "a seed of whole numbers from 0, received -1"),
        (lambda: numbers().map(tuple, 1.5), "map expected a seed of whole numbers"),
        (lambda: numbers().batch(2.0), "batch expected a size of 1 or more, received 2.0"),
        (lambda: numbers().repeat(0), "repeat expected a count of 1 or more"),
        (lambda: numbers().prefetch(-1), "prefetch expected a buffer size of 0 or more"),
        (lambda: numbers().epoch(0), "epoch expected a number of 1 or more"),
        (lambda: list(numbers().map(lambda each: each[0])), "a tuple of arrays, received ndarray"),
        (
            lambda: list(numbers().map(lambda e: (np.zeros(int(e[0]) // 2),)).batch(2)),
            r"like the first, \(float64\[0\]\), received \(float64\[1\]\) as element 2",
        ),
    ],
)
def test_what_cannot_be_is_refused_with_what_was_received(make, words):
    with pytest.raises(DatasetError, match=words):
        make()
