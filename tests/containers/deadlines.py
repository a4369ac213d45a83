"""Waits with a time limit."""

import time

EVERY_S = 0.2


def until(read, good, within, what):
    """Call *read* until *good* accepts its result, for at most *within* seconds; return it."""
    deadline = time.monotonic() + within
    while not good(value := read()):
        assert time.monotonic() < deadline, f"{what}: {value} after {within} s"
        time.sleep(EVERY_S)
    return value
