"""The digest of a stream, also if units are fed again after a rewind."""

import pytest
import xxhash

from sonoduct import wire

AUDIO = bytes(range(200))


def plain(data):
    """Hash *data* in one go, without `wire`."""
    return xxhash.xxh3_128(data).hexdigest()


def test_nothing_has_the_published_digest():
    """XXH3 128 of no bytes, seed 0, as the specification's test vectors give it."""
    assert "99aa06d3014798d86001c324468d497f" == wire.Digest().hexdigest()


@pytest.mark.parametrize("piece", [1, 3, 7, 50])
def test_cutting_does_not_matter(piece):
    """However a stream is cut into chunks, its digest is the same."""
    digest = wire.Digest()
    for offset in range(0, 50, piece):
        payload = AUDIO[4 * offset : 4 * (offset + piece)]
        digest.update(offset, len(payload) // 4, payload)

    assert plain(AUDIO) == digest.hexdigest()
    assert 50 == digest.units


def test_known_units_are_passed_over():
    """If a sender starts again and feeds units a second time, the digest stays right."""
    digest = wire.Digest()
    digest.update(0, 30, AUDIO[:120])
    digest.update(0, 20, AUDIO[:80])
    digest.update(20, 10, AUDIO[80:120])
    digest.update(10, 40, AUDIO[40:])

    assert plain(AUDIO) == digest.hexdigest()


def test_gap_is_refused():
    """If units before an offset were never summed, the offset is refused."""
    digest = wire.Digest()
    digest.update(0, 30, AUDIO[:120])

    with pytest.raises(ValueError, match=r"^offset 31, expected at most 30$"):
        digest.update(31, 1, AUDIO[124:128])


def test_refused_gap_changes_nothing():
    """After a refusal the digest and the count are as before."""
    digest = wire.Digest()
    with pytest.raises(ValueError, match="offset 1"):
        digest.update(1, 1, b"abcd")

    assert (0, plain(b"")) == (digest.units, digest.hexdigest())


def test_no_units_change_nothing():
    """An empty piece is allowed and adds nothing."""
    digest = wire.Digest()
    digest.update(0, 0, b"")

    assert (0, plain(b"")) == (digest.units, digest.hexdigest())
