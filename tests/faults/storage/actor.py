"""
A process that keeps a stream in a store, by the journal's own code, and prints its promises.

It reads a folder from standard input, forks, and waits in the child for a second line before it
begins: time enough to attach to it. Forking costs less than importing everything each time.
"""

import os
import sys
import tempfile
from pathlib import Path

from receiver.stores.journal import Layout, PosixDisk
from receiver.stores.journal.disk import DiskFull
from receiver.stores.journal.fence import claim
from receiver.stores.journal.journal import Journal
from receiver.stores.journal.writer import ending
from sonoduct.runtime import logs
from tests.faults.storage.scene import CHUNKS, HELLO, chunk, receipt
from tests.support.journal import finish

ROLL_BYTES = 3000
"""So that a claim needs more than one segment."""


def say(*words):
    """Print a line at once."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def carry(root, claims, promise):
    """Send the stream over *claims* connections, the last to its end; then record it."""
    disk, layout = PosixDisk(), Layout(PosixDisk(), root)
    disk.make_folder(layout.audio)
    folder = layout.journal(HELLO.stream).folder
    for left in reversed(range(claims)):
        granted = claim(Journal(disk, folder), HELLO, takeover_s=10)
        promise(granted.offset)
        if granted.receipt is not None:
            break
        writer = granted.writer
        writer._roll_bytes = ROLL_BYTES
        following = [each for each in CHUNKS if each[0] >= granted.offset]
        for offset, units in following if not left else following[:3]:
            commit(writer, chunk(granted.epoch, offset, units))
            promise(writer.durable)
        if not left:
            writer.commit([ending(writer.epoch, receipt())])
            promise("receipt")
        elif left % 2:
            writer.seal()
        writer.close()
    finish(disk, layout, layout.journal(HELLO.stream).folder)


def commit(writer, made):
    """Commit; if the disk is full, try again, as a receiver does."""
    try:
        writer.commit([made])
    except DiskFull:
        writer.commit([made])


def main():
    """Serve until the end of standard input."""
    logs.configure()  # on standard error: the answers go to standard output
    with tempfile.TemporaryDirectory() as folder:
        carry(Path(folder), 3, lambda _: None)  # so that late imports are done
    say("ready")
    for line in iter(sys.stdin.readline, ""):
        if not (child := os.fork()):
            say("child", os.getpid())
            sys.stdin.readline()
            carry(Path(line.strip()), 3, lambda what: say("promised", what))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        say("ended", os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
