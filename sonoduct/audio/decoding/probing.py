"""What a file is, without sending it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sonoduct.wire import Encoding

from .opening import open_decoder
from .options import Means

BLOCK_FRAMES: Final = 65536


@dataclass(frozen=True, kw_only=True)
class Found:
    """A file that can be decoded."""

    container: str
    codec: str
    subtype: str
    samplerate: int
    channels: int
    encoding: Encoding
    """The smallest that holds its samples exactly."""

    decoder: str
    frames: int | None
    counted: bool
    """Whether *frames* were decoded and counted; otherwise the file claims so, or says nothing."""

    warning: str = ""
    """What was found wrong while they were counted."""


def probe(path: Path, means: Means, *, isolated: bool, count: bool = False) -> Found:
    """
    Return what *path* is; with *count*, all of it is decoded.

    Raises:
        DecodeError: if it cannot be decoded; with *count*, to its end.
        OSError: if it cannot be read.
    """
    decoder = open_decoder(path, means, isolated=isolated)
    try:
        frames = 0
        while count and (data := decoder.read(BLOCK_FRAMES)):
            frames += len(data) // decoder.format.frame_bytes
        return Found(
            container=decoder.container,
            codec=decoder.codec,
            subtype=decoder.subtype,
            samplerate=decoder.format.samplerate,
            channels=decoder.format.channels,
            encoding=decoder.format.encoding,
            decoder=decoder.decoder,
            frames=frames if count else decoder.frames,
            counted=count,
            warning=decoder.warning,
        )
    finally:
        decoder.close()
