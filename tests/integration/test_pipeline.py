"""From a file to arrays: a processor gets the samples that soundfile reads, bit for bit."""

import asyncio
import os
from contextlib import closing

import numpy as np
import pytest
import soundfile
import xxhash
from prometheus_client import CollectorRegistry

from sender import SourceError
from sender.sources.file import AudioFile
from sonoduct import wire
from tests.support.clients import connected
from tests.support.recorder import SMALL, Recorder, listening
from tests.support.relay import Relay
from tests.support.sounds import RATE, noise, same, samples, write

SOURCES = [
    ("u8.wav", "PCM_U8", "s16le"),
    ("s8.aiff", "PCM_S8", "s16le"),
    ("16.wav", "PCM_16", "s16le"),
    ("16.aiff", "PCM_16", "s16le"),
    ("24.wav", "PCM_24", "s24le"),
    ("32.wav", "PCM_32", "f32le"),
    ("float.wav", "FLOAT", "f32le"),
    ("double.wav", "DOUBLE", "f32le"),
    ("double.caf", "DOUBLE", "f32le"),
    ("ulaw.wav", "ULAW", "s16le"),
    ("alaw.wav", "ALAW", "s16le"),
    ("ulaw.au", "ULAW", "s16le"),
    ("ima.wav", "IMA_ADPCM", "s16le"),
    ("ms.wav", "MS_ADPCM", "s16le"),
    ("gsm.wav", "GSM610", "s16le"),
    ("16.flac", "PCM_16", "s16le"),
    ("24.flac", "PCM_24", "s24le"),
    ("vorbis.ogg", "VORBIS", "f32le"),
    ("opus.ogg", "OPUS", "f32le"),
    ("layer3.mp3", "MPEG_LAYER_III", "f32le"),
    ("alac.caf", "ALAC_16", "s16le"),
]


async def deliver(recorder, client, path):
    """Send *path*; return the receipt and the processor's take."""
    receipt = await client.send(path)
    (take,) = [each for each in recorder.takes if each.stream.id == receipt.stream]
    return receipt, take


@pytest.mark.parametrize(("name", "subtype", "encoding"), SOURCES)
async def test_every_kind_of_file_arrives_bit_for_bit(tmp_path, name, subtype, encoding):
    """Each kind that libsndfile reads travels in its smallest exact encoding."""
    path = write(tmp_path / name, 30_011, subtype=subtype)
    expected = samples(path)
    recorder = Recorder()
    async with listening(recorder) as running, connected(running.url) as client:
        receipt, take = await deliver(recorder, client, path)

    assert same(expected, take.samples)
    assert take.gapless
    with closing(AudioFile(path)) as source:
        assert encoding == source.format.encoding
    assert (len(expected), len(expected)) == (receipt.units, receipt.frames)
    assert (RATE, 1, len(expected) / RATE) == (
        receipt.samplerate,
        receipt.channels,
        receipt.seconds,
    )
    assert {"recorder": {"seen": len(expected)}} == receipt.processors


@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
async def test_channels_and_odd_lengths(tmp_path, channels, subtype):
    """One frame, an odd number, and more than a chunk arrive whole, with all channels."""
    recorder = Recorder()
    async with listening(recorder) as running, connected(running.url) as client:
        for frames in (1, 4097, 70_001):
            path = write(tmp_path / f"{frames}.wav", frames, channels, subtype)
            receipt, take = await deliver(recorder, client, path)

            assert same(samples(path), take.samples)
            assert (frames, channels) == (receipt.frames, receipt.channels)


async def test_receipt_proves_the_canonical_bytes(tmp_path):
    """The digest is xxh3-128 of the file's samples, for any size of chunks."""
    path = tmp_path / "16.wav"
    integers = (noise(5000, 2) * 32767).astype("<i2")
    soundfile.write(path, integers, 48_000)
    recorder = Recorder()
    async with (
        listening(recorder) as running,
        connected(running.url, chunk_frames=999) as client,
    ):
        receipt, take = await deliver(recorder, client, path)

    assert xxhash.xxh3_128(integers.tobytes()).hexdigest() == receipt.digest
    assert (48_000, 5000 / 48_000) == (receipt.samplerate, receipt.seconds)
    assert not receipt.durable  # the store `none` keeps nothing
    assert (str(path), 48_000, 2) == (
        take.stream.name,
        take.stream.samplerate,
        take.stream.channels,
    )


async def test_floats_are_neither_clipped_nor_cleaned(tmp_path):
    """Values beyond full scale, infinities, NaN and negative zero arrive unchanged."""
    path = tmp_path / "odd.wav"
    odd = np.array([[2.5], [-3.0], [np.inf], [-np.inf], [np.nan], [-0.0], [1e-40]], np.float32)
    soundfile.write(path, odd, RATE, "FLOAT")
    recorder = Recorder()
    async with listening(recorder) as running, connected(running.url) as client:
        _, take = await deliver(recorder, client, path)

    assert same(odd, take.samples)
    assert same(samples(path), take.samples)


@pytest.mark.parametrize(
    ("subtype", "wide"),
    [
        ("PCM_16", ["s16le", "s24le", "f32le"]),
        ("PCM_24", ["s24le", "f32le"]),
        ("FLOAT", ["f32le"]),
    ],
)
async def test_encodings_that_are_wide_enough_are_equal(tmp_path, subtype, wide):
    """A wider encoding gives the same arrays, as a stream of its own."""
    path = write(tmp_path / "a.wav", 9001, 2, subtype)
    recorder = Recorder()
    async with listening(recorder) as running:
        for encoding in wide:
            async with connected(running.url, encoding=encoding) as client:
                _, take = await deliver(recorder, client, path)

            assert same(samples(path), take.samples)
    assert len(wide) == len({take.stream.id for take in recorder.takes})


@pytest.mark.parametrize(
    ("subtype", "narrow", "expected"),
    [
        ("PCM_24", "s16le", "s24le"),
        ("FLOAT", "s16le", "f32le"),
        ("FLOAT", "s24le", "f32le"),
        ("PCM_32", "s24le", "f32le"),
    ],
)
async def test_encodings_that_are_too_narrow_are_refused(tmp_path, subtype, narrow, expected):
    """The sender never rounds; the error names an encoding that holds the samples."""
    path = write(tmp_path / "a.wav", subtype=subtype)
    async with connected("ws://127.0.0.1:1", encoding=narrow) as client:
        with pytest.raises(SourceError) as raised:
            await client.send(path)

    assert f"{path}: {narrow} cannot hold {subtype} exactly, expected {expected}" == str(
        raised.value
    )


async def test_sending_again_sends_nothing(tmp_path):
    """The same file is the same stream: the sender gets its receipt and sends no chunk."""
    path = write(tmp_path / "a.wav")
    recorder, registry = Recorder(), CollectorRegistry()
    async with listening(recorder) as running:
        async with connected(running.url) as client:
            first = await client.send(path)
        async with connected(running.url, registry=registry) as client:
            again = await client.send(str(path))

    assert first == again
    assert 1 == len(recorder.takes)
    assert 0 == registry.get_sample_value("sender_chunks_sent_total")
    assert 1 == registry.get_sample_value("sender_streams_total", {"result": "known"})


async def test_time_content_and_folder_make_another_stream(tmp_path):
    """A file with another time, content or folder is another stream; a link to it is not."""
    path = write(tmp_path / "a.wav")
    (tmp_path / "folder").mkdir()
    recorder = Recorder()
    async with listening(recorder) as running, connected(running.url) as client:
        first = await client.send(path)
        (tmp_path / "link.wav").symlink_to(path)
        linked = await client.send(tmp_path / "link.wav")
        twin = await client.send(write(tmp_path / "folder" / "a.wav"))
        os.utime(path, ns=(0, 0))
        touched = await client.send(path)
        write(path, 2 * RATE)
        os.utime(path, ns=(0, 0))
        changed = await client.send(path)

    streams = [each.stream for each in (first, twin, touched, changed)]
    assert 4 == len(set(streams)) == len(recorder.finished)
    assert first.stream == linked.stream
    assert first.digest == twin.digest == touched.digest != changed.digest


async def test_streams_follow_one_another_on_one_connection(tmp_path):
    """Many short files take one connection."""
    paths = [write(tmp_path / f"{number}.wav", 100 + number) for number in range(10)]
    recorder = Recorder()
    async with (
        listening(recorder) as running,
        Relay(running.port).listen() as proxy,
        connected(proxy.url) as client,
    ):
        for path in paths:
            await client.send(path)

    assert 1 == proxy.accepted
    assert [str(path) for path in paths] == [take.stream.name for take in recorder.takes]
    for path, take in zip(paths, recorder.takes, strict=True):
        assert same(samples(path), take.samples)


async def test_connections_beside_one_another(tmp_path):
    """Several clients send at once, and no stream gets a sample of another."""
    paths = [write(tmp_path / f"{number}.wav", 40_000 + number) for number in range(6)]
    recorder = Recorder()

    async def send(path):
        async with connected(running.url) as client:
            return await client.send(path)

    async with listening(recorder, **SMALL) as running:
        await asyncio.gather(*map(send, paths))

    takes = {take.stream.name: take for take in recorder.finished}
    for path in paths:
        assert same(samples(path), takes[str(path)].samples)


@pytest.mark.parametrize(
    ("requested", "expected"), [(1000, 1000), (1, 1), (0, 262_144), (270_000, 262_144)]
)
async def test_chunk_frames(tmp_path, requested, expected):
    """Chunks have the requested length, and never more than the receiver's maximum."""
    path = write(tmp_path / "a.wav", 50 if requested == 1 else 300_000)
    recorder = Recorder()
    async with (
        listening(recorder) as running,
        connected(running.url, chunk_frames=requested) as client,
    ):
        _, take = await deliver(recorder, client, path)

    lengths = [len(block) for block in take.blocks]
    assert {expected} == set(lengths[:-1])
    assert 0 < lengths[-1] <= expected
    assert same(samples(path), take.samples)


async def test_realtime_is_not_faster_than_asked(tmp_path):
    """A second of audio at 5 times the speed takes 0.2 s, in blocks of 4096 frames."""
    path = write(tmp_path / "a.wav", RATE)
    recorder = Recorder()
    now = asyncio.get_running_loop().time
    async with (
        listening(recorder) as running,
        connected(running.url, realtime=True, speed=5) as client,
    ):
        started = now()
        _, take = await deliver(recorder, client, path)
        elapsed = now() - started

    assert 0.2 <= elapsed < 2
    assert [4096, 4096, 4096, RATE - 3 * 4096] == [len(block) for block in take.blocks]
    assert same(samples(path), take.samples)


@pytest.mark.parametrize("ack", ["received", "durable"])
async def test_ack_levels_against_a_store_that_keeps_nothing(tmp_path, ack):
    """A receiver without a store grants `received`, also if a sender requests `durable`."""
    path = write(tmp_path / "a.wav", 200_000)
    recorder = Recorder()
    async with (
        listening(recorder, **SMALL) as running,
        connected(running.url, ack=ack) as client,
    ):
        source = AudioFile(path)
        transfer = client.transfer(source)
        receipt = await client.carry(transfer)
        source.close()

    assert wire.Level(ack) is transfer.outbound.hello.ack
    assert wire.Level.RECEIVED is transfer.outbound.level
    assert (200_000, False) == (receipt.frames, receipt.durable)
    assert same(samples(path), recorder.takes[0].samples)
