"""One stream over all of its connections."""
