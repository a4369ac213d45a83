"""A server of one RTSP stream on loopback: 16-bit samples in RTP, over the same connection."""

import asyncio
import struct
from contextlib import asynccontextmanager

SAMPLERATE = 44_100
CHANNELS = 2
PACKET_FRAMES = 350
"""1400 bytes: they fit into a packet of a network."""

L16 = 10
"""RFC 3551, section 6: this very format, big-endian."""

DESCRIPTION = f"""v=0
o=- 0 0 IN IP4 127.0.0.1
s=tests
c=IN IP4 127.0.0.1
t=0 0
m=audio 0 RTP/AVP {L16}
a=rtpmap:{L16} L16/{SAMPLERATE}/{CHANNELS}
a=control:audio
""".replace("\n", "\r\n")


class Rtsp:
    """Serves *samples*, int16 of shape (frames, 2), to each client, then ends the stream."""

    def __init__(self, samples):
        self.asked = []
        """The methods of all requests."""
        self.url = ""
        self._samples = samples

    @asynccontextmanager
    async def listen(self):
        """Accept connections while the context is open."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"rtsp://127.0.0.1:{server.sockets[0].getsockname()[1]}/live"
        async with server:
            yield self

    async def _serve(self, reader, writer):
        try:
            while request := await reader.readuntil(b"\r\n\r\n"):
                lines = request.decode().split("\r\n")
                method = lines[0].split()[0]
                self.asked.append(method)
                headers = dict(line.split(": ", 1) for line in lines[1:] if line)
                writer.write(self._answer(method, headers))
                if method == "PLAY":
                    await self._play(writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _answer(self, method, headers):
        extra = {
            "OPTIONS": "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n",
            "DESCRIBE": f"Content-Base: {self.url}/\r\nContent-Type: application/sdp\r\n"
            f"Content-Length: {len(DESCRIPTION)}\r\n",
            "SETUP": f"Transport: {headers.get('Transport')}\r\nSession: 1\r\n",
        }.get(method, "Session: 1\r\n")
        body = DESCRIPTION if method == "DESCRIBE" else ""
        return f"RTSP/1.0 200 OK\r\nCSeq: {headers['CSeq']}\r\n{extra}\r\n{body}".encode()

    async def _play(self, writer):
        """Send packets as RFC 2326, section 10.12, says: a dollar, the channel, the length."""
        for number, at in enumerate(range(0, len(self._samples), PACKET_FRAMES)):
            payload = self._samples[at : at + PACKET_FRAMES].astype(">i2").tobytes()
            head = struct.pack(">BBHII", 0x80, L16, number % 65536, at, 1)
            writer.write(b"$\0" + struct.pack(">H", len(head) + len(payload)) + head + payload)
            await writer.drain()
        goodbye = struct.pack(">BBHI4s", 0x81, 203, 2, 1, b"\3end")  # RTCP: RFC 3550, section 6.6
        writer.write(b"$\1" + struct.pack(">H", len(goodbye)) + goodbye)
        await writer.drain()
