"""How many samples the packets of Vorbis and Opus hold, by their first bytes."""

from __future__ import annotations

from typing import Final, Protocol

_VORBIS: Final = b"\1vorbis"
_VORBIS_SETUP: Final = b"\5vorbis"
_OPUS: Final = b"OpusHead"

_SIZES_AT: Final = 28
"""Of the two blocks, in Vorbis' first header."""

# One of Vorbis' modes, from the end of its setup header on: section 4.2.4 of its specification.
_MODE_BITS: Final = 41
_MAPPING_BITS: Final = 8
_COUNT_BITS: Final = 6
_MOST: Final = 64
"""Modes, and mappings."""


class Counter(Protocol):
    """Counts the samples of a stream's packets, one after another."""

    def samples(self, packet: bytes) -> int:
        """Return how many *packet*, of which two bytes are enough, adds to those before."""


class Opus:
    """At 48 kHz, whatever went into it: RFC 6716, section 3.1."""

    def samples(self, packet: bytes) -> int:
        """See Counter."""
        if not packet:
            return 0
        config, code = packet[0] >> 3, packet[0] & 3
        if config < 12:  # noqa: PLR2004  # SILK: 10, 20, 40 and 60 ms
            frame = (480, 960, 1920, 2880)[config & 3]
        elif config < 16:  # noqa: PLR2004  # both: 10 and 20 ms
            frame = (480, 960)[config & 1]
        else:  # CELT: 2.5, 5, 10 and 20 ms
            frame = 120 << (config & 3)
        return frame * (1, 2, 2, packet[1] & 63 if len(packet) > 1 else 0)[code]


class Vorbis:
    """Half of a packet overlaps with the one before: section 1.3.2 of its specification."""

    def __init__(self, sizes: tuple[int, int], long: list[bool]) -> None:
        """*sizes* are those of short and long blocks; *long* says which modes have which."""
        self._sizes = [sizes[each] for each in long]
        self._mask = (1 << (len(long) - 1).bit_length()) - 1
        self._before = 0

    def samples(self, packet: bytes) -> int:
        """See Counter."""
        if not packet or packet[0] & 1:
            return 0
        mode = packet[0] >> 1 & self._mask
        size = self._sizes[mode] if mode < len(self._sizes) else 0
        before, self._before = self._before, size
        return (before + size) // 4 if before else 0


def headers_of(first: bytes) -> int:
    """Return how many headers a stream has that begins with the packet *first*."""
    return 3 if first.startswith(_VORBIS) else 2


def counter_of(headers: list[bytes]) -> Counter | None:
    """Return what counts the packets behind these *headers*; None if it is not known."""
    first, last = headers[0], headers[-1]
    if first.startswith(_OPUS):
        return Opus()
    if first.startswith(_VORBIS) and last.startswith(_VORBIS_SETUP) and len(first) > _SIZES_AT:
        sizes = first[_SIZES_AT]
        long = _long_modes(last)
        return Vorbis((1 << (sizes & 15), 1 << (sizes >> 4)), long) if long else None
    return None


def _long_modes(setup: bytes) -> list[bool]:
    """Which of the modes have long blocks: they end the header, and their number is before them."""
    bits = bin(int.from_bytes(setup, "little"))[3:]  # behind a 1 that says that it is the end
    modes: list[bool] = []
    found = at = 0
    while len(modes) < _MOST and len(bits) >= at + _MODE_BITS + _COUNT_BITS:
        mode = bits[at : at + _MODE_BITS]
        if int(mode[:_MAPPING_BITS], 2) >= _MOST or "1" in mode[_MAPPING_BITS:-1]:
            break
        modes.append(mode[-1] == "1")
        at += _MODE_BITS
        if int(bits[at : at + _COUNT_BITS], 2) + 1 == len(modes):
            found = len(modes)
    return modes[:found][::-1]
