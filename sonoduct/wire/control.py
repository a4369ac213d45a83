"""
Control messages as JSON text: at most 4 KiB, nested at most 6 deep, with a ``type``.

Decoding refuses every other text, with one sentence that names the place.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final, get_args

import msgspec

from sonoduct.text import clean

from .errors import Malformed
from .format import Compression, Encoding, Kind
from .messages import Control, Event, Events, Level

CONTROL_BYTES: Final = 4096
CONTROL_DEPTH: Final = 6

_SHOWN_CHARACTERS: Final = 80
_REASON_CHARACTERS: Final = 300  # a reason may quote a value of any length
_CHOICES: Final[dict[str, Iterable[str]]] = {
    "$.type": [cls.__struct_config__.tag for cls in get_args(Control)],
    "$.kind": Kind,
    "$.ack": Level,
    "$.format.encoding": Encoding,
    "$.format.compression": Compression,
}
_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"?')  # never backtracks: linear for any text

_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(Control)


def encode_control(message: Control) -> str:
    """
    Return the JSON text of *message*.

    Raises:
        ValueError: if it is longer than 4 KiB.
    """
    data = _ENCODER.encode(message)
    if len(data) > CONTROL_BYTES:
        kind = type(message).__name__.lower()
        raise ValueError(f"{kind} of {len(data)} bytes, expected at most {CONTROL_BYTES}")
    return data.decode()


def encode_events(events: Sequence[Event]) -> list[str]:
    """
    Return the JSON texts of as few messages as can hold *events*, in their order.

    Raises:
        ValueError: if one event alone is longer than 4 KiB.
    """
    if len(events) == 1:
        return [encode_control(events[0])]
    data = _ENCODER.encode(Events(events=list(events)))
    if len(data) <= CONTROL_BYTES:
        return [data.decode()]
    half = len(events) // 2
    return [*encode_events(events[:half]), *encode_events(events[half:])]


def decode_control(text: str) -> Control:
    """
    Return the message that *text* holds.

    Raises:
        Malformed: if it is not JSON, exceeds a limit, or has an unknown type or a wrong field.
    """
    length = len(text.encode(errors="surrogatepass"))
    if length > CONTROL_BYTES:
        raise Malformed("control message bytes", seen=length, expected=f"at most {CONTROL_BYTES}")
    depth = _depth(text)
    if depth > CONTROL_DEPTH:
        raise Malformed("control message depth", seen=depth, expected=f"at most {CONTROL_DEPTH}")
    try:
        message: Control = _DECODER.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError) as exc:
        reason, shown = clean(exc, _REASON_CHARACTERS), text[:_SHOWN_CHARACTERS]
        raise Malformed(f"{reason}, in {shown!r}", expected=_allowed(exc)) from exc
    return message


def _allowed(fault: Exception) -> str | None:
    """Return the choices for the field that *fault* names, None if it has no list of choices."""
    choices = [names for path, names in _CHOICES.items() if f"`{path}`" in str(fault)]
    return " or ".join(choices[0]) if choices else None


def _depth(text: str) -> int:
    """Return how deep brackets nest outside of strings, or an upper bound of at most the limit."""
    if (most := text.count("[") + text.count("{")) <= CONTROL_DEPTH:
        return most  # counting exactly costs more than decoding the message
    depth = deepest = 0
    for character in _STRING.sub("", text):
        if character in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "]}":
            depth -= 1
    return deepest
