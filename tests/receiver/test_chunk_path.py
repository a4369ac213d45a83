"""How much is done for one chunk between the event loop's callback and its return."""

import sys
from collections import Counter
from pathlib import Path

from receiver.connections.frames import FrameReader
from receiver.processors.levels import Levels
from sonoduct import wire
from tests.support.rawclient import running, speaking

ROOT = Path(__file__).parents[2]
OURS = tuple(f"{ROOT / name}/" for name in ("receiver", "sonoduct"))

MOST = 42
"""Calls of our functions for each chunk."""

FORMAT = wire.Format(samplerate=16_000, channels=1, encoding=wire.Encoding.S16LE)
CHUNK = bytes(range(240)) * 8
"""60 ms."""

CHUNKS = 400


async def test_a_chunk_takes_few_calls(tmp_path, monkeypatch):
    """A durable live stream with `levels` on; what happens once a second is in the average."""
    calls, buffer_updated = Counter(), FrameReader.buffer_updated

    def count(frame, event, _argument):
        if event == "call" and frame.f_code.co_filename.startswith(OURS):
            calls[f"{Path(frame.f_code.co_filename).name}:{frame.f_code.co_qualname}"] += 1

    def counted(reader, size):
        sys.setprofile(count)
        try:
            buffer_updated(reader, size)
        finally:
            sys.setprofile(None)

    monkeypatch.setattr(FrameReader, "buffer_updated", counted)
    store, limits = str(tmp_path / "store"), {"reserve_bytes": 0}
    async with (
        running(Levels, store=store, limits=limits) as receiver,
        speaking(receiver.url, format_=FORMAT) as client,
    ):
        await client.greet()
        await client.send(CHUNK * CHUNKS, chunk_bytes=len(CHUNK))
        receipt = await client.commit()

    assert CHUNKS * 960 == receipt.frames
    # They came one by one, not by way of the library's queue.
    assert CHUNKS == calls["session.py:Session._take_at_once"]
    assert calls.total() / CHUNKS <= MOST, calls.most_common(50)
