"""Where memory comes from and which threads run."""
