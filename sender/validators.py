"""What single settings are checked for, with the value seen and the one expected."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from .sources.address import parse_address
from .sources.conversion import parse_channels
from .sources.pipe import parse_raw


def require_websocket(_type: object, value: str) -> None:
    """Refuse what is no receiver's address."""
    try:
        address = urlsplit(value)
        good = address.scheme in ("ws", "wss") and address.hostname and address.port != 0
    except ValueError:  # of a port that is none
        good = False
    if not good:
        raise ValueError(f"address {value!r}, expected ws://HOST:PORT or wss://HOST:PORT")


def require_channels(_type: object, value: str | None) -> None:
    """Refuse what names no channels."""
    if value is not None:
        parse_channels(value)


def require_raw(_type: object, value: str | None) -> None:
    """Refuse what says nothing of samples."""
    if value is not None:
        parse_raw(value)


def require_address(_type: object, value: str) -> None:
    """Refuse what is not to be opened."""
    parse_address(value)


def require_writable(_type: object, value: str | None) -> None:
    """Refuse a file that cannot be written to."""
    if value is not None:
        try:
            Path(value).open("a").close()
        except OSError as exc:
            raise ValueError(f"{value}: {exc.strerror}, expected a file to write to") from exc
