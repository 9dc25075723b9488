"""Workers, samples, verification, memory and environment."""
