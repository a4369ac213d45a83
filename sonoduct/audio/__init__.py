"""Samples: to and from bytes, chunks, recordings and files."""
