"""`Transfer`, one stream over one connection: read ahead, wait for credit, send, and listen."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Final

import structlog
from msgspec.structs import replace

from sonoduct.audio.flac import pack
from sonoduct.wire import (
    Ack,
    BadChecksum,
    Buffer,
    Cancelled,
    Control,
    Event,
    Events,
    Gap,
    Gone,
    Hello,
    Kind,
    Malformed,
    Opened,
    Outbound,
    Phase,
    Receipt,
    decode_control,
    encode_control,
)

from .errors import SourceEndsError, SourceError
from .ledger import Ledger
from .metrics import Metrics
from .pacing import Pacing
from .settings import Settings
from .sources import Source, identity
from .websocket import ABNORMAL, Link, LinkClosedError

log = structlog.get_logger()

LIVE_FRAMES: Final = 4096
"""Frames of a chunk in real time, as in the tutorial: 93 ms at 44.1 kHz, so little waits."""

READ_BYTES: Final = 2 * 1024 * 1024
"""Bytes of a read for speed: waking a thread costs as much as copying 100 KiB."""

PACED_BYTES: Final = 32 * 1024
"""Bytes of a read from a file that is sent in real time; hundreds may be sent at a time."""

OnEvent = Callable[[Event], None]


class Transfer:
    """Carries one stream. `outbound` keeps its position from one connection to the next."""

    def __init__(
        self,
        source: Source,
        hello: Hello,
        settings: Settings,
        metrics: Metrics,
        ledger: Ledger | None = None,
    ) -> None:
        self.source = source
        self.outbound = Outbound(hello, source.first)
        self.renamed = False
        """Whether the stream got a new id, since the receiver has other audio under the first."""
        self.reconnects = 0
        self.on_event: OnEvent = lambda _event: None
        self._settings = settings
        self._metrics = metrics
        self._ledger = ledger
        self._content: tuple[int, str] | None = None  # units and digest, once all is read
        self._known = False  # whether the ledger had them
        self._changed = asyncio.Event()
        self._pacing: Pacing | None = None
        self._observe = metrics.decoding.labels(source.decoder).observe
        self._units = metrics.units[hello.kind]
        self._sent = self._acknowledged = 0  # units that metrics have counted
        self._waits_since: float | None = None
        self._progress_at = 0.0  # on this connection, or since when progress is owed
        self.working = False
        """Whether the receiver said on the last connection that it works on the whole stream."""
        self.via: dict[str, str] = {}
        """The receiver and the address of the last connection, as the log names them."""

    @property
    def unacknowledged(self) -> int:
        """Bytes of audio that were sent and are not acknowledged."""
        return (self._sent - self._acknowledged) * self.outbound.hello.unit_bytes

    @property
    def unacknowledged_s(self) -> float:
        """Seconds since the last acknowledgement, or since the first unit that waits for one."""
        since = self._waits_since
        return 0.0 if since is None else time.monotonic() - since

    def __repr__(self) -> str:
        return (
            f"<Transfer of {self.source.name!r}, {self.reconnects} reconnects: {self.outbound!r}>"
        )

    async def run(self, link: Link) -> Receipt:
        """
        Send the rest of the stream over *link*; return the receipt.

        Raises:
            LinkClosedError: if the connection ends before the stream.
            WireError: the receiver's error, or an error in its messages.
            SourceError: if the source cannot be read.
        """
        self.via, self.working = link.facts, False
        try:
            async with asyncio.TaskGroup() as tasks:
                impatience = tasks.create_task(self._require_progress())
                await link.send(encode_control(self.outbound.greet()))
                listening = tasks.create_task(self._listen(link))
                await tasks.create_task(self._send(link))
                await listening
                impatience.cancel()
        except* Exception as group:  # noqa: BLE001  # re-raised: the first failure is the reason
            raise _first(group) from None
        receipt = self.outbound.receipt
        assert receipt is not None
        self._count_acknowledged()
        if self.source.kind is Kind.FILE and self.outbound.chunks:
            self._metrics.traffic.seconds += receipt.seconds
        return receipt

    @property
    def facts(self) -> dict[str, str]:
        """The fields that name the stream in the log."""
        hello = self.outbound.hello
        return {
            "stream": hello.stream,
            "name": self.source.name,
            "instance": hello.instance,
            **self.via,
        }

    async def rename(self, error: Exception) -> bool:
        """
        Give the stream another id, if *error* may mean that the receiver has other audio under it.

        The new id is made of the source's content, which is read to its end. Return whether the
        stream can be sent again: a source that has dropped its beginning cannot.

        Raises:
            SourceError: if the source cannot be read.
        """
        outbound = self.outbound
        if (
            self.renamed
            or self.source.first
            or not outbound.summed
            or not self._is_other_audio(error)
        ):
            return False
        content = self._content or await self._read_to_end()
        stream = identity(outbound.hello.stream, *content)
        log.warning(
            "stream_renamed",
            name=self.source.name,
            stream=outbound.hello.stream,
            renamed=stream,
            why=f"the receiver has other audio under this id: {error}",
        )
        self.outbound = Outbound(replace(outbound.hello, stream=stream))
        self.outbound.count(outbound)
        self.renamed, self._pacing = True, None
        return True

    def settle(self) -> None:
        """Record the digest in the ledger; let the source forget the stream. This blocks."""
        new = self._content if not self._known else None
        if self._ledger and new and (evidence := self.source.evidence):
            self._ledger.record(self.source.stream, evidence, *new)
        self.source.forget()

    def lost(self) -> None:
        """Note that the connection is lost; the next one continues at the receiver's position."""
        self.reconnects += 1
        self.outbound.lose()

    async def _listen(self, link: Link) -> None:
        while self.outbound.phase is not Phase.DONE:
            message = _decode(await link.receive())
            if isinstance(message, Event | Events):
                for event in [message] if isinstance(message, Event) else message.events:
                    self.on_event(event)
                continue  # an event acknowledges nothing
            self._take(message)
            if self.outbound.phase is Phase.PROVING:
                return  # the receiver sends nothing more

    def _take(self, message: Control) -> None:
        outbound = self.outbound
        phase, acknowledged = outbound.phase, outbound.acknowledged
        outbound.feed(message)
        self._count_acknowledged()
        if isinstance(message, Opened):
            epoch, offset = message.epoch, message.offset
            if offset > self._sent:  # another run, or another process, has sent these units
                self._sent = self._acknowledged = offset
            log.debug("claim_accepted", **self.facts, epoch=epoch, offset=offset)
        if isinstance(message, Ack):
            if message.epoch != outbound.epoch or phase is Phase.GREETING:
                return  # late, of another claim
            self.working = phase is Phase.ENDING and outbound.acknowledged == acknowledged
        if isinstance(message, Cancelled):
            raise Gone("the receiver gave the stream up")
        if outbound.acknowledged > acknowledged:
            self._progress_at = asyncio.get_running_loop().time()
        self.source.release(outbound.acknowledged)
        self._changed.set()

    async def _send(self, link: Link) -> None:
        outbound = self.outbound
        await self._until(lambda: outbound.phase is not Phase.GREETING)
        if self.reconnects:
            log.info("resumed", **self.facts, offset=outbound.position)
        if outbound.phase is Phase.OPEN:
            await self._send_frames(link)
            await link.send(encode_control(outbound.eos()))
            self._progress_at = asyncio.get_running_loop().time()
            await self._until(lambda: outbound.phase is Phase.DONE)
        elif outbound.phase is Phase.PROVING:
            await self._prove()

    async def _prove(self) -> None:
        """Compare the receiver's receipt with the source's digest, which the ledger may have."""
        outbound = self.outbound
        if self._settings.trust_known:
            outbound.trust()
        elif outbound.summed:
            if self._content is None:
                self._content = await asyncio.to_thread(self._from_ledger)
                self._known = self._content is not None
            if self._content is None:
                self._content = await self._read_to_end()
            outbound.prove(self._content)
        else:  # the receiver acknowledged the beginning, and the source has dropped it
            outbound.trust()

    def _from_ledger(self) -> tuple[int, str] | None:
        """Return the source's units and digest from the ledger; None without. This blocks."""
        if self._ledger and (evidence := self.source.evidence):
            return self._ledger.find(self.source.stream, evidence)
        return None

    async def _read_to_end(self) -> tuple[int, str]:
        """Read the source to its end, only for its units and digest; return these."""
        outbound = self.outbound
        width = outbound.hello.unit_bytes
        at = outbound.content[0]
        blocks = read_ahead(self.source, at, max(1, READ_BYTES // width), self._observe)
        async with aclosing(blocks):
            async for block in blocks:
                units = len(block) // width
                outbound.sum(at, units, block)
                at += units
        return outbound.content

    def _is_other_audio(self, error: Exception) -> bool:
        """Whether *error* may mean that another sender has used this id for other audio."""
        outbound = self.outbound
        match error:
            case BadChecksum() | Gap():
                return outbound.adopted and self._content is not None
            case SourceEndsError():
                return outbound.adopted
            case Gone():  # cancelled, or expired before it was complete
                return outbound.phase is Phase.GREETING and not self.source.live
            case Malformed(message="format"):
                return outbound.phase is Phase.GREETING
        return False

    async def _send_frames(self, link: Link) -> None:
        outbound, width = self.outbound, self.outbound.hello.unit_bytes
        chunk = self._chunk_frames()
        at_once = chunk
        if not self.source.live:
            size = PACED_BYTES if self._settings.realtime else READ_BYTES
            at_once = max(chunk, size // width // chunk * chunk)
        at = outbound.read_from
        blocks = read_ahead(self.source, at, at_once, self._observe)
        async with aclosing(blocks):
            async for block in blocks:
                view = memoryview(block)
                while view:
                    known = max(0, outbound.position - at)
                    frames = min(len(view) // width, known or chunk)
                    part, view = view[: frames * width], view[frames * width :]
                    if known:
                        outbound.skip(frames, part)
                    else:
                        await self._send_chunk(link, frames, part)
                    at += frames
        if not at:
            raise SourceError(f"{self.source.name}: 0 frames, expected at least 1")
        if outbound.content[0] == at:
            self._content = outbound.content
        if at < outbound.position:
            raise SourceEndsError(
                f"{self.source.name}: ends at frame {at}, the receiver has {outbound.position}"
            )

    async def _send_chunk(self, link: Link, frames: int, payload: memoryview) -> None:
        outbound, traffic = self.outbound, self._metrics.traffic
        if self._settings.realtime:
            await self._pace(outbound.position + frames)
        packed: Buffer = payload
        if outbound.hello.compressed:
            packed = await asyncio.to_thread(pack, payload, outbound.hello.pcm)
        size = max(len(payload), len(packed))
        if outbound.room < size:
            loop = asyncio.get_running_loop()
            started = loop.time()
            await self._until(lambda: outbound.room >= size)
            self._metrics.blocked_seconds.inc(loop.time() - started)
        if not outbound.unacknowledged:
            self._progress_at = asyncio.get_running_loop().time()
        resent = outbound.resent_bytes
        header, carried = outbound.chunk(frames, payload, packed)
        traffic.chunks += 1
        traffic.bytes += len(header) + len(carried)
        traffic.resent += outbound.resent_bytes - resent
        self._count_sent(frames)
        await link.send_chunk(header, carried)

    def _count_sent(self, units: int) -> None:
        fresh = min(units, self.outbound.position - self._sent)
        if fresh > 0:
            self._sent = self.outbound.position
            self._units.sent += fresh
            if (form := self.outbound.hello.format) is not None:
                self._metrics.traffic.seconds += fresh / form.samplerate
            if self._waits_since is None:
                self._waits_since = time.monotonic()

    def _count_acknowledged(self) -> None:
        outbound = self.outbound
        done = outbound.phase is Phase.DONE and outbound.receipt is not None
        reached = self._sent if done else min(self._sent, outbound.acknowledged)
        if reached > self._acknowledged:
            self._units.acknowledged += reached - self._acknowledged
            self._acknowledged = reached
            self._waits_since = time.monotonic() if reached < self._sent else None

    async def _pace(self, frame: int) -> None:
        now = asyncio.get_running_loop().time()
        if self._pacing is None:
            rate = self.outbound.hello.pcm.samplerate * self._settings.speed
            self._pacing = Pacing(rate, self.outbound.position, now)
        await asyncio.sleep(self._pacing.wait(frame, now))

    async def _until(self, reached: Callable[[], bool]) -> None:
        """
        Wait for the receiver's messages until *reached*. Events are no answer.

        Raises:
            LinkClosedError: if no message came for too long.
        """
        silence = min(self._settings.silence_timeout, self._settings.patience)
        while not reached():
            self._changed.clear()
            try:
                async with asyncio.timeout(silence):
                    await self._changed.wait()
            except TimeoutError as exc:
                raise LinkClosedError(ABNORMAL, f"no answer for {silence:g} s") from exc

    async def _require_progress(self) -> None:
        """
        Wait until the receiver should have acknowledged more by now, and has not.

        While the stream is open, patience begins with the first unit that waits for an
        acknowledgement, and with each acknowledgement of more. A receiver that repeats itself is
        alive, but stuck. After eos it may repeat itself while it decodes the stream or its
        processors end; that has a limit of its own.

        Raises:
            LinkClosedError: then.
        """
        outbound, settings = self.outbound, self._settings
        now = asyncio.get_running_loop().time
        while True:
            owed = outbound.phase is Phase.ENDING or outbound.unacknowledged
            limit = settings.busy_timeout if outbound.phase is Phase.ENDING else settings.patience
            left = self._progress_at + limit - now() if owed else limit
            if left <= 0:
                raise LinkClosedError(ABNORMAL, f"no progress for {limit:g} s")
            await asyncio.sleep(min(left, settings.patience))

    @property
    def _live(self) -> bool:
        return self._settings.realtime or self.source.live

    def _chunk_frames(self) -> int:
        most = self.outbound.hello.units_in(self.outbound.max_chunk)
        frames = self._settings.chunk_frames or (LIVE_FRAMES if self._live else most)
        return max(1, min(frames, most))


async def read_ahead(
    source: Source, offset: int, units: int, observe: Callable[[float], None]
) -> AsyncGenerator[Buffer, None]:
    """
    Yield blocks of up to *units* units from unit *offset* to the end.

    The next block is read meanwhile, so at most two are in memory. Where the source should end, one
    call of a thread reads the last block and finds the end. *observe* gets the seconds of each
    read.

    Raises:
        SourceError: if the source cannot be read.
    """
    loop = asyncio.get_running_loop()

    width = source.unit_bytes

    def timed(at: int) -> Buffer:
        started = loop.time()
        block = source.read(at, units)
        observe(loop.time() - started)
        return block

    def next_blocks(at: int) -> list[Buffer]:
        block = timed(at)
        end = at + len(block) // width
        return [block, timed(end)] if block and end == source.units else [block]

    pending = loop.run_in_executor(None, next_blocks, offset)
    try:
        while True:
            blocks = await pending
            offset += sum(map(len, blocks)) // width
            if blocks[-1]:
                pending = loop.run_in_executor(None, next_blocks, offset)
            for block in blocks:
                if block:
                    yield block
            if not blocks[-1]:
                return
    finally:
        if not pending.cancel() and not pending.cancelled():
            pending.exception()  # retrieved, or asyncio would report it as never retrieved


def _decode(data: str | bytes) -> Control:
    if isinstance(data, bytes):
        raise Malformed("message", seen=f"{len(data)} bytes", expected="a control message")
    return decode_control(data)


def _first(group: BaseExceptionGroup[Exception]) -> Exception:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
