"""
Text for people that others have chosen, made safe to show: names of files, words of a peer.

Such text is cleaned where it leaves: before a terminal, a log, a manifest or an error shows it.
The text that travels, and the text that programs read, stays exact.
"""

from __future__ import annotations

import re
from typing import Final

MOST: Final = 1024
"""Characters of a text that are shown at most."""

REPLACEMENT: Final = "?"

CUT: Final = "…"

_INVISIBLE: Final = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\uffa0]")
"""Letters and marks without a shape, which `str.isprintable` takes for printable."""


def clean(text: object, most: int = MOST) -> str:
    """
    Return *text* as one line that shows what it holds, and at most *most* characters of it.

    A question mark stands for each character that moves a cursor, changes the direction of writing,
    ends a line, joins without width, has no shape, or is half of a pair: the categories Cc, Cf, Cs,
    Co, Cn, Zl and Zp of Unicode, and some letters and marks that look like nothing. A plain space
    stands for any other space. Emoji that are joined from several fall apart into these.
    """
    shown = str(text)
    if len(shown) > most:
        shown = shown[: most - len(CUT)] + CUT
    if not shown.isprintable():
        shown = "".join(
            each if each.isprintable() else " " if _is_space(each) else REPLACEMENT
            for each in shown
        )
    return shown if shown.isascii() else _INVISIBLE.sub(REPLACEMENT, shown)


def escaped(json_text: str) -> str:
    r"""
    Return *json_text* with ``\u…`` for each character that `clean` would replace.

    Its value stays the same: outside of strings, JSON has no such character but the newline.
    """
    shown = json_text if json_text.isprintable() else "".join(map(_escape, json_text))
    return shown if shown.isascii() else _INVISIBLE.sub(lambda each: _escape(each[0]), shown)


def _is_space(character: str) -> bool:
    """Whether *character* is a space of some width; the separators of lines end a line."""
    return character.isspace() and character > "\x9f" and character not in "\u2028\u2029"


def _escape(character: str) -> str:
    if character == "\n" or (character.isprintable() and not _INVISIBLE.match(character)):
        return character
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
