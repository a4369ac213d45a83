"""The folder of all spools on their way to one receiver."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

from sender.errors import SourceError
from sonoduct.wire import Format, Hello, WireError, records

from . import identity
from .spool import SUFFIX, Spool


class Spools:
    """The folder of all spools on their way to one receiver."""

    def __init__(self, root: Path, to: str, limit: int) -> None:
        self._folder = root.expanduser() / identity(to)[:16]
        self._limit = limit

    def create(self, name: str, format_: Format) -> Spool:
        """
        Start a spool.

        Raises:
            SourceError: if the disk refuses.
        """
        stream = uuid.uuid4().hex
        hello = Hello(stream=stream, instance="spool", name=name, format=format_)
        try:
            return Spool(self._folder / stream, hello, self._limit)
        except OSError as exc:
            raise SourceError(f"{self._folder}: {exc.strerror}, expected room to spool") from exc

    def left(self) -> Iterator[Spool]:
        """Yield what runs that were killed have left; what another process writes is not ours."""
        for folder in sorted(self._folder.glob("*/")):
            hello = _hello(folder)
            if hello is None:
                continue
            try:
                spool = Spool(folder, hello, self._limit)
            except OSError:  # another process has it
                continue
            spool.finish()  # whoever wrote to it is gone
            if spool.end:
                yield spool
            else:
                spool.close()
                spool.remove()


def _hello(folder: Path) -> Hello | None:
    """What the first file of a spool says that the stream is."""
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        with path.open("rb") as file:
            record = next(records.read_records(file), None)
        try:
            return records.hello_of(record) if record else None
        except WireError:
            return None
    return None
