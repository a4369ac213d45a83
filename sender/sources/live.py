"""Sources that cannot be read again, by way of a spool on disk."""

from __future__ import annotations

import threading
from typing import Final, Protocol

from sender.errors import SourceError
from sonoduct.wire import Format

from .converted import Converter
from .spool import Spool

PIECE: Final = 64 * 1024


class SpooledStream:
    """A Source that is read from its spool; see Source."""

    units: int | None = None
    live = True
    decoder = "raw"

    def __init__(self, spool: Spool) -> None:
        self.name = spool.hello.name
        self.stream = spool.hello.stream
        self.format = spool.hello.pcm
        self._spool = spool

    evidence = ""

    @property
    def growing(self) -> bool:
        """See Source: its input is open, and its spool has room."""
        return not (self._spool.ended or self._spool.full)

    @property
    def first(self) -> int:
        """See Source: what was acknowledged may be gone."""
        return self._spool.first

    def read(self, offset: int, units: int) -> bytes:
        """See Source. Waits for a frame, and returns what has come by then."""
        return self._spool.read(offset, units)

    def release(self, offset: int) -> None:
        """See Source."""
        self._spool.release(offset)

    def forget(self) -> None:
        """See Source."""
        self._spool.remove()

    def close(self) -> None:
        """See Source: the spool stays, and another run may go on with it."""
        self._spool.close()
        if not self._spool.end:
            self._spool.remove()


class Input(Protocol):
    """What brings samples as they are made. It is read by one thread; `close` is for any."""

    decoder: str
    """As of a Source."""

    closed: bool
    """Whether nothing more is wanted."""

    def begin(self) -> Format:
        """
        Wait for the first of it; return what its samples are.

        Raises:
            SourceError: if there are none.
        """

    def read_some(self, size: int) -> bytes:
        """
        Return up to *size* bytes as soon as there are any; none at the end or when closed.

        Raises:
            SourceError: if it ends as it should not.
        """

    def close(self) -> None:
        """End a read that waits, and free what is held; more than once is no harm."""


class LiveStream(SpooledStream):
    """
    Samples that are taken from an Input as they come, whatever the receiver does.

    What is in the spool is converted: so nothing depends on what a resampler knew when the
    process was killed.
    """

    def __init__(self, input_: Input, spool: Spool, converter: Converter, *, wait: bool) -> None:
        """With *wait*, whoever makes the samples has to wait while the spool is full."""
        super().__init__(spool)
        self.decoder = input_.decoder
        self._input = input_
        self._converter = converter
        self._wait = wait
        self._failure: SourceError | None = None
        self._thread = threading.Thread(target=self._pump, name="input", daemon=True)
        self._thread.start()

    def read(self, offset: int, units: int) -> bytes:
        """See Source. What went wrong with the input is raised after all that came before it."""
        data = super().read(offset, units)
        if not data and self._failure is not None:
            raise self._failure
        return data

    def close(self) -> None:
        """See Source."""
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
            if not self._keep(self._converter.convert(data[:whole])):
                return
        self._keep(self._converter.convert(b"", last=True))
        if rest and not self._input.closed:
            raise SourceError(
                f"{self.name}: {len(rest)} bytes at the end, expected {width} a frame"
            )

    def _keep(self, data: bytes) -> bool:
        """Add *data* to the spool; False if nothing more can be."""
        return not data or self._spool.append(data, wait=self._wait)
