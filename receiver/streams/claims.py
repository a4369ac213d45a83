"""
How often a client may claim a stream: ten times at once, then once in a second.

Each claim takes system calls and a fence on the disk. A claim after which audio came is not
counted: a sender on a bad link makes progress with each.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from sonoduct.wire import TooFast

PER_SECOND: Final = 1.0
BURST: Final = 10

REMEMBERED: Final = 10_000
"""Streams and clients; of more, the ones whose last claim is longest ago are forgotten."""


class ClaimRate:
    """The claims of the last seconds, by stream and client. Another client's do not count."""

    def __init__(self) -> None:
        self._claims: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()

    def count(self, stream: str, client: str, now: float) -> None:
        """
        Count a claim on *stream*.

        Raises:
            TooFast: if *client* has claimed it too often.
        """
        key = stream, client
        claims, at = self._claims.pop(key, (0.0, now))
        claims = max(0.0, claims - (now - at) * PER_SECOND) + 1
        while self._claims and next(iter(self._claims.values()))[1] < now - BURST / PER_SECOND:
            self._claims.popitem(last=False)
        self._claims[key] = (claims if claims <= BURST else claims - 1), now
        while len(self._claims) > REMEMBERED:
            self._claims.popitem(last=False)
        if claims > BURST:
            expected = f"at most {BURST} at once, and {PER_SECOND:g} in a second"
            raise TooFast("claims of one stream", seen=round(claims), expected=expected)

    def forgive(self, stream: str, client: str) -> None:
        """Forget the claims on *stream*: audio has come, or it has ended."""
        self._claims.pop((stream, client), None)
