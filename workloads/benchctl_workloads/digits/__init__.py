"""Images of digits, 28x28 in grey: drawn from strokes, or read from files that a user has."""
