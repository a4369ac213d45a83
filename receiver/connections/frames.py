"""
Reading: binary frames go from the socket into the memory in which they stay.

websockets copies a message three times: into its buffer, out of it, and unmasked. A `FrameReader`
takes whole binary frames instead, and gives all other bytes to the library: texts, control frames,
fragments. So 256 KiB go from the socket to a session in 45 µs instead of 106.

Frames are handed over in slices, so that the event loop serves all connections in turn, and each is
charged to the connection's account: a client over its share is not read for a while.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import numpy as np
from typing_extensions import override
from websockets import frames

from sonoduct.wire import Buffer

from .intake import MESSAGE_S

if TYPE_CHECKING:
    from .websocket import GuardedConnection

SCRATCH_BYTES: Final = 64 * 1024
"""Of one read. They stay in memory while a connection may not be read."""

SLICE: Final = 64
"""Frames that are handed over at once: of small ones, 3 ms of the event loop."""

DIRECT_BYTES: Final = 16 * 1024
"""The smallest message that is read into its own memory; a read of smaller ones holds many."""

_unmasked: Final[Callable[[Buffer, bytes], bytes]] = frames.apply_mask  # type: ignore[attr-defined]  # not exported; it is the one in C if there is one

_BINARY: Final = 0x82  # FIN and the opcode of a binary frame; no extension
_MASKED: Final = 0x80
_LENGTHS: Final = {126: 2, 127: 8}  # bytes of a longer length, by the short one
_MASK_BYTES: Final = 4
_LEAST_HEADER: Final = 2
_MOST_HEADER: Final = 14


class FrameReader(asyncio.BufferedProtocol):
    """Reads for a connection from its first frame on (RFC 6455, section 5.2)."""

    __slots__ = [
        "_begun",
        "_connection",
        "_fill",
        "_foreign",
        "_loop",
        "_mask",
        "_message",
        "_most",
        "_scratch",
        "_timer",
    ]

    def __init__(self, connection: GuardedConnection, scratch: memoryview, most: int) -> None:
        """
        Take messages of up to *most* bytes; their memory is reserved when their header is there.

        *scratch* is shared by all readers of an event loop: each empties it at once.
        """
        self._connection = connection
        self._loop = connection.loop
        self._most = most
        self._scratch = scratch
        self._begun = b""
        """The beginning of a small frame, or of a header; while reading rests, whole frames too."""
        self._foreign = 0
        """Bytes to come of a frame that the library gets."""
        self._message: memoryview | None = None
        """The message that is being read, with room for the header behind it."""
        self._mask = b""
        self._fill = 0
        self._timer: asyncio.Handle | None = None
        """Continues with the frames that wait."""

    @property
    def rests(self) -> bool:
        """Whether the connection may not be read now, because it has had its turn or its share."""
        return self._timer is not None

    @override
    def get_buffer(self, sizehint: int) -> memoryview:
        if self._message is not None:
            return self._message[self._fill :]
        size = len(self._begun)
        self._scratch[:size] = self._begun
        return self._scratch[size:]

    @override
    def buffer_updated(self, nbytes: int) -> None:
        if self._message is None:
            size, self._begun = len(self._begun), b""
            self._split(self._scratch[: size + nbytes])
            return
        self._fill += nbytes
        size = len(self._message) - _MOST_HEADER
        if self._fill >= size:
            message, self._message = self._message, None
            behind = memoryview(bytes(message[size : self._fill]))
            # With some of the bytes behind the message, which are copied already.
            words = np.frombuffer(message, np.uint64, len(message) // 8)
            np.bitwise_xor(words, np.frombuffer(self._mask * 2, np.uint64), out=words)
            self._connection.take_frame(message[:size].toreadonly())
            self._split(behind, 1, size)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._connection.connection_lost(exc)

    @override
    def eof_received(self) -> None:
        self._connection.eof_received()

    @override
    def pause_writing(self) -> None:
        self._connection.pause_writing()

    @override
    def resume_writing(self) -> None:
        self._connection.resume_writing()

    def resume(self) -> None:
        """Continue with the frames that wait, and read on behind them."""
        if self._timer is None:
            if self._begun:
                self._rest(0.0)
            else:
                self._connection.read_on()

    def _split(self, data: memoryview, frames: int = 0, size: int = 0) -> None:
        """
        Hand over the frames in *data*, as many as are the connection's turn.

        *frames* with *size* bytes in all have been handed over already. The last frame in *data*
        may be incomplete.
        """
        whole, connection = len(data), self._connection
        while data and frames < SLICE:
            if self._foreign:
                if connection.holds_back:
                    break
                part = min(self._foreign, len(data))
                self._foreign -= part
                connection.data_received(bytes(data[:part]))
                data = data[part:]
                frames += not self._foreign
                continue
            begin, end = _extent(data)
            length, mask = end - begin, bytes(data[max(0, begin - _MASK_BYTES) : begin])
            if begin and not self._is_ours(data, length):
                self._foreign = end
            elif begin and end <= len(data):
                connection.take_frame(_unmasked(data[begin:end], mask))
                data = data[end:]
                frames += 1
            elif length < DIRECT_BYTES:
                self._begun = bytes(data)
                self._charge(frames, size + whole - len(data))
                return
            else:  # the rest of the message is read into its place
                self._message = np.empty(length + _MOST_HEADER, np.uint8).data
                self._mask, self._fill = mask, len(data) - begin
                self._message[: self._fill] = data[begin:]
                data = data[len(data) :]
        self._begun = bytes(data)
        wait = self._charge(frames, size + whole - len(data))
        if data and not wait and not connection.holds_back:
            self._rest(0.0)

    def _charge(self, frames: int, size: int) -> float:
        """Charge *frames* of *size* bytes in all; rest if the client is over its share."""
        account = self._connection.account
        if not account.intake.crowded:  # the usual case takes no further call for a chunk
            account.client.spent += frames * MESSAGE_S
            return 0.0
        wait = account.charge(frames, size, self._loop.time()) if frames else 0.0
        if wait:
            self._rest(wait)
        return wait

    def _rest(self, seconds: float) -> None:
        """Read nothing for *seconds*; with 0, until the other connections have had their turn."""
        self._connection.transport.pause_reading()
        if seconds:
            self._timer = self._loop.call_later(seconds, self._continue)
        else:
            self._timer = self._loop.call_soon(self._continue)

    def _continue(self) -> None:
        self._timer = None
        if wait := self._connection.account.wait(self._loop.time()):
            self._rest(wait)
            return
        data, self._begun = self._begun, b""
        if data:
            self._split(memoryview(data))
        self._connection.read_on()

    def _is_ours(self, data: memoryview, size: int) -> bool:
        """Whether *data* begins with a message of *size* bytes that the connection takes."""
        masked = data[1] >= _MASKED
        whole = data[0] == _BINARY and masked and size <= self._most
        return whole and self._connection.takes_frame


def _extent(data: memoryview) -> tuple[int, int]:
    """Return where the payload of the frame begins and ends; (0, 0) without a whole header."""
    if len(data) < _LEAST_HEADER:
        return 0, 0
    size = data[1] & ~_MASKED
    longer = _LENGTHS.get(size, 0)
    begin = _LEAST_HEADER + longer + (_MASK_BYTES if data[1] & _MASKED else 0)
    if len(data) < begin:
        return 0, 0
    if longer:
        size = int.from_bytes(data[_LEAST_HEADER : _LEAST_HEADER + longer])
    return begin, begin + size
