"""What a worker thread does for one processor at a time, and what comes of it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import numpy as np

from wire import Buffer, Format, Samples, Value, to_float32

from .processors import Factory, StreamInfo
from .workers import Job

TURN_S: Final = 0.25
"""A batch that takes longer ends with the block at hand, so that acks do not wait for the rest."""

SMALL_BYTES: Final = 16 * 1024

VALUES_BYTES: Final = 1024
"""JSON bytes of what a processor may report at once: three fit into a control message."""


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

    def process(self, block: Block) -> dict[str, Value] | None:
        """Have the processor see *block*; return what it reports, as it will arrive."""
        values = self.processor.process(block.samples, block.offset)
        return _checked(values) if values else None


class Batch:
    """Calls of one processor: `run` makes them in a worker thread, the rest is what they gave."""

    def __init__(
        self,
        instance: Instance,
        blocks: Sequence[Block] = (),
        *,
        opening: StreamInfo | None = None,
        closing: bool = False,
    ) -> None:
        self.blocks = blocks
        self.done = 0
        """How many of the blocks the processor has seen."""
        self.closing = closing
        self.events: list[tuple[int, dict[str, Value]]] = []
        self.report: dict[str, Value] = {}
        self.failure: str | None = None
        self.seconds: list[float] = []
        """What each call of `process` took."""
        self._instance = instance
        self._opening = opening

    @property
    def small(self) -> bool:
        """Whether it is a few samples and nothing else, not worth waking a thread for alone."""
        only_blocks = self._opening is None and not self.closing
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
            if self.closing:
                job.called = time.monotonic()
                self.report = _checked(self._instance.processor.close())
        except BaseException as exc:  # noqa: BLE001  # somebody else's code: even sys.exit() is its own end only
            self.failure = sentence(exc)

    def _process(self, job: Job, block: Block) -> None:
        job.called = started = time.monotonic()
        values = self._instance.process(block)
        self.seconds.append(time.monotonic() - started)
        if values is not None:
            self.events.append((block.offset, values))


def sentence(error: BaseException) -> str:
    """Return what *error* says, in characters that can be sent."""
    try:
        text = f"{type(error).__name__}: {error}"
    except BaseException as exc:  # noqa: BLE001  # its own __str__ is somebody else's code, too
        text = f"{type(error).__name__}, which raises {type(exc).__name__} when asked why"
    return text.encode(errors="backslashreplace").decode()


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
