"""Sound to where Python computes on it: what the sender and the receiver share."""
