"""How each operation is computed: destination-passing kernels, chosen by device and shape."""
