"""What each operation means: shape rule, declared saves, pullback."""
