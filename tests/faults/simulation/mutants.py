"""The journal without one of its guards: the simulation must notice each."""

from __future__ import annotations

import math
from contextlib import contextmanager, suppress
from unittest.mock import patch

from receiver.stores.journal import fence, janitor
from receiver.stores.journal import journal as journals
from receiver.stores.journal.journal import Journal
from receiver.stores.journal.reader import Part, Segment
from receiver.stores.journal.writer import End, SegmentFile, Writer

from .actor import Calls
from .plan import FOLDER
from .storage import File


def unguarded(method):
    """Let *method* of a Writer not look for newer claims."""
    real = getattr(Writer, method)

    def call(self, *args):
        self.require_latest = lambda: None
        try:
            return real(self, *args)
        finally:
            del self.require_latest

    return patch.object(Writer, method, call)


def end_unguarded():
    """Do not look for newer claims once an END is written."""
    real = Writer.settle

    def settle(self, entries, *, synced=False):
        if isinstance(entries[-1], End):
            self.require_latest = lambda: None
        real(self, entries, synced=synced)

    return patch.object(Writer, "settle", settle)


@contextmanager
def answered_unguarded():
    """Let a claim that has scanned not look for newer ones before it answers or opens."""
    real_count, real_open = fence._count, Writer.open

    def count(journal, hello, writer):
        tail = real_count(journal, hello, writer)
        writer.require_latest = lambda: None
        return tail

    def start(self, base):
        del self.require_latest
        real_open(self, base)

    with patch.object(fence, "_count", count), patch.object(Writer, "open", start):
        yield


@contextmanager
def scanned_first():
    """Let a claim scan before it puts up its fence."""
    real_fence = fence._fence

    def scan(journal, known, hello, origin):
        last = journal.last_segment(fence.MOST_EPOCHS)
        tail = last and last.tail(journal.disk.sync_file(last.path))
        writer = real_fence(journal, known, hello, origin)
        writer.scanned = tail
        return writer

    def count(journal, hello, writer):
        return writer.scanned

    with patch.object(fence, "_fence", scan), patch.object(fence, "_count", count):
        yield


def scan_after_done(journal, hello, writer):
    """Do the work of fence._scan with its two halves in the other order."""
    if found := journal.done():
        journal.disk.remove(journal.path(Part(writer.epoch, 0)))
        writer.close()
        return fence._complete(found)
    tail = fence._count(journal, hello, writer)
    writer.require_latest()
    if tail is not None and tail.receipt is not None:
        writer.close()
        return fence.Granted(writer.epoch, tail.offset, receipt=tail.receipt)
    offset = tail.offset if tail else 0
    writer.open(offset)
    return fence.Granted(writer.epoch, offset, writer)


def shared_create(self, path):
    """Open the file if there is one, as O_CREAT without O_EXCL does."""
    with suppress(FileExistsError):
        return real_create(self, path)
    return self._open(path)


real_create, real_sync_folder = Calls.create, Calls.sync_folder
real_tail = Segment.tail


def only_journals(self, folder):
    """Sync a journal's folder, but not the shelf that has its name."""
    if folder == FOLDER:
        real_sync_folder(self, folder)


def repeated_sync(self):
    """Sync again if it fails."""
    for _ in range(2):
        with suppress(OSError):
            self._disk.sync(self._handle)
            self.cut = self.size
            return
    self._disk.sync(self._handle)


@contextmanager
def cut_off():
    """Let a writer whose sync failed cut off the bytes that were not synced before."""
    real_sync, real_poison = SegmentFile.sync, Writer._poison

    def sync(self):
        real_sync(self)
        self.synced = self.size

    def poison(self, exc):
        file = self._file
        if file is not None:
            self._disk.step("truncate", file._path)
            model = self._disk.handles[file._handle][0]
            del model.cache[getattr(file, "synced", 0) :]
            model.clean = min(model.clean, len(model.cache))
        return real_poison(self, exc)

    with patch.object(SegmentFile, "sync", sync), patch.object(Writer, "_poison", poison):
        yield


def rewritten(self, buffers):
    """Do the work of SegmentFile.append, but start again from the beginning after an error."""
    self._disk.write(self._handle, buffers)
    self.size += sum(len(each) for each in buffers)
    self.records += len(buffers)


@contextmanager
def rolled_unsynced():
    """Let a writer continue in another part before the entries in this one are durable."""
    real_roll = Writer._roll

    def roll(self):
        self._sync = lambda: None
        try:
            real_roll(self)
        finally:
            del self._sync

    with patch.object(Writer, "_roll", roll):
        yield


def thinned_carelessly(journal, epoch):
    """Remove every segment without audio, even if its name fences a writer."""
    for part in journal.parts():
        if part.epoch < epoch and not part.number and not fence._is_audible(journal, part):
            journal.disk.remove(journal.path(part))


def begun_late(journal, hello, origin):
    """Begin a stream although another claim may have begun it."""
    with suppress(FileExistsError):
        journal.disk.add_folder(journal.folder)
    return fence._fence(journal, journal.names(), hello, origin)


MUTANTS = {
    "a new stream begins in a folder that is there": lambda: patch.object(
        fence, "_begin", begun_late
    ),
    "no look for newer claims between sync and ack": lambda: unguarded("commit"),
    "no look for newer claims after an END": end_unguarded,
    "no look for newer claims after an opening": lambda: unguarded("open"),
    "no look for newer claims after a scan": answered_unguarded,
    "the scan comes before the fence": scanned_first,
    "the fence is not exclusive": lambda: patch.object(Calls, "create", shared_create),
    "late openings count": lambda: patch.object(fence, "_bury", lambda *_: None),
    "the ack comes before the sync": lambda: patch.object(Writer, "_sync", lambda _: None),
    "the scanned part is not synced": lambda: patch.object(
        Calls, "sync_file", lambda self, path: len(self.storage.require(path).cache)
    ),
    "the scan goes beyond the synced part": lambda: patch.object(
        Segment, "tail", lambda self, within=None: real_tail(self)
    ),
    "the scan reads from memory": lambda: patch.object(File, "evict", lambda _: None),
    "the folder is not synced": lambda: patch.object(Calls, "sync_folder", lambda *_: None),
    "the shelf is not synced": lambda: patch.object(Calls, "sync_folder", only_journals),
    "removed segments are written to": lambda: patch.object(SegmentFile, "linked", new=True),
    "the last look for an end comes before the scan": lambda: patch.object(
        fence, "_scan", scan_after_done
    ),
    "segments go before their end is durable": lambda: patch.object(
        janitor, "clear_left", Journal.remove_segments
    ),
    "segments are not cut where later ones start": lambda: patch.object(
        journals, "_limits", lambda chain: [math.inf] * len(chain)
    ),
    "names that fence writers are removed": lambda: patch.object(
        fence, "_thin", thinned_carelessly
    ),
    "a claim that comes late does not look for newer ones": lambda: patch.object(
        fence, "_require_newest", lambda *_: None
    ),
    "a part is left before it is durable": rolled_unsynced,
    "no look for newer claims between parts": lambda: unguarded("_roll"),
    "a failed sync is done again": lambda: patch.object(SegmentFile, "sync", repeated_sync),
    "the unsynced part is cut off": cut_off,
    "a torn write is done again": lambda: patch.object(SegmentFile, "append", rewritten),
}

RARE = (
    "no look for newer claims after an opening",
    "no look for newer claims after a scan",
    "the scan goes beyond the synced part",
    "removed segments are written to",
    "the last look for an end comes before the scan",
    "the unsynced part is cut off",
    "a claim that comes late does not look for newer ones",
)
"""What these guards prevent takes thousands of seeds."""
