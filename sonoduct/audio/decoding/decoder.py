"""`Decoder`: one open file, and the samples that come out of it, whatever decodes them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Self

from sonoduct.wire import CHANNELS, SAMPLERATES, Buffer, Encoding, Format

from .errors import NO_FRAME, DecodeError, GaveUp, LimitReached, NotAudio, Unfit
from .options import OpenFile
from .runs import Run

SKIP_FRAMES: Final = 65536
"""Frames that are decoded at once on the way to a frame that cannot be reached by seeking."""

ROUGHLY: Final = 0.1
"""ffmpeg gives a file's length as a time, and codecs add samples at both ends."""

CODEC_S: Final = 0.25
"""Seconds that a codec adds to a file of any length."""

MP3_FRAMES: Final = 2 * 1152
"""The first MPEG frame may count itself, and the next one may need bytes that are missing."""

CLOCK_S: Final = 0.01
"""ffmpeg rounds lengths to this many seconds."""

_WIDTH: Final = {Encoding.S16LE: 16, Encoding.S24LE: 24, Encoding.F32LE: 32}


@dataclass(frozen=True, kw_only=True)
class MediaInfo:
    """What a decoder says of a file."""

    format: Format
    """With the requested encoding, or else the smallest exact one."""

    decoder: str
    """`soundfile` or `ffmpeg`."""

    container: str
    """Such as WAV, OGG or mov,mp4,m4a,3gp,3g2,mj2: the decoder's own word."""

    codec: str
    """Such as pcm, flac, vorbis or aac."""

    subtype: str
    """How the codec stores samples, in the decoder's own words."""

    frames: int | None
    """As the file claims; None if it does not say. Never relied upon."""

    damage: str
    """The part that is missing, if the file shows it before it is decoded; often empty."""

    seekable: bool
    """Whether a seek is exact and costs nothing; if not, it decodes from the start."""


def require_fit(
    samplerate: int, channels: int, exact: Encoding, requested: Encoding | None, subtype: str
) -> Format:
    """
    Return the format in which samples travel.

    Its encoding is *requested*, or else *exact*, the smallest that holds every sample of *subtype*.

    Raises:
        Unfit: if the protocol cannot carry the samples, or *requested* cannot hold them.
    """
    for name, seen, allowed in (
        ("samplerate", samplerate, SAMPLERATES),
        ("channels", channels, CHANNELS),
    ):
        if seen not in allowed:
            raise Unfit(f"{name} {seen}, expected {allowed.start} to {allowed.stop - 1}")
    if requested is not None and _WIDTH[requested] < _WIDTH[exact]:
        raise Unfit(f"{requested} cannot hold {subtype} exactly, expected {exact}")
    return Format(samplerate=samplerate, channels=channels, encoding=requested or exact)


StartRun = Callable[[int], Run]
"""Starts a run at a frame. If the decoder is not seekable, it is always called with 0."""


class Decoder:
    """
    Decodes an open file by one run after another; a seek starts a new run.

    Methods block; call them from threads, one at a time, except `close`. The same decoder gives the
    same samples everywhere, and from every offset.
    """

    def __init__(self, file: OpenFile, media: MediaInfo, start: StartRun, run: Run) -> None:
        """Take over *file*, which `close` closes, and *run*, which was started at frame 0."""
        self.format = media.format
        self.decoder = media.decoder
        self.container = media.container
        self.codec = media.codec
        self.subtype = media.subtype
        self.frames = media.frames
        self.seekable = media.seekable
        self.warning = ""
        """Damage that did not stop the decoder; known at the end."""
        self._damage = media.damage
        self._descriptor = file.descriptor
        self._start = start
        self._run = run
        self._most_output = file.options.limits.most_output(file.size)
        self._position = 0
        self._ahead: Buffer = b""
        self._closed = False
        self._turn = threading.Lock()

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"at frame {self._position}"
        total = "unknown" if self.frames is None else self.frames
        return f"<Decoder {self.decoder} {self.container}/{self.codec} {state} of {total}>"

    def begun(self) -> Self:
        """
        Decode the first frame, which the first `read` returns; return this decoder.

        Raises:
            NotAudio: if the file has no frame.
            DecodeError: as `read`.
        """
        self._ahead = self._read(1)
        self._position = 0
        if not self._ahead:
            raise NotAudio(NO_FRAME)
        return self

    def read(self, frames: int) -> Buffer:
        """
        Return up to *frames* frames in the canonical bytes of `format`; no bytes at the end.

        Raises:
            DecodeError: if the decoder stops before the end; the message names the frame.
        """
        with self._turn:
            return self._read(frames)

    def seek(self, offset: int) -> None:
        """
        Continue at frame *offset*. Unless `seekable`, this decodes all frames before it.

        Raises:
            DecodeError: if the file has no such frame, or as `read`.
        """
        with self._turn:
            self._run.close()
            self._ahead, self._position = b"", offset if self.seekable else 0
            self._run = self._started()
            while self._position < offset:
                if not self._read(min(SKIP_FRAMES, offset - self._position)):
                    raise GaveUp(f"ends at frame {self._position}, expected {offset}")

    def close(self) -> None:
        """Stop decoding, also in a thread that is in `read`, and free everything."""
        self._closed = True
        self._run.kill()
        with self._turn:
            self._run.close()
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1

    def _read(self, frames: int) -> Buffer:
        if self._closed:
            raise GaveUp("closed")
        if not frames:  # `begun` may have left a frame in _ahead
            return b""
        width = self.format.frame_bytes
        try:
            data = self._whole(frames * width - len(self._ahead))
        except DecodeError as exc:
            raise self._at(exc) from exc
        if self._ahead:
            data, self._ahead = b"".join((self._ahead, data)), b""
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

    def _whole(self, size: int) -> Buffer:
        """Return whole frames. If a decoder stopped within a frame, its next read says why."""
        data = self._run.read(size) if size else b""
        if rest := len(data) % self.format.frame_bytes:
            return data[:-rest] or self._run.read(size)
        return data

    def _miscounted(self) -> str:
        """Return how the number of frames differs from the file's claim, "" if it does not."""
        if self.frames is None:
            return ""
        missing = self.frames - self._position
        more = self.container == "flac" and -missing > self.format.samplerate * CLOCK_S
        if more or missing > self._slack(self.frames):
            return f"{self._position} frames, the file claims {self.frames}"
        return ""

    def _slack(self, frames: int) -> float:
        """Return how many of the *frames* that a whole file claims it may not have."""
        if self.decoder == "ffmpeg":
            return frames * ROUGHLY + self.format.samplerate * CODEC_S
        return MP3_FRAMES if self.codec == "mp3" else 0
