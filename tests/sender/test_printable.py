"""Names of files, as people get to see them."""

import os

import pytest

from sender.sources import printable


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a b é 音.wav", "a b é 音.wav"),
        (os.fsdecode(b"not\xff8.wav"), "not?8.wav"),
        ("two\nlines.wav", "two?lines.wav"),
        ("\x1b[31mred\x1b]0;title\x07.wav", "?[31mred?]0;title?.wav"),
        ("left\u202eright.wav", "left?right.wav"),
    ],
)
def test_a_name_is_one_line_and_changes_no_terminal(name, shown):
    """Whatever a stranger has called a file."""
    assert shown == printable(name)
