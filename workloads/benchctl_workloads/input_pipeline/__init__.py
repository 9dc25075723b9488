"""What preparing batches costs a training step, with and without a thread that works ahead."""
