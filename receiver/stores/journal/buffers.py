"""What is left to write of several buffers."""

from __future__ import annotations

from collections.abc import Sequence

from sonoduct.wire import Buffer


def after(buffers: Sequence[Buffer], written: int) -> Sequence[Buffer]:
    """Return what is left of *buffers* behind their first *written* bytes."""
    for index, buffer in enumerate(buffers):
        if written < len(buffer):
            return [memoryview(buffer)[written:], *buffers[index + 1 :]]
        written -= len(buffer)
    return []
