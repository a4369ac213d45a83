"""Senders that run in the test's own loop."""

import sender

PATIENCE_S = 15
"""How long a stream goes on without progress: less than a test may take."""


def connected(url, *, registry=None, **settings):
    """A client for the receiver at *url*."""
    return sender.connect(
        url, sender.Settings(**{"patience": PATIENCE_S, **settings}), registry=registry
    )
