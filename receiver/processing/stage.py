"""One processor on one stream: what waits for it, what it has taken, how it ended."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Final, Protocol

import msgspec
import numpy as np

from receiver.metrics import Durations
from sonoduct.audio.samples import Samples, to_float32
from sonoduct.wire import Buffer, Format, Value

from .processor import Factory, Finding, StreamInfo, is_prompt
from .workers import Job, Workers

TURN_S: Final = 0.25
"""A batch that takes longer ends with the block at hand, so that acks do not wait for the rest."""

SMALL_BYTES: Final = 16 * 1024

VALUES_BYTES: Final = 1024
"""JSON bytes of what a processor may report at once: three fit into a control message."""


FINDINGS: Final = 10_000
"""Findings of one call."""

WINDOW_BYTES: Final = 1024 * 1024
"""float32 bytes of the largest window: so much of a stream may wait for the rest of it."""


class Block:
    """Consecutive units of a stream; the samples are made once, by whichever processor is first."""

    __slots__ = ("_format", "_payload", "_samples", "end", "offset")

    def __init__(self, offset: int, end: int, payload: Buffer, format_: Format) -> None:
        self.offset = offset
        self.end = end
        self._payload = payload
        self._format = format_
        self._samples: Samples | None = None

    @property
    def size(self) -> int:
        """Bytes, as they came."""
        return len(self._payload)

    @property
    def samples(self) -> Samples:
        """float32 of shape (frames, channels), read-only."""
        if self._samples is None:
            form = self._format
            self._samples = to_float32(self._payload, form.encoding, form.channels)
        return self._samples


class Instance:
    """A processor that is made when it opens: constructing it may raise or take long, too."""

    def __init__(self, factory: Factory) -> None:
        self._factory = factory

    def open(self, stream: StreamInfo) -> None:
        """Make the processor and open it."""
        self.processor = self._factory()
        self.processor.open(stream)
        self._window = _window_of(self.processor, stream.channels)
        self._held: list[Samples] = []
        """Frames that do not fill a window yet."""
        self._frames = 0  # of those

    def process(self, block: Block) -> Sequence[Finding]:
        """Have the processor see *block*, and what was held before it; return what it reports."""
        if self._window == 1:
            return self._call(block.samples, block.offset)
        self._held.append(block.samples)
        self._frames += len(block.samples)
        rest = self._frames % self._window
        if rest == self._frames:
            return ()
        samples = _joined(self._held)
        whole = len(samples) - rest
        self._held, self._frames = ([samples[whole:].copy()] if rest else []), rest
        return self._call(samples[:whole], block.end - len(samples))

    def end(self, offset: int) -> Sequence[Finding]:
        """Have the processor see what is held, and ask it what the end settles, at *offset*."""
        found: list[Finding] = []
        if self._frames:
            samples, self._held = _joined(self._held), []
            found += self._call(samples, offset - len(samples))
        if callable(end := getattr(self.processor, "end", None)):
            found += _findings(end(), offset, offset)
        return found

    def close(self) -> dict[str, Value]:
        """Return what the processor reports about the whole stream."""
        return _checked(self.processor.close())

    def _call(self, samples: Samples, offset: int) -> Sequence[Finding]:
        found = self.processor.process(samples, offset)
        return _findings(found, offset, offset + len(samples)) if found is not None else ()


class Batch:
    """Calls of one processor: `run` makes them in a worker thread, the rest is what they gave."""

    def __init__(
        self,
        instance: Instance,
        blocks: Sequence[Block] = (),
        *,
        opening: StreamInfo | None = None,
        closing: int | None = None,
    ) -> None:
        """*closing* is the frame at which the stream ends, if it does."""
        self.blocks = blocks
        self.done = 0
        """How many of the blocks the processor has seen."""
        self.closing = closing
        self.findings: list[Finding] = []
        self.report: dict[str, Value] = {}
        self.failure: str | None = None
        self.seconds: list[float] = []
        """What each call of `process` took."""
        self._instance = instance
        self._opening = opening

    @property
    def small(self) -> bool:
        """Whether it is a few samples and nothing else, not worth waking a thread for alone."""
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
        except BaseException as exc:  # noqa: BLE001  # somebody else's code: even sys.exit() is its own end only
            self.failure = sentence(exc)

    def _process(self, job: Job, block: Block) -> None:
        job.called = started = time.monotonic()
        self.findings += self._instance.process(block)
        self.seconds.append(time.monotonic() - started)


def sentence(error: BaseException) -> str:
    """Return what *error* says, in characters that can be sent."""
    try:
        text = f"{type(error).__name__}: {error}"
    except BaseException as exc:  # noqa: BLE001  # its own __str__ is somebody else's code, too
        text = f"{type(error).__name__}, which raises {type(exc).__name__} when asked why"
    return text.encode(errors="backslashreplace").decode()


def _window_of(processor: object, channels: int) -> int:
    """Return the frames whose multiples *processor* wants; anything goes if it says nothing."""
    window = getattr(processor, "window", 1)
    if not isinstance(window, int) or isinstance(window, bool):
        return 1  # an attribute of its own, which means something else
    most = WINDOW_BYTES // (4 * channels)
    if not 1 <= window <= most:
        raise ValueError(f"window {window}, expected 1 to {most} frames of {channels} channels")
    return window


def _joined(held: Sequence[Samples]) -> Samples:
    samples = held[0] if len(held) == 1 else np.concatenate(held)
    samples.flags.writeable = False
    return samples


def _findings(found: object, start: int, end: int) -> Sequence[Finding]:
    """Return what a call about the frames from *start* to *end* reports, as it will arrive."""
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
    """Return *values* as they will arrive; plug-ins are not type-checked, so this looks."""
    plain = {
        name: value.item() if isinstance(value, np.generic) else value
        for name, value in (values or {}).items()
    }
    checked = msgspec.convert(plain, dict[str, Value])
    size = len(msgspec.json.encode(checked))
    if size > VALUES_BYTES:
        raise ValueError(f"reported {size} bytes, expected at most {VALUES_BYTES}")
    return checked


BATCH: Final = 16
"""Blocks handed to a thread at once: enough to make the hand-over cheap, few enough to be fair."""

PROMPT_BYTES: Final = 256 * 1024
"""Larger blocks go to a thread even if their processor is prompt: this much is a chunk."""

REASON_CHARACTERS: Final = 200


class Owner(Protocol):
    """The stream that a stage belongs to; called on the event loop."""

    def progressed(self) -> None:
        """The stage has taken more, or is closed."""

    def found(self, processor: str, finding: Finding) -> None:
        """The processor reported something."""

    def failed(self, processor: str, reason: str, *, hung: bool) -> None:
        """The processor is cut off."""


class Stage:
    """
    A processor's mailbox. Lives on the event loop; the processor itself runs in a worker thread.

    At most one job of a stage is under way, so calls of one processor never overlap.
    """

    def __init__(
        self,
        name: str,
        factory: Factory,
        owner: Owner,
        workers: Workers,
        durations: Durations,
    ) -> None:
        self.name = name
        self.taken = 0
        """The unit before which the processor has seen everything."""
        self.failure: str | None = None
        self.report: dict[str, Value] = {}
        self.closed = False
        """Whether the processor has reported, or has failed."""
        self._instance = Instance(factory)
        self._owner = owner
        self._workers = workers
        self._durations = durations
        self._prompt = is_prompt(factory)
        self._waiting: deque[Block] | tuple[()] = ()  # 600 bytes once something has to wait
        self._busy = False
        self._closing = False

    @property
    def busy(self) -> bool:
        """Whether the processor has something to do."""
        return self._busy

    def open(self, stream: StreamInfo, offset: int) -> None:
        """Have the processor open; the first block will start at *offset*."""
        self.taken = offset
        self._submit(Batch(self._instance, opening=stream))

    def offer(self, block: Block) -> None:
        """Have the processor see *block* after those before it."""
        if self.failure is not None:
            return
        if self._prompt and not self._busy and block.size <= PROMPT_BYTES:
            self._process(block)
        else:
            self._waiting = self._waiting or deque()
            self._waiting.append(block)
            self._continue()

    def close(self) -> None:
        """Have the processor close after everything that was offered; `closed` tells when."""
        self._closing = True
        self._continue()

    def cut_off(self, reason: str, *, hung: bool) -> None:
        """Let the stream go on without the processor."""
        if self.failure is not None or self.closed:
            return
        self.failure = reason[:REASON_CHARACTERS]
        self._waiting = ()
        self.closed = True
        self._owner.failed(self.name, self.failure, hung=hung)
        self._owner.progressed()

    def _process(self, block: Block) -> None:
        """Make the call here; `taken` tells the owner, who asks after an offer."""
        started = time.monotonic()
        try:
            findings = self._instance.process(block)
        except BaseException as exc:  # noqa: BLE001  # as in a thread
            self.cut_off(sentence(exc), hung=False)
            return
        self._durations.observe(time.monotonic() - started)
        self.taken = block.end
        for finding in findings:
            self._owner.found(self.name, finding)

    def _continue(self) -> None:
        if self._busy or self.closed or not (self._waiting or self._closing):
            return
        waiting = self._waiting
        blocks = [waiting.popleft() for _ in range(min(BATCH, len(waiting)))] if waiting else []
        closing = None
        if self._closing and not waiting:
            closing = blocks[-1].end if blocks else self.taken
        self._submit(Batch(self._instance, blocks, closing=closing))

    def _submit(self, batch: Batch) -> None:
        self._busy = True
        job = Job(
            run=batch.run,
            done=partial(self._finish, batch),
            cut_off=partial(self.cut_off, "a call took too long", hung=True),
        )
        if self._prompt and not batch.blocks:
            self._workers.run_here(job)
        else:
            self._workers.submit(job, small=batch.small and len(batch.blocks) < BATCH)

    def _finish(self, batch: Batch) -> None:
        self._busy = False
        for seconds in batch.seconds:
            self._durations.observe(seconds)
        if self.failure is not None:
            return
        for finding in batch.findings:
            self._owner.found(self.name, finding)
        if batch.failure is not None:
            self.cut_off(batch.failure, hung=False)
            return
        if batch.done < len(batch.blocks):
            self._waiting = deque((*batch.blocks[batch.done :], *self._waiting))
        if batch.done:
            self.taken = batch.blocks[batch.done - 1].end
            self._owner.progressed()
        if batch.closing is not None and batch.done == len(batch.blocks):
            self.report = batch.report
            self.closed = True
            self._owner.progressed()
        self._continue()
