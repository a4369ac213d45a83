"""When a frame of a paced stream is due."""

import pytest

from sender.pacing import Pacing


def test_deadlines_are_absolute():
    """If a chunk is late, the chunks after it are not late because of it."""
    pacing = Pacing(rate=1000.0, frame=0, now=50.0)

    assert 1.0 == pytest.approx(pacing.wait(1000, 50.0))
    assert 0.7 == pytest.approx(pacing.wait(2000, 51.3))


def test_an_overdue_frame_is_due_at_once():
    """After a pause the backlog is sent without waiting."""
    pacing = Pacing(rate=1000.0, frame=0, now=50.0)

    assert 0.0 == pacing.wait(1000, 60.0)


def test_a_resumed_stream_is_paced_from_its_offset():
    """Frames that an earlier run has sent cost no waiting."""
    pacing = Pacing(rate=1000.0, frame=5000, now=50.0)

    assert 0.5 == pytest.approx(pacing.wait(5500, 50.0))
