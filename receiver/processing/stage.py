"""
One processor on one stream.

A `Block` is audio for it, an `Instance` calls it, a `Batch` holds calls for a worker thread, and a
`Stage` is its mailbox on the event loop.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

from receiver.metrics import Durations
from sonoduct.audio.samples import Samples, to_float32
from sonoduct.wire import Buffer, Format, Value

from .processor import Factory, Finding, StreamInfo, is_inline
from .workers import Job, Workers

if TYPE_CHECKING:
    from .pipeline import Pipeline

TURN_S: Final = 0.25
"""A batch that takes longer ends with the current block, so that acks do not wait for the rest."""

BATCH: Final = 16
"""Blocks that a thread gets at once: enough to make that cheap, few enough to be fair."""

SMALL_BYTES: Final = 16 * 1024
"""A batch of fewer bytes may wait a moment for batches of other streams."""

INLINE_BYTES: Final = 512 * 1024
"""Larger blocks go to a thread even if their processor runs inline. A chunk has no more."""

VALUES_BYTES: Final = 1024
"""JSON bytes of one finding or report: three fit into a control message."""

REASON_CHARACTERS: Final = 200
"""Of a failure, in the receipt."""

FINDINGS: Final = 10_000
"""The most that one call may return."""

WINDOW_BYTES: Final = 1024 * 1024
"""float32 bytes of the largest window: the most that is held until a window is full."""


class Block:
    """Consecutive frames of a stream. The first processor that asks for the samples makes them."""

    __slots__ = ("_format", "_payload", "_samples", "end", "offset", "size")

    def __init__(self, offset: int, end: int, payload: Buffer, audio_format: Format) -> None:
        self.offset = offset
        self.end = end
        self.size = len(payload)
        """Bytes of the samples in their own encoding."""
        self._payload = payload
        self._format = audio_format
        self._samples: Samples | None = None

    @property
    def samples(self) -> Samples:
        """float32 of shape (frames, channels), read-only."""
        if self._samples is None:
            audio_format = self._format
            self._samples = to_float32(self._payload, audio_format.encoding, audio_format.channels)
        return self._samples


class Instance:
    """
    Calls one processor, which gets whole windows if it asks for them.

    The processor is made by `open`, because its constructor may raise or take long as well.
    """

    def __init__(self, factory: Factory) -> None:
        self._factory = factory

    def open(self, stream: StreamInfo) -> None:
        """Make the processor and open it."""
        self.processor = self._factory()
        self.processor.open(stream)
        self._window = _window_of(self.processor, stream.channels)
        self._held: list[Samples] = []
        """Frames that do not fill a window yet."""
        self._held_frames = 0

    def process(self, block: Block) -> Sequence[Finding]:
        """Have the processor see the frames held before and *block*; return its findings."""
        if self._window == 1:
            return self._call(block.samples, block.offset)
        self._held.append(block.samples)
        self._held_frames += len(block.samples)
        rest = self._held_frames % self._window
        if rest == self._held_frames:
            return ()
        samples = _joined(self._held)
        whole = len(samples) - rest
        self._held, self._held_frames = ([samples[whole:].copy()] if rest else []), rest
        return self._call(samples[:whole], block.end - len(samples))

    def end(self, offset: int) -> Sequence[Finding]:
        """
        Have the processor see the frames that are held, then call its `end` if it has one.

        *offset* is the frame at which the stream ends.
        """
        found: list[Finding] = []
        if self._held_frames:
            samples, self._held = _joined(self._held), []
            found += self._call(samples, offset - len(samples))
        if callable(end := getattr(self.processor, "end", None)):
            found += _findings(end(), offset, offset)
        return found

    def close(self) -> dict[str, Value]:
        """Close the processor; return its report about the whole stream."""
        return _checked(self.processor.close())

    def _call(self, samples: Samples, offset: int) -> Sequence[Finding]:
        found = self.processor.process(samples, offset)
        return _findings(found, offset, offset + len(samples)) if found is not None else ()


class Batch:
    """Calls of one processor: `run` makes them in a worker thread and notes their results."""

    def __init__(
        self,
        instance: Instance,
        blocks: Sequence[Block] = (),
        *,
        opening: StreamInfo | None = None,
        closing: int | None = None,
    ) -> None:
        """*closing* is the frame at which the stream ends; None if more follows."""
        self.blocks = blocks
        self.done = 0
        """How many of the blocks the processor has seen."""
        self.closing = closing
        self.findings: list[Finding] = []
        self.report: dict[str, Value] = {}
        self.failure: str | None = None
        self.seconds: list[float] = []
        """How long each call of `process` took."""
        self._instance = instance
        self._opening = opening

    @property
    def small(self) -> bool:
        """Whether it has a few samples only, so that waking a thread for it alone is a waste."""
        only_blocks = self._opening is None and self.closing is None
        return only_blocks and sum(block.size for block in self.blocks) < SMALL_BYTES

    def run(self, job: Job) -> None:
        """Make the calls."""
        try:
            if self._opening is not None:
                job.called = time.monotonic()
                self._instance.open(self._opening)
            until = time.monotonic() + TURN_S
            for block in self.blocks:
                if job.abandoned or (self.done and time.monotonic() > until):
                    return
                self._process(job, block)
                self.done += 1
            if self.closing is not None:
                job.called = time.monotonic()
                self.findings += self._instance.end(self.closing)
                job.called = time.monotonic()
                self.report = self._instance.close()
        except BaseException as exc:  # noqa: BLE001  # a processor that calls sys.exit() ends alone
            self.failure = sentence(exc)

    def _process(self, job: Job, block: Block) -> None:
        job.called = started = time.monotonic()
        self.findings += self._instance.process(block)
        self.seconds.append(time.monotonic() - started)


def sentence(error: BaseException) -> str:
    """Return the type and the text of *error*, in characters that can be sent."""
    try:
        text = f"{type(error).__name__}: {error}"
    except BaseException as exc:  # noqa: BLE001  # the error's own __str__ may fail
        text = f"{type(error).__name__}, which raises {type(exc).__name__} when asked why"
    return text.encode(errors="backslashreplace").decode()


def _window_of(processor: object, channels: int) -> int:
    """Return the number of frames whose multiples *processor* asks for; 1 if it does not ask."""
    window = getattr(processor, "window", 1)
    if not isinstance(window, int) or isinstance(window, bool):
        return 1  # an attribute with another meaning
    most = WINDOW_BYTES // (4 * channels)
    if not 1 <= window <= most:
        raise ValueError(f"window {window}, expected 1 to {most} frames of {channels} channels")
    return window


def _joined(held: Sequence[Samples]) -> Samples:
    samples = held[0] if len(held) == 1 else np.concatenate(held)
    samples.flags.writeable = False
    return samples


def _findings(found: object, start: int, end: int) -> Sequence[Finding]:
    """Return the findings of a call about the frames from *start* to *end*, checked."""
    if not found:
        return ()
    if isinstance(found, Mapping):
        return (Finding(start, end, _checked(found)),)
    if not isinstance(found, Iterable) or isinstance(found, str | bytes):
        raise TypeError(f"reported {type(found).__name__}, expected values or findings")
    findings = [_checked_finding(each) for each in islice(found, FINDINGS + 1)]
    if len(findings) > FINDINGS:
        raise ValueError(f"more than {FINDINGS} findings of one call, expected at most that")
    return findings


def _checked_finding(finding: object) -> Finding:
    if not isinstance(finding, Finding):
        raise TypeError(f"reported {type(finding).__name__} among findings, expected Finding")
    start, end = int(finding.start), int(finding.end)
    if not 0 <= start <= end:
        raise ValueError(f"a finding from frame {start} to {end}, expected 0 <= start <= end")
    return Finding(start, end, _checked(finding.values))


def _checked(values: Mapping[str, object] | None) -> dict[str, Value]:
    """Return *values* as the sender will get them. Processors are not type-checked, so check."""
    plain = {
        name: value.item() if isinstance(value, np.generic) else value
        for name, value in (values or {}).items()
    }
    checked = msgspec.convert(plain, dict[str, Value])
    size = len(msgspec.json.encode(checked))
    if size > VALUES_BYTES:
        raise ValueError(f"reported {size} bytes, expected at most {VALUES_BYTES}")
    return checked


class Stage:
    """
    A processor's mailbox on the event loop; the processor itself runs in a worker thread.

    A stage has at most one job in a thread, so calls of one processor never overlap. A processor
    that says ``inline = True`` runs on the event loop instead, unless a job is in a thread.
    """

    def __init__(
        self,
        name: str,
        factory: Factory,
        pipeline: Pipeline,
        workers: Workers,
        durations: Durations,
    ) -> None:
        """*pipeline* hears of progress, findings and failures, on the event loop."""
        self.name = name
        self.taken = 0
        """The frame before which the processor has seen everything."""
        self.failure: str | None = None
        self.report: dict[str, Value] = {}
        self.closed = False
        """Whether the processor has reported, or has failed."""
        self.busy = False
        """Whether a call of the processor has not returned yet."""
        self._instance = Instance(factory)
        self._pipeline = pipeline
        self._workers = workers
        self._durations = durations
        self._inline = is_inline(factory)
        self._waiting: deque[Block] | tuple[()] = ()  # a deque takes 600 bytes
        self._closing = False

    def open(self, stream: StreamInfo, offset: int) -> None:
        """Open the processor; the first block will start at *offset*."""
        self.taken = offset
        self._submit(Batch(self._instance, opening=stream))

    def offer(self, block: Block) -> None:
        """Have the processor see *block*, after those before it."""
        if self.failure is not None:
            return
        if self._inline and not self.busy and block.size <= INLINE_BYTES:
            self._process(block)
        else:
            self._waiting = self._waiting or deque()
            self._waiting.append(block)
            self._continue()

    def close(self) -> None:
        """Close the processor after the last block; `closed` turns true then."""
        self._closing = True
        self._continue()

    def cut_off(self, reason: str, *, hung: bool) -> None:
        """Take the processor off the stream, which continues without it."""
        if self.failure is not None or self.closed:
            return
        self.failure = reason[:REASON_CHARACTERS]
        self._waiting = ()
        self.closed = True
        self._pipeline.failed(self.name, self.failure, hung=hung)
        self._pipeline.progressed()

    def _process(self, block: Block) -> None:
        """Make the call here, on the event loop. The pipeline asks for `taken` afterwards."""
        started = time.monotonic()
        try:
            findings = self._instance.process(block)
        except BaseException as exc:  # noqa: BLE001  # as in Batch.run
            self.cut_off(sentence(exc), hung=False)
            return
        self._durations.observe(time.monotonic() - started)
        self.taken = block.end
        for finding in findings:
            self._pipeline.found(self.name, finding)

    def _continue(self) -> None:
        if self.busy or self.closed or not (self._waiting or self._closing):
            return
        waiting = self._waiting
        blocks = [waiting.popleft() for _ in range(min(BATCH, len(waiting)))] if waiting else []
        closing = None
        if self._closing and not waiting:
            closing = blocks[-1].end if blocks else self.taken
        self._submit(Batch(self._instance, blocks, closing=closing))

    def _submit(self, batch: Batch) -> None:
        self.busy = True
        job = Job(
            run=batch.run,
            done=partial(self._finish, batch),
            cut_off=partial(self.cut_off, "a call took too long", hung=True),
        )
        if self._inline and not batch.blocks:
            self._workers.run_here(job)
        else:
            self._workers.submit(job, small=batch.small and len(batch.blocks) < BATCH)

    def _finish(self, batch: Batch) -> None:
        self.busy = False
        for seconds in batch.seconds:
            self._durations.observe(seconds)
        if self.failure is not None:
            return
        for finding in batch.findings:
            self._pipeline.found(self.name, finding)
        if batch.failure is not None:
            self.cut_off(batch.failure, hung=False)
            return
        if batch.done < len(batch.blocks):
            self._waiting = deque((*batch.blocks[batch.done :], *self._waiting))
        if batch.done:
            self.taken = batch.blocks[batch.done - 1].end
            self._pipeline.progressed()
        if batch.closing is not None and batch.done == len(batch.blocks):
            self.report = batch.report
            self.closed = True
            self._pipeline.progressed()
        self._continue()
