"""Streams that a test sends from its own process, so that it sees each acknowledgement."""

import asyncio
from contextlib import asynccontextmanager

from sender.sources.file import AudioFile
from tests.support.clients import connected
from tests.support.waits import PATIENCE_S, until

MICROPHONE = {"realtime": True, "chunk_frames": 400, "patience": PATIENCE_S}
"""40 chunks in each second at 16 kHz, for a stream that outlives receivers."""


class Track:
    """Sends one file after another to *url* until a test calls `leave`."""

    def __init__(self, url, files, **settings):
        """*files* yields paths without end."""
        self.sent = []
        """The path and the receipt of each stream that is complete."""
        self.url = url
        self.transfer = None
        self._files = files
        self._settings = MICROPHONE | settings
        self._leaving = False

    async def run(self):
        """Send; run this as a task."""
        async with connected(self.url, **self._settings) as client:
            while not self._leaving:
                path = next(self._files)
                source = AudioFile(path)
                self.transfer = client.transfer(source)
                try:
                    receipt = await client.carry(self.transfer)
                finally:
                    source.close()
                self.sent.append((path, receipt))

    def leave(self):
        """Begin no other stream."""
        self._leaving = True

    @property
    def place(self):
        """Return the progress as (files, units); it grows with each acknowledgement."""
        return len(self.sent), self.transfer.outbound.durable if self.transfer else 0

    async def progress(self, place):
        """Wait until the progress is beyond *place*; return the loop's time of that."""
        _, at = await until(lambda: self.place > place)
        return at


async def progress(tracks):
    """Wait until each of *tracks* has made progress from now on; return the loop's times."""
    return await asyncio.gather(*(each.progress(each.place) for each in tracks))


@asynccontextmanager
async def playing(tracks):
    """Run *tracks* while the context is open; then let each finish its present stream."""
    async with asyncio.TaskGroup() as tasks:
        for each in tracks:
            tasks.create_task(each.run())
        yield
        for each in tracks:
            each.leave()


async def send_again(url, sent):
    """Send *sent* again; the receiver must know each stream and give the same receipt."""
    async with connected(url) as client:
        for path, receipt in sent:
            source = AudioFile(path)
            transfer = client.transfer(source)
            again = await client.carry(transfer)
            source.close()

            assert (0, receipt) == (transfer.outbound.chunks, again)
