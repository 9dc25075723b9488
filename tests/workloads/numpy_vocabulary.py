"""The vocabulary's forward operations in a few lines of NumPy, slow and plain: an oracle."""

import numpy as np


def _channels_last(x, layout):
    return x if layout == "NHWC" else x.transpose(0, 2, 3, 1)


def _back(y, layout):
    return y if layout == "NHWC" else y.transpose(0, 3, 1, 2)


class NumpyVocabulary:
    """What `program` needs of `ops`, on NumPy arrays."""

    def add(self, a, b):
        return a + b

    def multiply(self, a, b):
        return a * b

    def sum(self, x):
        return np.sum(x)

    def relu(self, x):
        return np.where(x > 0, x, 0)

    def reshape(self, x, shape):
        return np.reshape(x, shape)

    def matmul(self, a, b):
        return np.einsum("nk,km->nm", a, b)

    def bias_add(self, x, b, axis=-1):
        shape = [1] * x.ndim
        shape[axis] = b.size
        return x + b.reshape(shape)

    def conv2d(self, x, w, stride=(1, 1), padding=((0, 0), (0, 0)), layout="NCHW"):
        images = np.pad(_channels_last(x, layout), ((0, 0), *padding, (0, 0)))
        filters = w if layout == "NHWC" else w.transpose(2, 3, 1, 0)  # R S C K
        R, S, _, K = filters.shape
        P = (images.shape[1] - R) // stride[0] + 1
        Q = (images.shape[2] - S) // stride[1] + 1
        y = np.zeros((len(images), P, Q, K), x.dtype)
        for p in range(P):
            for q in range(Q):
                top, left = p * stride[0], q * stride[1]
                window = images[:, top : top + R, left : left + S]
                y[:, p, q] = np.tensordot(window, filters, axes=3)
        return _back(y, layout)

    def max_pool2d(self, x, window=(2, 2), layout="NCHW"):
        images = _channels_last(x, layout)
        N, H, W, C = images.shape
        R, S = window
        y = images.reshape(N, H // R, R, W // S, S, C).max(axis=(2, 4))
        return _back(y, layout)

    def mean(self, x, axes=None, keepdims=False):
        return np.mean(x, axis=axes, keepdims=keepdims)

    def tanh(self, x):
        return np.tanh(x)

    def greater(self, a, b):
        return a > b

    def where(self, condition, a, b):
        return np.where(condition, a, b)

    def slice(self, x, starts, stops):
        return x[tuple(slice(*each) for each in zip(starts, stops, strict=True))]

    def cond(self, predicate, then, otherwise, operands=()):
        return (then if predicate else otherwise)(*operands)

    def scan(self, body, carry, xs):
        """For one carry, one stack and one row."""
        ys = []
        for x in xs:
            carry, y = body(carry, x)
            ys.append(y)
        return carry, np.stack(ys)

    def while_loop(self, condition, body, carry, limit=None):
        done = 0
        while done != limit and condition(carry):
            carry, done = body(carry), done + 1
        return carry

    def softmax_cross_entropy(self, logits, labels):
        probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        return -np.log(probabilities[np.arange(len(labels)), labels]).mean()


def run_program(workload, case, parameters, inputs):
    """The outputs of a program on these arrays."""
    return workload.program(NumpyVocabulary(), parameters, inputs, case)
