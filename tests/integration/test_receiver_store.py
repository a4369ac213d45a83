"""A receiver with a store: acknowledged audio stays, and commands can read the store."""

import asyncio
import io
import json
import os
import sys

import pytest
import soundfile
from websockets.asyncio.client import connect

from receiver.__main__ import app
from receiver.inspect import export_stream, verify_store
from receiver.processors.levels import Levels
from receiver.stores.journal import Layout, PosixDisk
from receiver.stores.journal.export import NotFound
from sonoduct import wire
from sonoduct.runtime.command import run
from tests.support.commands import COMMANDS, started
from tests.support.rawclient import FORMAT, digest, running, sound, speaking
from tests.support.waits import recorded, until

SOUND = sound(30_000)
ROOM = {"reserve_bytes": 0}


def recordings(store, dtype="int16"):
    """Return the recordings of a store, as bytes of samples."""
    return {
        path.name: soundfile.read(path, dtype=dtype, always_2d=True)[0].tobytes()
        for path in sorted((store / "audio").glob("[!.]*.wav"))
    }


async def stored(store, dtype="int16"):
    """Wait for the first recording; return its samples."""
    await recorded(store)
    (samples,) = recordings(store, dtype).values()
    return samples


def segment(store):
    """Return the path of the only segment of the only stream."""
    (path,) = (store / "streams").glob("*/*/*.seg")
    return path


async def test_a_stream_becomes_a_recording(tmp_path):
    """The receipt says `durable`, and the recording has the sent samples."""
    async with running(store=str(tmp_path), limits=ROOM) as receiver:
        async with speaking(receiver.url, name="talks/a b.flac") as client:
            await client.greet()
            await client.send(SOUND)
            receipt = await client.commit()
        kept = await stored(tmp_path)

    assert receipt.durable
    assert SOUND == kept
    assert ["a_b"] == [name[: name.rindex("-")] for name in recordings(tmp_path)]


async def test_a_new_receiver_continues_at_the_durable_frame(tmp_path):
    """A new receiver continues at the frame that the old one acknowledged; the whole is exact."""
    half = len(SOUND) // 2
    async with running(store=str(tmp_path), limits=ROOM) as receiver:
        async with speaking(receiver.url) as client:
            await client.greet()
            await client.send(SOUND[:half])
            await client.until(wire.Ack, lambda ack: ack.durable == 15_000)
            stream = client.outbound.hello.stream
    async with running(store=str(tmp_path), limits=ROOM) as receiver:
        async with speaking(receiver.url, stream=stream) as client:
            opened = await client.greet()
            await client.send(SOUND)
            receipt = await client.commit()
        kept = await stored(tmp_path)

    assert (2, 15_000) == (opened.epoch, opened.offset)
    assert digest(SOUND) == receipt.digest
    assert SOUND == kept


async def test_a_stream_that_is_complete_is_answered_with_its_receipt(tmp_path):
    """Another receiver also answers with the receipt, with and without a recording."""
    async with running(store=str(tmp_path), limits=ROOM) as receiver:
        async with speaking(receiver.url) as client:
            await client.greet()
            await client.send(SOUND)
            receipt = await client.commit()
            stream = client.outbound.hello.stream
    async with running(store=str(tmp_path), limits=ROOM) as receiver:
        async with speaking(receiver.url, stream=stream) as client:
            opened = await client.greet()

    assert wire.State.COMMITTED == opened.state
    assert receipt == opened.receipt


async def test_two_receivers_share_a_store(tmp_path):
    """When the second claims the stream, the first closes with 4409 and acknowledges no more."""
    async with (
        running(store=str(tmp_path), limits=ROOM) as one,
        running(store=str(tmp_path), limits=ROOM) as two,
        speaking(one.url) as stale,
    ):
        await stale.greet()
        await stale.send(SOUND[:40_000])
        await stale.until(wire.Ack, lambda ack: ack.durable == 10_000)
        hello = stale.outbound.hello
        async with speaking(two.url, stream=hello.stream, instance=hello.instance) as client:
            opened = await client.greet()
            await client.send(SOUND)
            await stale.send(SOUND[:48_000])
            code, _ = await stale.closed()
            receipt = await client.commit()
        kept = await stored(tmp_path)

    assert 10_000 == opened.offset
    assert 4409 == code
    assert 10_000 == stale.outbound.durable
    assert (digest(SOUND), SOUND) == (receipt.digest, kept)


async def test_a_receipt_names_the_frames_that_processors_saw(tmp_path):
    """After a move, processors see only the later frames; the receipt names these frames."""
    async with (
        running(Levels, store=str(tmp_path), limits=ROOM) as one,
        running(Levels, store=str(tmp_path), limits=ROOM) as two,
        speaking(one.url) as first,
    ):
        await first.greet()
        await first.send(SOUND[:40_000])
        await first.until(wire.Ack, lambda ack: ack.durable == 10_000)
        hello = first.outbound.hello
        async with speaking(two.url, stream=hello.stream, instance=hello.instance) as client:
            await client.greet()
            await client.send(SOUND)
            receipt = await client.commit()

    assert {"levels": "saw frames 10000 to 30000 of 30000"} == receipt.failures
    assert "levels" in receipt.processors


async def test_another_sender_waits_while_a_stream_is_held_elsewhere(tmp_path):
    """It gets 4423 while the holder makes progress at another receiver."""
    async with (
        running(store=str(tmp_path), limits=ROOM) as one,
        running(store=str(tmp_path), limits=ROOM) as two,
        speaking(one.url) as holder,
    ):
        await holder.greet()
        await holder.send(SOUND[:40_000])
        await holder.until(wire.Ack, lambda ack: ack.durable == 10_000)
        hello = holder.outbound.hello
        async with speaking(two.url, stream=hello.stream, instance="another") as client:
            await client.greet()
            code, _ = await client.closed()
        await holder.send(SOUND)
        receipt = await holder.commit()

    assert 4423 == code
    assert digest(SOUND) == receipt.digest


async def test_a_stream_that_grows_too_long_is_refused(tmp_path):
    """The receiver closes with 4413, and keeps the frames before the limit."""
    limits = {**ROOM, "stream_bytes": 50_000}
    async with running(store=str(tmp_path), limits=limits) as receiver:
        async with speaking(receiver.url) as client:
            await client.greet()
            await client.send(SOUND)
            code, _ = await client.closed()
        async with speaking(receiver.url, stream=client.outbound.hello.stream) as again:
            opened = await again.greet()

    assert 4413 == code
    assert 49_152 // FORMAT.frame_bytes == opened.offset


async def test_no_room_means_not_ready_and_no_new_stream(tmp_path):
    """If less than the reserve is free, the receiver sends new streams elsewhere."""
    limits = {"reserve_bytes": PosixDisk().capacity(tmp_path) - 1}
    async with running(store=str(tmp_path), limits=limits) as receiver:
        async with speaking(receiver.url) as client:
            await client.greet()
            code, _ = await client.closed()

    assert 4507 == code


async def test_an_open_stream_can_be_exported(tmp_path):
    """A user can export and play the acknowledged frames; the stream is not disturbed."""
    output = tmp_path / "out.wav"
    async with running(store=str(tmp_path / "store"), limits=ROOM) as receiver:
        async with speaking(receiver.url) as client:
            await client.greet()
            await client.send(SOUND[:40_000])
            await client.until(wire.Ack, lambda ack: ack.durable == 10_000)
            stream = client.outbound.hello.stream
            code = export_stream(Layout(PosixDisk(), tmp_path / "store"), stream[:8], output)
            await client.send(SOUND)
            await client.commit()

    samples, samplerate = soundfile.read(output, dtype="int16")
    assert (0, 8000) == (code, samplerate)
    assert SOUND[:40_000] == samples.tobytes()


async def test_a_damaged_journal_is_exported_up_to_the_damage(tmp_path, capsys):
    """Export writes the frames before the damage; verify names the place."""
    store = tmp_path / "store"
    async with running(store=str(store), limits=ROOM) as receiver:
        async with speaking(receiver.url) as client:
            await client.greet()
            await client.send(SOUND, chunk_bytes=8000)
            await client.until(wire.Ack, lambda ack: ack.durable == 30_000)
            stream = client.outbound.hello.stream
    path = segment(store)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    layout, output = Layout(PosixDisk(), store), tmp_path / "out.flac"

    codes = export_stream(layout, stream, output), verify_store(layout)

    samples, _ = soundfile.read(output, dtype="int16")
    assert (0, 1) == codes
    assert 0 < len(samples) < 30_000
    assert SOUND[: samples.nbytes] == samples.tobytes()
    assert f"{path}: damaged from byte" in capsys.readouterr().err


async def test_verify_finds_a_changed_sample_in_a_recording(tmp_path, capsys):
    """The exit code tells a sound store from one with a single flipped bit."""
    layout = Layout(PosixDisk(), tmp_path)
    async with running(store=str(tmp_path), limits=ROOM) as receiver:
        async with speaking(receiver.url) as client:
            await client.greet()
            await client.send(SOUND)
            await client.commit()
        await stored(tmp_path)
    before = verify_store(layout)
    (path,) = (tmp_path / "audio").glob("*.wav")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    after = verify_store(layout)

    assert (0, 1) == (before, after)
    said = capsys.readouterr()
    assert "1 recordings, 0 complete journals, 0 open ones, 30000 frames: 0 damaged" in said.out
    assert "digest" in said.err


def overwritten(audio):
    """Put the recording and manifest of one stream in the place of another stream's."""
    one, two = sorted(audio.glob("*.json"))
    two.write_bytes(one.read_bytes().replace(one.stem.encode(), two.stem.encode()))
    two.with_suffix(".wav").write_bytes(one.with_suffix(".wav").read_bytes())


def lost(audio):
    """Remove a recording with its manifest."""
    one = min(audio.glob("*.json"))
    one.unlink()
    one.with_suffix(".wav").unlink()


def bare(audio):
    """Remove a recording, and leave the manifest."""
    min(audio.glob("*.wav")).unlink()


@pytest.mark.parametrize(
    ("harm", "fault"),
    [
        (overwritten, "receipt Receipt(stream="),
        (lost, "its manifest is missing or damaged"),
        (bare, "its manifest is missing or damaged"),
    ],
    ids=["overwritten", "lost", "bare"],
)
async def test_verify_compares_each_receipt_with_its_own_recording(tmp_path, capsys, harm, fault):
    """If a stream with a receipt has no recording of its own, the exit code of verify is 1."""
    async with running(store=str(tmp_path), limits=ROOM) as receiver:
        for seed in (1, 2):
            async with speaking(receiver.url, name="a.wav") as client:
                await client.greet()
                await client.send(sound(1000, seed=seed))
                await client.commit()
    before = verify_store(Layout(PosixDisk(), tmp_path))
    harm(tmp_path / "audio")
    after = verify_store(Layout(PosixDisk(), tmp_path))

    assert (0, 1) == (before, after)
    assert fault in capsys.readouterr().err


async def test_a_tail_that_was_cut_short_is_no_damage(tmp_path):
    """A crash leaves half a record, which no ack covers: verify does not call it damage."""
    async with running(store=str(tmp_path), limits=ROOM) as receiver:
        async with speaking(receiver.url) as client:
            await client.greet()
            await client.send(SOUND, chunk_bytes=8000)
            await client.until(wire.Ack, lambda ack: ack.durable == 30_000)
    path = segment(tmp_path)
    path.write_bytes(path.read_bytes()[:-100])

    assert 0 == verify_store(Layout(PosixDisk(), tmp_path))


def test_exporting_an_unknown_stream(tmp_path):
    """Export of an unknown stream is an error that names the number of matches."""
    with pytest.raises(NotFound, match="begins with 'ab': 0, expected 1"):
        export_stream(Layout(PosixDisk(), tmp_path), "ab", None)


@pytest.mark.parametrize("command", [("verify",), ("export", "ab")])
def test_a_folder_that_is_not_a_store_is_wrong_usage(tmp_path, capsys, command):
    """If a folder is not a store, the commands end with the exit code for wrong usage."""
    assert 2 == run(app, [*command, "--store", str(tmp_path)])
    assert f"{tmp_path} is no store" in capsys.readouterr().err


async def test_draining_acknowledges_to_the_last_byte(tmp_path):
    """A sender that is sent elsewhere need not repeat a frame that this receiver has taken."""
    async with running(store=str(tmp_path), limits=ROOM) as receiver:
        async with speaking(receiver.url) as client:
            await client.greet()
            await client.send(SOUND)
            await receiver.until("receiver_frames_total", lambda n: n == 30_000)
            draining = asyncio.create_task(receiver.inside.drain())
            code, _ = await client.closed()
            await draining

    assert 1012 == code
    assert 30_000 == client.outbound.durable


async def test_a_plain_stream_is_durable_before_its_answer(tmp_path):
    """`Done!` means that the journal is complete, with or without a recording."""
    samples = sound(5000, wire.Format(samplerate=8000, channels=1, encoding=wire.Encoding.F32LE))
    async with running(store=str(tmp_path), limits=ROOM) as receiver:
        async with connect(f"{receiver.url}/?samplerate=8000&channels=1") as plain:
            for start in range(0, len(samples), 999):
                await plain.send(samples[start : start + 999])
            await plain.send("Done")
            facts, answer = json.loads(await plain.recv()), await plain.recv()
            left = list((tmp_path / "streams").glob("*/*/*"))
        await stored(tmp_path, dtype="float32")

    assert (5000, "Done!") == (facts["frames"], answer)
    assert left
    assert [samples] == list(recordings(tmp_path, "float32").values())


async def test_verify_finds_a_damaged_opening(tmp_path, capsys):
    """Verify reports a segment whose opening record is damaged."""
    async with running(store=str(tmp_path), limits=ROOM) as receiver:
        async with speaking(receiver.url) as client:
            await client.greet()
            await client.send(SOUND)
            await client.until(wire.Ack, lambda ack: ack.durable == 30_000)
    path = segment(tmp_path)
    data = bytearray(path.read_bytes())
    data[40] ^= 1
    path.write_bytes(data)

    assert 1 == verify_store(Layout(PosixDisk(), tmp_path))
    assert "its opening is damaged" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "why"), [("notes.txt", "notes.txt: Not a directory"), (".", "holds notes.txt")]
)
async def test_a_bad_store_is_reported_at_the_start(tmp_path, name, why):
    """The receiver prints one line, exits with 1, and does not change the path."""
    (tmp_path / "notes.txt").write_text("mine")
    options = ("--host", "127.0.0.1", "--port", "0", "--metrics-port", "0")
    store = ("--store", tmp_path / name)
    async with started(COMMANDS / "receiver", "serve", *options, *store) as program:
        code = await program.ended()
    (line,) = map(json.loads, program.errors)

    assert (1, "receiver_failed", True) == (code, line["event"], why in line["reason"])
    assert ["notes.txt"] == [each.name for each in tmp_path.iterdir()]
    assert "mine" == (tmp_path / "notes.txt").read_text()


async def test_exporting_and_checking_in_another_encoding(tmp_path, monkeypatch):
    """Commands replace characters that the output cannot show, and do not read markup in names."""
    async with running(store=str(tmp_path / "Привет"), limits=ROOM) as receiver:
        async with speaking(receiver.url) as client:
            await client.greet()
            await client.send(SOUND)
            await client.commit()
    written = io.BytesIO(), io.BytesIO()
    for name, buffer in zip(("stdout", "stderr"), written, strict=True):
        monkeypatch.setattr(sys, name, io.TextIOWrapper(buffer, "ascii", write_through=True))
    store = ("--store", str(tmp_path / "Привет"))
    output = tmp_path / os.fsdecode("[/x] :cat: П".encode() + b"\xff.wav")
    output.parent.mkdir()  # named "["
    stream = client.outbound.hello.stream

    assert 0 == run(app, ["export", stream, "--output", str(output), *store])
    assert written[0].getvalue().endswith(b"/[/x] :cat: \\u041f\\udcff.wav: 30000 frames\n")
    assert output.exists()
    assert 1 == run(app, ["export", "zz", *store])
    assert b"\\u0442 whose id begins with 'zz'" in written[1].getvalue()
    assert 0 == run(app, ["verify", *store])


async def test_a_silent_stream_is_marked_while_its_sender_is_connected(tmp_path, monkeypatch):
    """So it is not taken for one whose sender is away when the disk is short of room."""
    monkeypatch.setattr("receiver.streams.registry.TOUCH_S", 0.05)
    async with (
        running(store=str(tmp_path), limits=ROOM) as receiver,
        speaking(receiver.url) as client,
    ):
        await client.greet()
        await client.send(sound(100))
        await client.until(wire.Ack, lambda ack: ack.durable == 100)
        (segment,) = tmp_path.glob("streams/*/*/*.seg")
        os.utime(segment, (0, 0))
        await until(lambda: segment.stat().st_mtime > 0)
        await client.commit()
