"""Addresses that live input comes from, and how ffmpeg is to open them."""

from __future__ import annotations

from typing import Final
from urllib.parse import SplitResult, urlsplit, urlunsplit

from sonoduct.audio.decoding import CONTAINERS

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
