"""The base class of sources, and the printed names of files."""

import os

import pytest

from sender.sources import Source, printable
from sender.sources.whole import WholeFile
from sonoduct.wire import Encoding, Format, Kind


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a b é 音.wav", "a b é 音.wav"),
        (os.fsdecode(b"not\xff8.wav"), "not?8.wav"),
        ("two\nlines.wav", "two?lines.wav"),
        ("\x1b[31mred\x1b]0;title\x07.wav", "?[31mred?]0;title?.wav"),
        ("left\u202eright.wav", "left?right.wav"),
    ],
)
def test_a_name_is_one_line_and_changes_no_terminal(name, shown):
    """Characters that could change the line or the terminal are printed as question marks."""
    assert shown == printable(name)


class Silence(Source):
    """A program's own source, which defines only the required attributes."""

    name, stream, decoder, units = "silence", "0" * 32, "raw", 10
    format = Format(samplerate=8000, channels=2, encoding=Encoding.S24LE)


def test_defaults_of_a_source():
    """By default a source holds samples, is neither live nor growing, and has no evidence."""
    source = Silence()

    assert (Kind.PCM, 6, Silence.format) == (source.kind, source.unit_bytes, source.pcm)
    assert (False, False, 0, "") == (source.live, source.growing, source.first, source.evidence)


def test_a_unit_of_a_file_is_a_byte(tmp_path):
    """The units of an unchanged file are bytes, and it has no format."""
    (tmp_path / "a.mp3").write_bytes(b"anything")
    source = WholeFile(tmp_path / "a.mp3")
    source.close()

    assert (Kind.FILE, 1, None) == (source.kind, source.unit_bytes, source.format)
