"""
The receiver's work, metered per client: what messages cost, and how many connections one may have.

A small message costs a receiver as much as a large one, so a client of small messages could take
all of its time. Each message is charged to its connection and to its client: a token, or an
address. A client over its share is not read for a while, as long as other clients have work too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

MESSAGE_S: Final = 0.0001
"""
Seconds of the process that a message takes, a ping or a fragment too: about 50 µs of the event
loop, and for a chunk as much again in the threads that store and process it.
"""

HANDSHAKE_S: Final = 0.001
CONTROL_S: Final = 0.002
"""A hello, an eos or a cancel: with the system calls that they cause."""

CLIENT_SHARE: Final = 0.25
"""Seconds in each second that one client may take while others have work."""

ALL_SHARES: Final = 0.5
"""What the clients that take much may take together."""

LEAST_SHARE: Final = 0.01

CONNECTION_SHARE: Final = 0.1
"""The same for one connection, so that the others of its client are served as well."""

BURST_S: Final = 0.05
"""Seconds that a client may take at once."""

MUCH: Final = 0.02
"""A client that takes this share counts among those that take much."""

ACTIVE_S: Final = 1.0
"""Seconds after its last message for which a client counts as one that has work."""

LEAST_WAIT_S: Final = 0.02
"""A shorter rest costs more than what is read after it."""

LONGEST_WAIT_S: Final = 0.5
"""A client that is over its share is looked at again after this, at the latest."""

PATIENCE_S: Final = 10.0
"""Seconds over its share, without a break, after which a connection of small messages is closed."""

CALM_S: Final = 1.0
"""Seconds within its share that end the time over it."""

SMALL_BYTES: Final = 1024
"""Messages count as small if they have fewer bytes on average."""

LEAST_HALF: Final = 128
"""Handshakes that may be under way at once, however few connections there may be."""

NEWCOMERS: Final = 10
"""One in so many places is for clients that have none."""


class Meter:
    """What one client, or one connection, has cost: seconds, which its share makes up for."""

    __slots__ = ("_at", "debt", "half", "last", "places", "spent")

    def __init__(self, now: float) -> None:
        self.debt = 0.0
        """Seconds that its share has not made up for yet."""
        self.last = now
        """When it was charged last."""
        self.spent = 0.0
        """Seconds since the last look at all meters."""
        self.places = 0
        """Connections now."""
        self.half = 0
        """Connections whose handshake is not answered yet."""
        self._at = now

    def charge(self, seconds: float, share: float, now: float) -> None:
        """Add *seconds* of work, after the time since the last charge has made up for some."""
        self.debt = max(0.0, self.debt - (now - self._at) * share) + seconds
        self.spent += seconds
        self._at = self.last = now

    def wait(self, share: float, now: float) -> float:
        """Return the seconds until it is within its share again; 0 if it is."""
        over = self.debt - (now - self._at) * share - BURST_S
        return min(max(over / share, LEAST_WAIT_S), LONGEST_WAIT_S) if over > 0 else 0.0


class Full(Exception):
    """There is no place for a connection; *reason* says for metrics whose limit is reached."""

    def __init__(self, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


@dataclass
class Intake:
    """All clients of a receiver: their meters and their places. It does no I/O."""

    most: int
    """Connections at once."""
    of_address: int
    """Connections at once of an address without a token."""
    crowded: bool = False
    """Whether more than one client has work."""
    share: float = CLIENT_SHARE
    """What one client may take now."""
    taken: int = 0
    """Connections now, from their handshake to their end."""
    half: int = 0
    """Connections whose handshake is not answered yet."""
    _meters: dict[str, Meter] = field(default_factory=dict)

    def meter(self, key: str, now: float) -> Meter:
        """Return the meter of the client that *key* names."""
        meter = self._meters.get(key)
        if meter is None:
            meter = self._meters[key] = Meter(now)
        return meter

    def look(self, now: float, seconds: float) -> None:
        """
        Look at all meters, *seconds* after the last look, and drop those of clients that are gone.

        Clients that take much share `ALL_SHARES`, so that many of them leave time for the others.
        """
        active = much = 0
        for key, meter in list(self._meters.items()):
            if meter.spent:
                meter.last = now
            active += now - meter.last <= ACTIVE_S
            much += meter.spent > MUCH * seconds
            meter.spent = 0.0
            if not (meter.places or meter.half) and now - meter.last > BURST_S / LEAST_SHARE:
                del self._meters[key]
        self.crowded = active > 1
        self.share = max(LEAST_SHARE, min(CLIENT_SHARE, ALL_SHARES / max(1, much)))

    def require_place(self, meter: Meter, quota: int | None, *, token: bool) -> None:
        """
        Check that the client of *meter* may have one more connection.

        Raises:
            Full: if it may not; the limit is the token's *quota*, or the one of addresses.
        """
        limit = quota if token else self.of_address
        if limit is not None and meter.places >= limit:
            whose = "token" if token else "address"
            raise Full("address", f"{meter.places} connections of one {whose}, expected fewer")
        if self.taken >= self.most or (meter.places and self.is_short):
            raise Full("connections", f"{self.taken} connections, expected fewer")

    @property
    def is_short(self) -> bool:
        """Whether only the places for newcomers are left."""
        return self.most - self.taken <= self.most // NEWCOMERS

    def enter(self, meter: Meter) -> None:
        """Count one more connection of the client of *meter*."""
        meter.places += 1
        self.taken += 1

    def leave(self, meter: Meter) -> None:
        """Count one connection less."""
        meter.places -= 1
        self.taken -= 1

    def let_in(self, meter: Meter | None) -> bool:
        """Count a connection whose handshake may come; return False if there is no place for it."""
        most = max(self.most, LEAST_HALF)
        if self.half >= most or (meter is not None and meter.half >= self.of_address):
            return False
        self.half += 1
        if meter is not None:
            meter.half += 1
        return True

    def let_on(self, meter: Meter | None) -> None:
        """Note the end of a handshake, good or bad."""
        self.half -= 1
        if meter is not None:
            meter.half -= 1


class Account:
    """One connection's own meter, and its client's; also the memory of how long it is over."""

    __slots__ = ("_begun", "_bytes", "_last", "_messages", "_own", "client", "intake")

    def __init__(self, intake: Intake, client: Meter, now: float) -> None:
        self.intake = intake
        self.client = client
        self._own = Meter(now)
        self._begun: float | None = None  # when it came to be over its share
        self._last = now  # when it was over its share last
        self._messages = self._bytes = 0  # since then

    def charge(self, messages: int, size: int, now: float) -> float:
        """Add *messages* of *size* bytes in all; return the seconds to wait before the next."""
        self._messages += messages
        self._bytes += size
        return self.work(messages * MESSAGE_S, now)

    def work(self, seconds: float, now: float) -> float:
        """Add *seconds* of work; return the seconds to wait before the next message."""
        if not self.intake.crowded:
            self.client.spent += seconds
            return 0.0
        self._own.charge(seconds, CONNECTION_SHARE, now)
        self.client.charge(seconds, self.intake.share, now)
        return self.wait(now)

    def wait(self, now: float) -> float:
        """Return the seconds until the connection may be read again; 0 for at once."""
        if not self.intake.crowded:
            wait = 0.0
        else:
            of_client = self.client.wait(self.intake.share, now)
            wait = max(self._own.wait(CONNECTION_SHARE, now), of_client)
        if wait > 0.0:
            if self._begun is None:
                self._begun, self._messages, self._bytes = now, 0, 0
            self._last = now
        elif now - self._last > CALM_S:
            self._begun = None
        return wait

    def is_abusive(self, now: float) -> bool:
        """Whether it was over its share for `PATIENCE_S`, with messages of next to no bytes."""
        if self._begun is None or now - self._last > CALM_S:
            return False
        return now - self._begun > PATIENCE_S and self._bytes < SMALL_BYTES * self._messages
