"""Run records: dataclasses, the crash-safe journal, the reader."""
