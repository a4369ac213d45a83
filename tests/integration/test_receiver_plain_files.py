"""Files, and encodings other than the tutorial's, from clients without our protocol."""

import asyncio
import hashlib
import io
import json
import subprocess

import imageio_ffmpeg
import numpy as np
import pytest
import soundfile
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from receiver.stores.journal import Layout, PosixDisk
from sonoduct.audio.g711 import ALAW, MULAW
from tests.support.rawclient import PATIENCE_S, running, sound
from tests.support.waits import until

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
ROOM = {"reserve_bytes": 0}
SOUND = np.random.default_rng(0).integers(-9000, 9000, (16_000, 1)).astype("<i2")


def wav():
    file = io.BytesIO()
    soundfile.write(file, SOUND, 16_000, format="WAV", subtype="PCM_16")
    return file.getvalue()


def flac():
    file = io.BytesIO()
    soundfile.write(file, SOUND, 16_000, format="FLAC", subtype="PCM_16")
    return file.getvalue()


def unfinished_wav():
    """Return a WAV as ffmpeg writes it to a pipe: without its length."""
    return piped("-f", "wav")


def webm():
    """Return a file as a browser records it: live, without a duration."""
    return piped("-f", "webm", "-c:a", "libopus", "-live", "1")


def ogg():
    return piped("-f", "ogg", "-c:a", "libvorbis")


def mp3():
    """Return an MP3 without a tag, as an encoder writes it to a pipe."""
    return piped("-f", "mp3", "-id3v2_version", "0", "-write_xing", "0")


def piped(*how):
    return subprocess.run(
        [FFMPEG, "-v", "error", "-f", "s16le", "-ar", "16000", "-i", "-", *how, "-"],
        input=SOUND.tobytes(),
        capture_output=True,
        check=True,
    ).stdout


EXACT = {wav, flac, unfinished_wav}


async def until_recorded(store):
    """Wait for the recording; return its manifest and its samples."""
    audio = Layout(PosixDisk(), store).audio
    (manifest,), _ = await until(lambda: list(audio.glob("*.json")))
    facts = json.loads(manifest.read_text())
    return facts, soundfile.read(audio / facts["recording"], dtype="int16", always_2d=True)[0]


async def heard(client):
    """Return all messages until the close, and the close code."""
    texts = []
    async with asyncio.timeout(PATIENCE_S):
        try:
            while True:
                texts.append(await client.recv())
        except ConnectionClosed as exc:
            return texts, exc.rcvd.code


def options(tmp_path):
    return {"store": str(tmp_path), "limits": ROOM, "ffmpeg": FFMPEG}


@pytest.mark.parametrize(
    ("make", "end"),
    [
        *((wav, end) for end in ("Done", b"", "close", "abort")),
        *((flac, "close"), (unfinished_wav, b""), (webm, "abort"), (ogg, "Done"), (mp3, "close")),
    ],
)
async def test_a_plain_file_is_kept_and_decoded(tmp_path, make, end):
    """The receiver keeps and decodes the bytes; text, an empty message or the close ends it."""
    data, answer = make(), None
    async with running(**options(tmp_path)) as receiver:
        async with connect(receiver.url) as client:
            for start in range(0, len(data), 5000):
                await client.send(data[start : start + 5000])
            if end == "abort":
                client.transport.abort()
            elif end != "close":
                await client.send(end)
                (answer, *rest), code = await heard(client)

                assert (1000, ["Done!"] if end else []) == (code, rest)
        manifest, samples = await until_recorded(tmp_path)

    receipt = manifest["receipt"]
    assert hashlib.sha256(data).hexdigest() == receipt["sha256"]
    assert len(data) == receipt["units"]
    assert len(samples) == receipt["frames"] >= 15_900
    if make in EXACT:
        assert np.array_equal(SOUND, samples)
    if answer:
        facts = json.loads(answer)
        assert (receipt["frames"], receipt["sha256"]) == (facts["frames"], facts["sha256"])


@pytest.mark.parametrize("cut", [1, 11, 12])
async def test_a_file_that_begins_in_small_pieces(tmp_path, cut):
    """The receiver recognises a file by its first bytes, however small the messages are."""
    data = wav()
    async with running(**options(tmp_path)) as receiver:
        async with connect(receiver.url) as client:
            for start in range(0, 48, cut):
                await client.send(data[start : min(start + cut, 48)])
            await client.send(data[48:])
        _, samples = await until_recorded(tmp_path)

    assert np.array_equal(SOUND, samples)


async def test_any_file_if_the_address_says_so(tmp_path):
    """With `?encoding=file`, the receiver takes any bytes as a file."""
    data = piped("-f", "adts")
    async with running(**options(tmp_path)) as receiver:
        async with connect(f"ws://127.0.0.1:{receiver.port}/?encoding=file") as client:
            await client.send(data)
        manifest, samples = await until_recorded(tmp_path)

    assert len(data) == manifest["receipt"]["units"]
    assert 15_000 < len(samples) < 20_000


@pytest.mark.parametrize(
    ("encoding", "data", "expected"),
    [
        ("s16le", SOUND.tobytes(), SOUND[:, 0]),
        ("mulaw", bytes(range(256)) * 40, np.tile(MULAW, 40)),
        ("alaw", bytes(range(256)) * 40, np.tile(ALAW, 40)),
    ],
)
async def test_other_encodings(tmp_path, encoding, data, expected):
    """The address names the encoding; an ordinary close ends the stream."""
    address = f"/?encoding={encoding}&samplerate=8000&channels=2"
    async with running(**options(tmp_path)) as receiver:
        async with connect(f"ws://127.0.0.1:{receiver.port}{address}") as client:
            await client.send('{"caller":"1000"}')
            for start in range(0, len(data), 641):
                await client.send(data[start : start + 641])
            await client.send("a text that is not for us")
        manifest, samples = await until_recorded(tmp_path)

    assert expected.tobytes() == samples.tobytes()
    assert {"text": '{"caller":"1000"}'} == manifest["metadata"]
    assert (8000, 2) == (manifest["format"]["samplerate"], manifest["format"]["channels"])


async def test_an_encoding_ends_with_done_as_well(tmp_path):
    """The receiver leaves out bytes at the end that fill no frame, and its answer says so."""
    async with running(**options(tmp_path)) as receiver:
        async with connect(f"ws://127.0.0.1:{receiver.port}/?encoding=s16le&channels=2") as client:
            await client.send(SOUND.tobytes() + b"xyz")
            await client.send("Done")
            (answer, *rest), code = await heard(client)

    facts = json.loads(answer)
    assert (8000, 3) == (facts["frames"], facts["dropped_bytes"])
    assert (["Done!"], 1000) == (rest, code)


async def test_an_unknown_file_is_refused(tmp_path):
    """The receiver refuses a file of an unknown kind instead of storing it as noise."""
    data = b"\xff\xff\xff\xff" * 100
    async with running(**options(tmp_path)) as receiver, connect(receiver.url) as client:
        await client.send(data)
        (answer,), code = await heard(client)

    assert 4400 == code
    assert "first samples" in json.loads(answer)["error"]


async def test_a_store_that_keeps_nothing_takes_no_files():
    """Without a store, the receiver refuses a file with a reason, and not with close 1000."""
    async with running() as receiver, connect(receiver.url) as client:
        await client.send(wav())
        (answer,), code = await heard(client)

    assert 4400 == code
    assert "kind" in json.loads(answer)["error"]


async def test_a_file_that_cannot_be_decoded(tmp_path):
    """The client gets the reason, and the stream gets no receipt."""
    async with running(**options(tmp_path)) as receiver, connect(receiver.url) as client:
        await client.send(b"fLaC" + sound(100))
        await client.send("Done")
        (answer,), code = await heard(client)

    assert 4500 == code
    assert "file cannot be decoded" in json.loads(answer)["error"]


async def test_floats_that_end_without_done_are_given_up(tmp_path):
    """If a client of float samples leaves without Done, the receiver abandons its stream."""
    async with running(**options(tmp_path)) as receiver:
        async with connect(receiver.url) as client:
            await client.send(bytes(4000))
        await receiver.until("receiver_streams_total", bool, result="abandoned")

    assert [] == list(Layout(PosixDisk(), tmp_path).audio.iterdir())
