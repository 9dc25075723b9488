"""Graph passes, one file each: pure functions from step graph to step graph, with a report."""
