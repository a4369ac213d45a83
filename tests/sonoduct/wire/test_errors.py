"""Errors: their codes, their sentences, and the way over a close frame."""

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
    """A peer that sees the code raises what the other side raised."""
    error = wire.error_for(code, "chunk offset 3, expected 0")

    assert code == cls.close_code
    assert cls is type(error)
    assert "chunk offset 3, expected 0" == str(error)


def test_every_error_has_its_own_code():
    """No class is missing from this page, and none shares its code."""
    bases = (wire.PeerError, wire.OwnError, wire.EnvironmentFault)
    classes = {cls for base in bases for cls in base.__subclasses__()}

    assert set(CODES) == classes
    assert len(CODES) == len(set(CODES.values()))


@pytest.mark.parametrize("code", [1000, 1001, 1006, 1011, 4444])
def test_unknown_code_is_a_bare_error(code):
    """Codes of WebSocket itself, and of later versions, belong to no class here."""
    error = wire.error_for(code, "why")

    assert wire.WireError is type(error)
    assert "why" == str(error)


def test_blame_is_clear():
    """The tree says whose fault it is."""
    assert issubclass(wire.Gap, wire.PeerError)
    assert issubclass(wire.ProcessingFailed, wire.OwnError)
    assert issubclass(wire.StorageFailed, wire.EnvironmentFault)
    assert 1011 == wire.WireError.close_code


def test_retryable_codes_are_those_of_the_protocol():
    """These numbers are the protocol; a change here is a new version."""
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
def test_sentence_holds_what_was_seen_and_expected(values, sentence):
    """A value that is there is shown, even if it is 0 or empty."""
    assert sentence == str(wire.Gap("offset", **values))


def test_values_are_kept_as_text():
    """They go into an error message as they are."""
    error = wire.Gap("offset", seen=3, expected=range(2))

    assert ("offset", "3", "range(0, 2)") == (error.message, error.seen, error.expected)


def test_absent_values_stay_absent():
    """None is not a value."""
    error = wire.Gap("offset")

    assert (None, None) == (error.seen, error.expected)


def test_short_reason_is_the_sentence():
    """What fits into a close frame is sent whole."""
    assert "offset 3, expected 0" == wire.Gap("offset", seen=3, expected=0).reason


@pytest.mark.parametrize("text", ["x" * 124, "ü" * 62, "x" + "ü" * 62, "€" * 42, "𝄞" * 31])
def test_long_reason_is_cut_between_characters(text):
    """A reason fits into a close frame and is still text."""
    reason = wire.Gap(text).reason

    assert text.startswith(reason)
    assert len(reason.encode()) <= REASON_BYTES < len((reason + text[len(reason)]).encode())
