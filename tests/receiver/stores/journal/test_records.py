"""Segments: a reader gets all records as written, and never takes damage for audio."""

import io

import pytest

from receiver.stores.journal import PosixDisk
from receiver.stores.journal.journal import Journal
from sonoduct.wire import StorageFailed, encode_record, records
from tests.support.journal import SOUND, WIDTH, chunk, contents, hello, receipt

DISK = PosixDisk()
OPENING = records.opening(1, 0, hello(name="täglich", metadata={"a": "b"}))
AUDIO = [chunk(1, 0, 20).message, chunk(1, 20, 30).message]
PLAYED = SOUND[: 30 * WIDTH]
END = records.end(1, receipt(PLAYED))
CLOSING = records.closing(1, 30)
SEGMENT = b"".join((OPENING, *AUDIO, CLOSING))
BOUNDS = [len(b"".join((OPENING, *AUDIO)[:count])) for count in (1, 2, 3)]


def stored(folder, data, epoch=1, part=0):
    """Put *data* into a segment."""
    folder.mkdir(exist_ok=True)
    (folder / f"{epoch:020d}.{part:06d}.seg").write_bytes(data)
    return folder


def before(position):
    """Return the audio of the records that end at or before byte *position* of SEGMENT."""
    return {0: b"", 1: b"", 2: SOUND[: 20 * WIDTH], 3: PLAYED}[
        sum(bound <= position for bound in BOUNDS)
    ]


def test_records_survive():
    """Reading gives back each record with its content."""
    file = io.BytesIO(b"".join((OPENING, *AUDIO, END)))
    first, *audio, last = records.read_records(file)

    assert hello(name="täglich", metadata={"a": "b"}) == records.hello_of(first)
    assert PLAYED == b"".join(each.payload for each in audio)
    assert [(0, 20), (20, 10)] == [(each.header.offset, each.header.units) for each in audio]
    assert receipt(PLAYED) == records.receipt_of(last)
    assert records.hello_of(last) is None


def test_a_closing_is_found_at_the_end_only():
    """The offset is in the last record, or the segment has to be read."""
    closed = records.read_closing(io.BytesIO(SEGMENT))

    assert (1, 30) == (closed.epoch, closed.offset)
    for other in (b"", SEGMENT[:-1], SEGMENT + b"\0", SEGMENT + AUDIO[0], b"".join(AUDIO)):
        assert records.read_closing(io.BytesIO(other)) is None


def test_each_damaged_byte_is_noticed(tmp_path):
    """Reading stops before the record with the damage: no wrong sample, and none after a gap."""
    for position in range(len(SEGMENT)):
        data = bytearray(SEGMENT)
        data[position] ^= 1 << position % 8
        folder = stored(tmp_path, data)
        expected = before(position)
        found = Journal(DISK, folder).segments()

        assert expected == contents(DISK, folder), position
        assert bool(found) == (position >= BOUNDS[0]), position
        for segment in found:
            assert not segment.whole_tail().closed, position


def test_each_length_of_a_cut_segment(tmp_path):
    """A segment that was cut counts up to its last whole record."""
    for length in range(len(SEGMENT)):
        folder = stored(tmp_path, SEGMENT[:length])
        expected = before(length)
        found = Journal(DISK, folder).segments()

        assert expected == contents(DISK, folder), length
        assert bool(found) == (length >= BOUNDS[0]), length
        for segment in found:
            tail = segment.tail()
            assert (len(expected) // WIDTH, False) == (tail.offset, tail.closed), length


def test_each_damaged_byte_before_another_segment(tmp_path):
    """With a segment behind it, lost audio is an error and never a splice."""
    rest = records.opening(2, 30, hello()) + chunk(2, 30, 60).message
    stored(tmp_path, rest, epoch=2)
    for position in range(len(SEGMENT)):
        data = bytearray(SEGMENT)
        data[position] ^= 1
        stored(tmp_path, data)
        if position >= BOUNDS[-1]:  # the CLOSING says nothing that is needed here
            assert SOUND[: 60 * WIDTH] == contents(DISK, tmp_path)
        else:
            with pytest.raises(StorageFailed, match="starts at unit 30, expected at most"):
                contents(DISK, tmp_path)


def test_a_damaged_end_does_not_count(tmp_path):
    """If the END is damaged, the stream is open."""
    data = OPENING + b"".join(AUDIO) + END
    for position in range(len(data) - len(END), len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 1
        (segment,) = Journal(DISK, stored(tmp_path, damaged)).segments()

        assert segment.tail().receipt is None, position


def test_records_that_do_not_belong_are_not_read(tmp_path):
    """Records of another epoch or place, of an unknown kind, or after the end are ignored."""
    strangers = {
        "epoch": chunk(2, 30, 40).message,
        "gap": chunk(1, 31, 40).message,
        "again": chunk(1, 20, 30).message,
        "unknown kind": encode_record(99, 1, 30, 10, SOUND[: 10 * WIDTH]),
        "second opening": records.opening(1, 30, hello()),
        "after the closing": CLOSING + chunk(1, 30, 40).message,
        "after the end": END + chunk(1, 30, 40).message,
        "length": encode_record(1, 1, 30, 10, bytes(1024 * 1024 + 4)),
    }
    for name, stranger in strangers.items():
        after = chunk(1, 40, 50).message
        folder = stored(tmp_path, OPENING + b"".join(AUDIO) + stranger + after)

        assert PLAYED == contents(DISK, folder), name


@pytest.mark.parametrize(
    "opening",
    [
        records.opening(7, 0, hello()),
        encode_record(16, 1, 0, 0, b'{"type":"hello"}'),
        encode_record(16, 1, 0, 0, b'{"type":"cancel"}'),
        AUDIO[0],
        CLOSING,
        b"",
    ],
    ids=["epoch", "no hello", "other message", "audio", "closing", "empty"],
)
def test_a_segment_without_its_opening_does_not_count(tmp_path, opening):
    """A claim that died before it began does not count, even with records behind it."""
    folder = stored(tmp_path, opening + b"".join(AUDIO))

    assert [] == Journal(DISK, folder).segments()
    assert b"" == contents(DISK, folder)


def test_other_files_are_no_segments(tmp_path):
    """Only names of the right form count."""
    for name in ("1.0.seg", ".00000000000000000001.000000.seg", "00000000000000000001.000000.seg~"):
        (tmp_path / name).write_bytes(SEGMENT)

    assert b"" == contents(DISK, tmp_path)
    assert b"" == contents(DISK, tmp_path / "missing")
