"""The list of protocols that --protocol takes."""

import pytest

from sender.dialects import dialect_of
from sender.settings import PROTOCOLS, SendSettings


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_each_protocol_can_be_chosen(protocol):
    """The client itself speaks our own protocol; each other one has a function that sends."""
    settings = SendSettings(protocol=protocol)

    assert settings.resumes == (dialect_of(protocol) is None)


def test_only_our_own_protocol_sends_files_unchanged():
    """The sender refuses --encoding file for every other protocol."""
    with pytest.raises(ValueError, match="encoding file with protocol plain, expected the file"):
        SendSettings(protocol="plain", encoding="file")
