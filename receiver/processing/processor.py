"""The seam of processors, and how the processors that an operator names are found."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Final, NamedTuple, Protocol

from sonoduct.audio.samples import Samples
from sonoduct.wire import Values

GROUP: Final = "sonoduct.processors"
"""Entry point group under which packages offer processors by name."""


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """A stream, as its processors know it before the first samples."""

    id: str
    """32 hexadecimal digits; the same when a stream is resumed."""

    name: str
    """The sender's name for it, for people."""

    samplerate: int
    """Hertz."""

    channels: int

    metadata: Mapping[str, str] = field(default_factory=dict)


class Finding(NamedTuple):
    """A result of a processor about some frames of its stream."""

    start: int
    end: int
    """The frame after the last one."""
    values: Values


Found = Values | Iterable[Finding] | None
"""The results of a call: values about the frames of the call, or findings with their own frames."""


class Processor(Protocol):
    """
    One processor on one stream. Worker threads call it, never two at a time.

    If a call raises, or hangs for `processor_timeout`, it is the last one: the stream continues
    without the processor, and the receipt says why.

    A class with the attribute ``inline = True`` promises that its calls take microseconds, a few
    hundred for 512 KiB, and wait for nothing; this includes `open` and `close`. The receiver makes
    such calls on the event loop as soon as the samples are there, at a quarter of the cost. No
    timeout can end them: a call of a millisecond delays every stream by a millisecond, and a call
    that hangs stops the receiver.

    A processor with an attribute ``window``, a number of frames set by its class or by `open`, gets
    multiples of that number, however long the chunks are. Only the last call may have fewer frames.

    If a processor has a method ``end()``, the receiver calls it once before `close`, when the
    stream has ended, for the findings that only the end settles.
    """

    def open(self, stream: StreamInfo) -> None:
        """Prepare for *stream*."""

    def process(self, samples: Samples, offset: int) -> Found:
        """
        Process the next samples; return results for the sender, if there are any.

        Values are about the frames of this call; findings have frames of their own.

        Args:
            samples: float32 of shape (frames, channels), read-only, nominally within [-1, 1]. The
                processor may keep the array; the receiver does not write to it again.
            offset: the number of the first frame in its stream. Calls are consecutive, from 0 or
                from the frame at which another receiver stopped.
        """

    def close(self) -> Values | None:
        """Return a report about the whole stream for the receipt, or None."""


Factory = Callable[[], Processor]
"""Makes a processor for each stream; usually the class itself."""


def is_inline(factory: Factory) -> bool:
    """Return whether *factory* says that its processors run inline; ``prompt`` is the old word."""
    return any(getattr(factory, word, False) is True for word in ("inline", "prompt"))


def find_processors(specs: Iterable[str]) -> dict[str, Factory]:
    """
    Return the factories that *specs* name: installed processors, or ``module:Class``.

    Raises:
        ValueError: if one cannot be found, or if two have the same name.
    """
    found: list[tuple[str, Factory]] = []
    faults = []
    for spec in specs:
        try:
            found.append((spec.rpartition(":")[2].lower(), _find(spec)))
        except (ImportError, AttributeError, LookupError) as exc:
            faults.append(f"processor {spec!r}: {exc}")
    if faults:
        raise ValueError("; ".join(faults))
    return _distinct(found)


def named(processors: Iterable[Factory]) -> dict[str, Factory]:
    """
    Return *processors* by the names that metrics and receipts use: class names in lower case.

    Raises:
        ValueError: if two have the same name.
    """
    return _distinct(
        [(getattr(each, "__name__", type(each).__name__).lower(), each) for each in processors]
    )


def _distinct(pairs: Sequence[tuple[str, Factory]]) -> dict[str, Factory]:
    """Make a dictionary of *pairs*, whose names have to differ."""
    names = [name for name, _ in pairs]
    for name in names:
        if (count := names.count(name)) > 1:
            raise ValueError(f"processors named {name!r}: {count}, expected 1")
    return dict(pairs)


def _find(spec: str) -> Factory:
    module, colon, attribute = spec.partition(":")
    if colon:
        factory: Factory = getattr(importlib.import_module(module), attribute)
        return factory
    installed = entry_points(group=GROUP)
    if spec not in installed.names:
        raise LookupError(f"expected MODULE:CLASS or one of {', '.join(sorted(installed.names))}")
    loaded: Factory = installed[spec].load()
    return loaded
