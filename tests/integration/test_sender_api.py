"""`sender` as a library, as its documentation describes it."""

import asyncio

import pytest

import receiver
import sender
from sonoduct import wire
from tests.support.recorder import Recorder, listening
from tests.support.sounds import noise, same, samples, write


class Telling:
    """A processor that reports an event for each block."""

    def open(self, stream):
        self.count = 0

    def process(self, samples, offset):
        self.count += 1
        return {"block": self.count, "frames": len(samples)}

    def close(self):
        return {"blocks": self.count}


class Tone(sender.Source):
    """A source that a program makes itself: a few blocks, then the end."""

    name = "tone"
    stream = "0123456789abcdef" * 2
    format = wire.Format(samplerate=8000, channels=2, encoding=wire.Encoding.F32LE)
    units = None
    decoder = "raw"

    def __init__(self, frames):
        self.samples = noise(frames, 2)
        self.released = 0
        self.forgotten = False

    def read(self, offset, units):
        return self.samples[offset : offset + units].tobytes()

    def release(self, offset):
        self.released = offset

    def forget(self):
        self.forgotten = True

    def close(self):
        raise AssertionError("whoever made it closes it")


async def test_the_documented_use(tmp_path):
    """A program opens a client, sends paths, and gets receipts."""
    recorder = Recorder()
    async with listening(recorder) as running:
        async with sender.connect(running.url) as client:
            receipt = await client.send(write(tmp_path / "a.wav", 5000))
            again = await client.send(str(tmp_path / "a.wav"))
            other = await client.send(write(tmp_path / "b.flac", 6000))

    assert (5000, 16_000, 5000 / 16_000) == (receipt.frames, receipt.samplerate, receipt.seconds)
    assert receipt == again
    assert 6000 == other.frames
    assert [5000, 6000] == [take.frames for take in recorder.finished]


async def test_a_source_of_ones_own():
    """A client sends any object of a subclass of Source, and releases acknowledged units."""
    recorder, tone = Recorder(), Tone(70_001)
    async with listening(recorder) as running, sender.connect(running.url) as client:
        receipt = await client.send(tone)

    assert (tone.stream, 70_001) == (receipt.stream, receipt.units)
    assert 70_001 == tone.released
    assert tone.forgotten
    assert same(tone.samples, recorder.takes[0].samples)
    assert ("tone", 8000, 2) == (
        recorder.takes[0].stream.name,
        recorder.takes[0].stream.samplerate,
        recorder.takes[0].stream.channels,
    )


async def test_an_empty_source():
    """A source without frames is an error."""
    async with listening(Recorder()) as running, sender.connect(running.url) as client:
        with pytest.raises(sender.SourceError, match="^tone: 0 frames, expected at least 1$"):
            await client.send(Tone(0))


async def test_events_come_while_it_sends(tmp_path):
    """The program gets the processors' events during the stream; the receipt has the reports."""
    events = []
    async with (
        receiver.serve(
            receiver.Settings(host="127.0.0.1", port=0), processors=[Telling]
        ) as running,
        sender.connect(running.url, sender.Settings(chunk_frames=1000)) as client,
    ):
        receipt = await client.send(write(tmp_path / "a.wav", 3000), events.append)

    assert [(0, 1), (1000, 2), (2000, 3)] == [(e.offset, e.values["block"]) for e in events]
    assert {"telling"} == {event.processor for event in events}
    assert {"telling": {"blocks": 3}} == receipt.processors


async def test_cancelling_a_send(tmp_path):
    """A program may cancel a send at any time; a later send resumes it."""
    recorder = Recorder()
    path = write(tmp_path / "a.wav", 16_000)
    async with listening(recorder) as running:
        slow = sender.Settings(realtime=True)
        async with sender.connect(running.url, slow) as client:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await client.send(path)
        async with sender.connect(running.url) as client:
            receipt = await client.send(path)

    assert 16_000 == receipt.frames
    assert recorder.takes[0].gapless
    assert same(samples(path), recorder.takes[0].samples)


async def test_errors_have_one_base(tmp_path):
    """A program can catch the sender's errors by one class, and the receiver's by another."""
    for error in (sender.SourceError, sender.UnreachableError, sender.NotAReceiverError):
        assert issubclass(error, sender.SenderError)
    async with sender.connect("ws://127.0.0.1:1", sender.Settings(connect_timeout=0.1)) as client:
        with pytest.raises(sender.SenderError):
            await client.send(tmp_path / "gone.wav")
        with pytest.raises(sender.SenderError):
            await client.send(write(tmp_path / "a.wav"))
    async with sender.connect("ws://127.0.0.1:1"):
        pass  # nothing is connected before something is sent
