"""ffmpeg as a child process: its description of a file, and its samples."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from typing_extensions import override

from sonoduct.runtime.child import Child, OutOfTime
from sonoduct.wire import Encoding

from .errors import GaveUp, LimitReached, NoDecoder, NotAudio
from .options import OpenFile
from .runs import ChildRun

CONTAINERS: Final = (
    *("aac", "ac3", "aiff", "amr", "ape", "asf", "au", "avi", "caf", "dsf", "dts", "eac3", "flac"),
    *("flv", "gsm", "iff", "loas", "matroska", "mov", "mp3", "mpc", "mpc8", "mpeg", "mpegts"),
    *("nut", "ogg", "rm", "tak", "truehd", "tta", "voc", "w64", "wav", "wsd", "wv", "xwma"),
)
"""Formats that hold their own audio. Playlists name other files and addresses instead."""

_NUMBERS: Final = [f"pcm_{kind}{bits}" for kind in "su" for bits in (16, 24, 32)]
CODECS: Final = (
    *(
        f"{each}{end}"
        for each in (*_NUMBERS, "pcm_s64", "pcm_f32", "pcm_f64")
        for end in ("le", "be")
    ),
    *("pcm_s8", "pcm_u8", "pcm_alaw", "pcm_mulaw", "pcm_f16le", "pcm_f24le", "pcm_dvd"),
    *("pcm_bluray", "pcm_lxf", "pcm_s8_planar", "pcm_s16le_planar", "pcm_s16be_planar"),
    *("pcm_s24le_planar", "pcm_s32le_planar", "pcm_vidc", "s302m", "8svx_exp", "8svx_fib"),
    *("adpcm_ms", "adpcm_ima_wav", "adpcm_ima_qt", "adpcm_ct", "adpcm_swf", "adpcm_yamaha"),
    *(
        "adpcm_sbpro_2",
        "adpcm_sbpro_3",
        "adpcm_sbpro_4",
        "g722",
        "g723_1",
        "g726",
        "g726le",
        "g729",
    ),
    *("gsm", "gsm_ms", "libgsm", "libgsm_ms", "ilbc", "libilbc", "qcelp", "truespeech"),
    *("amrnb", "amrwb", "libopencore_amrnb", "libopencore_amrwb", "speex", "libspeex"),
    *("mp1", "mp1float", "mp2", "mp2float", "mp3", "mp3float", "mp3adu", "mp3adufloat"),
    *("mp3on4", "mp3on4float", "aac", "aac_fixed", "aac_latm", "libfdk_aac"),
    *("ac3", "ac3_fixed", "eac3", "dca", "mlp", "truehd", "vorbis", "libvorbis", "opus", "libopus"),
    *("flac", "alac", "ape", "tta", "tak", "wavpack", "mpc7", "mpc8", "als", "ralf"),
    *("wmav1", "wmav2", "wmapro", "wmavoice", "wmalossless", "xma1", "xma2", "nellymoser"),
    *("cook", "sipr", "real_144", "real_288", "atrac3", "atrac3al", "atrac3plus", "atrac3plusal"),
    *("qdm2", "qdmc", "mace3", "mace6", "dst"),
    *("dsd_lsbf", "dsd_msbf", "dsd_lsbf_planar", "dsd_msbf_planar"),
)
"""Decoders of audio in these formats: no decoder of pictures, and none of games' formats."""

LISTS: Final = (
    *("-format_whitelist", ",".join(CONTAINERS)),
    *("-codec_whitelist", ",".join(CODECS)),
)

INPUT: Final = ("-nostdin", "-hide_banner", *LISTS)
"""
ffmpeg may open only its standard input, which is the file: no path, no address.

The protocols are behind it, in `_input`.
"""

STDIN: Final = "file:/dev/stdin"
"""By this name ffmpeg can seek in the file, which an MP4 may need. As a pipe it could not."""

SAID_BYTES: Final = 1024 * 1024
"""Bytes of ffmpeg's description of a file that are searched; tags may be long."""

_INPUT: Final = re.compile(r"^Input #0, (.+), from ", re.MULTILINE)
_AUDIO: Final = re.compile(r"^  Stream #0:\d+\S*?: Audio: (.+)$", re.MULTILINE)
"""ffmpeg indents the lines of a tag further, so they cannot match."""
_STREAM: Final = re.compile(r"^  Stream #0:\d+.*$", re.MULTILINE)
ATTACHED: Final = "(attached pic)"
"""ffmpeg marks a cover so; a cover has no duration."""
_OTHER: Final = re.compile(r"^  Stream #0:\d+\S*?: (?!Audio)\w+: (\w+)", re.MULTILINE)
_SAMPLES: Final = re.compile(r", ((?:u8|s16|s32|s64|flt|dbl)p?(?: \((\d+) bit\))?)(?:,| \(|$)")
_DURATION: Final = re.compile(r"^  Duration: (\d+):(\d\d):(\d\d\.\d+)", re.MULTILINE)
_STRICT: Final = {"flac": ("-err_detect", "crccheck+explode")}
"""Leave out frames with a wrong checksum; by default ffmpeg turns them into noise."""

_ESTIMATED: Final = "Estimating duration from bitrate"

_CHANGED: Final = re.compile(r"Changing audio frame|(?:Sample rate|Channel) change is not")
_STOPPED: Final = re.compile(r"Error during demuxing")
_LABEL: Final = re.compile(r"^(?:\[([^]@ ]*)[^]]*\] )+")
"""The part of ffmpeg that writes the line, and an address, which differs between runs."""
PICTURES: Final = frozenset({"IMGUTILS"})
"""The part of ffmpeg that decodes covers."""
_NOISE: Final = re.compile(
    r"Task finished|Terminating thread|Error while filtering|Conversion failed"
    r"|Nothing was written|Last message repeated|Application provided invalid, non monotonically"
)
"""Lines that only follow from another line, or from joined files, whose times start again."""

NO_PROTOCOL: Final = "Protocol not found"
"""The error of an ffmpeg that was built without `subfile`, which limits it to part of a file."""

MISSING: Final = (
    "needs ffmpeg, which is not on PATH: "
    "install the package ffmpeg, or name the program with --ffmpeg"
)


@dataclass(frozen=True, kw_only=True)
class FfmpegInfo:
    """ffmpeg's description of the first audio stream of a file."""

    container: str
    codec: str
    sample_format: str
    """Such as ``fltp`` or ``s32 (24 bit)``."""
    encoding: Encoding
    """The smallest that holds the samples exactly."""
    others: frozenset[str]
    """The codecs of the streams that are not audio, such as ``png``."""
    seconds: float | None
    """The duration; None if ffmpeg does not know it, or guesses it."""


def find_ffmpeg(named: str | None) -> str:
    """
    Return the absolute path of the program *named*, or of the ffmpeg on PATH.

    Raises:
        NoDecoder: if there is no such program.
    """
    found = shutil.which(named or "ffmpeg")
    if found is None:
        raise NoDecoder(f"needs ffmpeg, and {named} is no program" if named else MISSING)
    return str(Path(found).absolute())


def ask(program: str, file: OpenFile) -> FfmpegInfo:
    """
    Have ffmpeg describe *file*.

    Raises:
        NotAudio: if it finds no audio.
        LimitReached: if it takes too long.
    """
    limits = replace(file.child_limits, threads=True)
    look = [program, *INPUT, *_input(file)]
    with closing(Child(look, file.rewound(), limits, SAID_BYTES, file.cancellation)) as child:
        try:
            child.read(1)  # waits for the end: ffmpeg writes nothing here
            child.exit_code()  # always 1: ffmpeg was given no output
        except OutOfTime:
            raise LimitReached(f"ffmpeg looked at it for {limits.wall_seconds:.3g} s") from None
        return understand(child.errors, child.last_line)


def _input(file: OpenFile) -> tuple[str, ...]:
    """Return ffmpeg's input: *file* without tags, which some of its decoders take for audio."""
    part = file.part
    if part.size == file.size:
        return "-protocol_whitelist", "file", "-i", STDIN
    shown = f"subfile,,start,{part.start},end,{part.end},,:{STDIN}"
    return "-protocol_whitelist", "file,subfile", "-i", shown


def understand(text: str, last: str) -> FfmpegInfo:
    """
    Return what *text*, ffmpeg's output, says of a file; *last* is its last line, with the error.

    Raises:
        NotAudio: if ffmpeg finds no audio, or cannot decode it.
    """
    container, stream = _INPUT.search(text), _AUDIO.search(text)
    if container is None:
        raise NotAudio(last.rpartition(": ")[2])
    if stream is None:
        raise NotAudio("no audio stream")
    samples = _SAMPLES.search(stream[1])
    if samples is None:
        raise NotAudio(f"cannot decode {stream[1]}")
    duration = None if _ESTIMATED in text else _DURATION.search(text)
    if len([line for line in _STREAM.findall(text) if ATTACHED not in line]) > 1:
        duration = None  # another stream may be longer
    seconds = duration and int(duration[1]) * 3600 + int(duration[2]) * 60 + float(duration[3])
    return FfmpegInfo(
        container=container[1],
        codec=re.split(r"[ ,]", stream[1], maxsplit=1)[0],
        sample_format=samples[1],
        encoding=_smallest(samples[1], int(samples[2] or 32)),
        others=frozenset(_OTHER.findall(text)),
        seconds=seconds or None,
    )


def _smallest(samples: str, bits: int) -> Encoding:
    if samples.startswith(("u8", "s16")):
        return Encoding.S16LE
    if samples.startswith("s32") and bits <= 24:  # noqa: PLR2004  # what s24le holds
        return Encoding.S24LE
    return Encoding.F32LE


class FfmpegRun(ChildRun):
    """The first audio stream of a file, from its beginning."""

    def __init__(
        self,
        program: str,
        file: OpenFile,
        encoding: Encoding,
        codec: str,
        others: frozenset[str] = frozenset(),
    ) -> None:
        """
        Start ffmpeg, and wait for the first sample.

        Errors of the decoders of *others*, the other streams' codecs, are not damage.

        Raises:
            GaveUp: if ffmpeg writes no sample.
            LimitReached: if it takes too long.
        """
        # -reinit_filter 0: a stream that changes its format ends with an error, not resampled.
        # -threads 1: less memory. WAV: its header has the samples' own samplerate and channels.
        decode = ("-v", "error", "-threads", "1", "-reinit_filter", "0", *_STRICT.get(codec, ()))
        output = ("-map", "0:a:0", "-vn", "-sn", "-dn", "-map_metadata", "-1", "-bitexact")
        sink = ("-c:a", f"pcm_{encoding}", "-f", "wav", "pipe:1")
        self._ignored = others - {codec} | PICTURES
        super().__init__(
            [program, *INPUT, *decode, *_input(file), *output, *sink], file, threads=True
        )
        try:
            self.wav_format = read_header(self.read)
        except BaseException:
            self.close()
            raise

    @override
    def _judge(self, code: int, errors: str) -> None:
        lines = [sentence for line in errors.splitlines() if (sentence := self._sentence(line))]
        if _CHANGED.search(errors):
            raise GaveUp("the samplerate or the channels change here")
        stopped = _STOPPED.search(errors)  # ffmpeg's exit code may be 0 all the same
        super()._judge(code or int(bool(stopped)), lines[-1] if lines else "")

    def _sentence(self, line: str) -> str:
        """Return *line* without its label; "" if it does not concern the audio."""
        label = _LABEL.match(line)
        sentence = line[label.end() :].strip() if label else line.strip()
        if _NOISE.match(sentence) or (label and label[1] in self._ignored):
            return ""
        return sentence


def read_header(read: Callable[[int], bytes]) -> tuple[int, int]:
    """
    Read ffmpeg's output up to the first sample; return the samplerate and the channels.

    *read* gives fewer bytes only at the end.

    Raises:
        GaveUp: if the output is not a WAV.
    """
    if (start := read(12))[:4] + start[8:] != b"RIFFWAVE":
        raise GaveUp(f"it wrote {start!r}, expected RIFF....WAVE")
    wav_format = None
    while (head := read(8)) and not head.startswith(b"data"):
        body = read(int.from_bytes(head[4:], "little"))
        if head.startswith(b"fmt "):
            samplerate, channels = body[4:8], body[2:4]
            wav_format = int.from_bytes(samplerate, "little"), int.from_bytes(channels, "little")
    if wav_format is None or not head:
        raise GaveUp("it wrote a WAV without samples")
    return wav_format
