"""Sending as the tutorial's client does: blocks of float32, then ``Done``, to any such server."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Final
from urllib.parse import urlencode, urlsplit, urlunsplit

from sender.errors import NotAReceiverError, SourceError, UnreachableError
from sender.pacing import Pacing
from sender.settings import Settings
from sender.sources import Source
from sender.websocket import Link, LinkClosedError, open_link
from sonoduct.audio.samples import to_float32
from sonoduct.wire import Digest, Receipt

FRAMES: Final = 4096
"""The tutorial's block."""

END: Final = "Done"
ANSWER: Final = "Done!"
NORMAL: Final = (1000, 1001)


async def send_plain(source: Source, settings: Settings) -> Receipt:
    """
    Send all of *source* and return what can be said of it: a receipt that only we have signed.

    A server that answers ``Done`` with frames and digest, as our receiver does, is compared.

    Raises:
        SourceError: if the source cannot be read to its end.
        NotAReceiverError: if the server closes with an error, or counts otherwise.
        UnreachableError: if it cannot be reached, or does not answer; there is no resume.
    """
    link = await _open(source, settings)
    digest = Digest()
    try:
        await _send_blocks(link, source, digest, settings)
        async with asyncio.timeout(settings.silence_timeout):
            answer = await _answer(link)
    except asyncio.CancelledError:
        await link.leave()
        raise
    except LinkClosedError as exc:
        raise NotAReceiverError(f"{settings.to}: {exc}, expected {ANSWER}") from exc
    except TimeoutError as exc:
        waited = f"{settings.silence_timeout:g} s"
        raise UnreachableError(
            f"{settings.to}: no answer to {END} for {waited}, expected {ANSWER} or a close"
        ) from exc
    finally:
        await link.close()
    receipt = _receipt(source, digest)
    for key, mine in (("frames", receipt.frames), ("digest", receipt.digest)):
        if answer.get(key, mine) != mine:
            raise NotAReceiverError(f"{settings.to}: {key} {answer[key]}, expected {mine}")
    return receipt


async def _open(source: Source, settings: Settings) -> Link:
    address = _address(settings.to, source)
    try:
        return await open_link(address, subprotocol=None, within=settings.connect_timeout)
    except OSError as exc:
        raise UnreachableError(str(exc)) from exc


async def _send_blocks(link: Link, source: Source, digest: Digest, settings: Settings) -> None:
    audio_format, now = source.format, asyncio.get_running_loop().time
    pacing = Pacing(audio_format.samplerate * settings.speed, 0, now())
    frames = settings.chunk_frames or FRAMES
    while block := await asyncio.to_thread(source.read, digest.units, frames):
        samples = to_float32(block, audio_format.encoding, audio_format.channels)
        payload = samples.astype("<f4", copy=False).tobytes()
        digest.update(digest.units, len(samples), payload)
        source.release(digest.units)
        if settings.realtime:
            await asyncio.sleep(pacing.wait(digest.units, now()))
        await link.send(payload)
    if not digest.units:
        raise SourceError(f"{source.name}: 0 frames, expected at least 1")
    await link.send(END)


async def _answer(link: Link) -> dict[str, object]:
    """Return what the server says before ``Done!`` or the close; the tutorial's says nothing."""
    answer: dict[str, object] = {}
    try:
        while (message := await link.receive()) != ANSWER:
            with suppress(json.JSONDecodeError, UnicodeDecodeError):
                said = json.loads(message)
                answer = said if isinstance(said, dict) else answer
    except LinkClosedError as exc:
        if exc.code not in NORMAL:
            raise
    return answer


def _address(url: str, source: Source) -> str:
    query = urlencode({"samplerate": source.format.samplerate, "channels": source.format.channels})
    return urlunsplit(urlsplit(url)._replace(query=query))


def _receipt(source: Source, digest: Digest) -> Receipt:
    return Receipt(
        stream=source.stream,
        units=digest.units,
        digest=digest.hexdigest(),
        frames=digest.units,
        samplerate=source.format.samplerate,
        channels=source.format.channels,
        seconds=digest.units / source.format.samplerate,
        durable=False,
    )
