"""A WebSocket client without a library: it sends any bytes and need not read."""

import asyncio
import itertools
import operator
import socket
import struct

TEXT, BINARY, PING = 0x81, 0x82, 0x89

HANDSHAKE = (
    "GET {target} HTTP/1.1\r\n"
    "Host: localhost\r\n"
    "Upgrade: websocket\r\n"
    "Connection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    "Sec-WebSocket-Version: 13\r\n"
)


def frame(opcode, payload, mask=bytes(4)):  # bytes do not change
    """Return a whole message; with the default mask, zero, its payload is unchanged."""
    size = len(payload)
    if size < 126:
        length = bytes([0x80 | size])
    elif size < 65536:
        length = struct.pack("!BH", 0x80 | 126, size)
    else:
        length = struct.pack("!BQ", 0x80 | 127, size)
    keys = itertools.cycle(mask)
    return bytes([opcode]) + length + mask + bytes(map(operator.xor, payload, keys))


async def open_socket(port, subprotocol=None, target="/"):
    """Connect with small buffers and make the handshake; return the socket."""
    loop = asyncio.get_running_loop()
    peer = socket.socket()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
    peer.setblocking(False)
    await loop.sock_connect(peer, ("127.0.0.1", port))
    offer = f"Sec-WebSocket-Protocol: {subprotocol}\r\n" if subprotocol else ""
    request = HANDSHAKE.format(target=target) + offer + "\r\n"
    await loop.sock_sendall(peer, request.encode())
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += await loop.sock_recv(peer, 1)
    assert answer.startswith(b"HTTP/1.1 101"), answer
    return peer


async def flood(peer, block, most):
    """Send *block* repeatedly and read nothing; return when *most* bytes are sent."""
    loop, passed = asyncio.get_running_loop(), 0
    while passed < most:
        await loop.sock_sendall(peer, block)
        passed += len(block)
