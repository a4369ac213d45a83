"""The sender: `async with sender.connect(url) as client` sends from inside any program."""

from .client import Client, connect
from .errors import NotAReceiverError, SenderError, SourceError, UnreachableError
from .settings import Settings
from .source import Source

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
