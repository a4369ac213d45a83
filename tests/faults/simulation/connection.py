"""A receiver's end of a connection: the real protocol and the real journal, in blocking code."""

from __future__ import annotations

from collections import deque

from receiver.stores.journal import fence
from receiver.stores.journal.disk import DiskFull
from receiver.stores.journal.journal import Journal
from receiver.stores.journal.original import digest_of
from receiver.stores.journal.writer import ending
from sonoduct import wire

from .actor import Actor
from .plan import FOLDER

ATTEMPTS = 3
"""Of a commit, while the disk is full."""


class Hurried(Exception):
    """There is no time, or no disk space, for the rest of the work."""


class Connection(Actor):
    """Queues in both directions, and a thread that claims, commits and acknowledges."""

    def __init__(self, world, label):
        super().__init__(world, label)
        self.up, self.down = deque(), deque()
        self._half = wire.Inbound(wire.Deadlines(), 0)
        self._writer = None
        self._waiting = []
        self._digest = None
        self._idle = False

    @property
    def ready(self):
        """Return whether the connection has work."""
        return super().ready and not (self._idle and not self.up and not self.left)

    @property
    def closed(self):
        """Return whether the receiver sends nothing more."""
        return self.task.over

    def work(self):
        """Answer the sender until it leaves."""
        try:
            self._serve()
        except wire.WireError as error:
            self._say(wire.Error(code=error.close_code, message=str(error)[:200]))
        except EOFError:
            pass

    def _serve(self):
        hello = self._take()
        journal = Journal(self.disk, FOLDER)
        granted = fence.Granted(1, 0) if fence.is_new(journal) else fence.claim(journal, hello, 10)
        self._writer, self._begin = granted.writer, lambda: fence.begin(journal, hello)
        if granted.receipt is not None:
            self._say(self._half.reopen(granted.epoch, granted.receipt, 0))
            return
        self._digest = None if granted.offset else wire.Digest()
        try:
            opened = self._half.open(granted.epoch, granted.offset, self.world.plan.terms, 0)
            if self._writer is None:  # the promise counts from the first audio on
                self._opened = opened
                self.down.append(wire.encode_control(opened))
            else:
                self._say(opened)
            self._end(self._receive())
        except (EOFError, wire.BadChecksum):
            self._seal()
            raise
        except Hurried:
            pass
        finally:
            if self._writer is not None:
                self._writer.close()

    def _held_writer(self):
        """Return the writer; one that begins the stream with its first audio, if it was new."""
        if self._writer is None:
            self._writer = self._begin()
            self.world.promise(self.label, self._opened)
        self._writer._roll_bytes = self.world.plan.roll_bytes
        self._writer._roll_records = self.world.plan.roll_records
        return self._writer

    def _receive(self):
        """Keep the chunks, in groups of any size, until the end of the stream."""
        while True:
            message = self._take()
            if isinstance(message, wire.Eos):
                return message
            self._waiting.append(message)
            if self._digest is not None:
                self._digest.update(message.offset, message.units, message.canonical)
            if self.world.rng.random() < 0.5 or not self.up:
                self._commit()

    def _take(self):
        """
        Return the next message.

        Raises:
            EOFError: if there will be none.
        """
        while not self.up:
            if self.left:
                raise EOFError
            self._idle = True
            self.task.wait()
        self._idle = False
        data = self.up.popleft()
        decode = wire.decode_chunk if isinstance(data, bytes) else wire.decode_control
        message = decode(data)
        self._half.feed(message, 0)
        return message

    def _commit(self):
        chunks, self._waiting = self._waiting, []
        if chunks:
            writer = self._held_writer()
            self._insist(lambda: writer.commit(chunks))
            self._half.release(self._writer.durable, 0)
            if ack := self._half.ack():
                self._say(ack)

    def _insist(self, call):
        """Do *work*, and repeat it while the disk is full."""
        for _ in range(ATTEMPTS):
            try:
                call()
            except DiskFull:
                continue
            return
        raise Hurried

    def _end(self, eos):
        digest = self._digest or self._summed()
        if digest.hexdigest() != eos.digest:
            raise wire.BadChecksum("digest", seen=digest.hexdigest(), expected=eos.digest)
        receipt = self.world.plan.receipt
        self._waiting.append(ending(self._held_writer().epoch, receipt))
        self._commit()
        self._say(self._half.commit(receipt, 0))

    def _summed(self):
        """Compute from the journal the digest of a stream that other claims have begun."""
        self._commit()
        digest = digest_of(Journal(self.disk, FOLDER))
        self._writer.require_latest()
        return digest

    def _seal(self):
        """Seal the claim of a sender that is gone, if there is time."""
        if self.world.rng.random() < 0.7:
            try:
                self._commit()
                if self._writer is not None:
                    self._writer.seal()
            except (wire.WireError, Hurried):
                pass

    def _say(self, message):
        self.world.promise(self.label, message)
        self.down.append(wire.encode_control(message))
