"""A GPU for tests: the same kernel text on the CPU, and CUDA's rules of memory and capture."""

from .clock import Clock
from .driver import EmulatedDriver
from .module import CompileError, build_library

__all__ = ["Clock", "CompileError", "EmulatedDriver", "build_library"]
