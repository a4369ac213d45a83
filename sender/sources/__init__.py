"""Where samples come from: the seam between decoders and the protocol."""

from __future__ import annotations

import hashlib
from typing import Protocol

from sonoduct.wire import Format


class Source(Protocol):
    """
    One stream's samples, in their canonical bytes.

    `read` blocks and is called from threads. Everything may be called while a `read` is under way;
    `close` ends one that waits for input.
    """

    name: str
    """For people."""

    stream: str
    """32 hexadecimal digits; the same for the same content, so that it is sent only once."""

    format: Format

    decoder: str
    """`soundfile` or `ffmpeg`; `raw` for samples that need none."""

    units: int | None
    """Frames, as far as the source claims to know; never relied upon."""

    live: bool
    """Whether it comes as it is made, so that no frame is to wait for others."""

    @property
    def evidence(self) -> str:
        """
        What differs after any change of the source; "" for a source that cannot vouch for itself.

        With it, a sender's ledger proves what the source holds without reading it again. It may
        block.
        """

    @property
    def growing(self) -> bool:
        """Whether more is being kept of it meanwhile: until then no receiver is given up."""

    @property
    def first(self) -> int:
        """The first frame that can still be read; what is before it was acknowledged once."""

    def read(self, offset: int, units: int) -> bytes:
        """
        Return up to *units* frames from frame *offset* on; no bytes at the end.

        Raises:
            SourceError: if they cannot be had.
        """

    def release(self, offset: int) -> None:
        """Frames before *offset* will not be asked for again."""

    def forget(self) -> None:
        """The stream has its receipt: what was kept for it may go."""

    def close(self) -> None:
        """Free what the source holds."""


def printable(text: object) -> str:
    """Return *text* in one line, with a question mark for what cannot be shown of file names."""
    return "".join(each if each.isprintable() else "?" for each in str(text))


def identity(*facts: object) -> str:
    """Return the stream id that *facts* make."""
    text = "\0".join(str(fact) for fact in facts)
    return hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=16).hexdigest()
