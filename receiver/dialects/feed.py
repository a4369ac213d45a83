"""`Feed`: bytes of any length become chunks, for dialects whose clients know no chunks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sonoduct.audio.g711 import Table
from sonoduct.wire import Buffer, Chunk, Digest, Eos, Format, Malformed, encode_chunk


class Feed:
    """Cuts the bytes of one stream into chunks of whole units."""

    def __init__(self, audio_format: Format | None, table: Table | None = None) -> None:
        """
        Take samples in *audio_format*, or a file's bytes without one.

        If there is a *table*, each byte is one sample, which the table converts.
        """
        self.format = audio_format
        self.rest = b""
        """Bytes that do not fill a unit yet."""
        self._table = table
        self._width = 1 if audio_format is None else audio_format.frame_bytes
        self._taken = self._width if table is None else self._width // 2
        """Bytes of a unit on the wire."""
        self._digest = Digest()
        self._epoch = self._piece = 0

    @property
    def is_file(self) -> bool:
        """Whether the units are a file's bytes."""
        return self.format is None

    def open(self, epoch: int, max_chunk: int) -> None:
        """Make chunks of *epoch* with payloads of up to *max_chunk* bytes."""
        self._epoch = epoch
        self._piece = max_chunk // self._width * self._taken

    def take(self, data: Buffer) -> Iterator[Chunk]:
        """Yield the chunks that *data* completes."""
        view = memoryview(self.rest + data if self.rest else data)
        whole = len(view) - len(view) % self._taken
        self.rest = bytes(view[whole:])
        for start in range(0, whole, self._piece):
            yield self._chunk(view[start : min(start + self._piece, whole)])

    def end(self) -> Eos:
        """Return the message that ends the stream."""
        return Eos(units=self._digest.units, digest=self._digest.hexdigest())

    def require_whole(self) -> None:
        """
        Check that the last frame is whole.

        Raises:
            Malformed: if there are bytes left that do not fill a frame.
        """
        if self.rest and self.format is not None:
            frame = f"a multiple of {self._taken} ({self.format.channels} channels)"
            raise Malformed("bytes after the last frame", seen=len(self.rest), expected=frame)

    def _chunk(self, payload: memoryview) -> Chunk:
        offset, units = self._digest.units, len(payload) // self._taken
        if self._table is not None:
            payload = memoryview(self._table[np.frombuffer(payload, np.uint8)].tobytes())
        self._digest.update(offset, units, payload)
        return Chunk(self._epoch, offset, units, encode_chunk(self._epoch, offset, units, payload))
