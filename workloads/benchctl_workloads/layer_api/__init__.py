"""One classifier of digits, written with layers and without."""
