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

FREE: Final = "that are free"

REMEMBERED: Final = 10_000
"""Clients; of more, the first ones are forgotten."""


class Quotas:
    """The growth of files by client, and the limits; sizes of the disk come from the store."""

    def __init__(self, stream_bytes: int, store: Store, clock: Callable[[], float]) -> None:
        """*stream_bytes* limit each stream; *clock* is the one of `Store.counted_at`."""
        self._stream_bytes = stream_bytes
        self._store = store
        self._clock = clock
        self._committed: deque[tuple[float, str, int]] = deque()
        self._grown: dict[str, float] = {}
        self._growing: set[Growth] = set()
        self._since = clock()

    def left(self, token: str, quota: int | None, under_way: int = 0) -> float:
        """
        Return the bytes that *token* may still store of its *quota*; infinite without one.

        Streams of this receiver that are *under_way*, and those stored since the store counted,
        may be among the journals that it has counted: the larger of both is taken.
        """
        if quota is None:
            return inf
        while self._committed and self._committed[0][0] < self._store.counted_at:
            self._committed.popleft()
        recent = sum(size for _, name, size in self._committed if name == token)
        recordings, journals = self._store.stored_bytes(token)
        return quota - recordings - max(journals, under_way + recent)

    def committed(self, token: str, size: int) -> None:
        """Note that a stream of *size* bytes was stored; the store counts it a while later."""
        if token:
            self._committed.append((self._clock(), token, size))

    def decoded(self, client: str, token: str, quota: int | None, source: int) -> Growth:
        """Return the limit for a file of *source* bytes that is decoded now; `close` it."""
        if self._clock() - self._since > PERIOD_S:
            self._grown.clear()
            self._since = self._clock()
        growth = Growth(self, client, token, quota, source)
        self._growing.add(growth)
        return growth

    def limits(self, growth: Growth) -> tuple[tuple[float, str], ...]:
        """Return what the file of *growth* may be decoded to, and what each limit is."""
        others = self._growing - {growth}
        mine = sum(each.size for each in others if each.client == growth.client)
        left = self.left(growth.token, growth.quota) - (mine if growth.token else 0)
        free = self._store.free_bytes - sum(each.size for each in others)
        share = inf
        if not growth.token:
            grown = self._grown.get(growth.client, 0.0)
            share = growth.source + ADDRESS_SHARE * (self._store.free_bytes + grown) - grown - mine
        return (
            (self._stream_bytes, "of a stream"),
            (left, "left of the token's quota"),
            (share, "of free space for files of one address"),
            (free, FREE),
        )

    def end(self, growth: Growth, *, kept: bool) -> None:
        """Note that the file of *growth* is decoded, and whether its stream is *kept*."""
        self._growing.discard(growth)
        if kept and growth.size > growth.source:
            grown = self._grown.get(growth.client, 0.0)
            self._grown[growth.client] = grown + growth.size - growth.source
            if len(self._grown) > REMEMBERED:
                del self._grown[next(iter(self._grown))]


class Growth:
    """A file that is decoded: it takes what it has grown to from its client's share at once."""

    def __init__(
        self, quotas: Quotas, client: str, token: str, quota: int | None, source: int
    ) -> None:
        self.client = client
        self.token = token
        self.quota = quota
        self.source = source
        self.size = 0
        """Bytes of its recording so far."""
        self._quotas = quotas

    def require_fit(self, size: int) -> None:
        """
        Check the *size* of a recording, in bytes, as far as its file is decoded.

        Raises:
            TooLarge: if it is larger than its client may store; trying again is of no use.
            StorageFailed: if the disk has no room for it above the reserve.
        """
        self.size = size
        for limit, of_what in self._quotas.limits(self):
            if size > limit:
                error = StorageFailed if of_what == FREE else TooLarge
                expected = f"at most {max(0, int(limit))} {of_what}"
                raise error("bytes of the decoded file", seen=f"at least {size}", expected=expected)

    def close(self, *, kept: bool) -> None:
        """Give the share back, unless the file's stream is *kept*."""
        self._quotas.end(self, kept=kept)
