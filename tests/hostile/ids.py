"""Whose stream is whose: tokens against every action, and secrets against every output."""

import asyncio
import json
import os
import urllib.request
import uuid
from contextlib import suppress
from pathlib import Path

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from sonoduct import wire
from tests.hostile.floods import MONO
from tests.hostile.victim import FOREIGN, TOKENS, serving

WAIT_S = 5
SOUND = bytes(range(256)) * 10
WRONG = {
    "none": "",
    "wrong": "no-token-of-this-receiver",
    "part": TOKENS["studio"][:-1],
    "expired": FOREIGN["expired"],
}
ACTIONS = ("hello", "receipt", "takeover", "cancel", "plain")
GUISES = {
    "guessed id": {},
    "prefix": {"name": "studio/a"},
    "origin": {"headers": {"Origin": "https://elsewhere.example"}},
    "host": {"headers": {"Host": "rebound.example"}},
}


class Scene:
    """A receiver with a stream of `studio` in each state, which others try to reach."""

    def __init__(self, victim, address):
        self.url = victim.url
        self._address = address
        self.done = self.left = ""

    async def prepare(self):
        """Commit one new stream, and leave another one in its middle."""
        self.done, self.left = uuid.uuid4().hex, uuid.uuid4().hex
        for stream in (self.done, self.left):
            async with self._connected(TOKENS["studio"]) as connection:
                half = _half(stream, "studio/a")
                await _said(connection, half.greet())
                half.feed(wire.decode_control(await connection.recv(decode=True)))
                await connection.send(b"".join(half.chunk(len(SOUND) // 2, SOUND)))
                while half.durable < half.position:
                    half.feed(wire.decode_control(await connection.recv(decode=True)))
                if stream == self.done:
                    await _said(connection, half.eos())
                    while half.phase is not wire.Phase.DONE:
                        half.feed(wire.decode_control(await connection.recv(decode=True)))

    def _connected(self, token, headers=None, subprotocols=(wire.SUBPROTOCOL,)):
        more = dict(headers or {})
        if token:
            more["Authorization"] = f"Bearer {token}"
        return connect(
            self.url,
            subprotocols=list(subprotocols) or None,
            additional_headers=more,
            compression=None,
            proxy=None,
            close_timeout=1,
            local_addr=(self._address, 0),
        )

    async def answer(self, token, action, stream, *, name="x", headers=None):
        """Return everything that the receiver says to *action* on *stream*."""
        plain = action == "plain"
        heard = []
        try:
            async with (
                asyncio.timeout(WAIT_S),
                self._connected(token, headers, () if plain else (wire.SUBPROTOCOL,)) as connection,
            ):
                if plain:
                    await connection.send(bytes(400))
                    await connection.send("Done")
                    answer = json.loads(await connection.recv())
                    return ["plain", answer.get("frames")]
                half = _half(stream, name)
                await _said(connection, half.greet())
                opened = wire.decode_control(await connection.recv(decode=True))
                if isinstance(opened, wire.Error):
                    return [opened.code]
                heard.append(_plainly(opened, stream))
                half.feed(opened)
                if action == "takeover" and half.phase is wire.Phase.OPEN:
                    await connection.send(wire.encode_chunk(half.epoch, half.position, 1, b"ab"))
                    ack = wire.decode_control(await connection.recv(decode=True))
                    heard.append(_plainly(ack, stream))
                if action == "cancel":
                    await _said(connection, wire.Cancel(epoch=opened.epoch))
                    answer = wire.decode_control(await connection.recv(decode=True))
                    heard.append(_plainly(answer, stream))
        except wire.WireError as exc:
            heard.append(type(exc).close_code)
        except InvalidStatus as exc:
            heard.append(exc.response.status_code)
        except ConnectionClosed as exc:
            heard.append(exc.rcvd.code if exc.rcvd else 1006)
        except TimeoutError:
            heard.append("nothing")
        return heard


def _plainly(message, stream):
    """Return *message* as text, without its own stream's id."""
    return wire.encode_control(message).replace(stream, "ID")


def _half(stream, name):
    hello = wire.Hello(stream=stream, instance=uuid.uuid4().hex, name=name, format=MONO)
    return wire.Outbound(hello)


async def _said(connection, message):
    await connection.send(wire.encode_control(message))


async def _matrix(victim):
    """Return the number of attempts, and those that told or changed something."""
    pairs = [(action, guise) for action in ACTIONS for guise in GUISES]
    cells = await asyncio.gather(
        *(_cell(victim, f"127.0.1.{number}", *each) for number, each in enumerate(pairs, 1))
    )
    return sum(tried for tried, _ in cells), [each for _, bad in cells for each in bad]


async def _cell(victim, address, action, guise):
    """
    Try *action* as *guise* says with every token; return how many, and what was wrong.

    Each cell has an address of its own, because handshakes of one address are limited.
    """
    scene, how, tried, bad = Scene(victim, address), GUISES[guise], 0, []
    await scene.prepare()
    for who, token in WRONG.items():
        tried += 1
        heard = await scene.answer(token, action, scene.done, **how)
        if heard not in ([401], [403], [421]):
            bad.append(f"{who}, {action}, {guise}: {heard}")
    for stream in (scene.done, scene.left):
        tried += 1
        heard = await scene.answer(TOKENS["hostile"], action, stream, **how)
        fresh = await scene.answer(TOKENS["hostile"], action, uuid.uuid4().hex, **how)
        refused = heard in ([403], [421]) or guise not in ("origin", "host")
        if heard != fresh or not refused:
            bad.append(f"another's, {action}, {guise}: {heard}")
    if guise == "prefix" and action != "plain":
        tried += 1
        heard = await scene.answer(FOREIGN["narrow"], action, scene.done, **how)
        if heard != [wire.Forbidden.close_code]:
            bad.append(f"narrow, {action}: {heard}")
    return tried, bad + await _kept(scene)


async def _kept(scene):
    """Return what the owner of the streams has lost."""
    lost = []
    answer = await scene.answer(TOKENS["studio"], "hello", scene.done, name="studio/a")
    if '"receipt"' not in str(answer):
        lost.append(f"the owner's receipt: {answer}")
    answer = await scene.answer(TOKENS["studio"], "hello", scene.left, name="studio/a")
    if f'"offset":{len(SOUND) // 2}' not in str(answer):
        lost.append(f"the owner's stream: {answer}")
    return lost


def _leaks(victim):
    """Return where a token can be read: logs, metrics, the process, the store."""
    words = [each.encode() for each in (*TOKENS.values(), *FOREIGN.values(), WRONG["wrong"])]
    texts = {"log": (victim.folder / "log").read_bytes()}
    for page in ("metrics", "streams"):
        with urllib.request.urlopen(
            f"http://127.0.0.1:{victim.metrics_port}/{page}", timeout=WAIT_S
        ) as answer:
            texts[f"/{page}"] = answer.read()
    for name in ("cmdline", "environ"):
        texts[name] = (Path("/proc") / str(victim.pid) / name).read_bytes()
    for folder, _, names in os.walk(victim.store):
        for name in names:
            with suppress(OSError):
                texts[f"store: {name}"] = (Path(folder) / name).read_bytes()
    return [where for where, text in texts.items() if any(word in text for word in words)]


def matrix(*, quick, work, without=""):
    """Try every action with every token; look for tokens in all that the receiver writes."""
    with serving(tokens=True, without=without, work=work) as victim:
        tried, bad = asyncio.run(_matrix(victim))
        leaks = _leaks(victim)
        dead = [] if victim.alive else ["the receiver has ended"]
    good = f"{tried} attempts, {len(bad)} not refused, and not like a new stream"
    return good, [*bad[:4], *(f"a token in {where}" for where in leaks), *dead]


async def _offers(victim):
    """Return the faults in the answers to compression that is offered, and to a frame with it."""
    offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
    request = (
        f"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Protocol: {wire.SUBPROTOCOL}\r\n{offer}\r\n"
    )
    bad = []
    for first in (0xC1, 0xC2, 0xA2, 0x92):
        reader, writer = await asyncio.open_connection("127.0.0.1", victim.port)
        writer.write(request.encode())
        async with asyncio.timeout(WAIT_S):
            answer = await reader.readuntil(b"\r\n\r\n")
            if b"101" not in answer[:15] or b"extensions" in answer.lower():
                bad.append(answer[:60].decode(errors="replace"))
            writer.write(bytes([first, 0x84]) + bytes(8))
            head = await reader.readexactly(4)
        code = int.from_bytes(head[2:4])
        if head[0] != 0x88 or code != 1002:
            bad.append(f"{first:#x}: {head.hex()}")
        writer.transport.abort()
    return bad


def compression(*, quick, work, without=""):
    """Offer compression, and send frames with reserved bits."""
    with serving(work=work, without=without) as victim:
        bad = asyncio.run(_offers(victim))
    return "not agreed to; 1002 to reserved bits", bad
