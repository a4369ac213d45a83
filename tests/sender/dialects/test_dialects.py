"""The list of servers of other kinds."""

from typing import get_args, get_type_hints

from sender.dialects import DIALECTS
from sender.settings import SendSettings


def test_each_dialect_can_be_chosen():
    """--protocol takes our own protocol, and the names in the list."""
    choices = get_args(get_type_hints(SendSettings)["protocol"])

    assert ("sonoduct", *DIALECTS) == choices
