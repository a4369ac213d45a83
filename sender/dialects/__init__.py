"""Servers of other kinds that can be sent to."""
