"""The lecture's claims as experiments: what is planned for each, and how a stored run decides."""
