"""Where a receiver listens, and whether a sender can use the address that the receiver gives."""

import socket

import pytest

from tests.support.clients import connected
from tests.support.rawclient import running
from tests.support.sounds import write

needs_ipv6 = pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here")


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("127.0.0.1", "ws://127.0.0.1:"),
        ("0.0.0.0", "ws://127.0.0.1:"),  # noqa: S104  # the address under test
        ("localhost", "ws://localhost:"),
        pytest.param("::1", "ws://[::1]:", marks=needs_ipv6),
        pytest.param("::", "ws://127.0.0.1:", marks=needs_ipv6),
        pytest.param("", "ws://127.0.0.1:", marks=needs_ipv6),
    ],
)
async def test_a_sender_can_use_the_given_address(tmp_path, host, said):
    """A sender reaches the receiver by its `url`, on each kind of address."""
    async with running(host=host, open=True) as receiver, connected(receiver.url) as client:
        receipt = await client.send(write(tmp_path / "a.wav", 100))

    assert receiver.url == f"{said}{receiver.port}"
    assert 100 == receipt.frames


@needs_ipv6
async def test_both_families_at_once(tmp_path):
    """If the receiver listens on `::`, senders reach it over IPv4 and over IPv6."""
    async with running(host="::", open=True) as receiver:
        for number, host in enumerate(("127.0.0.1", "[::1]")):
            async with connected(f"ws://{host}:{receiver.port}") as client:
                receipt = await client.send(write(tmp_path / f"{number}.wav", 100))

            assert 100 == receipt.frames
