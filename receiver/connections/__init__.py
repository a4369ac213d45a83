"""From a socket to messages, and back."""
