"""What tells one file from another without reading all of it."""

import os

import pytest

from sender.sources.fingerprint import SAMPLE_BYTES, Fingerprint

SIZE = 4 * SAMPLE_BYTES
LONG_AGO = 1_700_000_000_000_000_000


@pytest.fixture
def path(tmp_path):
    """A file that is long enough to have bytes between those that are looked at."""
    made = tmp_path / "a.wav"
    made.write_bytes(bytes(SIZE))
    os.utime(made, ns=(LONG_AGO, LONG_AGO))
    return made


def change(path, at):
    """Change one byte, and set the time back."""
    with path.open("r+b") as file:
        file.seek(at)
        file.write(b"x")
    os.utime(path, ns=(LONG_AGO, LONG_AGO))


@pytest.mark.parametrize("at", [0, SIZE // 2, SIZE - 1])
def test_bytes_at_the_start_the_middle_and_the_end_count(path, at):
    """Files of one path, size and time differ if one of these bytes does."""
    first = Fingerprint(path).facts
    change(path, at)

    assert first != Fingerprint(path).facts


def test_bytes_between_do_not_count(path):
    """Only a digest of everything tells such files apart: a receipt has one."""
    first = Fingerprint(path).facts
    change(path, SAMPLE_BYTES + 1)

    assert first == Fingerprint(path).facts


def test_short_files_are_looked_at_whole(tmp_path):
    """A file that is shorter than one sample has no byte that does not count."""
    path = tmp_path / "a.wav"
    facts = set()
    for at in (None, 0, 500, 999):
        path.write_bytes(bytes(1000))
        os.utime(path, ns=(LONG_AGO, LONG_AGO))
        if at is not None:
            change(path, at)
        facts.add(Fingerprint(path).facts)

    assert 4 == len(facts)


def test_evidence_of_a_file_that_rests(path, monkeypatch):
    """It stays the same while the file does, and differs once a byte was changed."""
    later = path.stat().st_ctime_ns + 10_000_000_000
    monkeypatch.setattr("sender.sources.fingerprint.time.time_ns", lambda: later)
    first = Fingerprint(path)
    before = first.evidence

    assert before == Fingerprint(path).evidence != ""

    change(path, SAMPLE_BYTES + 1)

    assert "" == first.evidence  # it has changed since it was looked at
    assert before != Fingerprint(path).evidence


def test_no_evidence_of_a_file_that_was_just_changed(path):
    """Another change may leave the same times: the clock of a file system is coarse."""
    assert "" == Fingerprint(path).evidence


def test_no_evidence_of_a_file_that_is_gone(path):
    """Then there is nothing to compare with."""
    found = Fingerprint(path)
    path.unlink()

    assert "" == found.evidence


def test_a_file_that_took_the_name_is_another_one(path, tmp_path):
    """A file of the same size and time that is renamed to the path has another inode."""
    first = Fingerprint(path)
    other = tmp_path / "other"
    other.write_bytes(bytes(SIZE))
    os.utime(other, ns=(LONG_AGO, LONG_AGO))
    other.rename(path)

    assert first.state.content != Fingerprint(path).state.content
