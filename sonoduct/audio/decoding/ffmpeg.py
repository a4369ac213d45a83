"""ffmpeg as a child: what it says of a file, and its samples."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from sonoduct.runtime.child import Child, OutOfTime
from sonoduct.wire import Encoding

from .errors import GaveUp, LimitReached, NoDecoder, NotAudio
from .options import Job
from .runs import ChildRun

CONTAINERS: Final = (
    *("aac", "ac3", "aiff", "amr", "ape", "asf", "au", "avi", "caf", "dsf", "dts", "eac3", "flac"),
    *("flv", "gsm", "iff", "loas", "matroska", "mov", "mp3", "mpc", "mpc8", "mpeg", "mpegts"),
    *("nut", "ogg", "rm", "tak", "truehd", "tta", "voc", "w64", "wav", "wsd", "wv", "xwma"),
)
"""Formats that hold their own audio. Playlists, which name other files and addresses, do not."""

INPUT: Final = (
    *("-nostdin", "-hide_banner", "-protocol_whitelist", "file,subfile"),
    *("-format_whitelist", ",".join(CONTAINERS)),
)
"""It can open nothing but its standard input, which is the file itself: no path, no address."""

STDIN: Final = "file:/dev/stdin"
"""By this name it can seek in it; as a pipe it could not, and an MP4 may need that."""

SAID_BYTES: Final = 1024 * 1024
"""How much of its description of a file is looked through; tags may be long."""

_INPUT: Final = re.compile(r"^Input #0, (.+), from ", re.MULTILINE)
_AUDIO: Final = re.compile(r"^  Stream #0:\d+\S*?: Audio: (.+)$", re.MULTILINE)
"""The text of a tag that has several lines is indented further."""
_STREAM: Final = re.compile(r"^  Stream #0:\d+.*$", re.MULTILINE)
ATTACHED: Final = "(attached pic)"
"""What is said of a cover, which takes no time."""
_OTHER: Final = re.compile(r"^  Stream #0:\d+\S*?: (?!Audio)\w+: (\w+)", re.MULTILINE)
_RATE: Final = re.compile(r", (\d+) Hz(?:,|$)")
_SAMPLES: Final = re.compile(r", ((?:u8|s16|s32|s64|flt|dbl)p?(?: \((\d+) bit\))?)(?:,| \(|$)")
_DURATION: Final = re.compile(r"^  Duration: (\d+):(\d\d):(\d\d\.\d+)", re.MULTILINE)
_STRICT: Final = {"flac": ("-err_detect", "crccheck+explode")}
"""Frames whose checksum is wrong are left out; ffmpeg makes noise of them otherwise."""

_ESTIMATED: Final = "Estimating duration from bitrate"

_CHANGED: Final = re.compile(r"Changing audio frame|(?:Sample rate|Channel) change is not")
_STOPPED: Final = re.compile(r"Error during demuxing")
_LABEL: Final = re.compile(r"^(?:\[([^]@ ]*)[^]]*\] )+")
"""The part of ffmpeg that speaks, with an address: two runs differ in it."""
PICTURES: Final = frozenset({"IMGUTILS"})
"""What looks at covers, which are no audio."""
_NOISE: Final = re.compile(
    r"Task finished|Terminating thread|Error while filtering|Conversion failed"
    r"|Nothing was written|Application provided invalid, non monotonically"
)
"""What follows from another line, or from joined files, whose times begin anew."""

NO_PROTOCOL: Final = "Protocol not found"
"""What an ffmpeg says that was built without what shows it a part of a file."""

MISSING: Final = (
    "needs ffmpeg, which is not on PATH: "
    "install the package ffmpeg, or name the program with --ffmpeg"
)


@dataclass(frozen=True, kw_only=True)
class Said:
    """What ffmpeg says of the first audio stream of a file."""

    container: str
    codec: str
    samples: str
    """Such as ``fltp`` or ``s32 (24 bit)``."""
    encoding: Encoding
    """The smallest that holds them exactly."""
    others: frozenset[str]
    """The codecs of streams that are none of audio, such as ``png``."""
    seconds: float | None


def find_ffmpeg(named: str | None) -> str:
    """
    Return the absolute path of the ffmpeg that is *named*, or else on PATH.

    Raises:
        NoDecoder: if there is none.
    """
    found = shutil.which(named or "ffmpeg")
    if found is None:
        raise NoDecoder(f"needs ffmpeg, and {named} is no program" if named else MISSING)
    return str(Path(found).absolute())


def ask(program: str, job: Job) -> Said:
    """
    Have ffmpeg look at the file of *job*.

    Raises:
        NotAudio: if it knows no audio in it.
        LimitReached: if it takes too long.
    """
    bounds = job.bounds
    look = [program, *INPUT, *_input(job)]
    child = Child(look, job.rewound(), bounds, SAID_BYTES, job.cancellation)
    try:
        child.read(1)  # it writes nothing
        child.exit_code()  # always 1: it was given no output
        text, last = child.errors, child.last_line
    except OutOfTime:
        raise LimitReached(f"ffmpeg looked at it for {bounds.wall_seconds:.3g} s") from None
    finally:
        child.close()
    return understand(text, last)


def _input(job: Job) -> tuple[str, str]:
    """The file of *job* without its tags, which some of its decoders take for audio."""
    part = job.part
    if part.size == job.size:
        return "-i", STDIN
    return "-i", f"subfile,,start,{part.start},end,{part.end},,:{STDIN}"


def understand(text: str, last: str) -> Said:
    """
    Return what ffmpeg has said of a file in *text*; *last* is its reason if it said nothing.

    Raises:
        NotAudio: if there is no audio that it can decode.
    """
    container, stream = _INPUT.search(text), _AUDIO.search(text)
    if container is None:
        raise NotAudio(last.rpartition(": ")[2])
    if stream is None:
        raise NotAudio("no audio stream")
    return _understand(container[1], stream[1], text)


def _understand(container: str, stream: str, text: str) -> Said:
    samples = _SAMPLES.search(stream)
    if samples is None:
        raise NotAudio(f"cannot decode {stream}")
    duration = None if _ESTIMATED in text else _DURATION.search(text)
    if len([line for line in _STREAM.findall(text) if ATTACHED not in line]) > 1:
        duration = None  # it may be that of another stream
    seconds = duration and int(duration[1]) * 3600 + int(duration[2]) * 60 + float(duration[3])
    return Said(
        container=container,
        codec=re.split(r"[ ,]", stream, maxsplit=1)[0],
        samples=samples[1],
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
        job: Job,
        encoding: Encoding,
        codec: str,
        others: frozenset[str] = frozenset(),
    ) -> None:
        """
        Start ffmpeg, and wait for the first sample.

        What decoders of the codecs *others*, and not of *codec*, complain of is no damage.

        Raises:
            GaveUp: if there is none.
            LimitReached: if it takes too long.
        """
        # -reinit_filter 0: a stream that changes its format ends with an error, not resampled.
        # -threads 1: less memory. WAV: samplerate and channels are then those of the samples.
        decode = ("-v", "error", "-threads", "1", "-reinit_filter", "0", *_STRICT.get(codec, ()))
        output = ("-map", "0:a:0", "-vn", "-sn", "-dn", "-map_metadata", "-1", "-bitexact")
        sink = ("-c:a", f"pcm_{encoding}", "-f", "wav", "pipe:1")
        self._deaf_to = others - {codec} | PICTURES
        super().__init__([program, *INPUT, *decode, *_input(job), *output, *sink], job)
        try:
            self.samples = read_header(self)
        except BaseException:
            self.close()
            raise

    def _judge(self, code: int, said: str) -> None:
        """Ffmpeg's exit code is 0 also where it could not read on."""
        lines = [sentence for line in said.splitlines() if (sentence := self._sentence(line))]
        if _CHANGED.search(said):
            raise GaveUp("the samplerate or the channels change here")
        stopped = _STOPPED.search(said)
        super()._judge(code or int(bool(stopped)), lines[-1] if lines else "")

    def _sentence(self, line: str) -> str:
        """What a *line* says of the audio, without who says it; nothing if that is nothing."""
        label = _LABEL.match(line)
        sentence = line[label.end() :].strip() if label else line.strip()
        if _NOISE.match(sentence) or (label and label[1] in self._deaf_to):
            return ""
        return sentence


class Readable(Protocol):
    """What has a read that gives fewer bytes at the end only."""

    def read(self, size: int) -> bytes:
        """Return *size* bytes, fewer at the end."""


class Samples(NamedTuple):
    """What the samples after the header are."""

    samplerate: int
    channels: int


def read_header(stream: Readable) -> Samples:
    """
    Read up to the first sample.

    Raises:
        GaveUp: if that is no WAV.
    """
    if (start := stream.read(12))[:4] + start[8:] != b"RIFFWAVE":
        raise GaveUp(f"it wrote {start!r}, expected RIFF....WAVE")
    samples = None
    while (head := stream.read(8)) and not head.startswith(b"data"):
        body = stream.read(int.from_bytes(head[4:], "little"))
        if head.startswith(b"fmt "):
            samples = Samples(
                samplerate=int.from_bytes(body[4:8], "little"),
                channels=int.from_bytes(body[2:4], "little"),
            )
    if samples is None or not head:
        raise GaveUp("it wrote a WAV without samples")
    return samples
