"""The same three mistakes in PyTorch."""

import torch


def wrong_shape():
    x = torch.ones(4, 3)
    w = torch.ones(4, 2, requires_grad=True)
    x @ w  # wrong_shape


def nan():
    with torch.autograd.set_detect_anomaly(True):
        x = torch.ones(3, requires_grad=True)
        y = x - 2.0
        root = torch.sqrt(y)  # nan
        torch.sum(root * root).backward()


def missing_feed():
    def loss(x, scale):
        return torch.sum(x * scale)

    loss(torch.ones(3))  # missing_feed
