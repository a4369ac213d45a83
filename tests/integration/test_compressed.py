"""Samples that travel as FLAC arrive exactly, and a hostile chunk harms only its own connection."""

import asyncio
import io

import numpy as np
import pytest
import soundfile

from receiver.inspect import export_stream, verify_store
from receiver.stores.journal import Layout, PosixDisk
from sender import SourceError
from sonoduct import wire
from sonoduct.audio.flac import pack
from tests.support.clients import connected
from tests.support.commands import sending, sent
from tests.support.rawclient import FORMAT, digest, running, sound, speaking
from tests.support.recorder import Recorder
from tests.support.sounds import same, samples, write
from tests.support.waits import recorded

ROOM = {"reserve_bytes": 0}
FLAC = wire.Format(
    samplerate=FORMAT.samplerate,
    channels=FORMAT.channels,
    encoding=FORMAT.encoding,
    compression=wire.Compression.FLAC,
)
WIDTH = FLAC.frame_bytes
SOUND = sound(6000)


async def send(client, source, frames=500):
    """Send the part of *source* beyond `outbound.position` in compressed chunks."""
    half = client.outbound
    while (start := half.read_from * WIDTH) < len(source):
        part = source[start : start + frames * WIDTH]
        if half.read_from < half.position:
            part = part[: (half.position - half.read_from) * WIDTH]
            half.skip(len(part) // WIDTH, part)
            continue
        packed = pack(part, FLAC)
        while half.room < max(len(part), len(packed)):
            await client.until(wire.Ack)
        await client.connection.send(half.chunk(len(part) // WIDTH, part, packed))


async def stored(store):
    """Wait for the first recording; return its samples."""
    (path,) = await recorded(store)
    return soundfile.read(path, dtype="int16", always_2d=True)[0].tobytes()


def flac(frames, channels=2, samplerate=8000, subtype="PCM_16"):
    """Return a FLAC stream of silence."""
    made = io.BytesIO()
    silence = np.zeros((frames, channels), np.int16)
    soundfile.write(made, silence, samplerate, subtype, format="FLAC")
    return made.getvalue()


HOSTILE = {
    "garbage": (b"\xff" * 1000, 100, 4400, "payload starts with ffffffff, expected 664c6143"),
    "a WAV": (b"RIFF" + bytes(1000), 100, 4400, "payload starts with 52494646"),
    "only a header": (flac(100)[:60], 100, 4400, "FLAC payload of 100 frames"),
    "fewer frames": (flac(99), 100, 4400, "frames in a FLAC payload 99, expected 100"),
    "a bomb": (flac(10_000_000), 100, 4400, "payload 100 and more, expected 100"),
    "a bomb that says so": (flac(9_000_000), 9_000_000, 4413, "unpacked bytes 36000000"),
    "mono": (flac(100, 1), 100, 4400, "FLAC payload of (8000, 1, 'PCM_16')"),
    "another rate": (flac(100, 2, 8001), 100, 4400, "FLAC payload of (8001, 2, 'PCM_16')"),
    "24 bit": (flac(100, 2, 8000, "PCM_24"), 100, 4400, "FLAC payload of (8000, 2, 'PCM_24')"),
}


@pytest.mark.parametrize("store", ["none", "journal"])
@pytest.mark.parametrize("case", HOSTILE)
async def test_a_hostile_chunk_ends_its_connection_and_nothing_else(tmp_path, case, store):
    """Frames before the chunk stay, frames after it do not count, and the sender may resume."""
    payload, units, code, sentence = HOSTILE[case]
    recorder = Recorder()
    where = "none" if store == "none" else str(tmp_path / "store")
    async with (
        running(recorder, store=where, limits=ROOM) as receiver,
        speaking(receiver.url, name="other") as other,
    ):
        await other.greet()
        await other.send(SOUND[:8000])
        async with speaking(receiver.url, format_=FLAC, name="hostile") as client:
            await client.greet()
            await send(client, SOUND[:12_000])
            half = client.outbound
            if code == 4413:  # which `Outbound` does not let pass
                await client.connection.send(wire.encode_chunk(1, 3000, units, payload))
            else:
                await client.connection.send(half.chunk(units, bytes(units * WIDTH), payload))
                good = SOUND[14_000:16_000]
                await client.connection.send(half.chunk(500, good, pack(good, FLAC)))
            closed, _ = await client.closed()
            error = client.all(wire.Error)[-1]
            stream = half.hello.stream
        async with speaking(receiver.url, format_=FLAC, stream=stream) as client:
            opened = await client.greet()
            await send(client, SOUND)
            receipt = await client.commit()
        await other.send(SOUND)
        await other.commit()
        errors = receiver.value("receiver_protocol_errors_total", code=str(code))

    assert (code, code, 1) == (closed, error.code, errors)
    assert sentence in str(wire.error_for(error.code, error.message, error.seen, error.expected))
    assert 3000 == opened.offset
    assert (digest(SOUND), {}) == (receipt.digest, receipt.failures)
    assert {"recorder": {"seen": 6000}} == receipt.processors
    (take,) = [take for take in recorder.takes if take.stream.name == "hostile"]
    assert take.gapless
    assert SOUND == (take.samples * 2**15).astype("<i2").tobytes()


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_U8"])
@pytest.mark.parametrize("channels", [1, 2, 8])
async def test_compressed_samples_arrive_bit_for_bit(tmp_path, subtype, channels):
    """Arrays, digest and recording are the same as without compression."""
    path = write(tmp_path / "a.wav", 30_011, channels, subtype)
    recorder = Recorder()
    async with (
        running(recorder, store=str(tmp_path / "store"), limits=ROOM) as receiver,
        connected(receiver.url, encoding="flac") as client,
        connected(receiver.url) as plain,
    ):
        receipt = await client.send(path)
        again = await client.send(path)
        uncompressed = await plain.send(path)

    expected = samples(path)
    assert [True, True] == [same(expected, take.samples) for take in recorder.takes]
    assert 30_011 == receipt.frames
    assert receipt == again
    assert receipt.stream != uncompressed.stream
    assert receipt.digest == uncompressed.digest


async def test_music_takes_fewer_bytes(tmp_path):
    """A tone with a little noise takes less than half of the bytes of its 16-bit samples."""
    time = np.arange(200_000) / 16_000
    tone = 0.5 * np.sin(2 * np.pi * 440 * time) + 0.001 * np.random.default_rng(0).normal(
        size=200_000
    )
    path = tmp_path / "tone.wav"
    soundfile.write(path, tone, 16_000, "PCM_16")
    async with running() as receiver, connected(receiver.url, encoding="flac") as client:
        receipt = await client.send(path)
        carried = receiver.value("receiver_received_bytes_total", dialect="sonoduct")

    assert 200_000 == receipt.frames
    assert carried < 200_000


@pytest.mark.parametrize(("subtype", "why"), [("FLOAT", "f32le"), ("PCM_32", "f32le")])
async def test_samples_that_flac_cannot_hold_are_refused(tmp_path, subtype, why):
    """The sender names the samples that do not fit, and an encoding that fits."""
    path = write(tmp_path / "a.wav", 1000, 1, subtype)
    async with connected("ws://127.0.0.1:1", encoding="flac") as client:
        with pytest.raises(SourceError) as raised:
            await client.send(path)

    assert f"flac of {why}, 1 channels at 16000 Hz, expected s16le or s24le" in str(raised.value)
    assert "--encoding auto" in str(raised.value)


async def test_nine_channels_are_refused(tmp_path):
    """FLAC has at most eight channels; the sender refuses nine."""
    path = write(tmp_path / "a.wav", 1000, 9)
    async with connected("ws://127.0.0.1:1", encoding="flac") as client:
        with pytest.raises(SourceError, match="flac of s16le, 9 channels"):
            await client.send(path)


async def test_an_open_stream_can_be_exported_and_verified(tmp_path, capsys):
    """A user can play and verify a compressed journal."""
    layout, output = Layout(PosixDisk(), tmp_path / "store"), tmp_path / "out.wav"
    async with running(store=str(layout.root), limits=ROOM) as receiver:
        async with speaking(receiver.url, format_=FLAC) as client:
            await client.greet()
            await send(client, SOUND[:12_000])
            await client.until(wire.Ack, lambda ack: ack.durable == 3000)
            exported = export_stream(layout, client.outbound.hello.stream, output)
            verified = verify_store(layout)
            await send(client, SOUND)
            await client.commit()
        kept = await stored(layout.root)
        done = verify_store(layout)

    assert (0, 0, 0) == (exported, verified, done)
    assert SOUND[:12_000] == soundfile.read(output, dtype="int16")[0].tobytes()
    assert SOUND == kept


async def test_raw_standard_input_is_compressed_too(tmp_path):
    """Raw samples from a pipe are compressed, also after a restart, from the spool."""
    store, spool = tmp_path / "store", tmp_path / "spool"
    async with running(store=str(store), limits=ROOM) as receiver:
        raw = ("-", "--raw", "s16le:8000:2", "--encoding", "flac", "--progress", "never")
        options = (*raw, "--to", receiver.url, "--spool", spool)
        async with sending(*options, stdin=asyncio.subprocess.PIPE) as program:
            program.process.stdin.write(SOUND)
            await receiver.until("receiver_frames_total", lambda n: n == 6000)
            program.process.kill()
            await program.ended()
        await sent(*options)
        kept = await stored(store)

    assert SOUND == kept
