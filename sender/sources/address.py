"""Live input from an address, which ffmpeg opens and decodes."""

from __future__ import annotations

import subprocess
from functools import partial
from typing import Final
from urllib.parse import SplitResult, urlsplit, urlunsplit

from sender.errors import SourceError
from sonoduct.audio.decoding import (
    CODECS,
    CONTAINERS,
    DecodeOptions,
    NoDecoder,
    StreamDecoder,
    find_ffmpeg,
)
from sonoduct.wire import Encoding

from .decoded import DecodedInput, started

SCHEMES: Final = ("http", "https", "rtsp", "rtsps")
"""The schemes that an address may have."""

PROTOCOLS: Final = ("http", "https", "tls", "tcp", "crypto", "rtp", "udp")
"""The protocols that ffmpeg may use for it: no files, and none that names several inputs."""

PLAYLISTS: Final = ("hls", "rtsp", "sdp", "rtp")
"""Formats that lead to other addresses, by those protocols."""

MICROSECONDS: Final = 1_000_000


def parse_address(text: str) -> SplitResult:
    """
    Return the parts of an address.

    Raises:
        ValueError: if *text* is not an address, or has a scheme that is not allowed.
    """
    try:
        address = urlsplit(text)
        good = address.scheme in SCHEMES and address.hostname and address.port != 0
    except ValueError:  # the port is not a number
        good = False
    if not good or not text.isprintable() or " " in text:
        raise ValueError(f"address {text!r}, expected {'|'.join(SCHEMES)}://HOST/…")
    return address


def public_name(text: str) -> str:
    """Return an address without its secrets: user, password, and query."""
    address = parse_address(text)
    host = address.netloc.rpartition("@")[2]
    return urlunsplit((address.scheme, host, address.path, "", ""))


def from_address(
    text: str, timeout: float, options: DecodeOptions, requested: Encoding | None
) -> DecodedInput:
    """
    Start ffmpeg on an address; it stops after *timeout* seconds without a byte.

    Raises:
        SourceError: if ffmpeg cannot be started.
    """
    name, source = public_name(text), input_options(text, timeout)
    try:
        program = find_ffmpeg(options.ffmpeg)
    except NoDecoder as exc:
        raise SourceError(f"{name}: {exc}") from exc
    memory = options.limits.memory_bytes
    start = partial(StreamDecoder, program, subprocess.DEVNULL, memory, source, network=True)
    return DecodedInput(name, started(name, start), requested)


def input_options(text: str, timeout: float) -> tuple[str, ...]:
    """Return ffmpeg's options for an address that may be silent for *timeout* seconds."""
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
        *("-codec_whitelist", ",".join(CODECS)),
        *(*how, "-i", text),
    )
