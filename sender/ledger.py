"""The ledger: digests of files that were sent, so that a receipt is checked without reading."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import AbstractContextManager, closing, nullcontext, suppress
from pathlib import Path
from typing import Final

import structlog

log = structlog.get_logger()

BUSY_S: Final = 1.0
"""Seconds to wait for another sender that writes to the same file."""

TOGETHER: Final = 256
"""Records that are written together. If a sender is killed before, it reads their files again."""

UNUSABLE: Final = (sqlite3.Error, OSError, RuntimeError)
"""Errors that make a ledger empty; RuntimeError comes from a user without a home folder."""

_CREATE: Final = (
    "CREATE TABLE IF NOT EXISTS receipts (stream TEXT PRIMARY KEY, evidence TEXT NOT NULL, "
    "units INTEGER NOT NULL, digest TEXT NOT NULL)"
)


def open_ledger(path: str, most: int) -> AbstractContextManager[Ledger | None]:
    """Open the ledger at *path*, with at most *most* records; gives None if the path is empty."""
    if not path:
        return nullcontext()
    return closing(Ledger(Path(path), most))


class Ledger:
    """
    Units and digest of each file that has a receipt, in a SQLite file; any thread may call it.

    A ledger only saves time. If its file cannot be used, one line of the log says so, the ledger is
    empty, and the sender reads files instead.
    """

    def __init__(self, path: Path, most: int) -> None:
        """Keep the latest *most* records at *path*, which is opened at the first use."""
        self._path = path
        self._most = most
        self._lock = threading.Lock()
        self._database: sqlite3.Connection | None = None
        self._unusable = False
        self._waiting: dict[str, tuple[str, int, str]] = {}

    def find(self, stream: str, evidence: str) -> tuple[int, str] | None:
        """Return units and digest of *stream*, if they were recorded with the same *evidence*."""
        with self._lock:
            if stream in self._waiting:
                return self._waiting[stream][1:] if self._waiting[stream][0] == evidence else None
            try:
                database = self._open()
                row = (
                    database
                    and database.execute(
                        "SELECT units, digest FROM receipts WHERE stream = ? AND evidence = ?",
                        (stream, evidence),
                    ).fetchone()
                )
            except UNUSABLE as exc:
                self._give_up(exc)
                return None
        return (int(row[0]), str(row[1])) if row else None

    def record(self, stream: str, evidence: str, units: int, digest: str) -> None:
        """Record the units and the digest of *stream*, which hold as long as *evidence* does."""
        with self._lock:
            self._waiting[stream] = (evidence, units, digest)
            if len(self._waiting) >= TOGETHER:
                self._write()

    def close(self) -> None:
        """Write the waiting records, and close the file."""
        with self._lock:
            self._write()
            if self._database is not None:
                self._database.close()
                self._database = None

    def _write(self) -> None:
        """Write the waiting records in one transaction."""
        waiting, self._waiting = self._waiting, {}
        try:
            if not waiting or (database := self._open()) is None:
                return
            with database:
                database.executemany(
                    "INSERT OR REPLACE INTO receipts VALUES (?, ?, ?, ?)",
                    ((stream, *facts) for stream, facts in waiting.items()),
                )
                database.execute(
                    "DELETE FROM receipts WHERE rowid <= (SELECT MAX(rowid) - ? FROM receipts)",
                    (self._most,),
                )
        except UNUSABLE as exc:
            self._give_up(exc)

    def _open(self) -> sqlite3.Connection | None:
        if self._database is None and not self._unusable:
            path = self._path.expanduser()
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._database = sqlite3.connect(path, timeout=BUSY_S, check_same_thread=False)
            # Nothing is synced: a record lost in a power cut costs one reading of its file.
            self._database.execute("PRAGMA journal_mode = TRUNCATE")
            self._database.execute("PRAGMA synchronous = OFF")
            self._database.execute(_CREATE)
        return self._database

    def _give_up(self, error: Exception) -> None:
        self._unusable = True
        log.warning("ledger_unusable", path=str(self._path), reason=str(error))
        if self._database is not None:
            with suppress(sqlite3.Error):
                self._database.close()
            self._database = None
