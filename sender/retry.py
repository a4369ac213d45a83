"""Whether a failed attempt is worth another one, and when. Decides only; the clock is passed in."""

from __future__ import annotations

import random
from typing import Final

from sonoduct.wire import RETRYABLE, Outbound, Phase, WireError, error_for

from .errors import OddAnswerError, UnreachableError
from .settings import Settings
from .websocket import ABNORMAL, LinkClosedError

FIRST_S: Final = 0.1
LAST_S: Final = 10.0


class Backoff:
    """
    Full jitter: anything up to a bound that doubles from 0.1 s to 10 s.

    Senders that lose a receiver together do not come back together; see
    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/.
    """

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._bound = FIRST_S

    def next(self) -> float:
        """Return the seconds to wait, and double the bound."""
        bound, self._bound = self._bound, min(LAST_S, self._bound * 2)
        return self._chance.uniform(0.0, bound)

    def reset(self) -> None:
        """The last attempt got somewhere."""
        self._bound = FIRST_S


OWN_CODES: Final = 4000
"""From here on close codes are the protocol's (RFC 6455, section 7.4.2); proxies have others."""
CHECKSUM: Final = 4460
HELD: Final = 4423
ONCE: Final = frozenset({4416, CHECKSUM})
"""Damage on the way heals by sending again; twice running it is no accident."""

REASONS: Final = {
    ABNORMAL: "lost",
    1001: "lost",
    1011: "lost",
    1012: "drained",
    1013: "overloaded",
    HELD: "held",
    4409: "fenced",
}


class Persistence:
    """One stream's attempts: how often and how long it goes on without progress."""

    def __init__(self, outbound: Outbound, settings: Settings, now: float) -> None:
        self.reached = False
        """Whether a receiver has answered before; until then patience is short."""
        self._outbound = outbound
        self._settings = settings
        self._backoff = Backoff(random.Random())  # noqa: S311  # spreads load, keeps no secret
        self._progress_at = now
        self._acknowledged = 0
        self._last_code = 0

    def judge(self, error: Exception, now: float, *, growing: bool) -> tuple[float, str]:
        """
        Return the seconds to wait before the next attempt, and the reason as metrics call it.

        While the source is *growing* patience has no end: it counts from when that is over.

        Raises:
            WireError: if *error* will not go away by trying again.
            OddAnswerError: if no receiver has answered before.
            UnreachableError: if there was no progress for too long.
        """
        if isinstance(error, OddAnswerError) and not self.reached:
            raise error
        code = _code(error)
        if code not in RETRYABLE:
            raise error_for(code, str(error)) if isinstance(error, LinkClosedError) else error
        again = self._progress(code, now)
        if code == CHECKSUM and self._complete:
            raise error  # the whole stream's digest, not one chunk's
        if again and code in ONCE:
            raise error
        if growing:
            self._progress_at = now
        waited, limit = now - self._progress_at, self._limit
        if waited >= limit:
            raise UnreachableError(
                f"{self._settings.to}: no progress for {waited:.1f} s, expected some within "
                f"{limit:g} s; last: {error}"
            ) from error
        unanswered = not isinstance(error, LinkClosedError | WireError)
        reason = "refused" if unanswered else REASONS.get(code, "error")
        return min(self._backoff.next(), limit - waited), reason

    @property
    def _limit(self) -> float:
        return self._settings.patience if self.reached else self._settings.connect_timeout

    @property
    def _complete(self) -> bool:
        """Whether the receiver has had every chunk."""
        outbound = self._outbound
        if outbound.phase is Phase.PROVING:
            return True
        return outbound.phase is Phase.ENDING and outbound.acknowledged == outbound.position

    def _progress(self, code: int, now: float) -> bool:
        """Whether the last attempt ended in the same way without having got any further."""
        further = self._outbound.acknowledged > self._acknowledged
        if further or code == HELD:  # whoever holds the stream makes the progress
            self._progress_at = now
        if further:
            self._backoff.reset()
        self._acknowledged = self._outbound.acknowledged
        again, self._last_code = code == self._last_code and not further, code
        return again


def _code(error: Exception) -> int:
    if isinstance(error, WireError):
        return error.close_code
    if isinstance(error, LinkClosedError) and (error.code >= OWN_CODES or error.ours):
        return error.code
    if isinstance(error, LinkClosedError) and error.code in REASONS:
        return error.code
    return ABNORMAL  # nothing was said, or what a proxy may have said in the receiver's place
