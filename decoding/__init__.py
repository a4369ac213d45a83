"""
From an audio file to samples in their canonical bytes; shared by the sender and the receiver.

`open_decoder` chooses soundfile or ffmpeg by the file's content, and runs in a child process
whatever is not to be trusted.
"""

from .decoder import Decoder
from .errors import DecodeError, GaveUp, LimitReached, NoDecoder, NotAudio, Unfit
from .facts import Facts
from .limits import Limits
from .opening import open_decoder

__all__ = [
    "DecodeError",
    "Decoder",
    "Facts",
    "GaveUp",
    "LimitReached",
    "Limits",
    "NoDecoder",
    "NotAudio",
    "Unfit",
    "open_decoder",
]
