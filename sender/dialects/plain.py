"""The tutorial's protocol: blocks of float32, then ``Done``. Any such server can be sent to."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Final
from urllib.parse import urlencode, urlsplit, urlunsplit

from sender.errors import NotAReceiverError, SourceError, UnreachableError
from sender.metrics import Metrics
from sender.pacing import Pacing
from sender.settings import Settings
from sender.sources import Source
from sender.websocket import Link, LinkClosedError, open_link
from sonoduct.audio.samples import to_float32
from sonoduct.text import clean
from sonoduct.wire import Digest, Format, Kind, Receipt

FRAMES: Final = 4096
"""Frames of the tutorial's block."""

END: Final = "Done"
ANSWER: Final = "Done!"
MOST_WORDS: Final = 40
"""Characters of a wrong answer that are shown; a digest has 32."""

NORMAL: Final = (1000, 1001)


async def send_plain(source: Source, settings: Settings, metrics: Metrics) -> Receipt:
    """
    Send all samples of *source*; return a receipt that this sender made itself.

    If the server answers ``Done`` with frames and digest, as our receiver does, they are compared.

    Raises:
        SourceError: if the source cannot be read to its end.
        NotAReceiverError: if the server closes with an error, or counts differently.
        UnreachableError: if it cannot be reached, or does not answer; there is no resume.
    """
    link = await _open(source.pcm, settings)
    digest = Digest()
    try:
        await _send_blocks(link, source, digest, settings, metrics)
        answer = await _answer(link, settings.silence_timeout)
    except asyncio.CancelledError:
        await link.leave()
        raise
    except LinkClosedError as exc:
        raise NotAReceiverError(f"{settings.to}: {exc}, expected {ANSWER}") from exc
    except TimeoutError as exc:
        raise UnreachableError(f"{settings.to}: {exc}") from exc
    finally:
        await link.close()
    metrics.units[Kind.PCM].acknowledged += digest.units
    receipt = _receipt(source, digest)
    for key, mine in (("frames", receipt.frames), ("digest", receipt.digest)):
        if answer.get(key, mine) != mine:
            seen = clean(answer[key], MOST_WORDS)
            raise NotAReceiverError(f"{settings.to}: {key} {seen}, expected {mine}")
    return receipt


async def _open(audio_format: Format, settings: Settings) -> Link:
    address = _address(settings.to, audio_format)
    try:
        within = settings.connect_timeout
        return await open_link(address, subprotocol=None, within=within, access=settings.access)
    except OSError as exc:
        raise UnreachableError(str(exc)) from exc


async def _send_blocks(
    link: Link, source: Source, digest: Digest, settings: Settings, metrics: Metrics
) -> None:
    audio_format, now = source.pcm, asyncio.get_running_loop().time
    pacing = Pacing(audio_format.samplerate * settings.speed, 0, now())
    frames = settings.chunk_frames or FRAMES
    while block := await asyncio.to_thread(source.read, digest.units, frames):
        samples = to_float32(block, audio_format.encoding, audio_format.channels)
        payload = samples.astype("<f4", copy=False).tobytes()
        digest.update(digest.units, len(samples), payload)
        source.release(digest.units)
        if settings.realtime:
            await asyncio.sleep(pacing.wait(digest.units, now()))
        try:
            async with asyncio.timeout(settings.patience):
                await link.send(payload)
        except TimeoutError as exc:
            waited = f"{settings.patience:g} s"
            raise TimeoutError(f"the server reads nothing for {waited}, expected it to") from exc
        metrics.traffic.chunks += 1
        metrics.traffic.bytes += len(payload)
        metrics.traffic.seconds += len(samples) / audio_format.samplerate
        metrics.units[Kind.PCM].sent += len(samples)
    if not digest.units:
        raise SourceError(f"{source.name}: 0 frames, expected at least 1")
    await link.send(END)


async def _answer(link: Link, within: float) -> dict[str, object]:
    """Return the server's JSON before ``Done!`` or the close; the tutorial's server sends none."""
    answer: dict[str, object] = {}
    try:
        async with asyncio.timeout(within):
            while (message := await link.receive()) != ANSWER:
                with suppress(ValueError, RecursionError):  # no JSON, or a hostile one
                    content = json.loads(message)
                    answer = content if isinstance(content, dict) else answer
    except TimeoutError as exc:
        waited = f"no answer to {END} for {within:g} s"
        raise TimeoutError(f"{waited}, expected {ANSWER} or a close") from exc
    except LinkClosedError as exc:
        if exc.code not in NORMAL:
            raise
    return answer


def _address(url: str, audio_format: Format) -> str:
    query = {"samplerate": audio_format.samplerate, "channels": audio_format.channels}
    return urlunsplit(urlsplit(url)._replace(query=urlencode(query)))


def _receipt(source: Source, digest: Digest) -> Receipt:
    return Receipt(
        stream=source.stream,
        units=digest.units,
        digest=digest.hexdigest(),
        frames=digest.units,
        samplerate=source.pcm.samplerate,
        channels=source.pcm.channels,
        seconds=digest.units / source.pcm.samplerate,
        durable=False,
    )
