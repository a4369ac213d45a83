"""
From an audio file to samples in canonical bytes; the sender and the receiver share it.

`open_decoder` chooses soundfile or ffmpeg by the file's content. Decoders that are not safe enough
for this process run in a child process.
"""

from .containers.signature import MPEG_BYTES, SIGNATURE_BYTES, may_be_mpeg, suffix_of_container
from .decoder import Decoder, MediaInfo
from .errors import DecodeError, GaveUp, LimitReached, NoDecoder, NotAudio, Unfit
from .ffmpeg import CONTAINERS, find_ffmpeg
from .opening import open_decoder
from .options import LEAST_MEMORY, DecodeOptions, Limits
from .probing import ProbeResult, probe
from .streaming import StreamDecoder

__all__ = [
    "CONTAINERS",
    "LEAST_MEMORY",
    "MPEG_BYTES",
    "SIGNATURE_BYTES",
    "DecodeError",
    "DecodeOptions",
    "Decoder",
    "GaveUp",
    "LimitReached",
    "Limits",
    "MediaInfo",
    "NoDecoder",
    "NotAudio",
    "ProbeResult",
    "StreamDecoder",
    "Unfit",
    "find_ffmpeg",
    "may_be_mpeg",
    "open_decoder",
    "probe",
    "suffix_of_container",
]
