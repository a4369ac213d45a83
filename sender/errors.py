"""The sender's own errors. A receiver reports errors as a sonoduct.wire.WireError."""

from __future__ import annotations


class SenderError(Exception):
    """Base class; ``str()`` is one line that names the path or address."""


class SourceError(SenderError):
    """A source cannot be read, has no audio, or changed while it was read."""


class SourceEndsError(SourceError):
    """A source has fewer units than the receiver has under the same id."""


class SpoolFullError(SourceError):
    """The receiver is too slow, or away, for longer than the spool has room."""


class UnreachableError(SenderError):
    """No receiver answered, or made progress, for as long as the sender waits."""


class NoThreadError(SenderError):
    """The machine has no thread left; there may be one later."""


class NotAReceiverError(SenderError):
    """A server answers at the address, but not as a receiver; trying again will not help."""


class OddAnswerError(NotAReceiverError):
    """
    The answer is not a WebSocket handshake, as from a proxy whose receiver is away.

    It ends a stream only if no receiver has answered at this address before.
    """


class AccessError(OddAnswerError):
    """
    The receiver refuses this sender, or the sender this receiver: a token, a certificate.

    A person has to mend it. It ends a stream if the sender has not got in before; if it has, a
    token or a certificate is being replaced, and the stream waits for that.
    """
