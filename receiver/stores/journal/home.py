"""What a claim needs of the store that it belongs to."""

from __future__ import annotations

from concurrent.futures import Executor
from contextlib import AbstractContextManager
from typing import Protocol

from receiver.stores import Original
from sonoduct.wire import Digest, Hello

from .committer import Committer


class Home(Protocol):
    """The store that a claim belongs to."""

    committer: Committer
    stream_bytes: int

    @property
    def executor(self) -> Executor:
        """Where what blocks is done."""

    def recompute(self, hello: Hello) -> Digest:
        """Return the digest of what the journal holds; blocks."""

    def spool(self, hello: Hello) -> AbstractContextManager[Original]:
        """See Claim."""

    def completed(self, hello: Hello) -> None:
        """The stream has its receipt: a recording can be made of it."""

    def cancelled(self, hello: Hello, epoch: int) -> None:
        """The stream was given up: remove it; blocks."""
