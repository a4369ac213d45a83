"""The pages of Ogg files: split, changed and joined."""

POSITION = slice(6, 14)
CHECKSUM = slice(22, 26)


def _remainder(byte):
    for _ in range(8):
        byte = byte << 1 ^ (0x104C11DB7 if byte & 1 << 31 else 0)
    return byte


TABLE = [_remainder(byte << 24) for byte in range(256)]


def checksum(page):
    """Return the CRC of a page whose checksum field is zero."""
    found = 0
    for byte in page:
        found = (found << 8) & 0xFFFFFFFF ^ TABLE[found >> 24 ^ byte]
    return found


def pages(data):
    """Return the pages of a file; a test may change each."""
    found, at = [], 0
    while at < len(data):
        count = data[at + 26]
        end = at + 27 + count + sum(data[at + 27 : at + 27 + count])
        found.append(bytearray(data[at:end]))
        at = end
    return found


def position(page):
    """Return the granule position of a page, in samples."""
    return int.from_bytes(page[POSITION], "little", signed=True)


def count(page, samples):
    """Set the granule position of a page to *samples*."""
    page[POSITION] = samples.to_bytes(8, "little", signed=True)


def joined(parts):
    """Return a file that consists of *parts*, with correct checksums."""
    for page in parts:
        page[CHECKSUM] = bytes(4)
        page[CHECKSUM] = checksum(page).to_bytes(4, "little")
    return b"".join(parts)
