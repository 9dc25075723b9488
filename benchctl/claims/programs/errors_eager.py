"""The same three mistakes on the engine `eager`."""

import numpy as np

from benchctl_engines import eager as torch


def wrong_shape():
    x = torch.tensor(np.ones((4, 3), "float32"))
    w = torch.tensor(np.ones((4, 2), "float32"), requires_grad=True)
    torch.matmul(x, w)  # wrong_shape


def nan():
    with torch.check_nan():
        x = torch.tensor(np.ones(3, "float32"), requires_grad=True)
        y = x - 2.0
        root = torch.sqrt(y)  # nan
        torch.sum(root * root).backward()


def missing_feed():
    def loss(x, scale):
        return torch.sum(x * scale)

    loss(torch.tensor(np.ones(3, "float32")))  # missing_feed
