"""SIGTERM and SIGINT as an event that a service waits for, and SIGHUP as a call."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

REPEAT_S: Final = 1.0
"""One Ctrl-C may arrive twice, through the process group. A person takes longer than this."""


@contextmanager
def stop_event() -> Iterator[asyncio.Event]:
    """
    Yield an event that SIGTERM and SIGINT set.

    A second signal, a second or more after the first, ends the process at once: a user who presses
    Ctrl-C twice does not want to wait.
    """
    loop = asyncio.get_running_loop()
    event = asyncio.Event()

    def stop() -> None:
        if not event.is_set():
            event.set()
            loop.call_later(REPEAT_S, _restore, loop)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    try:
        yield event
    finally:
        _restore(loop)


@contextmanager
def on_hangup(call: Callable[[], None]) -> Iterator[None]:
    """Make *call* at every SIGHUP while the context is open: services read files again then."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, call)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)


def _restore(loop: asyncio.AbstractEventLoop) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_DFL)
