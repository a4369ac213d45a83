"""
Live input, which cannot be read again: an `Input` brings samples, a spool on disk keeps them.

A `SpooledStream` is read from its spool, which an earlier run may have left. A `LiveStream` also
fills the spool from an input, at the input's own pace.
"""

from __future__ import annotations

import threading
from typing import Final, Protocol

from typing_extensions import override

from sender.errors import SourceError
from sonoduct.wire import Buffer, Format

from . import Source
from .converted import Converter
from .spool import Spool

PIECE: Final = 64 * 1024


class Input(Protocol):
    """Brings samples as they are made. One thread reads it; any thread may `close` it."""

    decoder: str
    """As in a Source."""

    closed: bool
    """Whether `close` was called."""

    def begin(self) -> Format:
        """
        Wait for the first samples; return their format.

        Raises:
            SourceError: if there are none.
        """

    def read_some(self, size: int) -> bytes:
        """
        Return up to *size* bytes as soon as there are any; no bytes at the end, or after `close`.

        Raises:
            SourceError: if the input breaks off.
        """

    def close(self) -> None:
        """End a read that waits, and free everything; calling this again does nothing."""


class SpooledStream(Source):
    """A source that is read from its spool."""

    units: int | None = None
    live = True
    decoder = "raw"

    def __init__(self, spool: Spool) -> None:
        self.name = spool.hello.name
        self.stream = spool.hello.stream
        self.format = spool.hello.format
        self._spool = spool

    def __repr__(self) -> str:
        spool = self._spool
        state = "ended" if spool.ended else "full" if spool.full else "growing"
        return f"<{type(self).__name__} {self.stream[:4]}… {spool.first} to {spool.end}, {state}>"

    @property
    @override
    def growing(self) -> bool:
        return not (self._spool.ended or self._spool.full)

    @property
    @override
    def first(self) -> int:
        return self._spool.first

    @override
    def read(self, offset: int, units: int) -> bytes:
        """Wait for a frame; return all frames that the spool has by then, up to *units*."""
        return self._spool.read(offset, units)

    @override
    def release(self, offset: int) -> None:
        self._spool.release(offset)

    @override
    def forget(self) -> None:
        self._spool.remove()

    @override
    def close(self) -> None:
        """Close the spool. It stays on disk for another run, unless it is empty."""
        self._spool.close()
        if not self._spool.end:
            self._spool.remove()


class LiveStream(SpooledStream):
    """
    Takes samples from an input as they come, even while no receiver takes them.

    Samples are converted before they go into the spool. A later run then needs nothing that a
    resampler of this process knew.
    """

    def __init__(self, input_: Input, spool: Spool, converter: Converter, *, wait: bool) -> None:
        """With *wait*, a full spool lets the maker of the samples wait; without, it is an error."""
        super().__init__(spool)
        self.decoder = input_.decoder
        self._input = input_
        self._converter = converter
        self._wait = wait
        self._failure: SourceError | None = None
        self._thread = threading.Thread(target=self._pump, name="input", daemon=True)
        self._thread.start()

    @override
    def read(self, offset: int, units: int) -> bytes:
        """Read as a SpooledStream; behind the last frame, raise the error that ended the input."""
        data = super().read(offset, units)
        if not data and self._failure is not None:
            raise self._failure
        return data

    @override
    def close(self) -> None:
        self._input.close()
        self._spool.close()  # ends an append that waits for room
        self._thread.join()
        super().close()

    def _pump(self) -> None:
        try:
            self._take()
        except SourceError as exc:
            self._failure = exc
        except OSError as exc:
            self._failure = SourceError(f"{self.name}: spool: {exc.strerror}")
        finally:
            self._spool.finish()
            self._input.close()

    def _take(self) -> None:
        width, rest = self._converter.source.frame_bytes, b""
        while piece := self._input.read_some(PIECE):
            data = rest + piece
            whole = len(data) - len(data) % width
            rest = data[whole:]
            if not self._append(self._converter.convert(data[:whole])):
                return
        self._append(self._converter.convert(b"", last=True))
        if rest and not self._input.closed:
            raise SourceError(
                f"{self.name}: {len(rest)} bytes at the end, expected {width} a frame"
            )

    def _append(self, data: Buffer) -> bool:
        """Add *data* to the spool; return False if the spool was closed meanwhile."""
        return not data or self._spool.append(data, wait=self._wait)
