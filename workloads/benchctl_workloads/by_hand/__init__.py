"""One step of each workload in plain NumPy, gradients derived by hand."""
