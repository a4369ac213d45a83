"""`RetryPolicy`: whether a stream is tried again after an error, and when. It has no clock."""

from __future__ import annotations

import random
from typing import Final

from sonoduct.wire import RETRYABLE, Outbound, Phase, WireError, error_for

from .errors import OddAnswerError, UnreachableError
from .settings import Settings
from .websocket import ABNORMAL, LinkClosedError

FIRST_S: Final = 0.1
LAST_S: Final = 10.0

OWN_CODES: Final = 4000
"""From here on close codes are the protocol's (RFC 6455, section 7.4.2); proxies send others."""

CHECKSUM: Final = 4460
HELD: Final = 4423
ONCE: Final = frozenset({4416, CHECKSUM})
"""Sending again repairs damage on the way. The same damage twice in a row is no accident."""

REASONS: Final = {
    ABNORMAL: "lost",
    1001: "lost",
    1011: "lost",
    1012: "drained",
    1013: "overloaded",
    HELD: "held",
    4409: "fenced",
}


class RetryPolicy:
    """
    Decides, for one stream, after each failed attempt.

    Delays have full jitter: any delay up to a bound that doubles from 0.1 s to 10 s. Senders that
    lose a receiver together then do not come back together; see
    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/.
    """

    def __init__(
        self, outbound: Outbound, settings: Settings, now: float, chance: random.Random
    ) -> None:
        """Start patience *now*; *chance* draws the delays."""
        self.reached = False
        """Whether a receiver has answered before; until then patience is short."""
        self._outbound = outbound
        self._settings = settings
        self._chance = chance
        self._bound = FIRST_S
        self._progress_at = self._acknowledged_at = now
        self._acknowledged = 0
        self._last_code = 0

    def delay_after(
        self,
        error: Exception,
        now: float,
        *,
        growing: bool,
        working: bool = False,
        owed_s: float = 0.0,
    ) -> tuple[float, str]:
        """
        Return the seconds to wait before the next attempt, and the reason as metrics call it.

        While the source is *growing* patience has no end: it counts from when the source stops. It
        counts from now as well if the receiver said that it is *working* on the whole stream, or
        that another sender holds the stream, but only for the settings' `busy_timeout`. For the
        last *owed_s* seconds the receiver has acknowledged nothing, although units waited for it.

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
        busy = working or code == HELD
        again = self._progress(code, now, owed_s, busy=busy)
        if code == CHECKSUM and self._complete:
            raise error  # the digest of the whole stream, not the checksum of one chunk
        if again and code in ONCE:
            raise error
        if growing:
            self._progress_at = self._acknowledged_at = now
        waited = now - self._progress_at
        limit = self._settings.patience if self.reached else self._settings.connect_timeout
        if waited >= limit:
            raise UnreachableError(
                f"{self._settings.to}: no progress for {waited:.1f} s, expected some within "
                f"{limit:g} s; last: {error}"
            ) from error
        stuck = now - self._acknowledged_at
        if busy and stuck >= self._settings.busy_timeout:
            raise UnreachableError(
                f"{self._settings.to}: busy for {stuck:.1f} s, expected progress within "
                f"{self._settings.busy_timeout:g} s; last: {error}"
            ) from error
        unanswered = not isinstance(error, LinkClosedError | WireError)
        reason = "refused" if unanswered else REASONS.get(code, "error")
        delay = self._chance.uniform(0.0, self._bound)
        self._bound = min(LAST_S, self._bound * 2)
        return min(delay, limit - waited), reason

    @property
    def _complete(self) -> bool:
        """Whether the receiver has had every chunk."""
        outbound = self._outbound
        if outbound.phase is Phase.PROVING:
            return True
        return outbound.phase is Phase.ENDING and outbound.acknowledged == outbound.position

    def _progress(self, code: int, now: float, owed_s: float, *, busy: bool) -> bool:
        """
        Note progress; return whether this attempt failed like the last one, without any.

        Only units count that were never acknowledged before. A receiver may continue at an earlier
        one, and it must not hold the sender by going to and fro.
        """
        further = self._outbound.acknowledged > self._acknowledged
        if further:
            self._acknowledged = self._outbound.acknowledged
            self._acknowledged_at = max(self._acknowledged_at, now - owed_s)
            self._progress_at = max(self._progress_at, self._acknowledged_at)
            self._bound = FIRST_S
        if busy:
            self._progress_at = now
        again, self._last_code = code == self._last_code and not further, code
        return again


def _code(error: Exception) -> int:
    if isinstance(error, WireError):
        return error.close_code
    if isinstance(error, LinkClosedError) and (error.code >= OWN_CODES or error.ours):
        return error.code
    if isinstance(error, LinkClosedError) and error.code in REASONS:
        return error.code
    return ABNORMAL  # no code, or one that a proxy may have sent in the receiver's place
