"""A file as the settings want it."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import structlog

from sonoduct.audio.decoding import NoDecoder
from sonoduct.runtime.child import Cancellation

from .errors import SourceError
from .settings import SendSettings, Settings
from .sources import Source
from .sources.address import from_address, from_pipe, public_name
from .sources.converted import Converter, converted
from .sources.file import AudioFile
from .sources.live import Input, LiveStream
from .sources.microphone import open_microphone
from .sources.pipe import Pipe, RawPipe, SpooledPipe, parse_raw
from .sources.spool import Spools
from .sources.whole import Sendable, WholeFile


def open_file(path: Path, settings: Settings, cancellation: Cancellation | None = None) -> Sendable:
    """
    Return the audio file at *path*, converted if *settings* say so, or as it is.

    *cancellation* ends a decoder that keeps one waiting.

    Raises:
        SourceError: if it cannot be read, is no audio, or is not what the settings expect.
    """
    if settings.untouched:
        return WholeFile(path)
    requested = settings.exact_encoding
    file = AudioFile(path, requested, options=settings.decode_options, cancellation=cancellation)
    return converted(file, settings.conversion, requested)


log = structlog.get_logger()

DESCRIPTOR: Final = 0
NAME: Final = "standard input"
MOST: Final = 64
"""Inputs of one command; each has a thread."""

Opening = Callable[[], Source]


class Inputs:
    """The live inputs of one run. `close` ends them all."""

    def __init__(self, settings: SendSettings) -> None:
        self.spools = Spools(Path(settings.spool), settings.to, settings.spool_bytes)
        self._settings = settings
        self._pool = ThreadPoolExecutor(MOST, thread_name_prefix="input")
        self._inputs: list[Input | Pipe] = []

    def standard_input(self) -> Opening:
        """
        Start to take what comes from standard input; the source is there when the first of it is.

        Raises:
            SourceError: if that cannot be.
        """
        settings = self._settings
        if settings.untouched:
            raise SourceError(f"{NAME} with --encoding file, expected a file")
        if settings.raw is not None:
            return self._start(NAME, RawPipe(DESCRIPTOR, parse_raw(settings.raw)))
        if not stat.S_ISREG(os.fstat(DESCRIPTOR).st_mode):
            try:
                decoded = from_pipe(
                    NAME, DESCRIPTOR, settings.decode_options, settings.exact_encoding
                )
                return self._start(NAME, decoded)
            except NoDecoder as exc:
                log.warning("input_read_to_its_end_first", name=NAME, why=str(exc))
        pipe = Pipe(DESCRIPTOR)
        self._inputs.append(pipe)
        return lambda: self._whole(pipe)

    def address(self, text: str) -> Opening:
        """
        Start to take what is behind an address; the source is there when the first of it is.

        Raises:
            SourceError: if that cannot be.
        """
        settings = self._settings
        timeout, requested = settings.url_timeout, settings.exact_encoding
        return self._start(
            public_name(text), from_address(text, timeout, settings.decode_options, requested)
        )

    def device(self, which: str) -> Opening:
        """
        Start to take what a device hears.

        Raises:
            SourceError: if that cannot be.
        """
        capture = self._settings.capture
        return self._start(which, open_microphone(which, parse_raw(capture) if capture else None))

    def close(self) -> None:
        """End every input, also one that has brought nothing yet."""
        for each in self._inputs:
            each.close()
        self._pool.shutdown(wait=False)

    def _start(self, name: str, input_: Input) -> Opening:
        self._inputs.append(input_)
        return self._pool.submit(self._open, name, input_).result

    def _open(self, name: str, input_: Input) -> Source:
        try:
            audio_format = input_.begin()
            requested = self._settings.exact_encoding
            converter = Converter(self._settings.conversion, audio_format, requested, name)
            spool = self.spools.create(name, converter.format)
        except BaseException:
            input_.close()
            raise
        wait = self._settings.spool_full == "wait"
        return LiveStream(input_, spool, converter, wait=wait)

    def _whole(self, pipe: Pipe) -> Source:
        requested = self._settings.exact_encoding
        source = SpooledPipe(pipe, requested, self._settings.decode_options)
        return converted(source, self._settings.conversion, requested)
