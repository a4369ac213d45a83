"""
From an audio file to samples in their canonical bytes; shared by the sender and the receiver.

`open_decoder` chooses soundfile or ffmpeg by the file's content, and runs in a child process
whatever is not to be trusted.
"""

from .containers.signature import MPEG_BYTES, SIGNATURE_BYTES, may_be_mpeg, suffix_of_container
from .decoder import Decoder
from .errors import DecodeError, GaveUp, LimitReached, NoDecoder, NotAudio, Unfit
from .facts import Facts
from .ffmpeg import CONTAINERS, find_ffmpeg
from .limits import LEAST_MEMORY, Limits
from .means import Means
from .opening import open_decoder
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
