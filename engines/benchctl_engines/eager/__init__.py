"""Define by run: operations execute when they are called."""
