"""The errors that can end a stream, by whose fault it is."""

from __future__ import annotations

from typing import Final

from sonoduct.text import clean

REASON_BYTES: Final = 123
"""The most bytes of UTF-8 in a close frame's reason (RFC 6455, section 5.5)."""

MOST_WORDS: Final = 300
"""Characters of each text in a peer's error that are shown."""

RETRYABLE: Final = frozenset(
    {1001, 1006, 1011, 1012, 1013, 4408, 4409, 4416, 4423, 4429, 4460, 4507}
)
"""Close codes after which a sender waits and resumes; 4416 and 4460 only once in a row."""


class WireError(Exception):
    """
    Base class. ``str()`` is one line with the value seen and the value expected.

    ``close_code`` closes the connection; the peer maps it back to a class.
    """

    close_code: int = 1011

    def __init__(self, message: str, *, seen: object = None, expected: object = None) -> None:
        super().__init__(message)
        self.message = message
        self.seen = None if seen is None else str(seen)
        self.expected = None if expected is None else str(expected)

    def __str__(self) -> str:
        text = self.message
        if self.seen is not None:
            text += f" {self.seen}"
        if self.expected is not None:
            text += f", expected {self.expected}"
        return text

    @property
    def reason(self) -> str:
        """The sentence, cut to what a close frame can hold."""
        return str(self).encode()[:REASON_BYTES].decode(errors="ignore")


class PeerError(WireError):
    """The other side sent something wrong. The connection ends; accepted units stay."""


class Malformed(PeerError):
    """Not a message of this protocol, or one at the wrong moment or beyond the window."""

    close_code = 4400


class Unauthorised(PeerError):
    """No valid token."""

    close_code = 4401


class Forbidden(PeerError):
    """A valid token that does not cover this stream."""

    close_code = 4403


class Stalled(PeerError):
    """The peer sent nothing for too long, although there was room."""

    close_code = 4408


class Fenced(PeerError):
    """A newer connection has claimed the stream."""

    close_code = 4409


class Gone(PeerError):
    """The stream was cancelled, or has expired."""

    close_code = 4410


class TooLarge(PeerError):
    """A chunk, or a stream, beyond its limit."""

    close_code = 4413


class Gap(PeerError):
    """A chunk that does not start where the last one ended."""

    close_code = 4416


class Held(PeerError):
    """Another sender is busy with this stream."""

    close_code = 4423


class TooFast(PeerError):
    """More messages in a second than one connection may send."""

    close_code = 4429


class BadChecksum(PeerError):
    """A chunk, or a whole stream, was damaged in transit."""

    close_code = 4460


class OwnError(WireError):
    """This side failed."""


class ProcessingFailed(OwnError):
    """The stream arrived but could not be turned into arrays."""

    close_code = 4500


class EnvironmentFault(WireError):
    """Neither side is at fault: the machine or its operator got in the way."""


class StorageFailed(EnvironmentFault):
    """The disk did not take the audio, or lost it."""

    close_code = 4507


class Draining(EnvironmentFault):
    """This receiver is about to stop; another one takes over."""

    close_code = 1012


class Overloaded(EnvironmentFault):
    """There is no memory or no connection left for another stream."""

    close_code = 1013


_CLASSES: Final[dict[int, type[WireError]]] = {
    cls.close_code: cls
    for base in (PeerError, OwnError, EnvironmentFault)
    for cls in base.__subclasses__()
}


def error_for(
    code: int, message: str, seen: str | None = None, expected: str | None = None
) -> WireError:
    """
    Return the error that a peer reported with *code*; a plain WireError for an unknown code.

    The peer's words are cleaned, since they are shown to people.
    """
    values = {
        "seen": None if seen is None else clean(seen, MOST_WORDS),
        "expected": None if expected is None else clean(expected, MOST_WORDS),
    }
    error = _CLASSES.get(code, WireError)(clean(message, MOST_WORDS), **values)
    error.close_code = code
    return error
