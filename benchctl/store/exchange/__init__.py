"""Results of other tools in, ours out, and several runs as one; one file a format."""
