"""The graph of a step as a picture: SVG, DOT, Mermaid, and logs for TensorBoard."""
