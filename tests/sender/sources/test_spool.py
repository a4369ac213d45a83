"""A live source's spool, on real files and pipes."""

import os
import threading

import pytest

from sender.errors import SourceError, SpoolFullError
from sender.sources.converted import Conversion, Converter
from sender.sources.live import LiveStream, SpooledStream
from sender.sources.pipe import RawPipe
from sender.sources.spool import Spools
from sonoduct.wire import Encoding, Format

MONO = Format(samplerate=8000, channels=1, encoding=Encoding.S16LE)
TO = "ws://receiver:8766"
LIMIT = 64 * 1024


@pytest.fixture(name="ends")
def _ends():
    """The two ends of a pipe: where to read and where to write."""
    reading, writing = os.pipe()
    closed = []
    yield reading, writing, lambda: closed.append(os.close(writing))
    os.close(reading)
    if not closed:
        os.close(writing)


@pytest.fixture(name="spools")
def _spools(tmp_path):
    """The spools of a folder."""
    return Spools(tmp_path, TO, LIMIT)


def live(reading, spools):
    """Return a live stream in the format MONO that reads a pipe without conversion."""
    converter = Converter(Conversion(), MONO, None, "live")
    return LiveStream(RawPipe(reading, MONO), spools.create("live", MONO), converter, wait=True)


def frames(first, count):
    """Return frames whose values are their offsets."""
    return b"".join(
        (offset % 65536).to_bytes(2, "little") for offset in range(first, first + count)
    )


def everything(source):
    """Return all frames of a source, as it gives them piece by piece."""
    data, offset = b"", source.first
    while piece := source.read(offset, 1000):
        data += piece
        offset += len(piece) // 2
    return data


def test_samples_are_given_as_they_come(spools, ends):
    """A read waits for one frame, not for as many frames as it may return."""
    reading, writing, close = ends
    source = live(reading, spools)
    os.write(writing, b"aabbc")
    first = source.read(0, 1000)
    os.write(writing, b"cdd")
    close()

    assert b"aabb" == first
    assert b"ccdd" == source.read(2, 1000)
    assert b"bb" == source.read(1, 1), "again"
    assert b"" == source.read(4, 1)
    source.close()


def test_a_part_of_a_frame_at_the_end_is_an_error(spools, ends):
    """The frames before the part are given; the next read fails."""
    reading, writing, close = ends
    source = live(reading, spools)
    os.write(writing, b"aabbc")
    close()

    assert b"aabb" == source.read(0, 9)
    with pytest.raises(SourceError, match="live: 1 bytes at the end, expected 2 a frame"):
        source.read(2, 9)
    source.close()


def test_the_spool_of_a_killed_process_is_sent_later(spools, ends):
    """A later run finds the same stream with the same frames, and knows that it has ended."""
    reading, writing, _ = ends
    source = live(reading, spools)
    os.write(writing, frames(0, 3000))
    assert frames(0, 3000) == source.read(0, 3000)
    source.close()  # no closing record is written, as after a kill
    (spool,) = spools.left()
    left = SpooledStream(spool)

    assert (source.stream, MONO, "live") == (left.stream, left.format, left.name)
    assert frames(0, 3000) == everything(left)
    left.close()


def test_a_spool_that_is_written_to_is_left_alone(spools):
    """If a process has the spool open, no other process takes it."""
    spool = spools.create("live", MONO)
    spool.append(b"aa", wait=True)

    assert [] == list(spools.left())
    spool.close()
    (left,) = spools.left()
    left.close()


def test_spools_for_another_receiver_are_left_alone(spools, tmp_path):
    """A spool is sent only to the receiver for which it was created."""
    spool = spools.create("live", MONO)
    spool.append(b"aa", wait=True)
    spool.close()

    assert [] == list(Spools(tmp_path, "ws://other:8766", LIMIT).left())


def test_nothing_is_left_of_an_empty_spool_or_a_complete_stream(spools, tmp_path):
    """When the source is closed, no file of the spool is left."""
    empty = SpooledStream(spools.create("live", MONO))
    empty.close()
    complete = SpooledStream(spool := spools.create("live", MONO))
    spool.append(b"aa", wait=True)
    complete.forget()
    complete.close()

    assert [] == [path for path in tmp_path.rglob("*") if path.is_file()]


def test_acknowledged_frames_make_room(spools):
    """The oldest file is removed when all of it is acknowledged and its room is needed."""
    spool = spools.create("live", MONO)
    for start in range(0, 30_000, 1000):
        spool.append(frames(start, 1000), wait=True)
    spool.release(29_000)
    kept = spool.first
    for start in range(30_000, 60_000, 1000):
        spool.append(frames(start, 1000), wait=True)
        spool.release(start)
    spool.finish()
    source = SpooledStream(spool)
    first = source.first

    assert 0 == kept, "there was room"
    assert 29_000 <= first <= 59_000
    assert frames(first, 60_000 - first) == everything(source)
    with pytest.raises(SourceError, match=f"frame 0 is gone, expected {first} or more"):
        source.read(0, 1)
    source.close()


def test_a_full_spool_is_an_error_where_the_source_cannot_wait(spools):
    """If the source cannot wait, the error names the limit."""
    spool = spools.create("live", MONO)
    with pytest.raises(SpoolFullError, match=f"expected at most {LIMIT}"):
        for start in range(0, 60_000, 1000):
            spool.append(frames(start, 1000), wait=False)
    assert spool.end > 20_000
    spool.close()


def test_a_full_spool_lets_the_writer_wait(spools):
    """The writer waits until the receiver has acknowledged frames, or until the spool is closed."""
    spool = spools.create("live", MONO)
    done = []

    def fill():
        for start in range(0, 200_000, 1000):
            if not spool.append(frames(start, 1000), wait=True):
                break
            done.append(start)

    thread = threading.Thread(target=fill)
    thread.start()
    thread.join(0.5)  # until there is no room
    before = len(done)
    spool.release(spool.end)
    thread.join(0.5)
    after = len(done)
    spool.close()
    thread.join(5)

    assert 20 < before < after < 200
    assert not thread.is_alive()


def test_a_damaged_spool_is_an_error(spools, tmp_path):
    """The error says at which frame the spool is damaged."""
    spool = spools.create("live", MONO)
    for start in range(0, 4000, 1000):
        spool.append(frames(start, 1000), wait=True)
    path = min(tmp_path.rglob("*.spool"))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    spool.finish()
    source = SpooledStream(spool)

    with pytest.raises(SourceError, match="live: the spool is damaged at frame"):
        everything(source)
    source.close()


def test_a_debugger_shows_the_kept_frames(spools, ends):
    """One line has the stream, its first and its next frame, and whether it has ended."""
    reading, writing, end = ends
    source = live(reading, spools)
    os.write(writing, frames(0, 100))
    end()
    everything(source)

    assert f"<LiveStream {source.stream[:4]}… 0 to 100, ended>" == repr(source)
    source.close()
