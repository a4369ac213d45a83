"""The digest that proves a stream: xxh3-128 over its units' canonical bytes, in order."""

from __future__ import annotations

import xxhash

from .format import Buffer


class Digest:
    """
    A running digest that knows its number of units.

    It skips units that it has summed before, so that a sender may feed the same units again.
    See XXH3 128 in https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md.
    """

    def __init__(self) -> None:
        self.units = 0
        self._hash: xxhash.xxh3_128 | None = None  # 640 bytes, from the first unit on

    def update(self, offset: int, units: int, payload: Buffer) -> None:
        """
        Add *units* units that start at *offset*.

        Raises:
            ValueError: if *offset* leaves a gap behind the units summed so far.
        """
        if offset > self.units:
            raise ValueError(f"offset {offset}, expected at most {self.units}")
        known = self.units - offset
        if known < units:
            unit_bytes = len(payload) // units
            if self._hash is None:
                self._hash = xxhash.xxh3_128()
            self._hash.update(memoryview(payload)[known * unit_bytes :])
            self.units = offset + units

    def hexdigest(self) -> str:
        """Return the digest as 32 hexadecimal digits."""
        return (self._hash or xxhash.xxh3_128()).hexdigest()
