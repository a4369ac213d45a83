"""The digest that proves a stream: xxh3-128 over its units' canonical bytes, in order."""

from __future__ import annotations

import xxhash

from .format import Buffer


class Digest:
    """
    A running digest that knows how far it has got.

    Units that it has seen before are passed over, so that a rewound sender feeds it again safely.
    The digest is that of https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md, XXH3 128.
    """

    def __init__(self) -> None:
        self.units = 0
        self._hash: xxhash.xxh3_128 | None = None  # 640 bytes, from the first unit on

    def update(self, offset: int, units: int, payload: Buffer) -> None:
        """
        Add *units* units that start at *offset*.

        Raises:
            ValueError: if *offset* leaves a gap behind what has been summed so far.
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
        """32 hexadecimal digits."""
        return (self._hash or xxhash.xxh3_128()).hexdigest()
