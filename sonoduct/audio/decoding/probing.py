"""A file's container, codec, format and length, without sending it."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sonoduct.wire import Encoding

from .opening import open_decoder
from .options import DecodeOptions

BLOCK_FRAMES: Final = 65536


@dataclass(frozen=True, kw_only=True)
class ProbeResult:
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
    """None if the file does not say, and they were not counted."""

    counted: bool
    """Whether all frames were decoded and counted; if not, *frames* is the file's own claim."""

    warning: str = ""
    """The damage that counting found."""


def probe(
    path: Path, options: DecodeOptions, *, isolated: bool, count: bool = False
) -> ProbeResult:
    """
    Return what *path* is; with *count*, decode all of it.

    Raises:
        DecodeError: if it cannot be decoded; with *count*, to its end.
        OSError: if it cannot be read.
    """
    with closing(open_decoder(path, options, isolated=isolated)) as decoder:
        frames = 0
        while count and (data := decoder.read(BLOCK_FRAMES)):
            frames += len(data) // decoder.format.frame_bytes
        return ProbeResult(
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
