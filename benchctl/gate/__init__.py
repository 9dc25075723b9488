"""The gate: is a revision slower than the one before it, with false alarms under control."""
