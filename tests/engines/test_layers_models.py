"""Models as descriptions: shapes, names, counts, first arrays, files, and errors that help."""

from __future__ import annotations

import math
import pickle
import sys
import types

import numpy as np
import pytest
from layer_workloads import SmallNet, discriminator, generator, steps_of

from benchctl_engines.eager.engine import make_engine as make_eager
from benchctl_engines.layers import (
    INITIALIZERS,
    Activation,
    Add,
    AveragePool2D,
    BatchNormalization,
    Concatenate,
    Conv2D,
    Conv2DTranspose,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePool2D,
    Input,
    LayerError,
    MaxPool2D,
    Model,
    Reshape,
    Sequential,
    load_arrays,
    normal,
    save_arrays,
)

# ----- shapes, names, counts ---------------------------------------------------------------------


def test_a_dcgan_counts_as_its_tutorial_says():
    """TensorFlow's tutorial on MNIST prints these numbers for its two networks."""
    maker = Sequential(
        [
            Dense(7 * 7 * 256, bias=False),
            BatchNormalization(),
            Activation("leaky_relu"),
            Reshape((7, 7, 256)),
            Conv2DTranspose(128, 5, padding="same", bias=False),
            BatchNormalization(),
            Conv2DTranspose(64, 5, 2, "same", bias=False),
            BatchNormalization(),
            Conv2DTranspose(1, 5, 2, "same", "tanh", bias=False),
        ],
        (100,),
    )
    judge = Sequential(
        [
            Conv2D(64, 5, 2, "same"),
            Dropout(0.3),
            Conv2D(128, 5, 2, "same"),
            Flatten(),
            Dense(1),
        ],
        (28, 28, 1),
    )
    assert maker.output_shapes == ((28, 28, 1),)
    assert (maker.parameter_count, judge.parameter_count) == (2_330_944, 212_865)
    trained = sum(maker.parameter_specs[name].size for name in maker.trainable)
    assert trained == 2_305_472


def test_the_rows_of_a_model_follow_closed_forms():
    model = generator()
    R = 5 * 5
    counts = [6 * 96, 4 * 96, 0, 0, 6 * 4 * R, 4 * 4, 0, 4 * 1 * R + 1]
    assert [row.parameters for row in model.rows()] == counts
    macs = [6 * 96, 0, 0, 0, 16 * 6 * 4 * R, 0, 0, 16 * 4 * 1 * R]
    assert [row.multiply_adds for row in model.rows()] == macs
    assert model.multiply_adds == sum(macs)
    shapes = [(96,), (96,), (96,), (4, 4, 6), (4, 4, 4), (4, 4, 4), (4, 4, 4), (8, 8, 1)]
    assert [row.output_shape for row in model.rows()] == shapes
    assert model.rows()[4].output_bytes(3) == 4 * 3 * 64
    (dense,) = [row for row in discriminator().rows() if row.kind == "Dense"]
    assert (dense.parameters, dense.multiply_adds) == (4 * 4 * 4 + 1, 64)


def test_multiplications_are_those_of_the_sum_as_written():
    """Counted one by one over positions and taps, "same" included."""
    for stride, padding in ((1, "valid"), ((2, 3), "same"), (2, "valid")):
        model = Sequential([Conv2D(3, (3, 2), stride, padding)], (7, 8, 2))
        P, Q, K = model.output_shapes[0]
        assert model.multiply_adds == sum(1 for _ in np.ndindex(P, Q, K, 3, 2, 2))


def test_the_summary_is_a_table():
    text = generator().summary(batch=4)
    lines = text.splitlines()
    assert lines[0] == "generator: input 6, batch 4"
    assert lines[1].split() == [
        "layer",
        "kind",
        "output",
        "parameters",
        "multiply-adds",
        "weights",
        "result",
    ]
    first = lines[3].split()
    assert first == ["dense", "Dense", "96", "576", "2,304", "2.25", "KiB", "1.5", "KiB"]
    assert "conv2d_transpose_1" in text and "8x8x1" in text
    assert lines[-2].split()[:3] == ["all", f"{generator().parameter_count:,}", "47,104"]
    assert lines[-1] == "1,477 parameters are trained, 200 are not"
    assert len({len(line) for line in (lines[2], lines[-3])}) == 1


def test_names_count_layers_of_a_kind_and_keep_those_given():
    layers = [Dense(3), Dense(3, name="dense_1"), Dense(3), Dense(3, name="head")]
    model = Sequential(layers, (3,), name="net")
    assert list(model.layers) == ["dense", "dense_1", "dense_2", "head"]
    assert list(model.parameter_specs)[:2] == ["net/dense/weight", "net/dense/bias"]
    assert list(Sequential(layers, (3,)).parameter_specs)[-1] == "head/bias"


def test_a_shared_layer_has_one_set_of_arrays():
    a, b = Input((4,)), Input((4,))
    dense = Dense(2)
    model = Model([a, b], Add()(dense(a), dense(b)))
    assert list(model.parameter_specs) == ["dense/weight", "dense/bias"]
    assert [row.parameters for row in model.rows()] == [10, 0, 0]
    assert model.multiply_adds == 16


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (Conv2D(4, 3), (9, 7, 2), (7, 5, 4)),
        (Conv2D(4, 3, 2, "same"), (9, 8, 2), (5, 4, 4)),
        (Conv2DTranspose(4, 3, 2, "same"), (9, 8, 2), (18, 16, 4)),
        (Conv2DTranspose(4, 3, 2), (9, 8, 2), (19, 17, 4)),
        (Conv2DTranspose(4, 2, 3), (9, 8, 2), (27, 24, 4)),
        (MaxPool2D(), (9, 8, 2), (4, 4, 2)),
        (AveragePool2D(3, 2, "same"), (9, 8, 2), (5, 4, 2)),
        (GlobalAveragePool2D(), (9, 8, 2), (2,)),
        (Flatten(), (9, 8, 2), (144,)),
        (Reshape((12, 12)), (9, 8, 2), (12, 12)),
    ],
)
def test_shapes_are_known_before_there_is_an_array(layer, shape, expected):
    model = Sequential([layer], shape)
    assert model.output_shapes == (expected,)
    workload = SmallNet(None, [layer], shape)
    assert steps_of(make_eager(), workload, 1)[0]["y"].shape == (4, *expected)


# ----- first arrays ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "variance", "bounded"),
    [
        ("glorot_uniform", 2 / (300 + 500), True),
        ("glorot_normal", 2 / (300 + 500), False),
        ("he_uniform", 2 / 300, True),
        ("he_normal", 2 / 300, False),
    ],
)
def test_initializers_have_the_variance_of_their_source(name, variance, bounded):
    model = Sequential([Dense(500, initializer=name)], (300,))
    weight = model.initial_parameters(np.random.default_rng(1))["dense/weight"]
    assert weight.dtype == np.float32
    assert weight.var() == pytest.approx(variance, rel=0.02)
    assert abs(weight.mean()) < 4 * math.sqrt(variance / weight.size)
    assert (np.abs(weight).max() <= math.sqrt(3 * variance)) == bounded


def test_fans_of_a_convolution_count_its_window():
    model = Sequential([Conv2D(64, 5, initializer="he_normal")], (9, 9, 32))
    weight = model.initial_parameters(np.random.default_rng(1))["conv2d/weight"]
    assert weight.shape == (5, 5, 32, 64)
    assert weight.var() == pytest.approx(2 / (32 * 25), rel=0.03)


def test_a_function_may_draw_and_others_begin_as_they_should():
    model = Sequential([Dense(200, initializer=normal(0.02)), BatchNormalization()], (300,))
    made = model.initial_parameters(np.random.default_rng(1))
    assert made["dense/weight"].std() == pytest.approx(0.02, rel=0.02)
    assert (made["dense/bias"] == 0).all()
    wanted = {"scale": 1, "shift": 0, "moving_mean": 0, "moving_variance": 1}
    for name, value in wanted.items():
        assert (made[f"batch_normalization/{name}"] == value).all()
    assert set(INITIALIZERS) >= {"zeros", "ones"}


def test_one_seed_is_one_network_in_both_layouts():
    arrays = []
    for layout in ("NHWC", "NCHW"):
        model = Sequential([Conv2D(4, (3, 2))], (9, 8, 3), layout=layout)
        arrays.append(model.initial_parameters(np.random.default_rng(3))["conv2d/weight"])
    np.testing.assert_array_equal(arrays[0].transpose(3, 2, 0, 1), arrays[1])


# ----- files -------------------------------------------------------------------------------------


@pytest.fixture(params=[".npz", ".safetensors"])
def weights(request, tmp_path):
    if request.param == ".safetensors":
        pytest.importorskip("safetensors")
    return tmp_path / f"weights{request.param}"


def drawn(model, seed=1):
    return model.initial_parameters(np.random.default_rng(seed))


def test_weights_come_back_bit_by_bit(weights):
    model = generator()
    given = drawn(model)
    model.save_weights(weights, {**given, "adam/weight_1": np.zeros((), np.float32)})
    found = model.load_weights(weights)
    assert list(found) == list(model.parameter_specs)
    for name, array in given.items():
        assert found[name].tobytes() == array.tobytes() and found[name].dtype == np.float32
    assert [each.name for each in weights.parent.iterdir()] == [weights.name]


def test_any_arrays_can_be_kept_with_the_weights(weights):
    arrays = {"file": np.ones(3, np.float32), "a/b": np.array(2.5, np.float32)}
    save_arrays(weights, arrays)
    found = load_arrays(weights)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].shape == array.shape


def test_another_model_s_weights_are_refused(weights):
    model = Sequential([Dense(3)], (4,))
    model.save_weights(weights, drawn(model))
    for other, message in (
        (
            Sequential([Dense(4)], (4,)),
            r"dense/weight as float32\[4, 4\], received float32\[4, 3\]",
        ),
        (Sequential([Dense(3, bias=False)], (4,)), "has dense/bias besides"),
        (Sequential([Dense(3, name="d")], (4,)), "lacks d/weight, d/bias and has dense/"),
    ):
        with pytest.raises(LayerError, match=message):
            other.load_weights(weights)


def test_a_layout_that_does_not_fit_is_explained(weights):
    model = Sequential([Conv2D(4, 3)], (9, 9, 2), layout="NCHW")
    model.save_weights(weights, drawn(model))
    with pytest.raises(LayerError, match="layout of the model, which is NHWC"):
        Sequential([Conv2D(4, 3)], (9, 9, 2)).load_weights(weights)


def test_a_model_is_saved_whole_or_not_at_all(weights):
    model = Sequential([Dense(3)], (4,))
    given = drawn(model)
    with pytest.raises(LayerError, match="lacks dense/bias"):
        model.save_weights(weights, {"dense/weight": given["dense/weight"]})
    with pytest.raises(LayerError, match="received float64"):
        model.save_weights(weights, {name: each.astype(float) for name, each in given.items()})
    assert not weights.exists()


def test_a_damaged_file_is_named(weights):
    model = Sequential([Dense(3)], (4,))
    model.save_weights(weights, drawn(model))
    weights.write_bytes(weights.read_bytes()[:-30])
    with pytest.raises(LayerError, match=weights.name):
        model.load_weights(weights)


class Explosive:
    """An object whose unpickling would be noticed."""

    def __reduce__(self):
        return (sys.exit, ("unpickled",))


def test_nothing_is_ever_unpickled(tmp_path):
    inside, bare = tmp_path / "inside.npz", tmp_path / "bare.npz"
    np.savez(inside, a=np.array([Explosive()], object))
    bare.write_bytes(pickle.dumps(Explosive()))
    for path in (inside, bare):
        with pytest.raises(LayerError, match="expected plain arrays"):
            load_arrays(path)


def test_other_suffixes_and_absent_files_are_refused(tmp_path):
    with pytest.raises(LayerError, match=r"ends in .npz or .safetensors, received 'w.pkl'"):
        save_arrays(tmp_path / "w.pkl", {})
    with pytest.raises(LayerError, match="not there"):
        load_arrays(tmp_path / "w.npz")


def test_a_missing_package_is_named_with_the_way_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    with pytest.raises(LayerError, match=r'pip install "benchctl\[safetensors\]".*\.npz'):
        save_arrays(tmp_path / "w.safetensors", {})
    assert not list(tmp_path.iterdir())


# ----- errors ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Dense(0), "units to be a positive whole number, received 0"),
        (lambda: Dense(2.5), "units to be a positive whole number, received 2.5"),
        (
            lambda: Dense(3, "gelu"),
            "among relu, leaky_relu, tanh, sigmoid, softmax, received 'gelu'",
        ),
        (lambda: Dense(3, initializer="xavier"), "received 'xavier'; choose"),
        (lambda: Dense(3, name="a/b"), "without '/', received 'a/b'"),
        (lambda: Conv2D(3, (1, 2, 3)), "window to be one number or two"),
        (lambda: Conv2D(3, 3, padding="full"), "valid or same, received 'full'"),
        (lambda: Conv2DTranspose(3, 3, 0), "Conv2DTranspose expected stride"),
        (lambda: MaxPool2D(-1), "MaxPool2D expected window"),
        (lambda: Dropout(1.0), "rate of at least 0 and below 1, received 1"),
        (lambda: BatchNormalization(1.5), "momentum from 0 to 1, received 1.5"),
        (lambda: BatchNormalization(epsilon=0), "epsilon above 0, received 0"),
        (lambda: Activation(""), "received 'none'"),
        (lambda: Input(()), "sizes of one example"),
        (lambda: Dense(3)(np.zeros((2, 3))), "received ndarray; arrays go through"),
        (lambda: Dense(3)(Input((2,)), Input((2,))), "expected 1 input, received 2"),
        (lambda: Sequential([Dense(3)], (4, 4, 1)), r"\(4, 4, 1\); put a Flatten before it"),
        (lambda: Sequential([Conv2D(3, 3)], (4,)), r"\(4,\); put a Reshape before it"),
        (lambda: Sequential([Conv2D(3, 5)], (4, 9, 1)), "at least 5x5, received 4x9"),
        (lambda: Sequential([Reshape((3, 3))], (8,)), "9 elements for .* with 8"),
        (lambda: Sequential([], (8,)), "at least one layer, received none"),
        (lambda: Sequential([len], (8,)), "expected layers, received builtin_function"),
        (lambda: Sequential([Dense(1)], (8,), layout="CHWN"), "NHWC or NCHW, received 'CHWN'"),
        (
            lambda: Sequential([Dense(1, name="a"), Dense(1, name="a")], (8,)),
            "received two named 'a'; rename one",
        ),
        (lambda: Concatenate()(Input((2, 3)), Input((3, 3))), r"\(2, 3\) and \(3, 3\)"),
        (lambda: Add()(Input((2,))), "two or more inputs"),
        (lambda: Model(Input((2,)), Dense(1)(Input((3,)))), r"another Input of shape \(3,\)"),
        (lambda: Model(Dense(1)(Input((2,))), Input((2,))), "inputs made by Input"),
    ],
)
def test_what_cannot_be_is_said_with_the_way_out(make, message):
    with pytest.raises(LayerError, match=message):
        make()


def test_a_shared_layer_takes_one_number_of_channels():
    a, b = Input((4,)), Input((5,))
    dense = Dense(2)
    with pytest.raises(LayerError, match=r"received shape \(5,\) after another; make a second"):
        Model([a, b], Add()(dense(a), dense(b)))


def test_a_forward_pass_names_what_is_missing():
    model = Sequential([Dense(2)], (3,), name="net")
    x = types.SimpleNamespace(shape=(1, 3))
    with pytest.raises(LayerError, match=r"'net/dense/weight', received w; pass those that"):
        model.forward(types.SimpleNamespace(matmul=None), {"w": None}, x)
    with pytest.raises(LayerError, match="expected 1 inputs, received 2"):
        model.forward(None, {}, [x, x])
