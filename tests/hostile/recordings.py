"""Recordings that could take one another's place: twins, alike names, kills at two replicas."""

import asyncio
import hashlib
import os
import random
import sys
import tempfile
import uuid
from contextlib import suppress
from pathlib import Path

import numpy as np
import soundfile

from sonoduct import wire
from tests.hostile.floods import MONO
from tests.hostile.victim import serving
from tests.support.clients import connected
from tests.support.rawclient import speaking
from tests.support.receivers import Receiver
from tests.support.receivers import serving as running

LONG_AGO = 1_700_000_000_000_000_000
FRAMES = 400_000
RECORDED_S = 60
STREAMS = 10
SECONDS = 40
PART_BYTES = 8192


def _sum(data):
    return hashlib.sha256(data).hexdigest()


def _recorded(store):
    """Return the digests of all recordings in *store*."""
    found = []
    for path in (Path(store) / "audio").glob("**/*.wav"):
        with suppress(OSError, soundfile.SoundFileError):
            found.append(_sum(soundfile.read(path, dtype="int16")[0].tobytes()))
    return found


async def _until_recorded(store, wanted):
    """Return those of *wanted* that have no recording of their own, after a minute at most."""
    for _ in range(RECORDED_S * 2):
        missing = set(wanted) - set(_recorded(store))
        if not missing:
            break
        await asyncio.sleep(0.5)
    return missing


async def _twins(victim, pairs, folder):
    truths, faults = [], []
    for pair in range(pairs):
        path = Path(folder) / f"{pair}.wav"
        for seed in (1, 2):
            sound = np.zeros(FRAMES, np.int16)
            noise = np.random.default_rng([pair, seed]).integers(-9, 9, 1000)
            sound[FRAMES // 4 : FRAMES // 4 + 1000] = noise
            soundfile.write(path, sound, 16_000, "PCM_16")
            os.utime(path, ns=(LONG_AGO, LONG_AGO))
            truths.append(_sum(sound.tobytes()))
            try:
                async with connected(victim.url) as client:
                    await client.send(path)
            except Exception as exc:  # noqa: BLE001  # it is one of the faults
                faults.append(repr(exc)[:100])
    missing = await _until_recorded(victim.store, truths)
    return len(truths) - len(missing), len(truths), faults


def twins(*, quick, work, without=""):
    """Send pairs of files with one path, size and time, and other sound in their middle."""
    pairs = 10 if quick else 100
    with serving(work=work, without=without) as victim:
        with tempfile.TemporaryDirectory(dir=work) as folder:
            good, wanted, faults = asyncio.run(_twins(victim, pairs, folder))
    return f"{good} of {wanted} recordings", [*faults[:3], *_short(good, wanted, "recordings")]


def _short(good, wanted, what):
    return [] if good == wanted else [f"{good} of {wanted} {what}"]


async def _delivered(urls, stream, name, payload, pace, chance):
    """Send *payload* to any of *urls*, again after each loss; return how often it was behind."""
    half = wire.Outbound(
        wire.Hello(stream=stream, instance=uuid.uuid4().hex, name=name, format=MONO)
    )
    behind = promised = 0
    while half.phase is not wire.Phase.DONE:
        with suppress(Exception):
            async with asyncio.timeout(SECONDS), speaking(chance.choice(urls), half) as client:
                await client.greet()
                behind += half.phase is wire.Phase.OPEN and half.position < promised
                for end in range(PART_BYTES, len(payload) + 1, PART_BYTES):
                    if half.phase is wire.Phase.OPEN and half.read_from * 2 < end:
                        await client.send(payload[:end])
                        await asyncio.sleep(pace)
                    promised = max(promised, half.durable)
                if half.phase is wire.Phase.OPEN:
                    await client.commit()
        promised = max(promised, half.durable)
        half.lose()
        await asyncio.sleep(0.05)
    return behind


async def _kills(store, kills, chance):
    options = ("--reserve-bytes", 0, "--takeover-timeout", 1)
    pair = [Receiver(store, *options, "--replica", f"replica-{each}") for each in (1, 2)]
    truths, sending = [], []
    async with running(*pair):
        urls = [each.url for each in pair]
        for number in range(STREAMS):
            payload = np.random.default_rng(number).bytes(PART_BYTES * 50)
            truths.append(_sum(payload))
            one = _delivered(urls, uuid.uuid4().hex, f"s{number}", payload, kills * 0.02, chance)
            sending.append(asyncio.create_task(one))
        for kill in range(kills):
            await asyncio.sleep(chance.uniform(0, 0.5))
            await pair[kill % 2].kill()
            await pair[kill % 2].start()
        behind = sum(await asyncio.gather(*sending))
        missing = await _until_recorded(store, truths)
    return len(truths) - len(missing), len(truths), behind


def kills(*, quick, work, without=""):
    """Kill two replicas on one store in turns, under ten streams."""
    count = 5 if quick else 100
    with tempfile.TemporaryDirectory(dir=work) as folder:
        found = asyncio.run(_kills(Path(folder) / "store", count, random.Random(16)))
    good, wanted, behind = found
    missed = _short(good, wanted, "recordings")
    if behind:
        missed.append(f"{behind} resumed behind an ack")
    return f"{count} kills: {good} of {wanted} streams, {behind} behind an ack", missed


async def _alike(store, pairs, chance):
    """End pairs of streams with one name, and ids that begin alike, at two replicas at once."""
    receivers = [Receiver(store, "--reserve-bytes", 0) for _ in range(2)]
    truths = []
    async with running(*receivers):
        for pair in range(pairs):
            begin = uuid.uuid4().hex[:24]
            both = []
            for number, receiver in enumerate(receivers):
                payload = np.random.default_rng([pair, number]).bytes(PART_BYTES)
                truths.append(_sum(payload))
                stream = begin + f"{number:08x}"
                both.append(_delivered([receiver.url], stream, "take", payload, 0, chance))
            await asyncio.gather(*both)
        missing = await _until_recorded(store, truths)
        checked = await asyncio.create_subprocess_exec(
            *(str(Path(sys.executable).parent / "receiver"), "verify", "--store", str(store)),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        code = await checked.wait()
    return len(truths) - len(missing), len(truths), code


def alike(*, quick, work, without=""):
    """End streams of one name whose ids begin alike at two replicas."""
    with tempfile.TemporaryDirectory(dir=work) as folder:
        found = asyncio.run(_alike(Path(folder) / "store", 8 if quick else 80, random.Random(1)))
    good, wanted, code = found
    missed = _short(good, wanted, "recordings") + ([f"verify {code}"] if code else [])
    return f"{good} of {wanted} recordings, verify {code}", missed
