"""A file's samples, from any frame on, with the fallback to another decoder."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, Self

from sonoduct.wire import CHANNELS, SAMPLERATES, Encoding, Format

from .errors import NO_FRAME, DecodeError, GaveUp, LimitReached, NotAudio, Unfit
from .options import Job
from .runs import Run

_WIDTH: Final = {Encoding.S16LE: 16, Encoding.S24LE: 24, Encoding.F32LE: 32}


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a decoder says of a file."""

    format: Format
    """Its encoding is the smallest exact one, or the one that was asked for."""

    decoder: str
    """`soundfile` or `ffmpeg`."""

    container: str
    """Such as WAV, OGG or mov,mp4,m4a,3gp,3g2,mj2: the decoder's own word."""

    codec: str
    """Such as pcm, flac, vorbis or aac."""

    subtype: str
    """How the codec's samples are stored, again in the decoder's own words."""

    frames: int | None
    """As the file claims; None where it says nothing. Never relied upon."""

    damage: str
    """What shows already that not all of it is there; most often nothing does."""

    seekable: bool
    """Whether a seek costs nothing and is exact; otherwise it decodes from the start."""


def require_fit(
    samplerate: int, channels: int, exact: Encoding, wanted: Encoding | None, subtype: str
) -> Format:
    """
    Return the format that samples travel in: *wanted*, or *exact*, which holds all of *subtype*.

    Raises:
        Unfit: if the protocol cannot carry it, or *wanted* cannot hold it.
    """
    for name, seen, allowed in (
        ("samplerate", samplerate, SAMPLERATES),
        ("channels", channels, CHANNELS),
    ):
        if seen not in allowed:
            raise Unfit(f"{name} {seen}, expected {allowed.start} to {allowed.stop - 1}")
    if wanted is not None and _WIDTH[wanted] < _WIDTH[exact]:
        raise Unfit(f"{wanted} cannot hold {subtype} exactly, expected {exact}")
    return Format(samplerate=samplerate, channels=channels, encoding=wanted or exact)


SKIP_FRAMES: Final = 65536

ROUGHLY: Final = 0.1
"""ffmpeg tells a file's length in time, not in frames, with what a codec adds at both ends."""

CODEC_S: Final = 0.25
"""What that is, of a file of whatever length."""

MP3_FRAMES: Final = 2 * 1152
"""Its first frame may count itself, and the next one may need what is not there."""

CLOCK_S: Final = 0.01
"""What ffmpeg rounds a length to."""

Start = Callable[[int], Run]
"""Starts a run at a frame; only at 0 where a decoder is not seekable."""


class Decoder(Protocol):
    """
    Decodes one file. Blocking: it is called from threads, one at a time, but for `close`.

    The same decoder gives the same samples everywhere, and from every offset.
    """

    format: Format
    decoder: str
    container: str
    codec: str
    subtype: str
    frames: int | None
    seekable: bool

    warning: str
    """What was found wrong with the file without being a reason to stop; known at the end."""

    def read(self, frames: int) -> bytes:
        """
        Return up to *frames* frames in the canonical bytes of `format`; none at the end.

        Raises:
            DecodeError: if the decoder stops before the end, with the frame at which it did.
        """

    def seek(self, offset: int) -> None:
        """
        Go on at frame *offset*; where not `seekable`, by decoding all that is before it.

        Raises:
            DecodeError: if the file has no such frame, or as `read`.
        """

    def close(self) -> None:
        """End what is running, also a `read` of another thread, and free everything."""


class FileDecoder:
    """The Decoder of a file that is open; `close` closes that, too."""

    def __init__(self, job: Job, facts: Facts, start: Start, run: Run) -> None:
        """*run* was started at frame 0."""
        self.format = facts.format
        self.decoder = facts.decoder
        self.container = facts.container
        self.codec = facts.codec
        self.subtype = facts.subtype
        self.frames = facts.frames
        self.seekable = facts.seekable
        self.warning = ""
        self._damage = facts.damage
        self._descriptor = job.descriptor
        self._start = start
        self._run = run
        self._most_output = job.means.limits.most_output(job.size)
        self._position = 0
        self._ahead = b""
        self._closed = False
        self._turn = threading.Lock()

    def begun(self) -> Self:
        """
        Decode the first frame, which the first `read` gives; return itself.

        Raises:
            NotAudio: if there is none.
            DecodeError: as `read`.
        """
        self._ahead = self._read(1)
        self._position = 0
        if not self._ahead:
            raise NotAudio(NO_FRAME)
        return self

    def read(self, frames: int) -> bytes:
        """See Decoder."""
        with self._turn:
            return self._read(frames)

    def seek(self, offset: int) -> None:
        """See Decoder."""
        with self._turn:
            self._run.close()
            self._ahead, self._position = b"", offset if self.seekable else 0
            self._run = self._started()
            while self._position < offset:
                if not self._read(min(SKIP_FRAMES, offset - self._position)):
                    raise GaveUp(f"ends at frame {self._position}, expected {offset}")

    def close(self) -> None:
        """See Decoder."""
        self._closed = True
        self._run.kill()
        with self._turn:
            self._run.close()
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1

    def _read(self, frames: int) -> bytes:
        if self._closed:
            raise GaveUp("closed")
        if not frames:  # one may be ahead already
            return b""
        width = self.format.frame_bytes
        try:
            data = self._ahead + self._whole(frames * width - len(self._ahead))
        except DecodeError as exc:
            raise self._at(exc) from exc
        self._ahead = b""
        self._position += len(data) // width
        if self._position * width > self._most_output:
            seen, most = self._position * width, self._most_output
            raise self._at(LimitReached(f"{seen} bytes of samples, expected at most {most}"))
        if not data:
            self.warning = self._run.warning or self._damage or self._miscounted()
        return data

    def _started(self) -> Run:
        try:
            return self._start(self._position)
        except DecodeError as exc:
            raise self._at(exc) from exc

    def _at(self, error: DecodeError) -> DecodeError:
        return type(error)(f"{self.decoder} at frame {self._position}: {error}")

    def _whole(self, size: int) -> bytes:
        """Whole frames; a decoder that was stopped within one says so in the next read."""
        data = self._run.read(size) if size else b""
        if rest := len(data) % self.format.frame_bytes:
            return data[:-rest] or self._run.read(size)
        return data

    def _miscounted(self) -> str:
        """What the file claims and does not have; or has, in a FLAC, and does not claim."""
        if self.frames is None:
            return ""
        missing = self.frames - self._position
        more = self.container == "flac" and -missing > self.format.samplerate * CLOCK_S
        if more or missing > self._slack(self.frames):
            return f"{self._position} frames, the file claims {self.frames}"
        return ""

    def _slack(self, frames: int) -> float:
        """How many of *frames* that a file claims may be missing from one that is whole."""
        if self.decoder == "ffmpeg":
            return frames * ROUGHLY + self.format.samplerate * CODEC_S
        return MP3_FRAMES if self.codec == "mp3" else 0
