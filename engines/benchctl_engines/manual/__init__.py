"""NumPy with gradients written by hand: no engine, no tape, no graph."""
