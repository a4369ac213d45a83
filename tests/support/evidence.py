"""The recordings of a store, compared with the files that senders sent."""

import json
from contextlib import suppress
from pathlib import Path

import soundfile

from tests.support.sounds import noise, same, samples
from tests.support.waits import until

RATE = 16_000

KINDS = (("PCM_16", 1), ("PCM_24", 2), ("FLOAT", 1), ("PCM_16", 2))
"""Subtypes and channels of consecutive sounds: tests see two mixed-up streams by them."""


def make(folder, number, frames):
    """Write the sound *number*, which differs from every other; return its path."""
    subtype, channels = KINDS[number % len(KINDS)]
    path = Path(folder) / f"{number}.wav"
    soundfile.write(path, noise(frames, channels, seed=number), RATE, subtype)
    return path


def journals(store):
    """Return the folders of all streams."""
    return sorted(Path(store).glob("streams/*/*"))


def unfinished(store):
    """Return the segments and folders of streams that have no recording yet."""
    return [
        str(file.relative_to(store))
        for folder in journals(store)
        for file in (*folder.glob("*.seg"), *([] if (folder / "done.json").exists() else [folder]))
    ]


def manifests(store):
    """Return the manifests of all recordings, by stream."""
    found = {}
    for path in Path(store, "audio").glob("*.json"):
        manifest = json.loads(path.read_bytes())
        stream = manifest["receipt"]["stream"]
        assert stream not in found, f"two recordings of {stream}"
        found[stream] = manifest
    return found


async def require_all(store, sent):
    """
    Check that *store* holds a recording of each sent stream, bit for bit, and nothing else.

    *sent* has the path and the receipt of each stream. The receiver makes a recording after the
    receipt, so this waits for the recordings.
    """
    with suppress(TimeoutError):
        await until(lambda: not unfinished(store))

    assert [] == unfinished(store)
    found = manifests(store)
    for path, receipt in sent:
        manifest = found.pop(receipt.stream)

        assert receipt.digest == manifest["receipt"]["digest"]
        assert same(samples(path), samples(Path(store, "audio", manifest["recording"]))), path
    assert {} == found
    assert len(sent) == len(list(Path(store, "audio").glob("*.wav")))
