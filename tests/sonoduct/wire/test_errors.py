"""Errors: their codes, their sentences, and their reasons in close frames."""

import pytest

from sonoduct import wire
from sonoduct.wire.errors import REASON_BYTES

CODES = {
    wire.Malformed: 4400,
    wire.Unauthorised: 4401,
    wire.Forbidden: 4403,
    wire.Stalled: 4408,
    wire.Fenced: 4409,
    wire.Gone: 4410,
    wire.TooLarge: 4413,
    wire.Gap: 4416,
    wire.Held: 4423,
    wire.TooFast: 4429,
    wire.BadChecksum: 4460,
    wire.ProcessingFailed: 4500,
    wire.StorageFailed: 4507,
    wire.Draining: 1012,
    wire.Overloaded: 1013,
}


@pytest.mark.parametrize(
    ("cls", "code"), CODES.items(), ids=lambda value: getattr(value, "__name__", value)
)
def test_codes_lead_to_their_classes_and_back(cls, code):
    """If a peer closes with a code, the other side raises the class of that code."""
    error = wire.error_for(code, "chunk offset 3, expected 0")

    assert code == cls.close_code
    assert cls is type(error)
    assert "chunk offset 3, expected 0" == str(error)


def test_every_error_has_its_own_code():
    """The table above has every class, and no two classes share a code."""
    bases = (wire.PeerError, wire.OwnError, wire.EnvironmentFault)
    classes = {cls for base in bases for cls in base.__subclasses__()}

    assert set(CODES) == classes
    assert len(CODES) == len(set(CODES.values()))


@pytest.mark.parametrize("code", [1000, 1001, 1006, 1011, 4444])
def test_unknown_code_is_a_bare_error(code):
    """Codes of WebSocket itself, and of later versions, have no class of their own."""
    error = wire.error_for(code, "why")

    assert wire.WireError is type(error)
    assert "why" == str(error)


def test_blame_is_clear():
    """The base class says who caused the error: the peer, this side, or the environment."""
    assert issubclass(wire.Gap, wire.PeerError)
    assert issubclass(wire.ProcessingFailed, wire.OwnError)
    assert issubclass(wire.StorageFailed, wire.EnvironmentFault)
    assert 1011 == wire.WireError.close_code


def test_retryable_codes():
    """These numbers are part of the protocol; a change here is a new version."""
    expected = {1001, 1006, 1011, 1012, 1013, 4408, 4409, 4416, 4423, 4429, 4460, 4507}

    assert expected == wire.RETRYABLE


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({}, "offset"),
        ({"seen": 3}, "offset 3"),
        ({"expected": 0}, "offset, expected 0"),
        ({"seen": 3, "expected": 0}, "offset 3, expected 0"),
        ({"seen": "", "expected": ""}, "offset , expected "),
    ],
)
def test_sentence_holds_the_seen_and_the_expected_value(values, sentence):
    """If a value is given, it is shown, even if it is 0 or empty."""
    assert sentence == str(wire.Gap("offset", **values))


def test_values_are_kept_as_text():
    """Values become text, as they stand in error messages."""
    error = wire.Gap("offset", seen=3, expected=range(2))

    assert ("offset", "3", "range(0, 2)") == (error.message, error.seen, error.expected)


def test_absent_values_stay_absent():
    """If a value is not given, it stays None."""
    error = wire.Gap("offset")

    assert (None, None) == (error.seen, error.expected)


def test_short_reason_is_the_sentence():
    """If the sentence fits into a close frame, the reason is the whole sentence."""
    assert "offset 3, expected 0" == wire.Gap("offset", seen=3, expected=0).reason


@pytest.mark.parametrize("text", ["x" * 124, "ü" * 62, "x" + "ü" * 62, "€" * 42, "𝄞" * 31])
def test_long_reason_is_cut_between_characters(text):
    """A reason that is too long is cut to fit, and stays valid text."""
    reason = wire.Gap(text).reason

    assert text.startswith(reason)
    assert len(reason.encode()) <= REASON_BYTES < len((reason + text[len(reason)]).encode())
