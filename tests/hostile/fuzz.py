"""
Fuzzing: no bytes of a stranger make a parser fail in a way that it does not name, or hang.

`python -m tests.hostile.fuzz TARGET --runs N` fuzzes one parser. With atheris, the coverage of the
code guides it; without, inputs are mutated at random from a fixed seed.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

RUNS = {"quick": 20_000, "full": 1_000_000}
MOST_S = 1.0
"""For one input."""
MOST_BYTES = 4096
AT_ONCE = 2
LONGEST_S = 3600


def header():
    """Return a target: the header of a chunk, and a chunk."""
    from sonoduct import wire

    def one(data):
        for parse in (wire.decode_header, wire.decode_chunk):
            with suppress(wire.WireError):
                parse(data)

    return one, [wire.encode_chunk(1, 0, 4, bytes(8)), bytes(32)]


def control():
    """Return a target: texts."""
    from sonoduct import wire
    from tests.hostile.floods import stream

    def one(data):
        try:
            message = wire.decode_control(data.decode(errors="surrogateescape"))
        except wire.WireError:
            return
        assert wire.decode_control(wire.encode_control(message)) == message

    half = stream(name="x")
    seeds = [half.greet(), wire.Eos(units=3, digest="0" * 32), wire.Cancel(epoch=1)]
    return one, [wire.encode_control(each).encode() for each in seeds]


def plain():
    """Return a target: the query, then messages of the tutorial's dialect."""
    from receiver.dialects.dialect import Request
    from receiver.dialects.plain import Plain
    from sonoduct import wire

    opened = wire.Opened(epoch=1, offset=0, window=65536, max_chunk=16384)
    default = wire.Format(samplerate=16_000, channels=1, encoding=wire.Encoding.F32LE)

    def one(data):
        query, _, rest = data.partition(b"\n")
        target = "/" + query.decode("latin-1")
        request = Request(target=target, subprotocols=(), headers={}, default=default)
        try:
            dialect = Plain.accepts(request)
            if dialect is None:
                return
            for _ in dialect.greet():
                pass
            for piece in rest.split(b"\n"):
                said = piece[1:].decode(errors="replace") if piece[:1] == b"T" else piece
                for message in dialect.decode(said):
                    if isinstance(message, wire.Hello):
                        list(dialect.encode(opened))
        except wire.WireError:
            pass

    return one, [
        b"?samplerate=8000&channels=2&encoding=s16le\n" + bytes(64),
        b"?encoding=mulaw\nabc\nTDone",
        b"\nRIFF$\0\0\0WAVEfmt \n" + bytes(50),
        b"\nT{}\n" + bytes(400) + b"\nTDone",
    ]


def journal():
    """Return a target: the scan of a segment."""
    from receiver.stores.journal import PosixDisk
    from receiver.stores.journal.reader import Part, canonical_of, read_segment
    from sonoduct import wire
    from sonoduct.wire import RecordKind, encode_record

    folder = Path(tempfile.mkdtemp(prefix="sonoduct-fuzz-", dir=_memory()))
    path, part, disk = folder / Part(1, 0).name, Part(1, 0), PosixDisk()

    def one(data):
        path.write_bytes(data)
        try:
            segment = read_segment(disk, path, part)
            if segment is None:
                return
            for record in segment.records():
                if record.header.kind == RecordKind.AUDIO:
                    canonical_of(record, segment.hello)
            segment.tail()
        except wire.WireError:
            pass

    return one, [_segment(), encode_record(RecordKind.AUDIO, 1, 0, 4, bytes(8))]


def _segment():
    """Return a good segment."""
    from receiver.stores.journal import PosixDisk
    from tests.support.journal import chunks, writer

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "5e" / ("5eed" * 8)
        made = writer(PosixDisk(), folder)
        made.append(chunks(1, 0, 200))
        made.close()
        return next(folder.glob("*.seg")).read_bytes()


def settings():
    """Return a target: the files and the variables of the receiver's settings."""
    from receiver.clients import read_tokens
    from receiver.connections.server import client_of
    from sonoduct.runtime.address import is_known_host
    from sonoduct.runtime.webconfig import read_web_config

    folder = Path(tempfile.mkdtemp(prefix="sonoduct-fuzz-", dir=_memory()))
    path = folder / "settings"

    def one(data):
        path.write_bytes(data)
        for read in (read_tokens, read_web_config):
            with suppress(ValueError):
                read(path)
        text = data.decode("latin-1")
        client_of(text)
        is_known_host(text, ("a.example",))

    return one, [
        b'[studio]\ntoken = "0123456789abcdef"\nstreams = "a/"\nexpires = 2027-01-01T00:00:00Z\n',
        b"basic_auth_users:\n  a: $2b$12$abcdefghijklmnopqrstuv\nrate_limit:\n  interval: 1s\n",
        b"[::1]:80",
    ]


TARGETS = {each.__name__: each for each in (header, control, plain, journal, settings)}


def _memory():
    return "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: PTH112, S108


def _timed(one):
    def timed(data):
        begun = time.monotonic()
        one(data)
        took = time.monotonic() - begun
        if took > MOST_S:
            raise AssertionError(f"{took:.1f} s for {data[:200]!r}")

    return timed


def by_chance(one, seeds, runs):
    """Run *one* on *runs* inputs, which are mutations of *seeds*."""
    chance = random.Random(1)
    for _ in range(runs):
        data = bytearray(chance.choice(seeds))
        for _ in range(chance.randrange(5)):
            at = chance.randrange(len(data) + 1)
            match chance.randrange(4):
                case 0:
                    data[at : at + 1] = chance.randbytes(1)
                case 1:
                    del data[at : at + chance.randrange(9)]
                case 2:
                    data[at:at] = chance.randbytes(chance.randrange(9))
                case _:
                    other = chance.choice(seeds)
                    data[at : at + 40] = other[at : at + 40]
        one(bytes(data[:MOST_BYTES]))


def by_coverage(make, runs):
    """Run a target on *runs* inputs that atheris makes; it ends the process."""
    import atheris

    with atheris.instrument_imports(include=["sonoduct", "receiver"]):
        one, seeds = make()
    with tempfile.TemporaryDirectory(prefix="sonoduct-fuzz-") as folder:
        for number, seed in enumerate(seeds):
            (Path(folder) / str(number)).write_bytes(seed)
        options = [f"-runs={runs}", f"-max_len={MOST_BYTES}", "-seed=1", "-timeout=10"]
        atheris.Setup([sys.argv[0], *options, "-verbosity=0", folder], _timed(one))
        atheris.Fuzz()


def check(*, quick, work, without=""):
    """Fuzz every target; return how many inputs, and what has failed."""
    runs, failed = RUNS["quick" if quick else "full"], []
    waiting, running = list(TARGETS), {}
    until = time.monotonic() + LONGEST_S
    with tempfile.TemporaryDirectory(prefix="sonoduct-fuzz-", dir=work) as folder:
        while (waiting or running) and time.monotonic() < until:
            while waiting and len(running) < AT_ONCE:
                name = waiting.pop(0)
                with (Path(folder) / name).open("wb") as said:
                    command = [sys.executable, "-m", "tests.hostile.fuzz", name, "--runs", runs]
                    running[name] = subprocess.Popen(
                        list(map(str, command)), stdout=said, stderr=said
                    )
            time.sleep(0.1)
            for name, process in list(running.items()):
                if process.poll() is not None:
                    del running[name]
                    if process.returncode:
                        said = (Path(folder) / name).read_text(errors="replace")
                        failed.append(f"{name}: {said[-300:]!r}")
        for name, process in running.items():
            process.kill()
            failed.append(f"{name}: no end")
    how = "atheris" if find_spec("atheris") else "at random, without atheris"
    return f"{runs} inputs for each of {', '.join(TARGETS)} ({how})", failed


def main():
    """Fuzz one target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=[*TARGETS, "all"])
    parser.add_argument("--runs", type=int, default=RUNS["quick"])
    chosen = parser.parse_args()
    if chosen.target == "all":
        RUNS["quick"] = chosen.runs
        figure, failed = check(quick=True, work=_memory())
        print(figure, json.dumps(failed) if failed else "ok")
        return 1 if failed else 0
    make = TARGETS[chosen.target]
    if find_spec("atheris"):
        by_coverage(make, chosen.runs)
    else:
        one, seeds = make()
        by_chance(_timed(one), seeds, chosen.runs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
