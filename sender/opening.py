"""A file as the settings want it."""

from __future__ import annotations

from pathlib import Path

from .audiofile import AudioFile
from .converted import converted
from .settings import Settings
from .wholefile import Sendable, WholeFile


def open_file(path: Path, settings: Settings) -> Sendable:
    """
    Return the audio file at *path*, converted if *settings* say so, or as it is.

    Raises:
        SourceError: if it cannot be read, is no audio, or is not what the settings expect.
    """
    if settings.untouched:
        return WholeFile(path)
    wished = settings.exact_encoding
    return converted(AudioFile(path, wished, means=settings.means), settings.conversion, wished)
