"""Leftovers: what strangers leave on the disk and in memory, and streams that belong to others."""

import asyncio
import os
import shutil
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

import numpy as np
import soundfile

from sonoduct import wire
from tests.hostile import floods
from tests.hostile.figures import MIB
from tests.hostile.floods import stream
from tests.hostile.honest import joining
from tests.hostile.intruder import ADDRESS, WAIT_S, Attacker
from tests.support.rawsocket import TEXT, frame

OWNER = "127.0.0.4"
AT_ONCE = 16
ADDED_MIB, ADDED_INODES = 4, 100
"""For the hellos that go away."""
WARM = 20
AGAIN_S = 0.5
"""After a refusal: an attacker who does not wait gets no hello through."""
SHARE = 0.1
"""Of a disk's free bytes, for the recordings of one address."""
BURST = 11
"""Claims of one stream at once, and one in each second."""
BALLAST = "ballast"
BALLAST_FILES, LEAST_INODES = 1000, 80
"""Of 1600: a tenth of them is for streams that are open, which take some of these."""
FREE = 64 * 1024
SILENT_FRAMES = 50_000_000
"""100 MiB of samples, which FLAC makes 97 KiB of."""


def journals(store, ids):
    """Return how many inodes the streams *ids* have in *store*."""
    wanted, count = set(ids), 0
    for folder, _, names in os.walk(Path(store) / "streams"):
        if Path(folder).name in wanted:
            count += 1 + len(names)
    return count


def hellos(full):
    """Return an attack with *full* hellos, each of a new stream, whose sender goes at once."""

    async def attack(aim):
        attacker = Attacker(aim)
        most, ids, warm = full // 20 if aim.quick else full, [], []

        async def some():
            while attacker.counts["hellos"] < most and not attacker.over:
                half = stream(name="gone")
                ids.append(half.hello.stream)
                made = await attacker.connect(aim.subprotocol)
                if made is None:
                    await asyncio.sleep(AGAIN_S)
                    continue
                reader, writer = made
                writer.write(frame(TEXT, wire.encode_control(half.greet()).encode()))
                with suppress(OSError, EOFError, TimeoutError):
                    async with asyncio.timeout(WAIT_S):
                        if (begin := await reader.read(2)) and begin[0] == TEXT:
                            attacker.counts["hellos"] += 1
                writer.transport.abort()
                if attacker.counts["hellos"] >= WARM and not warm:
                    warm.append(time.monotonic())

        async with asyncio.TaskGroup() as tasks:
            for _ in range(AT_ONCE):
                tasks.create_task(some())
        return {**attacker.counts, "ids": ids, "warm": warm}

    return attack


def left_by_hellos(victim, figures, _known):
    """Require that hellos without audio have left nothing; the first ones load what is needed."""
    inodes, warm = journals(victim.store, figures.said.pop("ids")), figures.said.pop("warm")
    then = [each[1] for each in victim.looks if warm and each[0] >= warm[0]]
    memory = (victim.last()[0] - then[0]) / MIB if then else 0.0
    figures.note = f"{figures.said.get('hellos', 0)} hellos: {inodes} inodes, {memory:+.1f} MiB"
    if inodes > ADDED_INODES or memory > ADDED_MIB:
        figures.own.append(f"{figures.note}, expected <= {ADDED_INODES}, {ADDED_MIB} MiB")


async def tiny_streams(aim):
    """End one stream of one frame after the other, until no inode is left."""
    attacker = Attacker(aim)

    async def one():
        async with joining(aim.url, ADDRESS, aim.token, open_timeout=WAIT_S) as connection:
            while not attacker.over:
                half = stream(name="tiny")
                await connection.send(wire.encode_control(half.greet()))
                while half.phase is not wire.Phase.OPEN:
                    half.feed(wire.decode_control(await connection.recv(decode=True)))
                await connection.send(b"".join(half.chunk(1, b"ab")))
                await connection.send(wire.encode_control(half.eos()))
                while half.phase is not wire.Phase.DONE:
                    half.feed(wire.decode_control(await connection.recv(decode=True)))
                attacker.counts["streams"] += 1

    async def guarded():
        try:
            async with asyncio.timeout(max(1.0, attacker.until - time.monotonic())):
                await one()  # once no inode is left, a receipt waits for one
        except Exception as exc:  # noqa: BLE001  # it comes again
            attacker.counts[f"{type(exc).__name__} {getattr(exc, 'code', '')}"] += 1

    await attacker.many(AT_ONCE, guarded)
    return attacker.counts


def on_few_inodes(attack):
    """Return *attack* on a disk with few inodes; at its end there are some again."""

    async def few(aim):
        ballast = Path(aim.store) / BALLAST
        ballast.mkdir()
        for number in range(BALLAST_FILES):
            (ballast / str(number)).touch()
        try:
            said = await attack(aim)
            status = await asyncio.to_thread(_readyz, aim.port)
            return {**said, "free": os.statvfs(aim.store).f_favail, "status": status}
        finally:
            shutil.rmtree(ballast)

    return few


def _readyz(port):
    """Return the status of /readyz, or why there is none."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return answer.status
    except urllib.error.HTTPError as exc:
        return exc.code
    except OSError as exc:
        return str(exc)


def ready_or_not(_victim, figures, _known):
    """Require that some inodes stay, and that /readyz says so when no more can be given."""
    free, status = figures.said["free"], figures.said["status"]
    figures.note = f"{figures.said.get('streams', 0)} streams, {free} inodes left, /readyz {status}"
    if free < LEAST_INODES or status != 404:
        figures.own.append(f"{figures.note}, expected {LEAST_INODES} and 404")


def on_a_full_disk(attack):
    """Return *attack* on a disk that is full; at its end there is room again."""

    async def full(aim):
        ballast = Path(aim.store) / BALLAST
        with ballast.open("wb") as file:
            while (size := _free(aim.store) - FREE) > 0:
                with suppress(OSError):  # streams have taken some of it meanwhile
                    os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, size)
        try:
            return await attack(aim)
        finally:
            ballast.unlink()

    return full


def _free(folder):
    room = os.statvfs(folder)
    return room.f_bavail * room.f_frsize


async def silence(aim):
    """Send small files of FLAC that hold hours of silence."""
    attacker = Attacker(aim)
    path, ids = Path(aim.store).parent / "silence.flac", []
    with soundfile.SoundFile(path, "w", 48_000, 1, "PCM_16") as file:
        block = np.zeros(SILENT_FRAMES // 50, np.int16)
        for _ in range(50):
            file.write(block)
    data = path.read_bytes()
    attacker = Attacker(aim)

    async def one(number):
        half = stream(name=f"silence {number}", kind=wire.Kind.FILE, format=None)
        ids.append(half.hello.stream)
        async with joining(aim.url, ADDRESS, aim.token) as connection:
            await send_file(connection, half, data)
            with suppress(TimeoutError):
                async with asyncio.timeout(3 * aim.seconds):
                    while half.phase is not wire.Phase.DONE:
                        half.feed(wire.decode_control(await connection.recv(decode=True)))
                    attacker.counts["receipts"] += 1

    async def guarded(number):
        try:
            await one(number)
        except Exception as exc:  # noqa: BLE001  # it is refused
            attacker.counts[f"{type(exc).__name__} {str(exc)[:80]}"] += 1

    async with asyncio.TaskGroup() as tasks:
        for number in range(4):
            tasks.create_task(guarded(number))
    return {**attacker.counts, "file": len(data), "ids": ids}


async def send_file(connection, half, data):
    """Send *data* as a file and its eos; read what comes only until the stream is open."""
    await connection.send(wire.encode_control(half.greet()))
    while half.phase is not wire.Phase.OPEN:
        half.feed(wire.decode_control(await connection.recv(decode=True)))
    while half.position < len(data):
        part = data[half.position : half.position + min(half.room, half.max_chunk)]
        if part:
            await connection.send(b"".join(half.chunk(len(part), part)))
        else:
            half.feed(wire.decode_control(await connection.recv(decode=True)))
    await connection.send(wire.encode_control(half.eos()))


def left_by_silence(victim, figures, _known):
    """Require that the files' recordings take a tenth of the disk at most."""
    room, ids = os.statvfs(victim.store), figures.said.pop("ids")
    size = 0
    for folder, _, names in os.walk(victim.store):
        for name in names:
            if name.startswith("silence") or Path(folder).name in ids:
                with suppress(OSError):
                    size += (Path(folder) / name).stat().st_blocks * 512
    most = SHARE * room.f_blocks * room.f_frsize
    sent = 4 * figures.said["file"] / 1024
    figures.note = f"{sent:.0f} KiB became {size / MIB:.0f} MiB of a disk of {most * 10 / MIB:.0f}"
    if size > most:
        figures.own.append(figures.note)


async def claims(aim):
    """Claim another's stream, whose id is known, as often as the receiver lets; its owner comes."""
    attacker = Attacker(aim)
    owned = stream(name="owned")
    payload = bytes(range(256)) * 25
    async with joining(aim.url, OWNER, aim.honest_token) as connection:
        await connection.send(wire.encode_control(owned.greet()))
        owned.feed(wire.decode_control(await connection.recv(decode=True)))
        await connection.send(b"".join(owned.chunk(len(payload) // 2, payload)))
        while owned.durable < owned.position:
            owned.feed(wire.decode_control(await connection.recv(decode=True)))
        connection.transport.abort()
    owned.lose()

    async def one():
        half = stream(name="owned", stream=owned.hello.stream)
        async with joining(aim.url, ADDRESS, aim.token, open_timeout=WAIT_S) as connection:
            await connection.send(wire.encode_control(half.greet()))
            answer = wire.decode_control(await connection.recv(decode=True))
            attacker.counts[type(answer).__name__] += 1
            connection.transport.abort()

    async def guarded():
        try:
            await one()
        except Exception as exc:  # noqa: BLE001  # it comes again
            attacker.counts[type(exc).__name__] += 1

    await attacker.many(8, guarded)
    attacker.counts["owner"] = await _owner(aim, owned)
    return attacker.counts


async def _owner(aim, owned):
    """Return whether the owner of a stream gets its receipt."""
    for _ in range(30):
        with suppress(Exception):
            async with asyncio.timeout(5), joining(aim.url, OWNER, aim.honest_token) as connection:
                await connection.send(wire.encode_control(owned.greet()))
                owned.feed(wire.decode_control(await connection.recv(decode=True)))
                await connection.send(wire.encode_control(owned.eos()))
                while owned.phase is not wire.Phase.DONE:
                    owned.feed(wire.decode_control(await connection.recv(decode=True)))
                return 1
        owned.lose()
        await asyncio.sleep(0.5)
    return 0


def claimed(_victim, figures, _known):
    """Require that claims were few, and that the owner has its receipt."""
    begin, end = figures.said["times"]
    granted, most = figures.said.get("Opened", 0), BURST + (end - begin)
    figures.note = f"{granted} claims granted, owner has {figures.said['owner']} of 1"
    if granted > most or not figures.said["owner"]:
        figures.own.append(f"{figures.note}, expected <= {most:.0f}")


FEW_INODES = on_few_inodes(tiny_streams)
FULL_CHUNKS = on_a_full_disk(floods.chunks(16))
FULL_PLAIN = on_a_full_disk(floods.PLAIN)
