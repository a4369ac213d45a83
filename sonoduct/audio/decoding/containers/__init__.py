"""Reading containers without a decoder: their kind, where audio begins and ends, and damage."""
