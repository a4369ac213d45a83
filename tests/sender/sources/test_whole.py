"""Files that are sent unchanged: their bytes are read from any offset."""

import os
import random

import pytest

from sender import SourceError
from sender.opening import open_file
from sender.settings import Settings
from sender.sources.file import AudioFile
from sender.sources.whole import WholeFile
from tests.support.sounds import write


@pytest.fixture
def path(tmp_path):
    """A file of random bytes."""
    made = tmp_path / "a.bin"
    made.write_bytes(random.Random(0).randbytes(10_000))
    return made


def test_bytes_are_read_from_any_offset(path):
    """A read gives at most as many bytes as there are, and none at the end."""
    source = WholeFile(path)
    data = path.read_bytes()
    parts = [source.read(offset, 300) for offset in (9_900, 0, 5_000, 10_000)]
    source.close()

    assert [data[9_900:], data[:300], data[5_000:5_300], b""] == parts
    assert (10_000, None, 0) == (source.units, source.format, source.first)


def test_a_changed_file_is_another_stream(path):
    """The same file has the same stream, and a changed file has another one."""
    first, second = WholeFile(path), WholeFile(path)
    path.write_bytes(b"x" * 10_000)
    os.utime(path, ns=(1, 1))
    third = WholeFile(path)
    for each in (first, second, third):
        each.close()

    assert first.stream == second.stream != third.stream


def test_samples_of_a_file_are_another_stream(tmp_path):
    """The file, its samples, and its samples as FLAC are three different streams."""
    made = write(tmp_path / "a.wav")
    streams = set()
    for encoding in ("file", "auto", "flac"):
        source = open_file(made, Settings(encoding=encoding))
        streams.add(source.stream)
        source.close()

    assert 3 == len(streams)


def test_the_encoding_chooses_the_source(tmp_path):
    """With the encoding `file` the sender sends the file; by default it decodes the file."""
    made = write(tmp_path / "a.wav")
    sources = [open_file(made, Settings(encoding=each)) for each in ("file", "auto")]
    for each in sources:
        each.close()

    assert [WholeFile, AudioFile] == [type(each) for each in sources]


@pytest.mark.parametrize("change", [lambda data: data + b"x", lambda data: data[:5000]])
def test_a_file_that_changes_is_an_error(path, change):
    """If the file has become longer or shorter, the read at its new end fails."""
    source = WholeFile(path)
    source.read(0, 4000)
    data = change(path.read_bytes())
    path.write_bytes(data)
    with pytest.raises(SourceError, match=f"changed while it was read, at byte {len(data)}"):
        source.read(len(data), 4000)
    source.close()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: path.write_bytes(b""), "0 bytes, expected at least 1"),
        (lambda path: path.mkdir(), "no regular file, expected one"),
        (os.mkfifo, "no regular file, expected one"),
        (lambda path: path.symlink_to("nowhere"), "No such file or directory"),
    ],
    ids=["empty", "folder", "pipe", "broken link"],
)
def test_only_regular_files_with_content_are_opened(tmp_path, make, said):
    """Anything else is refused at once; a pipe is refused without waiting for its writer."""
    make(tmp_path / "a")
    with pytest.raises(SourceError) as raised:
        WholeFile(tmp_path / "a")

    assert f"{tmp_path / 'a'}: {said}" == str(raised.value)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"samplerate": 8000}, "samplerate"),
        ({"mono": True, "channels": "1"}, "mono, channels"),
        ({"chunk_frames": 1}, "chunk-frames"),
    ],
)
def test_encoding_file_excludes_settings_that_change_samples(options, named):
    """The error names the settings that do not go with the encoding `file`."""
    with pytest.raises(ValueError, match=f"encoding file with {named}, expected the file as it is"):
        Settings(encoding="file", **options)
