"""The same three mistakes in NumPy, with the gradient by hand."""

import numpy as np


def wrong_shape():
    x = np.ones((4, 3), "float32")
    w = np.ones((4, 2), "float32")
    x @ w  # wrong_shape


def nan():
    x = np.ones(3, "float32")
    y = x - 2.0
    root = np.sqrt(y)  # nan
    loss = np.sum(root * root)
    return loss, 2 * root * (0.5 / root)


def missing_feed():
    def loss(x, scale):
        return np.sum(x * scale)

    loss(np.ones(3, "float32"))  # missing_feed
