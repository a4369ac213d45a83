"""The promises to the sender, and a check of the disk against them."""

from __future__ import annotations

from receiver.stores.journal.journal import Journal
from sonoduct import wire
from sonoduct.wire import RecordKind

from .disk import ModelDisk
from .plan import FOLDER, Broken


class Promises:
    """All promises of all connections, whether or not they arrived."""

    def __init__(self, plan):
        self.durable = 0
        """Units that survive a power cut."""
        self.committed = False
        self._plan = plan

    def add(self, message, newest):
        """Note *message*; *newest* is the newest claim."""
        match message:
            case wire.Opened(receipt=None):
                if message.epoch >= newest and message.offset < self.durable:
                    raise Broken(f"opened at {message.offset}, durable are {self.durable}")
                self.durable = max(self.durable, message.offset)
            case wire.Ack():
                self.durable = max(self.durable, message.durable)
            case wire.Opened() | wire.Committed():
                self._require_right(message.receipt)
                self.durable, self.committed = self._plan.units, True

    def check(self, storage):
        """Read *storage* as a receiver that starts now would."""
        disk = ModelDisk(storage)
        done = Journal(disk, FOLDER).done()
        if done is not None:
            self._require_right(done.receipt)
            return
        self._check_audio(disk)
        if self.committed:
            found = Journal(disk, FOLDER).complete()
            self._require_right(found and found[2])

    def _check_audio(self, disk):
        data, reached = bytearray(), 0
        try:
            for record in Journal(disk, FOLDER).records():
                if record.header.kind == RecordKind.AUDIO:
                    if record.header.offset != reached:
                        raise Broken(f"unit {record.header.offset} follows {reached}")
                    data += record.payload
                    reached += record.header.units
        except wire.StorageFailed as exc:
            raise Broken(str(exc)) from exc
        if not self._plan.source.startswith(data):
            raise Broken("other audio than the source has")
        if reached < self.durable:
            raise Broken(f"{reached} units are left of {self.durable}")

    def _require_right(self, receipt):
        if receipt != self._plan.receipt:
            raise Broken(f"receipt is {receipt}")
