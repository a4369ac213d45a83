"""A file as the settings want it."""

from __future__ import annotations

from pathlib import Path

from .audiofile import AudioFile
from .compression import compressed
from .converted import converted
from .settings import Settings
from .source import Source


def open_file(path: Path, settings: Settings) -> Source:
    """
    Return the audio file at *path*, converted and compressed if *settings* say so.

    Raises:
        SourceError: if it cannot be read, is no audio, or is not what the settings expect.
    """
    wished = settings.exact_encoding
    source = converted(AudioFile(path, wished, means=settings.means), settings.conversion, wished)
    return compressed(source) if settings.compresses else source
