"""Text that others have chosen, before people see it."""

import json
import os
import unicodedata

import pytest

from sonoduct.text import clean, escaped


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a b é 音.wav", "a b é 音.wav"),
        (os.fsdecode(b"not\xff8.wav"), "not?8.wav"),
        ("two\nlines.wav", "two?lines.wav"),
        ("\x1b[31mred\x1b]0;title\x07.wav", "?[31mred?]0;title?.wav"),
        ("c1\x9b31mdel\x7f", "c1?31mdel?"),
        ("left\u202eright\u2066x\u2069\u200e\u200f\u061c", "left?right?x????"),
        ("line\u2028paragraph\u2029", "line?paragraph?"),
        ("join\u200d\u200c\u200bword\u2060\ufeff", "join???word??"),
        ("filler\u3164\u115f\u034f", "filler???"),
        ("tag\U000e0041", "tag?"),
        ("wide\u3000narrow\u202f no-break\xa0.wav", "wide narrow  no-break .wav"),
        ("red heart \u2764\ufe0f", "red heart \u2764\ufe0f"),
        (ValueError("tab\there"), "tab?here"),
    ],
)
def test_a_text_is_one_line_and_changes_no_terminal(text, shown):
    """A question mark stands for each character that moves, hides or reorders something."""
    assert shown == clean(text)


def test_no_control_or_format_character_is_left():
    """Of all characters of Unicode, none is left that is a control, a format or half of a pair."""
    everything = "".join(map(chr, range(0x110000)))

    left = clean(everything, len(everything))

    assert len(everything) == len(left)
    assert set() == {each for each in left if unicodedata.category(each) in ("Cc", "Cf", "Cs")}
    assert {" "} == {each for each in left if unicodedata.category(each) in ("Zs", "Zl", "Zp")}


def test_a_long_text_is_cut():
    """An ellipsis says that there is more."""
    assert "aaaa…" == clean("a" * 6, 5)
    assert "a" * 5 == clean("a" * 5, 5)
    assert 1024 == len(clean("a" * 100_000))


@pytest.mark.parametrize(
    "value", ["plain", "\x9b\u202e\u3164\U000e0041\n\ud800"[:-1], {"é": ["\x7f", 1]}]
)
def test_escaped_json_keeps_its_value(value):
    """The characters are written as escapes, so that the value is the same to a program."""
    shown = escaped(json.dumps(value, ensure_ascii=False, indent=1))

    assert value == json.loads(shown)
    assert all(clean(line) == line for line in shown.split("\n"))
