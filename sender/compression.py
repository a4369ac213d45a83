"""Having samples travel as FLAC, where FLAC holds them exactly."""

from __future__ import annotations

from msgspec.structs import replace

from wire import Compression, Format

from .errors import SourceError
from .source import Source, identity


def compressed(source: Source) -> Source:
    """
    Have *source*, of which nothing was sent yet, travel as FLAC; return it.

    Raises:
        SourceError: if FLAC cannot hold its samples; then it is closed.
    """
    try:
        source.format = flac_format(source.format, source.name)
    except SourceError:
        source.close()
        raise
    source.stream = identity(source.stream, Compression.FLAC)  # a stream has one format
    return source


def flac_format(form: Format, name: str) -> Format:
    """
    Return *form*, as FLAC on the wire.

    Raises:
        SourceError: naming *name*, if FLAC cannot hold it: it has no floats, for one.
    """
    try:
        return replace(form, compression=Compression.FLAC)
    except ValueError as exc:
        raise SourceError(f"{name}: {exc}; --encoding auto sends any samples exactly") from exc
