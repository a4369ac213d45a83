"""
Why a file gives no audio, or no more of it; none of these names the file.

* DecodeError
    * NotAudio: no decoder knows it, or it holds no frame
    * Unfit: audio that the protocol, or the encoding that was asked for, cannot hold
    * NoDecoder: a program is missing
    * GaveUp: a decoder stopped before the end
    * LimitReached: a decoder was stopped because it took, or gave, too much
"""

from __future__ import annotations

from typing import Final

NO_FRAME: Final = "0 frames, expected at least 1"
"""What is wrong with a header that nothing follows."""


class DecodeError(Exception):
    """Base class; ``str()`` is one line."""


class NotAudio(DecodeError):
    """Nothing in the file can be decoded."""


class Unfit(DecodeError):
    """The samplerate, the channels or the samples do not fit."""


class NoDecoder(DecodeError):
    """The file may be audio, but what would decode it is not there."""


class GaveUp(DecodeError):
    """The decoder reported an error, or crashed; what came before is good."""


class LimitReached(DecodeError):
    """The decoder has used up what it is given."""
