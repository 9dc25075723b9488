"""Kernel text compiles for every architecture that is served, and spills nothing."""

from __future__ import annotations

import pytest
import texts
from compiled_texts import costs_of

from benchctl_engines.devices.cuda import compiler, libraries
from benchctl_engines.gpu.driver import DeviceError

ARCHITECTURES = (75, 80, 90, 100)

pytestmark = pytest.mark.skipif(
    compiler.load_nvrtc() is None, reason="no NVRTC: pip install nvidia-cuda-nvrtc"
)

TEXT = """
extern "C" __global__ void __launch_bounds__(256) scale(float* y, const float* x, float a, int n) {
    __shared__ float s[256];
    int i = blockIdx.x * 256 + threadIdx.x;
    s[threadIdx.x] = i < n ? x[i] : 0;
    __syncthreads();
    if (i < n) y[i] = a * s[255 - threadIdx.x];
}
extern "C" __global__ void second(double* y) { y[threadIdx.x] = 1; }
"""
SPILLING = """
extern "C" __global__ void __launch_bounds__(1024, 2) greedy(float* y, const float* x) {
    float kept[96];
    #pragma unroll
    for (int i = 0; i < 96; i++) kept[i] = x[i * 1024 + threadIdx.x];
    #pragma unroll
    for (int j = 0; j < 48; j++) {
        float total = 0;
        #pragma unroll
        for (int i = 0; i < 96; i++) total += kept[i] * kept[(i * j) % 96];
        y[j * 1024 + threadIdx.x] = total;
    }
}
"""


def spills(text, architecture):
    """The kernels of a text that do not fit into the registers."""
    costs = costs_of(text, architecture)
    return [f"{each.name}: {each.spill_bytes} bytes" for each in costs if each.spill_bytes]


@pytest.mark.parametrize(
    "architecture",
    [pytest.param(each, marks=() if each == 90 else pytest.mark.slow) for each in ARCHITECTURES],
)
@pytest.mark.parametrize(
    ("name", "text"), [pytest.param(*each, id=each[0]) for each in texts.all_texts()]
)
def test_text_compiles_and_spills_nothing(name, text, architecture):
    assert not spills(text, architecture)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_machine_code_and_costs_come_back(architecture):
    made = compiler.compile_cubin(TEXT, architecture)
    assert made.cubin[:4] == b"\x7fELF"
    costs = {each.name: each for each in made.kernels}
    assert set(costs) == {"scale", "second"}
    assert costs["scale"].shared_bytes >= 1024 and costs["second"].shared_bytes < 1024
    assert all(0 < each.registers < 256 and each.spill_bytes == 0 for each in made.kernels)


def test_spills_are_seen():
    assert spills(SPILLING, 90)


def test_an_error_has_the_line():
    with pytest.raises(DeviceError, match=r'kernel.cu\(3\).*"nonsense"'):
        compiler.compile_cubin('extern "C" __global__ void k() {\n\nnonsense; }', 90)


def test_half_precision_has_its_header():
    if not libraries.include_folders():
        pytest.skip("no CUDA headers: pip install nvidia-cuda-runtime")
    body = "y[0] = __hadd(y[0], y[1]);"
    text = f'#include <cuda_fp16.h>\nextern "C" __global__ void k(__half* y) {{ {body} }}'
    assert compiler.compile_cubin(text, 90).kernels[0].name == "k"


def test_without_nvrtc_the_error_names_the_package(monkeypatch):
    compiler.load_nvrtc.cache_clear()
    with monkeypatch.context() as patched:
        patched.setattr(libraries, "library_candidates", lambda *_: ["/nowhere/libnvrtc.so.13"])
        with pytest.raises(DeviceError, match="pip install nvidia-cuda-nvrtc"):
            compiler.compile_cubin(TEXT, 90)
        assert compiler.nvrtc_version() is None
    compiler.load_nvrtc.cache_clear()
    assert compiler.nvrtc_version() is not None
