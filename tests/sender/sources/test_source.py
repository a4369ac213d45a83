"""The base class of sources."""

from sender.sources import Source
from sender.sources.whole import WholeFile
from sonoduct.wire import Encoding, Format, Kind


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
