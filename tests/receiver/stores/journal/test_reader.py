"""Which segments are the stream, if several connections have written."""

import itertools
import random

import pytest

from receiver.stores.journal import PosixDisk
from receiver.stores.journal.journal import Journal
from sonoduct import wire
from sonoduct.wire import Fenced, StorageFailed, records
from tests.support.faultydisk import FaultyDisk
from tests.support.journal import (
    SOUND,
    WIDTH,
    chunks,
    claimed,
    contents,
    hello,
    names,
    receipt,
    writer,
)

DISK = PosixDisk()


def write(folder, epoch, part, base, *rest):
    """Write a segment with any content, as a paused receiver may."""
    data = b"".join((records.opening(epoch, base, hello()), *rest))
    (folder / f"{epoch:020d}.{part:06d}.seg").write_bytes(data)


def audio(epoch, start, stop):
    """Return records with the frames from *start* to *stop*."""
    return b"".join(each.message for each in chunks(epoch, start, stop))


def noise(epoch, start, stop):
    """Return well-formed records with other samples."""
    size = (stop - start) * WIDTH
    return wire.encode_chunk(epoch, start, stop - start, random.Random(epoch).randbytes(size))


def played(frames):
    """Return the first *frames* frames of the sound."""
    return SOUND[: frames * WIDTH]


def test_parts_of_one_epoch_are_one_stream(tmp_path):
    """Parts follow each other, and so do epochs."""
    write(tmp_path, 1, 0, 0, audio(1, 0, 100), records.closing(1, 100))
    write(tmp_path, 1, 1, 100, audio(1, 100, 150), records.closing(1, 150))
    write(tmp_path, 1, 2, 150, audio(1, 150, 200))
    write(tmp_path, 3, 0, 200, audio(3, 200, 300))

    assert played(300) == contents(DISK, tmp_path)
    assert [(1, 0), (1, 1), (1, 2), (3, 0)] == [
        each.part for each in Journal(DISK, tmp_path).segments()
    ]


def test_audio_of_a_fenced_writer_is_never_read(tmp_path):
    """Its segment counts up to where the next claim starts, on a boundary of chunks or not."""
    write(tmp_path, 1, 0, 0, audio(1, 0, 100), noise(1, 100, 900))
    write(tmp_path, 2, 0, 100, audio(2, 100, 300))

    assert played(300) == contents(DISK, tmp_path)


def test_a_later_part_of_a_fenced_writer_is_never_read(tmp_path):
    """Its later part starts at or beyond the newer claim, and no audio between them is missed."""
    write(tmp_path, 1, 0, 0, audio(1, 0, 100), records.closing(1, 100))
    write(tmp_path, 1, 1, 100, noise(1, 100, 200), noise(1, 200, 500))
    write(tmp_path, 2, 0, 100, audio(2, 100, 300))

    assert played(300) == contents(DISK, tmp_path)


def test_each_of_several_fenced_writers_is_cut_off(tmp_path):
    """The lowest of all later starts counts: a claim may start below an earlier one."""
    write(tmp_path, 1, 0, 0, audio(1, 0, 100), noise(1, 100, 700))
    write(tmp_path, 2, 0, 150, noise(2, 150, 800))
    write(tmp_path, 3, 0, 100, audio(3, 100, 200), noise(3, 200, 900))
    write(tmp_path, 4, 0, 200, audio(4, 200, 250))
    (tmp_path / "00000000000000000005.000000.seg").touch()

    with pytest.raises(StorageFailed, match="starts at unit 150, expected at most 100"):
        contents(DISK, tmp_path)  # epoch 2 is a lie: no claim starts where nothing was

    (tmp_path / "00000000000000000002.000000.seg").unlink()
    assert played(250) == contents(DISK, tmp_path)


def test_missing_audio_is_an_error(tmp_path):
    """The audio before the hole is read; then the error names the hole."""
    write(tmp_path, 1, 0, 0, audio(1, 0, 100))
    write(tmp_path, 2, 0, 150, audio(2, 150, 300))
    reading = Journal(DISK, tmp_path).records()
    before = list(itertools.islice(reading, 2))

    assert played(100) == b"".join(each.payload for each in before)
    with pytest.raises(StorageFailed) as raised:
        next(reading)
    assert (
        f"{tmp_path.name}: segment 00000000000000000002.000000.seg starts at unit 150, "
        "expected at most 100" == str(raised.value)
    )


def test_a_stream_that_starts_in_the_middle_is_an_error(tmp_path):
    """A stream without its first segment is an error."""
    write(tmp_path, 2, 0, 100, audio(2, 100, 200))

    with pytest.raises(StorageFailed, match="starts at unit 100, expected at most 0"):
        contents(DISK, tmp_path)


@pytest.mark.parametrize("ended", [100, 200])
def test_the_end_of_a_fenced_writer_does_not_count(tmp_path, ended):
    """The later claim decides when the stream is complete."""
    more = audio(1, 100, ended) if ended > 100 else b""
    write(tmp_path, 1, 0, 0, audio(1, 0, 100), more, records.end(1, receipt(played(ended))))
    write(tmp_path, 2, 0, 100, audio(2, 100, 300))
    marks = [each for each in Journal(DISK, tmp_path).records() if each.header.kind != 1]

    assert [] == marks
    assert played(300) == contents(DISK, tmp_path)
    assert Journal(DISK, tmp_path).complete() is None


def test_an_end_is_read_although_a_later_claim_died_at_once(tmp_path):
    """A fence without an opening hides nothing."""
    write(tmp_path, 1, 0, 0, audio(1, 0, 100), records.end(1, receipt(played(100))))
    (tmp_path / "00000000000000000002.000000.seg").write_bytes(
        records.opening(2, 100, hello())[:-1]
    )
    last = Journal(DISK, tmp_path).last_segment(below=3)

    assert (1, 0) == last.part
    assert receipt(played(100)) == last.tail().receipt
    assert (hello(), 1, receipt(played(100))) == Journal(DISK, tmp_path).complete()


def test_a_claim_on_a_stream_of_many_segments(tmp_path):
    """It lists their names, and opens the last of them; a day of live audio has hundreds."""
    disk = FaultyDisk()
    for number in range(300):
        write(tmp_path, 1, number, number, audio(1, number, number + 1))
    granted = claimed(disk, tmp_path, hello())

    assert 300 == granted.offset
    assert 2 == disk.calls.count("names")
    assert 6 >= disk.calls.count("read")
    assert SOUND[: 300 * WIDTH] == contents(DISK, tmp_path)


def test_the_last_segment_has_an_older_epoch(tmp_path):
    """A claim does not find itself."""
    write(tmp_path, 1, 0, 0)
    write(tmp_path, 1, 1, 0)
    write(tmp_path, 2, 0, 0)

    assert (1, 1) == Journal(DISK, tmp_path).last_segment(below=2).part
    assert Journal(DISK, tmp_path).last_segment(below=1) is None


def test_a_fenced_writer_cannot_open_a_hole(tmp_path):
    """
    After a refused commit a writer writes nothing, not even the next part.

    The newer claim has counted that commit, so it starts behind where a part of the older would.
    """
    disk, new = FaultyDisk(), []
    old = writer(disk, tmp_path, roll_bytes=500)
    disk.before("sync", lambda _: new.append(claimed(DISK, tmp_path, hello())))
    for start in (0, 100):
        with pytest.raises(Fenced):
            old.commit(chunks(1, start, start + 100))
    new[0].writer.commit(chunks(2, 100, 200))

    assert 100 == new[0].offset
    assert played(200) == contents(DISK, tmp_path)
    assert [(1, 0), (2, 0)] == names(DISK, tmp_path)
