"""From samples to processors."""
