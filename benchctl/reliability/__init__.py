"""Promises of the statistics, each proved by simulating machines that disturb measurements."""
