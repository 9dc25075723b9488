"""Training that is watched rather than timed: epochs, checkpoints, pictures."""
