"""What runs beside the connections for as long as the receiver does."""

import asyncio

from structlog.testing import capture_logs

from receiver import service


async def test_a_background_task_that_fails_is_started_again(monkeypatch):
    """Its failure has a line at once; without it no hanging processor would be cut off any more."""
    monkeypatch.setattr(service, "AGAIN_S", 0.0)
    runs = asyncio.Queue()

    async def work():
        runs.put_nowait(1)
        if runs.qsize() < 3:
            raise RuntimeError("can't start new thread")
        await asyncio.Event().wait()

    async def over():
        """Has nothing to do, as in a store that keeps nothing."""

    with capture_logs() as logs:
        async with service._background([work, over]):
            async with asyncio.timeout(5):
                while runs.qsize() < 3:
                    await asyncio.sleep(0)

    assert ["background_task_failed"] * 2 == [line["event"] for line in logs]
