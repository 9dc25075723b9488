"""benchctl: measure and compare engines honestly, from the command line."""

__version__ = "0.1.0"
