"""Costs against counts made from the arrays and from a program that counts its products."""

import math

import numpy as np
import pytest

from benchctl_workloads import make_case
from benchctl_workloads.heads import Heads
from benchctl_workloads.layout import LAYERS, Layout
from benchctl_workloads.vgg16 import Vgg16


class Shape:
    """Stands for a tensor of this shape."""

    def __init__(self, *shape):
        self.shape = shape


class CountingVocabulary:
    """Follows shapes through a program and counts multiply-adds; nothing is computed."""

    def __init__(self):
        self.multiply_adds = 0
        self.first = 0

    def count(self, number):
        self.multiply_adds += number
        self.first = self.first or number

    def conv2d(self, x, w, padding=((0, 0), (0, 0)), layout="NCHW"):
        N, C, H, W = x.shape
        K, _, R, S = w.shape
        P, Q = H + sum(padding[0]) - R + 1, W + sum(padding[1]) - S + 1
        self.count(N * K * P * Q * C * R * S)
        return Shape(N, K, P, Q)

    def matmul(self, a, b):
        self.count(a.shape[0] * a.shape[1] * b.shape[1])
        return Shape(a.shape[0], b.shape[1])

    def max_pool2d(self, x, window, layout):
        N, C, H, W = x.shape
        return Shape(N, C, H // window[0], W // window[1])

    def reshape(self, x, shape):
        assert math.prod(shape) == math.prod(x.shape)
        return Shape(*shape)

    def bias_add(self, x, b, axis):
        assert x.shape[axis] == b.shape[0]
        return x

    def relu(self, x):
        return x

    def softmax_cross_entropy(self, logits, labels):
        assert logits.shape[0] == labels.shape[0]
        return Shape()


def counted(workload, case):
    """(multiply-adds, those of the first product, parameters, input scalars) of a real program."""
    rng = np.random.default_rng(0)
    parameters, inputs = workload.parameters(case, rng), workload.inputs(case, rng)
    ops = CountingVocabulary()
    workload.program(ops, parameters, inputs, case)
    scalars = sum(array.size for name, array in inputs.items() if name != "labels")
    sizes = sum(array.size for array in parameters.values())
    return ops.multiply_adds, ops.first, sizes, scalars


def test_vgg16_at_the_size_of_the_paper():
    cost = Vgg16().cost(make_case(Vgg16(), {}))
    assert cost.parameters == 138_357_544
    assert cost.flops == 2 * 15_470_264_320
    assert cost.bytes_moved == 4 * (138_357_544 + 3 * 224 * 224 + 1000)


@pytest.mark.parametrize("workload", [Vgg16(), Heads()], ids=["vgg16", "heads"])
@pytest.mark.parametrize("head", ["fc", "conv"])
def test_cost_against_a_count_of_the_program(workload, head):
    small = {"vgg16": {"width": 3, "image_size": 64}, "heads": {"width": 40, "channels": 6}}
    axes = {"head": head, "batch": 3, **small[workload.name]}
    case = make_case(workload, axes)
    products, first, parameters, scalars = counted(workload, case)
    cost = workload.cost(case)
    assert cost.flops == 2 * products
    assert cost.parameters == parameters
    assert cost.bytes_moved == 4 * (parameters + scalars + 3 * 1000)

    cost = workload.cost(make_case(workload, {**axes, "mode": "training"}))
    assert cost.flops == 2 * (3 * products - first) + 2 * parameters
    assert cost.bytes_moved == 4 * (2 * parameters + scalars + 1) + 3 * 8


@pytest.mark.parametrize("layer", LAYERS)
def test_cost_of_one_convolution(layer):
    workload = Layout()
    forward = make_case(workload, {"layer": layer, "image_size": 32, "batch": 2})
    products, _, parameters, scalars = counted(workload, forward)
    cost = workload.cost(forward)
    rng = np.random.default_rng(0)
    backward = make_case(workload, {**forward, "direction": "backward"})
    y_scalars = workload.inputs(backward, rng)["dy"].size
    assert (cost.flops, cost.parameters) == (2 * products, parameters)
    assert cost.bytes_moved == 4 * (scalars + parameters + y_scalars)
    cost = workload.cost(backward)
    assert cost.flops == 4 * products
    assert cost.bytes_moved == 4 * (2 * scalars + 2 * parameters + y_scalars)


def test_the_convolutions_of_the_paper_are_split_into_nine_shapes():
    expected = "conv1_1 conv1_2 conv2_1 conv2_2 conv3_1 conv3_2 conv4_1 conv4_2 conv5_1"
    assert expected.split() == list(LAYERS)
