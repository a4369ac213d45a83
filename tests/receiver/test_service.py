"""Background tasks of the receiver."""

import asyncio

from structlog.testing import capture_logs

from receiver import service


async def test_a_background_task_that_fails_is_started_again(monkeypatch):
    """The log has a line at once; without the task, no hanging processor would be cut off."""
    monkeypatch.setattr(service, "AGAIN_S", 0.0)
    runs = asyncio.Queue()

    async def work():
        runs.put_nowait(1)
        if runs.qsize() < 3:
            raise RuntimeError("can't start new thread")
        await asyncio.Event().wait()

    async def over():
        """Return at once, as the task of a memory store does."""

    with capture_logs() as logs:
        async with service._background([work, over]):
            async with asyncio.timeout(5):
                while runs.qsize() < 3:
                    await asyncio.sleep(0)

    assert ["background_task_failed"] * 2 == [line["event"] for line in logs]
