"""One contender's run, and contenders by turns."""

import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

from .contenders import AbsentError
from .processes import child
from .usage import Meter

SEND_S = 300


@contextmanager
def scratch():
    """A folder on a disk, gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def run(contender, sounds, *args):
    """Have *contender* move *sounds*; return the figures of it. Starting does not count."""
    with scratch() as folder:
        with (
            contender.serve(folder) as server,
            child(contender.send, server.url, sounds, *args) as client,
        ):
            client.hear()
            meters = Meter(server.pid), Meter(client.pid)
            client.tell()
            answer = client.hear(SEND_S)
            receiving, sending = (meter.cost() for meter in meters)
        contender.check(answer, sounds, folder)
    return {
        "seconds": answer["seconds"],
        "receiver CPU s": receiving.cpu_seconds,
        "sender CPU s": answer.get("cpu_seconds", sending.cpu_seconds),
        "receiver peak MiB": receiving.peak_mib,
        "sender peak MiB": answer.get("peak_mib", sending.peak_mib),
    }


def in_turn(case, contenders, rounds, one):
    """Fill *case*, A B A B …, with *one(contender)*; absent contenders are named."""
    for _ in range(rounds):
        for contender in contenders:
            if contender.name in case.absent:
                continue
            try:
                case.add(contender.name, **one(contender))
            except AbsentError as exc:
                case.absent[contender.name] = str(exc)
