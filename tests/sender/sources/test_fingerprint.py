"""Fingerprints, which tell files apart without reading all of them."""

import os

import pytest

from sender.sources.fingerprint import SAMPLE_BYTES, Fingerprint
from sender.sources.within import open_regular

SIZE = 4 * SAMPLE_BYTES
LONG_AGO = 1_700_000_000_000_000_000


@pytest.fixture
def path(tmp_path):
    """A file that has bytes between the samples that a fingerprint reads."""
    made = tmp_path / "a.wav"
    made.write_bytes(bytes(SIZE))
    os.utime(made, ns=(LONG_AGO, LONG_AGO))
    return made


def taken(path):
    """Return the fingerprint of *path* as it is now."""
    handle = open_regular(path)
    try:
        return Fingerprint(path, handle)
    finally:
        os.close(handle)


def change(path, at):
    """Change one byte, and set the time back."""
    with path.open("r+b") as file:
        file.seek(at)
        file.write(b"x")
    os.utime(path, ns=(LONG_AGO, LONG_AGO))


@pytest.mark.parametrize("at", [0, SIZE // 2, SIZE - 1])
def test_bytes_at_the_start_the_middle_and_the_end_count(path, at):
    """If one of these bytes differs, the fingerprints differ, even with the same size and time."""
    first = taken(path).facts
    change(path, at)

    assert first != taken(path).facts


def test_bytes_between_do_not_count(path):
    """The fingerprint does not notice such a change; only a digest of the whole file does."""
    first = taken(path).facts
    change(path, SAMPLE_BYTES + 1)

    assert first == taken(path).facts


def test_short_files_are_read_whole(tmp_path):
    """If a file is shorter than one sample, each of its bytes counts."""
    path = tmp_path / "a.wav"
    facts = set()
    for at in (None, 0, 500, 999):
        path.write_bytes(bytes(1000))
        os.utime(path, ns=(LONG_AGO, LONG_AGO))
        if at is not None:
            change(path, at)
        facts.add(taken(path).facts)

    assert 4 == len(facts)


def test_evidence_of_an_unchanged_file(path, monkeypatch):
    """The evidence stays the same until a byte is changed."""
    later = path.stat().st_ctime_ns + 10_000_000_000
    monkeypatch.setattr("sender.sources.fingerprint.time.time_ns", lambda: later)
    first = taken(path)
    before = first.evidence

    assert before == taken(path).evidence != ""

    change(path, SAMPLE_BYTES + 1)

    assert "" == first.evidence  # the file has changed since the fingerprint was taken
    assert before != taken(path).evidence


def test_no_evidence_of_a_file_that_was_just_changed(path):
    """The clock of a file system is coarse, so another change may leave the same times."""
    assert "" == taken(path).evidence


def test_no_evidence_of_a_file_that_is_gone(path):
    """If the file is gone, the evidence is empty."""
    found = taken(path)
    path.unlink()

    assert "" == found.evidence


def test_a_file_that_took_the_name_is_another_one(path, tmp_path):
    """If another file is renamed to the path, its inode differs, even if size and time do not."""
    first = taken(path)
    other = tmp_path / "other"
    other.write_bytes(bytes(SIZE))
    os.utime(other, ns=(LONG_AGO, LONG_AGO))
    other.rename(path)

    assert first.state.content != taken(path).state.content
