"""One file a claim, in the order of the lecture's list in `benchctl.claims.catalogue`."""
