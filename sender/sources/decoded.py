"""Live input that ffmpeg decodes: from a pipe or from an address."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import structlog
from typing_extensions import override

from sender.errors import SourceError
from sonoduct.audio.decoding import DecodeError, NotAudio, StreamDecoder
from sonoduct.wire import Encoding, Format

from .live import Input

log = structlog.get_logger()

NO_PROTOCOL: Final = "Protocol not found"
OTHER_FFMPEG: Final = "this ffmpeg was built without it: name another one with --ffmpeg"


class DecodedInput(Input):
    """The samples that ffmpeg decodes from live input."""

    decoder = "ffmpeg"

    def __init__(
        self, name: str, stream: StreamDecoder, requested: Encoding | None, advice: str = ""
    ) -> None:
        """Read *stream* in the *requested* encoding; *advice* is added if ffmpeg finds no audio."""
        self.closed = False
        self._name = name
        self._stream = stream
        self._requested = requested
        self._advice = advice

    @override
    def begin(self) -> Format:
        try:
            return self._stream.begin(self._requested)
        except NotAudio as exc:
            advice = OTHER_FFMPEG if NO_PROTOCOL in str(exc) else self._advice
            raise SourceError(f"{self._name}: {exc}{advice and f'; {advice}'}") from exc
        except DecodeError as exc:
            raise SourceError(f"{self._name}: {exc}") from exc

    @override
    def read_some(self, size: int) -> bytes:
        try:
            data = self._stream.read_some(size)
        except DecodeError as exc:
            if self.closed:
                return b""
            raise SourceError(f"{self._name}: {exc}") from exc
        if not data and self._stream.warning:
            log.warning("input_damaged", name=self._name, warning=self._stream.warning)
        return data

    @override
    def close(self) -> None:
        self.closed = True
        self._stream.close()


def started(name: str, start: Callable[[], StreamDecoder]) -> StreamDecoder:
    """
    Return what *start* returns: ffmpeg, reading the input *name*.

    Raises:
        SourceError: if ffmpeg cannot be started.
    """
    try:
        return start()
    except OSError as exc:
        raise SourceError(f"{name}: ffmpeg: {exc.strerror}") from exc
