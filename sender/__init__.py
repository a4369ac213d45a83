"""The sender: `async with sender.connect(url) as client` sends from inside any program."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .client import Client, connect
    from .errors import NotAReceiverError, SenderError, SourceError, UnreachableError
    from .settings import Settings
    from .sources import Source

__all__ = [
    "Client",
    "NotAReceiverError",
    "SenderError",
    "Settings",
    "Source",
    "SourceError",
    "UnreachableError",
    "connect",
]

_HOMES: Final = {
    "Client": "client",
    "NotAReceiverError": "errors",
    "SenderError": "errors",
    "Settings": "settings",
    "Source": "sources",
    "SourceError": "errors",
    "UnreachableError": "errors",
    "connect": "client",
}


def __getattr__(name: str) -> object:
    """Import the module of *name* when it is first used (PEP 562): ``sender --version`` is fast."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
