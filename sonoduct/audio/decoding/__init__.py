"""
From an audio file to samples in canonical bytes; the sender and the receiver share it.

`open_decoder` chooses soundfile or ffmpeg by the file's content. Decoders that are not safe enough
for this process run in a child process.
"""

from .containers.signature import MPEG_BYTES as MPEG_BYTES
from .containers.signature import SIGNATURE_BYTES as SIGNATURE_BYTES
from .containers.signature import may_be_mpeg as may_be_mpeg
from .containers.signature import suffix_of_container as suffix_of_container
from .decoder import Decoder as Decoder
from .decoder import MediaInfo as MediaInfo
from .errors import DecodeError as DecodeError
from .errors import GaveUp as GaveUp
from .errors import LimitReached as LimitReached
from .errors import NoDecoder as NoDecoder
from .errors import NotAudio as NotAudio
from .errors import Unfit as Unfit
from .ffmpeg import CODECS as CODECS
from .ffmpeg import CONTAINERS as CONTAINERS
from .ffmpeg import find_ffmpeg as find_ffmpeg
from .opening import open_decoder as open_decoder
from .options import LEAST_MEMORY as LEAST_MEMORY
from .options import DecodeOptions as DecodeOptions
from .options import Limits as Limits
from .probing import ProbeResult as ProbeResult
from .probing import probe as probe
from .streaming import StreamDecoder as StreamDecoder
