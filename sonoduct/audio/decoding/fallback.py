"""Another decoder, from where the first one gave up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import xxhash

from .errors import DecodeError, GaveUp
from .runs import Run

PIECE: Final = 1024 * 1024


class Fallback:
    """
    A Run of one decoder that another one may finish, if it gives the same up to there.

    Lossless decoders agree bit for bit. Others do not, and a seam between two would be no decoder's
    output: then the first one's error stands.
    """

    def __init__(self, first: Run, offset: int, second: Callable[[], Run]) -> None:
        """*first* has been started at byte *offset*; *second* starts one from the beginning."""
        self.warning = ""
        self.switched = False
        """Whether the second one is at work."""
        self._reason = ""
        self._run = first
        self._second = second
        self._offset = offset
        self._given = 0
        self._digest = xxhash.xxh3_128()

    def read(self, size: int) -> bytes:
        """See Run."""
        try:
            data = self._run.read(size)
        except GaveUp as exc:
            if self.switched:
                raise
            self._switch(exc)
            data = self._run.read(size)
        self._given += len(data)
        self._digest.update(data)
        if not data:
            self.warning = "; ".join(filter(None, (self._reason, self._run.warning)))
        return data

    def kill(self) -> None:
        """See Run."""
        self._run.kill()

    def close(self) -> None:
        """See Run."""
        self._run.close()

    def _switch(self, reason: GaveUp) -> None:
        try:
            second = self._second()
        except DecodeError as exc:
            raise GaveUp(f"{reason}; nor does ffmpeg go on: {exc}") from reason
        self._run.close()
        self._run, self.switched = second, True
        pass_over(second, self._offset)
        if pass_over(second, self._given) != self._digest.hexdigest():
            raise GaveUp(f"{reason}; ffmpeg has other samples before that") from reason
        self._reason = f"soundfile gave up: {reason}, ffmpeg went on"


def pass_over(run: Run, size: int) -> str:
    """Read *size* bytes; return their digest."""
    digest = xxhash.xxh3_128()
    while size and (data := run.read(min(size, PIECE))):
        digest.update(data)
        size -= len(data)
    return str(digest.hexdigest())
