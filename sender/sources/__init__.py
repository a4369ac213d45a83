"""
`Source`, the seam between audio and the protocol. Each kind of source has a file here.

A new kind is a file, an option in settings.py, and a line in opening.py. Sources know no settings:
opening.py passes values.
"""

from __future__ import annotations

import hashlib
from typing import Protocol

from sonoduct.wire import Buffer, Format, Kind


class Source(Protocol):
    """
    One stream's units: frames of samples in their canonical bytes, or the bytes of a file.

    Inherit from it: a class that only sets `name`, `stream`, `format`, `decoder` and `units`, and
    has `read`, `release`, `forget` and `close`, is a finished source of samples.

    `read` blocks; it is called from threads. Everything may be called while a `read` is under way.
    `close` ends a `read` that waits for input.
    """

    name: str
    """For people."""

    stream: str
    """The stream's id, 32 hexadecimal digits. The same content has the same id: it is sent once."""

    kind: Kind = Kind.PCM
    """Whether units are frames or bytes."""

    format: Format | None
    """How to read the samples; None for a file."""

    decoder: str
    """`soundfile` or `ffmpeg`; `raw` if nothing is decoded."""

    units: int | None
    """How many units there are, if the source claims to know. Never relied upon."""

    live: bool = False
    """Whether the audio is made while it is sent, so that no frame may wait for others."""

    @property
    def pcm(self) -> Format:
        """How to read the samples; only for a source that has samples."""
        assert self.format is not None  # the kind is PCM
        return self.format

    @property
    def unit_bytes(self) -> int:
        """Canonical bytes of a unit: of a frame, or 1 in a file."""
        return 1 if self.kind is Kind.FILE else self.pcm.frame_bytes

    @property
    def evidence(self) -> str:
        """
        Text that differs after any change of the source; "" if the source cannot tell.

        With it, the sender's ledger knows the source's digest without reading the source again.
        This may block.
        """
        return ""

    @property
    def growing(self) -> bool:
        """Whether the source still saves new audio; until it stops, no receiver is given up."""
        return False

    @property
    def first(self) -> int:
        """The first unit that can still be read. A receiver has acknowledged those before it."""
        return 0

    def read(self, offset: int, units: int) -> Buffer:
        """
        Return up to *units* units from unit *offset* on; no bytes at the end.

        Raises:
            SourceError: if they cannot be read.
        """

    def release(self, offset: int) -> None:
        """Allow the source to drop the units before *offset*: the receiver has them."""

    def forget(self) -> None:
        """Remove all that was saved for the stream: it has its receipt."""

    def close(self) -> None:
        """Free everything that the source holds."""


def identity(*facts: object) -> str:
    """Return the stream id that *facts* make."""
    text = "\0".join(str(fact) for fact in facts)
    return hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=16).hexdigest()
