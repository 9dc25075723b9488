"""Input pipelines over NumPy arrays: shuffle, map, batch, repeat, and a thread that works ahead.

from benchctl_workloads.datasets import Dataset

batches = Dataset.from_arrays({"x": x, "labels": y}).shuffle(10_000, seed=0).batch(64).prefetch(2)
for epoch in range(1, 11):
    for batch in batches.epoch(epoch):
        ...
"""

from .dataset import Dataset, Iteration
from .elements import DatasetError

__all__ = ["Dataset", "DatasetError", "Iteration"]
