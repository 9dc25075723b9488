"""Kernels of convolutions leave registers for enough blocks of threads to hide memory behind."""

from __future__ import annotations

import pytest
from compiled_texts import costs_of
from texts_products import product_texts

from benchctl_engines.devices.cuda import compiler

pytestmark = pytest.mark.skipif(
    compiler.load_nvrtc() is None, reason="no NVRTC: pip install nvidia-cuda-nvrtc"
)

# Of 65,536 registers of a multiprocessor: seven blocks of 128 threads, or more of fewer registers.
BUDGET = 72
TEXTS = [pytest.param(text, id=name) for name, text in product_texts()]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("architecture", [75, 80, 90, 100])
def test_registers_stay_within_a_budget(text, architecture):
    for kernel in costs_of(text, architecture):
        assert kernel.registers <= BUDGET, f"{kernel.name}: {kernel.registers}"
        assert not kernel.spill_bytes, f"{kernel.name}: {kernel.spill_bytes} bytes"
