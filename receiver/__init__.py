"""The receiver: `async with receiver.serve(...)` runs one inside any program."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .processing.processor import Finding, Processor, StreamInfo
    from .service import Receiver, serve
    from .settings import Limits, Settings

__all__ = ["Finding", "Limits", "Processor", "Receiver", "Settings", "StreamInfo", "serve"]

_HOMES: Final = {
    "Finding": "processing.processor",
    "Limits": "settings",
    "Processor": "processing.processor",
    "Receiver": "service",
    "Settings": "settings",
    "StreamInfo": "processing.processor",
    "serve": "service",
}


def __getattr__(name: str) -> object:
    """Import *name* when it is used (PEP 562), so that ``receiver --version`` is fast."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
