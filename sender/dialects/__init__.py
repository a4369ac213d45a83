"""
Servers of other kinds that streams can be sent to: one file for each, one line in `DIALECTS`.

Our own receivers are not among them: `sender.client` speaks to them, and only they resume streams,
take files unchanged, and give a receipt of their own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from sender.settings import Settings
from sender.sources import Source
from sonoduct.wire import Receipt

from .plain import send_plain

SendStream = Callable[[Source, Settings], Awaitable[Receipt]]
"""Sends all of a source of samples; returns a receipt that the sender itself made."""

DIALECTS: Final[dict[str, SendStream]] = {"plain": send_plain}
"""By the name that --protocol takes."""
