"""
From an audio file to samples in their canonical bytes; shared by the sender and the receiver.

`open_decoder` chooses soundfile or ffmpeg by the file's content, and runs in a child process
whatever is not to be trusted.
"""

from .containers.signature import MPEG_BYTES, SIGNATURE_BYTES, may_be_mpeg, suffix_of_container
from .decoder import Decoder, Facts
from .errors import DecodeError, GaveUp, LimitReached, NoDecoder, NotAudio, Unfit
from .ffmpeg import CONTAINERS, find_ffmpeg
from .opening import open_decoder
from .options import LEAST_MEMORY, Limits, Means
from .probing import Found, probe
from .streaming import StreamDecoder

__all__ = [
    "CONTAINERS",
    "LEAST_MEMORY",
    "MPEG_BYTES",
    "SIGNATURE_BYTES",
    "DecodeError",
    "Decoder",
    "Facts",
    "Found",
    "GaveUp",
    "LimitReached",
    "Limits",
    "Means",
    "NoDecoder",
    "NotAudio",
    "StreamDecoder",
    "Unfit",
    "find_ffmpeg",
    "may_be_mpeg",
    "open_decoder",
    "probe",
    "suffix_of_container",
]
