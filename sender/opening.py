"""From settings to sources: one file, or every live input of a command."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final

import structlog

from sonoduct.audio.decoding import NoDecoder
from sonoduct.runtime.child import Cancellation

from .errors import SourceError
from .settings import SendSettings, Settings
from .sources import Source
from .sources.address import from_address, public_name
from .sources.converted import Converter, converted
from .sources.file import AudioFile
from .sources.live import Input, LiveStream
from .sources.microphone import open_microphone
from .sources.pipe import Pipe, RawPipe, SpooledPipe, from_pipe, parse_raw
from .sources.spool import Spools
from .sources.whole import WholeFile

log = structlog.get_logger()

STANDARD_INPUT: Final = "/dev/stdin"
"""The path that stands for standard input; the command line writes it for a lone ``-``."""

NAME: Final = "standard input"
DESCRIPTOR: Final = 0
MOST: Final = 64
"""Inputs of one command; each has a thread."""

OpenSource = Callable[[], Source]
"""Waits for the first audio of an input; returns its source, or raises a SourceError."""


def open_file(
    path: Path,
    settings: Settings,
    cancellation: Cancellation | None = None,
    folder: Path | None = None,
) -> Source:
    """
    Return the audio file at *path*: decoded and converted, or unchanged, as *settings* say.

    *cancellation* ends the decoder. If *path* was found in *folder*, no link may lead out of it.

    Raises:
        SourceError: if it cannot be read, has no audio, or does not fit the settings.
    """
    if settings.untouched:
        return WholeFile(path, folder)
    requested = settings.exact_encoding
    file = AudioFile(
        path,
        requested,
        options=settings.decode_options,
        cancellation=cancellation,
        folder=folder,
    )
    return converted(file, settings.conversion, requested)


class Inputs:
    """The live inputs of one command. `close` ends them all."""

    def __init__(self, settings: SendSettings, paths: Collection[str]) -> None:
        """Prepare the inputs that *settings* and *paths* name; their starters start them."""
        self.spools = Spools(Path(settings.spool), settings.to, settings.spool_bytes)
        self.starters = self._starters(settings, paths)
        """
        The name of each input, and how to start it.

        A starter begins to take audio, and returns a function that waits for the source. It raises
        a SourceError if the input cannot be started.
        """
        self._settings = settings
        self._pool = ThreadPoolExecutor(MOST, thread_name_prefix="input")
        self._inputs: list[Input | Pipe] = []

    def close(self) -> None:
        """End every input, also one that has brought nothing yet."""
        for each in self._inputs:
            each.close()
        self._pool.shutdown(wait=False)

    def _starters(
        self, settings: SendSettings, paths: Collection[str]
    ) -> list[tuple[str, Callable[[], OpenSource]]]:
        """List each kind of live input once; a new kind is a line here."""
        starters: list[tuple[str, Callable[[], OpenSource]]] = []
        if STANDARD_INPUT in paths:
            starters.append((NAME, self._standard_input))
        starters += [(public_name(each), partial(self._address, each)) for each in settings.url]
        if settings.device is not None:
            starters.append((settings.device, partial(self._device, settings.device)))
        return starters

    def _standard_input(self) -> OpenSource:
        settings = self._settings
        if settings.untouched:
            raise SourceError(f"{NAME} with --encoding file, expected a file")
        if settings.raw is not None:
            return self._start(NAME, RawPipe(DESCRIPTOR, parse_raw(settings.raw)))
        options, requested = settings.decode_options, settings.exact_encoding
        if not stat.S_ISREG(os.fstat(DESCRIPTOR).st_mode):
            try:
                return self._start(NAME, from_pipe(NAME, DESCRIPTOR, options, requested))
            except NoDecoder as exc:
                log.warning("input_read_to_its_end_first", name=NAME, why=str(exc))
        pipe = Pipe(DESCRIPTOR)
        self._inputs.append(pipe)
        return lambda: converted(
            SpooledPipe(pipe, requested, options), settings.conversion, requested
        )

    def _address(self, text: str) -> OpenSource:
        settings = self._settings
        options, requested = settings.decode_options, settings.exact_encoding
        input_ = from_address(text, settings.url_timeout, options, requested)
        return self._start(public_name(text), input_)

    def _device(self, which: str) -> OpenSource:
        capture = self._settings.capture
        return self._start(which, open_microphone(which, parse_raw(capture) if capture else None))

    def _start(self, name: str, input_: Input) -> OpenSource:
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
