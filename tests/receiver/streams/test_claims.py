"""How often a client may claim one stream."""

import pytest

from receiver.streams import claims
from receiver.streams.claims import ClaimRate
from sonoduct.wire import TooFast


def refused(rate, stream, client, now):
    """Whether a claim is refused."""
    try:
        rate.count(stream, client, now)
    except TooFast:
        return True
    return False


def test_ten_claims_at_once_then_one_in_a_second():
    """A client that tries all the time gets one claim in each second."""
    rate = ClaimRate()

    assert [False] * 10 + [True] * 5 == [refused(rate, "a", "x", 0.0) for _ in range(15)]
    granted = sum(not refused(rate, "a", "x", 1.0 + step / 45) for step in range(450))
    assert 10 <= granted <= 12


def test_other_clients_and_other_streams_are_not_concerned():
    """A stranger's claims keep nobody from a stream."""
    rate = ClaimRate()
    for _ in range(100):
        refused(rate, "a", "stranger", 0.0)

    assert not refused(rate, "a", "owner", 0.0)
    assert not refused(rate, "b", "stranger", 0.0)


def test_claims_that_bring_audio_are_not_counted():
    """A sender on a link that breaks every moment goes on."""
    rate = ClaimRate()
    for _ in range(100):
        assert not refused(rate, "a", "owner", 0.0)
        rate.forgive("a", "owner")


def test_a_bounded_number_is_remembered(monkeypatch):
    """Claims on many streams do not fill the memory."""
    monkeypatch.setattr(claims, "REMEMBERED", 100)
    rate = ClaimRate()
    for number in range(1000):
        rate.count(str(number), "x", 0.0)

    assert 100 == len(rate._claims)


def test_the_error_says_what_is_expected():
    """It names the claims and the limit."""
    rate = ClaimRate()
    for _ in range(10):
        rate.count("a", "x", 0.0)
    with pytest.raises(TooFast, match="claims of one stream 11, expected at most 10 at once"):
        rate.count("a", "x", 0.0)
