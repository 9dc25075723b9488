"""Read-only checks of the machine, each with a hint."""
