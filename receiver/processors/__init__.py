"""The processors that come with the receiver."""
