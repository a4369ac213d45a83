"""Senders that run in the test's own event loop."""

import sender

PATIENCE_S = 15
"""The seconds that a stream tries without progress: less than a test's time limit."""


def connected(url, *, registry=None, **settings):
    """Return a client of the receiver at *url*."""
    return sender.connect(
        url, sender.Settings(**{"patience": PATIENCE_S, **settings}), registry=registry
    )
