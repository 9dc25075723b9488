"""The engines: how a workload is computed. See docs/architecture.md."""

from .blas_threads import let_blas_threads_sleep

let_blas_threads_sleep()
