"""The names of the formats, for options and messages; nothing is imported to list them."""

from __future__ import annotations

AUTO = "auto"
IMPORT_FORMATS = ("pyperf", "pytest-benchmark", "asv", "google-benchmark", "hyperfine")
EXPORT_FORMATS = ("pyperf", "github", "bencher", "csv")
