"""Short intervals for receivers and senders that run in the test's own process."""

import pytest

from receiver.connections import outbox, server
from receiver.processing import workers
from receiver.stores.journal import committer
from receiver.streams import registry
from sender import retry
from sonoduct.runtime import metrics


@pytest.fixture(autouse=True)
def _short_intervals(monkeypatch):
    """Shorten the intervals that a test would only wait for; each test sets its own time limits."""
    monkeypatch.setattr(outbox, "INTERVAL_S", 0.05)
    monkeypatch.setattr(server, "CHECK_S", 0.02)
    monkeypatch.setattr(committer, "GROUP_S", 0.05)
    monkeypatch.setattr(workers, "WATCH_INTERVAL_S", 0.05)
    monkeypatch.setattr(registry, "SWEEP_INTERVAL_S", 0.05)
    monkeypatch.setattr(retry, "FIRST_S", 0.02)
    monkeypatch.setattr(metrics, "FRESH_S", 0.0)
