"""What a processor is, and how those that an operator names are found."""

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
    """What a processor learns about its stream before the first samples."""

    id: str
    """32 hexadecimal digits; the same when a stream is resumed."""

    name: str
    """For people; what the sender calls it."""

    samplerate: int
    """Hertz."""

    channels: int

    metadata: Mapping[str, str] = field(default_factory=dict)


class Finding(NamedTuple):
    """Something that a processor found between two frames of its stream."""

    start: int
    end: int
    """The frame after the last one."""
    values: Values


Found = Values | Iterable[Finding] | None
"""What a processor may return: values for the frames of the call, or findings with their own."""


class Processor(Protocol):
    """
    One processor on one stream. Its calls come from worker threads, never two at a time.

    A call that raises, or takes longer than `processor_timeout`, is the last one: the stream goes
    on without the processor, and the receipt says why.

    One whose class says ``prompt = True`` promises that a call takes microseconds, a few
    hundred for 256 KiB, and waits for nothing; that is said of `open` and `close`, too. It gets
    such calls on the event loop, as soon as the samples are there, which costs a quarter of a call
    in a thread. There nothing can cut it off: a call that takes a millisecond holds up every stream
    for that long, and one that hangs stops the receiver.

    One that has an attribute ``window``, a number of frames, in its class or set by `open`, gets
    multiples of it whatever the chunks are; only the last call of a stream may get fewer frames.

    One that has a method ``end()`` is asked at the end of the stream, before `close`, for the
    findings that only the end settles.
    """

    def open(self, stream: StreamInfo) -> None:
        """Get ready for *stream*."""

    def process(self, samples: Samples, offset: int) -> Found:
        """
        Take the next samples; return what the sender is told about them, if anything.

        Values stand for the frames of this call; several findings say their own frames.

        Args:
            samples: float32 of shape (frames, channels), read-only, nominally within [-1, 1]. It
                may be kept; it is not written to again.
            offset: the first frame's number in its stream. Consecutive, from 0, or from where
                another receiver stopped.
        """

    def close(self) -> Values | None:
        """Return what the receipt says about the whole stream, if anything."""


Factory = Callable[[], Processor]
"""Makes a processor for each stream; usually the class itself."""


def is_prompt(factory: Factory) -> bool:
    """Return whether *factory* says that its processors are prompt."""
    return getattr(factory, "prompt", False) is True


def find_processors(specs: Iterable[str]) -> dict[str, Factory]:
    """
    Return the factories that *specs* name: an installed processor, or ``module:Class``.

    Raises:
        ValueError: naming every spec that cannot be had, or a name that two of them have.
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
    Return *processors* by the names that metrics and receipts use: their own in lower case.

    Raises:
        ValueError: if two have the same name.
    """
    return _distinct(
        [(getattr(each, "__name__", type(each).__name__).lower(), each) for each in processors]
    )


def _distinct(pairs: Sequence[tuple[str, Factory]]) -> dict[str, Factory]:
    """Make a dictionary of *pairs*, none of which may replace another one."""
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
