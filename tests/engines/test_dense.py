"""Small batches times large matrices: any batch and size, on any number of threads."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchctl_engines.kernels.dense_product import DenseShape, prepare_dense
from benchctl_engines.kernels.workspace import aligned_memory

GUARD_BYTES = 4096


def run_dense(batch, depth, columns, transposed, *, threads=2, relu=False, seed=0):
    """(result, oracle in double precision) of one product with a bias, in guarded memory."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((batch, depth), dtype="float32")
    w = rng.standard_normal((depth, columns), dtype="float32")
    bias = rng.standard_normal(columns, dtype="float32")
    floor = np.float32(0 if relu else -np.inf)
    shape = DenseShape(batch, depth, columns, transposed, single=True)
    prepared = prepare_dense(shape, floor, threads, biased=True)
    # NaN all around: what is read outside the workspace, or before it is written, shows.
    memory = aligned_memory(prepared.workspace_bytes + 2 * GUARD_BYTES)
    memory[:] = 255
    workspace = memory[GUARD_BYTES:-GUARD_BYTES]
    out = np.full((batch, columns), np.nan, np.float32)
    prepared.run(out, x, np.ascontiguousarray(w.T) if transposed else w, bias, workspace)
    assert (memory[:GUARD_BYTES] == 255).all()
    assert (memory[-GUARD_BYTES:] == 255).all()
    return out, np.maximum(x.astype(float) @ w.astype(float) + bias, floor)


@pytest.mark.parametrize("transposed", [False, True])
@settings(max_examples=25, deadline=None)
@given(st.integers(1, 24) | st.just(1), st.integers(64, 300), st.integers(64, 200), st.booleans())
def test_any_batch_and_size(transposed, batch, depth, columns, relu):
    out, wanted = run_dense(batch, depth, columns, transposed, relu=relu)
    assert np.linalg.norm(out - wanted) <= 4e-6 * np.linalg.norm(wanted) + 1e-6


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("batch", [1, 3, 8, 13])
def test_the_result_does_not_depend_on_the_number_of_threads(batch, transposed):
    # More than one block of the depth, and columns that the last panel shares.
    sizes = (batch, 8219, 70, transposed)
    one, wanted = run_dense(*sizes, threads=1)
    assert np.allclose(one, wanted, rtol=1e-4, atol=1e-3)
    for threads in (2, 5):
        assert np.array_equal(run_dense(*sizes, threads=threads)[0], one)
