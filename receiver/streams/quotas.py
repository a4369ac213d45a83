"""
What clients may store: a token its quota, and an address little of what its files are decoded to.

A small file may be decoded to a thousand times its bytes. What an address has sent it has paid for
with its own bandwidth, but what its files become on the disk it has not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import inf
from typing import Final

from receiver.stores import Store
from sonoduct.wire import StorageFailed, TooLarge

ADDRESS_SHARE: Final = 0.1
"""Of the free bytes, what files of one address without a token may grow by in `PERIOD_S`."""

PERIOD_S: Final = 86_400.0

MEASURED_S: Final = 180.0
"""Seconds after which the store has counted a recording, or its journal has waited for long."""

REMEMBERED: Final = 10_000
"""Clients; of more, the first ones are forgotten."""


class Quotas:
    """The growth of files by client, and the limits; sizes of the disk come from the store."""

    def __init__(self, stream_bytes: int, store: Store, clock: Callable[[], float]) -> None:
        """*stream_bytes* limit each stream; *clock* is one that is never set."""
        self._stream_bytes = stream_bytes
        self._store = store
        self._clock = clock
        self._committed: deque[tuple[float, str, int]] = deque()
        self._grown: dict[str, float] = {}
        self._since = clock()

    def left(self, token: str, quota: int | None) -> float:
        """Return the bytes that *token* may still store of its *quota*; infinite without one."""
        if quota is None:
            return inf
        while self._committed and self._committed[0][0] < self._clock() - MEASURED_S:
            self._committed.popleft()
        recent = sum(size for _, name, size in self._committed if name == token)
        return quota - self._store.stored_bytes(token) - recent

    def committed(self, token: str, size: int) -> None:
        """Note that a stream of *size* bytes was stored; the store counts it a while later."""
        if token:
            self._committed.append((self._clock(), token, size))

    def decoded(self, client: str, token: str, quota: int | None, source: int) -> Growth:
        """Return the limit for a file of *source* bytes that is decoded now."""
        if self._clock() - self._since > PERIOD_S:
            self._grown.clear()
            self._since = self._clock()
        free, grown = self._store.free_bytes, self._grown.get(client, 0.0)
        share = inf if token else source + ADDRESS_SHARE * (free + grown) - grown
        return Growth(self._stream_bytes, self.left(token, quota), share, free)

    def grew(self, client: str, source: int, decoded: int) -> None:
        """Note that a file of *source* bytes of *client* was decoded to *decoded* bytes."""
        if decoded > source:
            self._grown[client] = self._grown.get(client, 0.0) + decoded - source
            if len(self._grown) > REMEMBERED:
                del self._grown[next(iter(self._grown))]


class Growth:
    """The limits of one file that is decoded."""

    __slots__ = ("_free", "_limits", "_most")

    def __init__(self, stream: float, quota: float, share: float, free: float) -> None:
        self._limits = (
            (stream, "bytes of the decoded file", "of a stream"),
            (quota, "bytes of the decoded file", "left of the token's quota"),
            (share, "bytes of the decoded file", "of free space for files of one address"),
        )
        self._free = free
        self._most = min(stream, quota, share, free)

    def require_fit(self, size: int) -> None:
        """
        Check the *size* of a recording, in bytes, as far as its file is decoded.

        Raises:
            TooLarge: if it is larger than its client may store; trying again is of no use.
            StorageFailed: if the disk has no room for it above the reserve.
        """
        if size <= self._most:
            return
        for limit, what, of_what in self._limits:
            if size > limit:
                expected = f"at most {max(0, int(limit))} {of_what}"
                raise TooLarge(what, seen=f"at least {size}", expected=expected)
        seen, expected = f"at least {size}", f"at most {int(self._free)}, which are free"
        raise StorageFailed("bytes of the decoded file", seen=seen, expected=expected)
