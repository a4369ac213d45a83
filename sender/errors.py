"""
What can go wrong on the sender's side; whatever a receiver reports is a wire.WireError.

* SenderError
    * SourceError: a file or pipe is not what it should be
        * SourceEndsError: it has fewer units than the receiver
        * SpoolFullError: a pipe brings more than a receiver takes
    * UnreachableError: no receiver answers
    * NoThreadError: the machine has no thread left
    * NotAReceiverError: something answers that speaks another protocol
        * OddAnswerError: a proxy or a gateway may have answered in the receiver's place
"""

from __future__ import annotations


class SenderError(Exception):
    """Base class; ``str()`` is one line that names the path or address."""


class SourceError(SenderError):
    """A source that cannot be read, holds no audio, or changed while it was read."""


class SourceEndsError(SourceError):
    """A source that has fewer units than the receiver has under its id."""


class SpoolFullError(SourceError):
    """The receiver is too slow, or away, for longer than the spool lasts."""


class UnreachableError(SenderError):
    """Nothing answered, or made progress, for as long as the sender is to wait."""


class NoThreadError(SenderError):
    """The machine has no thread left; there may be one later."""


class NotAReceiverError(SenderError):
    """The address answers, but not as a receiver; trying again will not help."""


class OddAnswerError(NotAReceiverError):
    """
    No WebSocket handshake where one was expected, as from a proxy whose receiver is away.

    It ends a stream only if no receiver has answered at this address before.
    """
