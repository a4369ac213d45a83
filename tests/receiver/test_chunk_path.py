"""How much is done for one chunk between the library's callback and its return."""

import sys
from collections import Counter
from pathlib import Path

from receiver.connections.websocket import GuardedConnection
from receiver.processors.levels import Levels
from sonoduct import wire
from tests.support.rawclient import running, speaking

ROOT = Path(__file__).parents[2]
OURS = tuple(f"{ROOT / name}/" for name in ("receiver", "sonoduct"))

MOST = 40
"""Calls of our functions for each chunk."""

FORMAT = wire.Format(samplerate=16_000, channels=1, encoding=wire.Encoding.S16LE)
CHUNK = bytes(range(240)) * 8
"""60 ms."""

BEGIN, END = 50, 350


async def test_a_chunk_takes_few_calls(tmp_path, monkeypatch):
    """A durable live stream with `levels` on; what happens once a second is in the average."""
    calls, chunks, process_event = Counter(), 0, GuardedConnection.process_event

    def count(frame, event, _argument):
        if event == "call" and frame.f_code.co_filename.startswith(OURS):
            calls[f"{Path(frame.f_code.co_filename).name}:{frame.f_code.co_qualname}"] += 1

    def counted(connection, event):
        nonlocal chunks
        at_once = connection.take is not None and len(getattr(event, "data", b"")) > len(CHUNK)
        chunks += at_once
        if at_once and BEGIN < chunks <= END:
            sys.setprofile(count)
        try:
            process_event(connection, event)
        finally:
            sys.setprofile(None)

    monkeypatch.setattr(GuardedConnection, "process_event", counted)
    store, limits = str(tmp_path / "store"), {"reserve_bytes": 0}
    async with (
        running(Levels, store=store, limits=limits) as receiver,
        speaking(receiver.url, format_=FORMAT) as client,
    ):
        await client.greet()
        await client.send(CHUNK * (END + 50), chunk_bytes=len(CHUNK))
        receipt = await client.commit()

    assert (END + 50) * 960 == receipt.frames
    assert chunks > END  # they came one by one, not by way of the library's queue
    assert calls.total() / (END - BEGIN) <= MOST, calls.most_common(50)
