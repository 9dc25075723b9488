"""Define and run: operations record a graph, a session optimises and executes it."""
