"""Why a file gives no audio, or no more of it. The messages do not name the file."""

from __future__ import annotations

from typing import Final

NO_FRAME: Final = "0 frames, expected at least 1"
"""The error of a file that ends after its header."""


class DecodeError(Exception):
    """Base class; ``str()`` is one line."""


class NotAudio(DecodeError):
    """No decoder finds audio in the file, or it has no frame."""


class Unfit(DecodeError):
    """The protocol or the requested encoding cannot hold the samples."""


class NoDecoder(DecodeError):
    """The file may be audio, but the program that would decode it is missing."""


class GaveUp(DecodeError):
    """The decoder reported an error, or crashed. The samples before that are good."""


class LimitReached(DecodeError):
    """A decoder used more time or memory than it may, or gave too many samples."""
