"""Reading frames: each binary message arrives whole, and all other bytes reach the library."""

import asyncio
import random
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.connections import frames
from receiver.connections.frames import FrameReader
from receiver.connections.websocket import GuardedConnection
from sonoduct import wire
from tests.support.rawclient import digest, outbound, running, sound
from tests.support.rawsocket import BINARY, HANDSHAKE, PING, TEXT, frame, open_socket

MOST = 1000
"""Bytes of the largest message that a reader takes."""

FIRST, REST = 0x02, 0x80
"""The opcodes of a binary message in two fragments."""

CLOSE = 0x88
PROTOCOL_ERROR = 1002

FRAMES = 1000


class Connection:
    """Notes what a reader hands over: messages, and bytes for the library."""

    takes_frame = True
    holds_back = False
    crowded = True

    def __init__(self):
        self.seen = []
        self.loop = self.account = self.transport = self.intake = self
        self.waiting = []
        self.frames = 0

    def time(self):
        """Return the same moment always."""
        return 0.0

    def call_soon(self, call):
        """Note a reader's next turn."""
        self.waiting.append(call)
        return call

    def charge(self, frames, _size, _now):
        """Count frames; the client is never over its share."""
        self.frames += frames
        return 0.0

    def wait(self, _now):
        """Let the reader go on."""
        return 0.0

    def pause_reading(self):
        """Nothing comes until the reader's next turn, as `read` sees to."""

    def read_on(self):
        """The next bytes may come."""

    def take_frame(self, message):
        """Note a message."""
        self.seen.append((BINARY, bytes(message)))

    def data_received(self, data):
        """Note bytes, joined with the bytes before them."""
        if self.seen and self.seen[-1][0] == "library":
            data = self.seen.pop()[1] + data
        self.seen.append(("library", data))


def read(connection, data, sizes):
    """Have a reader get *data* in pieces of up to *sizes* bytes."""
    reader = FrameReader(connection, memoryview(bytearray(256)), MOST)
    while data:
        room = reader.get_buffer(-1)
        assert room, "no room for the next byte"
        size = min(next(sizes), len(room), len(data))
        room[:size] = data[:size]
        reader.buffer_updated(size)
        data = data[size:]
        while connection.waiting:
            connection.waiting.pop()()


@given(
    st.lists(
        st.tuples(
            st.sampled_from((BINARY, TEXT, PING, FIRST, REST)),
            st.sampled_from((0, 1, 125, 126, MOST, MOST + 1)).map(random.Random(0).randbytes),
            st.binary(min_size=4, max_size=4),
        ),
        max_size=8,
    ),
    st.randoms(use_true_random=False),
    st.sampled_from((1, 3, 20, 300, 2000)),
    st.integers(1, 4),
)
@settings(deadline=None, max_examples=60)  # a busy machine is slow
def test_frames_in_pieces_of_any_size(sent, chance, most, turn):
    """However the bytes are cut, the same messages and the same other bytes come, in order."""
    connection, expected = Connection(), Connection()
    for opcode, payload, mask in sent:
        if opcode == BINARY and len(payload) <= MOST:
            expected.take_frame(payload)
        else:
            expected.data_received(frame(opcode, payload, mask))
    data = b"".join(frame(*each) for each in sent)

    # So that both ways are taken, and turns end between frames.
    with patch.object(frames, "DIRECT_BYTES", 130), patch.object(frames, "SLICE", turn):
        read(connection, data, iter(lambda: chance.randint(1, most), 0))

    assert expected.seen == connection.seen
    assert len(sent) == connection.frames


def test_a_connection_that_takes_no_frame_gets_all_bytes():
    """Messages go to the library while no session waits for them."""
    connection, data = Connection(), frame(BINARY, b"sound") + frame(TEXT, b"{}")
    connection.takes_frame = False

    read(connection, data, iter(lambda: 7, 0))

    assert [("library", data)] == connection.seen


def test_a_frame_without_a_mask_is_the_library_s():
    """The library refuses it (RFC 6455, section 5.1)."""
    connection, data = Connection(), bytes([BINARY, 5]) + b"sound"

    read(connection, data, iter(lambda: 3, 0))

    assert [("library", data)] == connection.seen


async def test_a_message_that_its_session_no_longer_waits_for(monkeypatch):
    """It goes to the session by the library's queue, and no sample is lost."""
    take_frame = GuardedConnection.take_frame

    def late(connection, message):
        connection.take = None
        take_frame(connection, message)

    monkeypatch.setattr(GuardedConnection, "take_frame", late)
    async with running() as receiver:
        peer = await open_socket(receiver.port, wire.SUBPROTOCOL)
        try:
            await streamed(peer, whole)
        finally:
            peer.close()


async def streamed(peer, pieces):
    """Send a stream of FRAMES frames in chunks of all sizes by *pieces*; return all answers."""
    half, payload = outbound(), sound(FRAMES * 30)
    loop = asyncio.get_running_loop()
    await pieces(peer, frame(TEXT, wire.encode_control(half.greet()).encode(), b"mask"))
    await opened(half, peer)
    chance, messages, at = random.Random(1), [], 0
    while at < len(payload):
        part = payload[at : at + 4 * chance.choice((1, 20, 1000, 20_000))]
        at += len(part)
        message = b"".join(half.chunk(len(part) // 4, part))
        messages += [frame(BINARY, message, chance.randbytes(4)), frame(PING, b"?", b"mask")]
    end = frame(TEXT, wire.encode_control(half.eos()).encode(), b"mask")
    answer = b""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(pieces(peer, b"".join(messages) + end))
        while b'"committed"' not in answer:
            answer += await loop.sock_recv(peer, 65536)
    assert digest(payload).encode() in answer


async def whole(peer, data):
    """Send *data* in one call."""
    await asyncio.get_running_loop().sock_sendall(peer, data)


async def ragged(peer, data):
    """Send *data* in pieces whose ends fall into headers, masks and payloads."""
    chance = random.Random(2)
    while data:
        size = chance.choice((1, 2, 5, 13, 100, 3000, 30_000))
        await whole(peer, data[:size])
        data = data[size:]


@pytest.mark.parametrize("pieces", [whole, ragged])
async def test_a_stream_in_pieces_of_any_size(pieces):
    """A real receiver gets every sample, and answers the pings in between."""
    async with running() as receiver:
        peer = await open_socket(receiver.port, wire.SUBPROTOCOL)
        try:
            await streamed(peer, pieces)
        finally:
            peer.close()


async def claimed(receiver):
    """Open a stream; return the peer and the sender's half."""
    half = outbound()
    peer = await open_socket(receiver.port, wire.SUBPROTOCOL)
    await whole(peer, frame(TEXT, wire.encode_control(half.greet()).encode()))
    await opened(half, peer)
    return peer, half


async def opened(half, peer):
    """Wait for the answer to hello."""
    answer = await asyncio.get_running_loop().sock_recv(peer, 4096)
    half.feed(wire.decode_control(answer[answer.index(b"{") :].decode()))


async def closed(peer):
    """Return the code with which the receiver closes the connection."""
    heard = b""
    while bytes([CLOSE]) not in heard:
        more = await asyncio.get_running_loop().sock_recv(peer, 4096)
        assert more, heard
        heard += more
    peer.close()
    close = heard.rindex(bytes([CLOSE]))
    return int.from_bytes(heard[close + 2 : close + 4])


@pytest.mark.parametrize("more", [b"\x82", b"GET", b"\r\n\r\n"])
@pytest.mark.parametrize("cut", [1, 3, 200])
async def test_frames_before_the_answer_to_the_handshake(more, cut):
    """A client that does not wait is refused: its bytes would be read without being charged."""
    request = HANDSHAKE.format(target="/") + f"Sec-WebSocket-Protocol: {wire.SUBPROTOCOL}\r\n\r\n"
    data = request.encode() + more
    async with running() as receiver:
        reader, writer = await asyncio.open_connection("127.0.0.1", receiver.port)
        writer.writelines((data[:-cut], data[-cut:]))
        answer = await reader.read()
        writer.close()
        refused = receiver.value("receiver_refusals_total", reason="early")

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert 1 == refused


async def test_a_message_within_a_fragmented_one():
    """The library refuses it (RFC 6455, section 5.4)."""
    async with running() as receiver:
        peer, half = await claimed(receiver)
        await whole(peer, frame(FIRST, b"") + frame(PING, b"?"))
        await asyncio.get_running_loop().sock_recv(peer, 4096)  # the fragment is read
        await whole(peer, frame(BINARY, b"".join(half.chunk(1, bytes(4)))))

        assert await closed(peer) == PROTOCOL_ERROR


async def test_nothing_is_taken_after_a_fault():
    """Once the library has closed for a fault of the peer, a chunk behind it does not count."""
    async with running() as receiver:
        peer, half = await claimed(receiver)
        chunks = [frame(BINARY, b"".join(half.chunk(1, bytes(4)))) for _ in range(2)]
        await whole(peer, chunks[0] + frame(0x83, b"unknown opcode") + chunks[1])

        assert await closed(peer) == PROTOCOL_ERROR
        assert receiver.value("receiver_chunks_received_total", dialect="sonoduct") == 1


async def test_no_memory_is_reserved_before_a_stream_is_open(monkeypatch):
    """Until then, binary messages go to the library, which keeps only the bytes that came."""
    taken = []
    monkeypatch.setattr(GuardedConnection, "take_frame", lambda *each: taken.append(each))
    async with running() as receiver:
        peer = await open_socket(receiver.port, wire.SUBPROTOCOL)
        await whole(peer, frame(BINARY, wire.encode_chunk(1, 0, 1, bytes(4))))

        assert await closed(peer) == wire.Malformed.close_code
    assert not taken
