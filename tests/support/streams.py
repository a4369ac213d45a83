"""Streams that are sent from within a test, so that it sees each acknowledgement."""

import asyncio
from contextlib import asynccontextmanager

from sender.sources.file import AudioFile
from tests.support.clients import connected
from tests.support.waits import PATIENCE_S, until

MICROPHONE = {"realtime": True, "chunk_frames": 400, "patience": PATIENCE_S}
"""40 chunks in each second of 16 kHz, for a stream that goes on while receivers come and go."""


class Track:
    """Sends one file after the other, to *url*, until `leave` is called."""

    def __init__(self, url, files, **settings):
        """*files* yields paths, endlessly."""
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
        """How far it is; grows with each acknowledgement."""
        return len(self.sent), self.transfer.outbound.durable if self.transfer else 0

    async def progress(self, place):
        """Wait until it is beyond *place*; return when it was."""
        _, at = await until(lambda: self.place > place)
        return at


async def progress(tracks):
    """Wait until each of *tracks* is further than now; return when each was."""
    return await asyncio.gather(*(each.progress(each.place) for each in tracks))


@asynccontextmanager
async def playing(tracks):
    """Run *tracks* while the context is open, then let each finish the stream it is at."""
    async with asyncio.TaskGroup() as tasks:
        for each in tracks:
            tasks.create_task(each.run())
        yield
        for each in tracks:
            each.leave()


async def send_again(url, sent):
    """Send *sent* once more; each has to be known, and gives the receipt that it gave before."""
    async with connected(url) as client:
        for path, receipt in sent:
            source = AudioFile(path)
            transfer = client.transfer(source)
            again = await client.carry(transfer)
            source.close()

            assert (0, receipt) == (transfer.outbound.chunks, again)
