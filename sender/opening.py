"""A file as the settings want it."""

from __future__ import annotations

from pathlib import Path

from sonoduct.runtime.child import Cancellation

from .settings import Settings
from .sources.converted import converted
from .sources.file import AudioFile
from .sources.whole import Sendable, WholeFile


def open_file(path: Path, settings: Settings, cancellation: Cancellation | None = None) -> Sendable:
    """
    Return the audio file at *path*, converted if *settings* say so, or as it is.

    *cancellation* ends a decoder that keeps one waiting.

    Raises:
        SourceError: if it cannot be read, is no audio, or is not what the settings expect.
    """
    if settings.untouched:
        return WholeFile(path)
    wished = settings.exact_encoding
    file = AudioFile(path, wished, means=settings.means, cancellation=cancellation)
    return converted(file, settings.conversion, wished)
