"""Series of stored runs: how fast a case was over time, where that changed, and since when."""
