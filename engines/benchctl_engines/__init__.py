"""The engines: how a workload is computed. See docs/architecture.md."""
