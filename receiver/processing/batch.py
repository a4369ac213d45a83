"""What a worker thread does for one processor at a time, and what comes of it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Final

import msgspec
import numpy as np

from sonoduct.wire import Buffer, Format, Samples, Value, to_float32

from .processor import Factory, Finding, StreamInfo
from .workers import Job

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
