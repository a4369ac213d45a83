"""What stands in line for the journal: chunks, and behind them the end of their stream."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from sonoduct.wire import Buffer, Chunk, Receipt, records


class End(NamedTuple):
    """The record that completes a stream; it becomes durable with the chunks before it."""

    message: Buffer
    end: int
    """The unit after the last one, as that of a chunk."""


Entry: TypeAlias = Chunk | End


def ending(epoch: int, receipt: Receipt) -> End:
    """Return what completes a stream with *receipt*."""
    return End(records.end(epoch, receipt), receipt.units)
