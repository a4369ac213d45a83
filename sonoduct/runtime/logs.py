"""Logging: one JSON object per line, or colours on a terminal; set up once in a process."""

from __future__ import annotations

import io
import json
import logging
import os
import select
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, TextIO, cast

import structlog
from structlog.typing import EventDict, Processor

from sonoduct.text import clean

STANDARD_ERROR: Final = 2

FIRST: Final = ("timestamp", "level", "event")
"""The first fields of a line."""


class LogLines:
    """Counts the lines of a log, for metrics: plain numbers that any thread adds to."""

    def __init__(self) -> None:
        self.counts = dict.fromkeys(("debug", "info", "warning", "error", "critical"), 0)
        """By the level."""
        self.lost = 0
        """Lines that could not be written."""

    def count(self, _logger: object, _method: str, event: EventDict) -> EventDict:
        """Count *event*, as a processor of structlog."""
        self.counts[event["level"]] = self.counts.get(event["level"], 0) + 1
        return event


class LogStream(io.TextIOBase):
    """
    Writes lines to a file descriptor, and never waits or raises: work does not depend on a log.

    A line is lost if the pipe is full, its reader is gone, or the disk is full. When writing works
    again, a line says how many lines were lost.
    """

    def __init__(self, descriptor: int, lines: LogLines | None = None) -> None:
        """*lines* counts the lines that are lost."""
        self.lost = 0
        """Lines lost since the last line that was written."""
        self._lines = lines or LogLines()
        self._descriptor = descriptor
        self._torn = False  # whether only a part of the last line was written
        self._lock = threading.Lock()
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)

    def write(self, text: str) -> int:
        """Write whole lines, or lose them; return the number of characters."""
        with self._lock:
            lost = ""
            if self.lost:
                lost = json.dumps({"event": "log_lines_lost", "lines": self.lost, "level": "error"})
                lost = ("\n" if self._torn else "") + lost + "\n"
            if self._written((lost + text).encode(errors="backslashreplace")):
                self.lost, self._torn = 0, False
            else:
                self.lost += 1
                self._lines.lost += 1
        return len(text)

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._descriptor

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        """Whether it can be written to: always."""
        return True

    def _written(self, data: bytes) -> bool:
        at = 0
        while at < len(data):
            # A pipe that poll calls writable takes PIPE_BUF bytes at once (POSIX, write).
            try:
                written = self._poll.poll(0) and os.write(
                    self._descriptor, data[at : at + select.PIPE_BUF]
                )
            except OSError:
                written = 0
            if not written:
                self._torn = self._torn or at > 0
                return False
            at += written
        return True


class LogLimit:
    """Limits log lines: *burst* at once, then *per_second*; counts the lines that it holds back."""

    def __init__(
        self, burst: int, per_second: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._burst = burst
        self._per_second = per_second
        self._clock = clock
        self._allowance = float(burst)
        self._at = clock()
        self._held_back = 0

    def take(self) -> dict[str, int] | None:
        """Return fields for a line that may be logged; None if the line may not be logged."""
        now = self._clock()
        self._allowance += (now - self._at) * self._per_second
        self._allowance, self._at = min(self._allowance, self._burst), now
        if self._allowance < 1:
            self._held_back += 1
            return None
        self._allowance -= 1
        held_back, self._held_back = self._held_back, 0
        return {"held_back": held_back} if held_back else {}


def configure(level: str = "info", stream: LogStream | None = None, **facts: str) -> LogLines:
    """
    Send structlog's and the standard library's records to *stream*, by default standard error.

    Every record gets *facts*. Standard output is for results. Libraries' messages below WARNING are
    dropped: websockets logs each connection at INFO, and a service logs its streams itself.

    Return the counts of lines, for metrics.
    """
    lines = LogLines()
    stream = stream or LogStream(STANDARD_ERROR, lines)
    terminal = stream.isatty()
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        lines.count,
        partial(_in_order, facts),
        _clean_facts,
    ]
    structlog.configure(
        processors=[*shared, *_rendering(terminal)],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", stream)),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_rendering(terminal),
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    return lines


def quiet_by_default() -> None:
    """Drop debug events in a program that embeds a service and has not configured structlog."""
    if not structlog.is_configured():
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("info"))


def _in_order(
    facts: Mapping[str, str], _logger: object, _method: str, event: EventDict
) -> EventDict:
    """Add *facts*, and put first what people look for first."""
    first = {key: event.pop(key) for key in FIRST if key in event}
    return {**first, **facts, **event}


def _clean_facts(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Clean every text in *event*: peers and files choose names, reasons and errors."""
    return {key: _cleaned(value) for key, value in event.items()}


def _cleaned(value: object) -> object:
    """Return *value*, a field of a line, with each text in it cleaned, also the keys of a dict."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {_cleaned(key): _cleaned(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(each) for each in value]
    return value


def _rendering(terminal: bool) -> list[Processor]:
    if terminal:
        return [structlog.dev.ConsoleRenderer()]
    traceback = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    return [structlog.processors.ExceptionRenderer(traceback), structlog.processors.JSONRenderer()]
