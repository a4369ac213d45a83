"""Addresses that live input comes from, and how ffmpeg is to open them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import SplitResult, urlsplit, urlunsplit

import structlog

from sender.errors import SourceError
from sonoduct.audio.decoding import (
    CONTAINERS,
    DecodeError,
    DecodeOptions,
    NoDecoder,
    NotAudio,
    StreamDecoder,
    find_ffmpeg,
)
from sonoduct.wire import Encoding, Format

SCHEMES: Final = ("http", "https", "rtsp", "rtsps")
"""What an address may begin with."""

PROTOCOLS: Final = ("http", "https", "tls", "tcp", "crypto", "rtp", "udp")
"""What ffmpeg may open on its way there; no files, and none that names several inputs."""

PLAYLISTS: Final = ("hls", "rtsp", "sdp", "rtp")
"""Formats that lead to other addresses, by those protocols."""

MICROSECONDS: Final = 1_000_000


def parse_address(text: str) -> SplitResult:
    """
    Return the parts of an address.

    Raises:
        ValueError: if it is none, or none that may be opened.
    """
    try:
        address = urlsplit(text)
        good = address.scheme in SCHEMES and address.hostname and address.port != 0
    except ValueError:  # of a port that is none
        good = False
    if not good or not text.isprintable() or " " in text:
        raise ValueError(f"address {text!r}, expected {'|'.join(SCHEMES)}://HOST/…")
    return address


def public_name(text: str) -> str:
    """Return an address without what may be secret in it: user, password, and query."""
    address = parse_address(text)
    host = address.netloc.rpartition("@")[2]
    return urlunsplit((address.scheme, host, address.path, "", ""))


def input_options(text: str, timeout: float) -> tuple[str, ...]:
    """Return the options with which ffmpeg reads an address, for *timeout* seconds in silence."""
    limit = str(int(timeout * MICROSECONDS))
    scheme = parse_address(text).scheme
    how: tuple[str, ...] = ("-rw_timeout", limit)
    if scheme.startswith("rtsp"):
        how = ("-timeout", limit, "-rtsp_transport", "tcp")  # UDP would lose samples
    if scheme.endswith("s"):
        how += ("-tls_verify", "1")  # the default only from ffmpeg 8 on
    return (
        *("-protocol_whitelist", ",".join(PROTOCOLS)),
        *("-format_whitelist", ",".join((*CONTAINERS, *PLAYLISTS))),
        *(*how, "-i", text),
    )


log = structlog.get_logger()

FILE_ONLY: Final = "if it is audio, its decoder has to go back in it: send it as a file"
"""As an MP4 whose index comes last, or a CAF."""

NO_PROTOCOL: Final = "Protocol not found"
OTHER_FFMPEG: Final = "this ffmpeg was built without it: name another one with --ffmpeg"


class Decoded:
    """What comes through ffmpeg; an Input."""

    decoder = "ffmpeg"

    def __init__(
        self, name: str, stream: StreamDecoder, requested: Encoding | None, advice: str = ""
    ) -> None:
        """*requested* is the encoding that was asked for; *advice* goes with what is no audio."""
        self.closed = False
        self._name = name
        self._stream = stream
        self._wished = requested
        self._advice = advice

    def begin(self) -> Format:
        """See Input."""
        try:
            return self._stream.begin(self._wished)
        except NotAudio as exc:
            advice = OTHER_FFMPEG if NO_PROTOCOL in str(exc) else self._advice
            raise SourceError(f"{self._name}: {exc}{advice and f'; {advice}'}") from exc
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


def from_pipe(
    name: str, descriptor: int, options: DecodeOptions, requested: Encoding | None
) -> Decoded:
    """
    Start decoding whatever container comes from *descriptor*.

    Raises:
        NoDecoder: without ffmpeg.
        SourceError: if it cannot be started.
    """
    with _started(name):
        stream = StreamDecoder(find_ffmpeg(options.ffmpeg), descriptor, options.limits.memory_bytes)
    return Decoded(name, stream, requested, FILE_ONLY)


def from_address(
    text: str, timeout: float, options: DecodeOptions, requested: Encoding | None
) -> Decoded:
    """
    Start decoding what is behind an address, until it has been silent for *timeout* seconds.

    Raises:
        SourceError: if ffmpeg cannot be started.
    """
    name, source = public_name(text), input_options(text, timeout)
    memory = options.limits.memory_bytes
    try:
        program = find_ffmpeg(options.ffmpeg)
    except NoDecoder as exc:
        raise SourceError(f"{name}: {exc}") from exc
    with _started(name):
        stream = StreamDecoder(program, subprocess.DEVNULL, memory, source, network=True)
    return Decoded(name, stream, requested)


@contextmanager
def _started(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise SourceError(f"{name}: ffmpeg: {exc.strerror}") from exc
