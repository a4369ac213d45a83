"""
libsndfile, through soundfile: a library here, and by itself the program of a child process.

The program takes the encoding (or `auto`), the first frame, and the part of its standard input to
show to libsndfile. It writes one line of JSON, then samples. It imports nothing of ours, so that it
starts in 150 ms.
"""

from __future__ import annotations

import json
import os
import re
import sys
from typing import Any, Final, NamedTuple

import soundfile

# libsndfile decodes these to 16 bit integers, and to floats by scaling the same integers.
SIXTEEN: Final = frozenset(
    {"PCM_S8", "PCM_U8", "PCM_16", "ULAW", "ALAW", "IMA_ADPCM", "MS_ADPCM", "GSM610", "ALAC_16"}
)
TWENTY_FOUR: Final = frozenset({"PCM_24", "ALAC_20", "ALAC_24"})

# A seek is exact. With other subtypes it lands elsewhere, or the samples after it differ.
SEEKABLE: Final = frozenset(
    {"PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"}
)
UNKNOWN_FRAMES: Final = 2**62
"""libsndfile gives 2**63 - 1 if the header has no length."""

_LENGTH: Final = re.compile(
    r"^ *(?:data|SSND|Data Size|riff|Riff size) *: (\d+) \(should be (\d+)\)", re.MULTILINE
)
"""libsndfile's note on a wrong length in a header; it uses the right one."""
_NOTED: Final = "Seems to be a truncated file"
_ABOUT: Final = 4096

_TAG_BYTES: Final = 128
"""The size of an ID3v1 tag, which libsndfile looks for in an MP3."""

AUTO: Final = "auto"
FAILED: Final = 1
"""Exit code of the program if libsndfile gives up; standard error has its reason."""

BLOCK_BYTES: Final = 128 * 1024


class SndFileError(Exception):
    """libsndfile's error."""


class Shown(NamedTuple):
    """The part of a file that libsndfile sees. The default is the whole file, unchanged."""

    start: int = 0
    end: int | None = None
    """None for the end of the file."""
    patches: tuple[tuple[int, str], ...] = ()
    """Bytes, in hexadecimal, that replace others; offsets count from *start*."""
    beyond: int = 0
    """Bytes that seem to follow. libsndfile finds the end of the file when it reads them."""
    frames: int | None = None
    """The number of frames to read. libsndfile would report damage in the bytes behind them."""


WHOLE: Final = Shown()


class Header(NamedTuple):
    """libsndfile's description of a file, and the encoding in which its samples are returned."""

    samplerate: int
    channels: int
    container: str
    subtype: str
    frames: int | None
    encoding: str
    seekable: bool
    damage: str
    """The part that is missing, if the header says how much there should be."""

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame in `encoding`."""
        return self.channels * {"s16le": 2, "s24le": 3, "f32le": 4}[self.encoding]


class _StraightOn(soundfile.SoundFile):  # type: ignore[misc]  # the library is untyped
    """
    Reads without seeking.

    soundfile seeks after each read to its position, and after a seek an MP3 gives other samples.
    The seek to the start stays: `soundfile.read` does it as well, and the samples have to agree.
    """

    def __init__(self, file: int | _Excerpt) -> None:
        super().__init__(file, closefd=False)
        if super().seekable():
            self.seek(0)

    def seekable(self) -> bool:
        return False

    def flush(self) -> None:
        """Do nothing: `close` calls it, and nothing was written."""


class _Excerpt:
    """
    The part of a file that is shown to libsndfile, as a file object.

    libsndfile looks for tags in the last bytes; bytes beyond the end of the file are zeros.
    """

    def __init__(self, descriptor: int, shown: Shown) -> None:
        self._descriptor = descriptor
        self._start = shown.start
        there = os.fstat(descriptor).st_size if shown.end is None else shown.end
        self._size = there - shown.start
        self._claimed = self._size + shown.beyond
        self._patches = [(at, bytes.fromhex(data)) for at, data in shown.patches]
        self._at = 0
        self.failure: OSError | None = None
        """A failed read. libsndfile cannot hear of it, and takes it for the end of the file."""

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        to = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at}.get(whence, self._claimed)
        if to < 0:  # as with a descriptor: the position stays
            return -1
        self._at = to
        return to

    def tell(self) -> int:
        return self._at

    def readinto(self, target: memoryview) -> int:
        size = max(0, min(len(target), self._size - self._at))
        try:
            data = os.pread(self._descriptor, size, self._start + self._at) if size else b""
        except OSError as exc:
            self.failure = exc
            return 0
        if not data and self._at >= self._claimed - _TAG_BYTES:
            data = bytes(max(0, min(len(target), self._claimed - self._at)))
        target[: len(data)] = self._patched(data)
        self._at += len(data)
        return len(data)

    def _patched(self, data: bytes) -> bytes:
        for at, patch in self._patches:
            begin, end = max(at, self._at), min(at + len(patch), self._at + len(data))
            if begin < end:
                new = patch[begin - at : end - at]
                data = data[: begin - self._at] + new + data[end - self._at :]
        return data


class SndFile:
    """A file that libsndfile reads from its descriptor, so that its name decides nothing."""

    def __init__(
        self, descriptor: int, encoding: str = AUTO, offset: int = 0, shown: Shown = WHOLE
    ) -> None:
        """
        Open the file of *descriptor*, which stays open after `close`.

        Raises:
            SndFileError: if libsndfile does not know the file, or cannot seek.
        """
        self._excerpt = None if shown == WHOLE else _Excerpt(descriptor, shown)
        try:
            self._file: Any = _StraightOn(self._excerpt or descriptor)
        except (soundfile.LibsndfileError, OSError) as exc:
            raise SndFileError(_reason(exc)) from exc
        self.header = self._header(encoding)
        self._left = None if shown.frames is None else max(0, shown.frames - offset)
        if offset:
            try:
                self.seek(offset)
            except SndFileError:
                self.close()
                raise

    def read(self, frames: int) -> memoryview:
        """
        Return the next *frames* frames, fewer at the end, in the header's encoding.

        Raises:
            SndFileError: if libsndfile gives up.
        """
        if self._left is not None:
            frames = min(frames, self._left)
            self._left -= frames
        try:
            data = self._samples(frames)
        except (soundfile.LibsndfileError, OSError) as exc:
            raise SndFileError(_reason(exc)) from exc
        if self._excerpt and self._excerpt.failure:
            raise SndFileError(self._excerpt.failure.strerror)
        return data

    def seek(self, offset: int) -> None:
        """
        Continue at frame *offset*.

        Raises:
            SndFileError: if libsndfile cannot.
        """
        try:
            self._file.seek(offset)
        except (soundfile.LibsndfileError, OSError) as exc:
            raise SndFileError(_reason(exc)) from exc

    def close(self) -> None:
        """Close the file, except the descriptor."""
        self._file.close()

    def _samples(self, frames: int) -> memoryview:
        match self.header.encoding:
            case "s16le":
                samples = self._file.read(frames, "int16").astype("<i2", copy=False)
            case "s24le":
                wide = self._file.read(frames, "int32").astype("<i4", copy=False)
                return memoryview(wide.view("u1").reshape(-1, 4)[:, 1:].tobytes())
            case _:
                samples = self._file.read(frames, "float32").astype("<f4", copy=False)
        return memoryview(samples.reshape(-1).view("u1"))

    def _header(self, encoding: str) -> Header:
        file = self._file
        return Header(
            samplerate=file.samplerate,
            channels=file.channels,
            container=file.format,
            subtype=file.subtype,
            frames=file.frames if file.frames < UNKNOWN_FRAMES else None,
            encoding=smallest_encoding(file.subtype) if encoding == AUTO else encoding,
            seekable=file.subtype in SEEKABLE,
            damage=_damage(file.extra_info),
        )


def block_frames(channels: int) -> int:
    """Return how many frames are decoded at once."""
    return max(1, BLOCK_BYTES // (4 * channels))


def smallest_encoding(subtype: str) -> str:
    """Return the smallest encoding that holds every sample of soundfile's *subtype* exactly."""
    if subtype in SIXTEEN:
        return "s16le"
    if subtype in TWENTY_FOUR:
        return "s24le"
    return "f32le"


def _damage(notes: str) -> str:
    """Return the damage that libsndfile's *notes* on a file name."""
    for claimed, there in _LENGTH.findall(notes):
        if int(claimed) > int(there) and not stands_for_unknown(int(claimed)):
            return f"cut off: {there} bytes, the file claims {claimed}"
    return "cut off" if _NOTED in notes else ""


def stands_for_unknown(length: int) -> bool:
    """Whether a writer that did not know the length puts *length*: about 2**31, 2**32, or more."""
    return any(abs(length - 2**bits) <= _ABOUT for bits in (31, 32)) or length >= UNKNOWN_FRAMES


def _reason(error: Exception) -> str:
    reason = getattr(error, "error_string", "") or str(error) or type(error).__name__
    return str(reason).strip().rstrip(".")


def _read_shown(written: str) -> Shown:
    start, end, patches, *more = json.loads(written)
    return Shown(start, end, tuple((at, data) for at, data in patches), *more)


def main(encoding: str, offset: str, shown: str) -> int:
    """Decode standard input to standard output; *shown* is a `Shown` as JSON."""
    output = sys.stdout.buffer
    try:
        sndfile = SndFile(sys.stdin.fileno(), encoding, int(offset), _read_shown(shown))
        output.write(json.dumps(sndfile.header).encode() + b"\n")
        output.flush()
        frames = block_frames(sndfile.header.channels)
        while data := sndfile.read(frames):
            output.write(data)
        output.flush()
    except SndFileError as exc:
        output.flush()
        print(exc, file=sys.stderr)  # noqa: T201  # it is how a program says so
        return FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
