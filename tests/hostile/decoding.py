"""Files that take a decoder long, and an honest one behind them."""

import asyncio
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import soundfile

from sonoduct import wire
from tests.hostile.floods import stream
from tests.hostile.honest import joining
from tests.hostile.intruder import ADDRESS, WAIT_S, Attacker
from tests.hostile.leftovers import OWNER, send_file
from tests.support.bombs import write_bomb

BOMB_BYTES = 250 * 1024 * 1024
HONEST_FRAMES = 9600
"""0.2 s."""
SOON_S = 90
TIMES, ADDED_S = 3, 1.0


def behind(count, write):
    """Return an attack with *count* files by *write*; an honest file comes behind them."""

    async def attack(aim):
        attacker, folder = Attacker(aim), Path(aim.store).parent
        bad, good = folder / "bad", folder / "good.wav"
        write(bad)
        noise = np.random.default_rng(1).integers(-9000, 9000, HONEST_FRAMES)
        soundfile.write(good, noise.astype(np.int16), 48_000)
        alone = sorted([await _receipt(aim, good) for _ in range(3)])[1]
        data = bad.read_bytes()

        async def one():
            try:
                async with joining(aim.url, ADDRESS, aim.token) as connection:
                    half = stream(name="bad", kind=wire.Kind.FILE, format=None)
                    await send_file(connection, half, data)
                    attacker.counts["sent"] += 1
                    async for _ in connection:
                        pass
            except OSError:
                pass
            except Exception as exc:  # noqa: BLE001  # it is refused
                attacker.counts[str(exc)[:60]] += 1

        tasks = [asyncio.create_task(one()) for _ in range(count)]
        until = time.monotonic() + WAIT_S * 5
        while attacker.counts.total() < count and time.monotonic() < until:
            await asyncio.sleep(0.02)
        waited = await _receipt(aim, good)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return {**attacker.counts, "alone": alone, "behind": waited}

    return attack


async def _receipt(aim, path):
    """Send *path* as an honest client does; return the seconds until its receipt."""
    begun = time.monotonic()
    half = stream(name=path.name, kind=wire.Kind.FILE, format=None)
    with suppress(TimeoutError):
        async with asyncio.timeout(SOON_S), joining(aim.url, OWNER, aim.honest_token) as connection:
            await send_file(connection, half, path.read_bytes())
            while half.phase is not wire.Phase.DONE:
                half.feed(wire.decode_control(await connection.recv(decode=True)))
    return time.monotonic() - begun


def waited(_victim, figures, _known):
    """Require that the honest file need not wait for the others."""
    alone, behind_ = figures.said["alone"], figures.said["behind"]
    most = TIMES * alone + ADDED_S
    figures.note = f"{figures.said.get('sent', 0)} files; one behind them {behind_:.1f} s"
    if behind_ > most:
        figures.own.append(f"{behind_:.1f} s behind {alone:.1f} s alone, expected <= {most:.1f}")


def bomb(path):
    """Write a file of 564 KiB with 250 MiB of audio."""
    write_bomb(path, BOMB_BYTES)


def long_file(path):
    """Write 80 s of silence as FLAC."""
    soundfile.write(path, np.zeros(4_000_000, np.int16), 48_000, format="FLAC")


TWELVE_BOMBS = behind(12, bomb)
HUNDRED_FILES = behind(100, long_file)
