"""What lies between kernels and a GPU: its interface and its arrays, and nothing that runs."""
