"""A user's ONNX model as a workload: reading the file, translating its nodes, the workload."""
