"""Live input that ffmpeg decodes: a container on standard input, or what is behind an address."""

from __future__ import annotations

from typing import Final

import structlog

from decoding import DecodeError, Means, NotAudio, StreamDecoder, find_ffmpeg
from wire import Encoding, Format

from .errors import SourceError

log = structlog.get_logger()

SCHEMES: Final = ("http", "https", "rtsp", "rtsps")
"""What an address may begin with."""

PROTOCOLS: Final = ("http", "https", "tls", "tcp", "crypto", "rtp", "udp")
"""What ffmpeg may open on its way there; not files, and nothing that names several inputs."""

PLAYLISTS: Final = ("hls", "rtsp", "sdp", "rtp")
"""Formats that lead to others, by those protocols."""

FILE_ONLY: Final = "if it is audio, its decoder has to go back in it: send it as a file"
"""As an MP4 whose index comes last, or a CAF."""

MICROSECONDS: Final = 1_000_000


class Decoded:
    """What comes through ffmpeg; an Input."""

    decoder = "ffmpeg"

    def __init__(
        self, name: str, stream: StreamDecoder, wished: Encoding | None, advice: str
    ) -> None:
        """*wished* is the encoding that was asked for; *advice* goes with what is no audio."""
        self.closed = False
        self._name = name
        self._stream = stream
        self._wished = wished
        self._advice = advice

    def begin(self) -> Format:
        """See Input."""
        try:
            return self._stream.begin(self._wished)
        except NotAudio as exc:
            raise SourceError(f"{self._name}: {exc}; {self._advice}") from exc
        except DecodeError as exc:
            raise SourceError(f"{self._name}: {exc}") from exc

    def read_some(self, size: int) -> bytes:
        """See Input."""
        try:
            data = self._stream.read_some(size)
        except DecodeError as exc:
            if self.closed:
                return b""
            raise SourceError(f"{self._name}: {exc}") from exc
        if not data and self._stream.warning:
            log.warning("input_damaged", name=self._name, warning=self._stream.warning)
        return data

    def close(self) -> None:
        """See Input."""
        self.closed = True
        self._stream.close()


def from_pipe(name: str, descriptor: int, means: Means, wished: Encoding | None) -> Decoded:
    """
    Start decoding whatever container comes from *descriptor*.

    Raises:
        NoDecoder: without ffmpeg.
        SourceError: if it cannot be started.
    """
    program = find_ffmpeg(means.ffmpeg)
    try:
        stream = StreamDecoder(program, descriptor, means.limits.memory_bytes)
    except OSError as exc:
        raise SourceError(f"{name}: ffmpeg: {exc.strerror}") from exc
    return Decoded(name, stream, wished, FILE_ONLY)
