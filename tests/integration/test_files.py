"""Files that senders send as they are: the receiver decodes and keeps them, sample for sample."""

import asyncio
import hashlib
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile

from receiver.inspect import export_stream, verify_store
from receiver.processing.pipeline import Pipeline
from receiver.stores.journal import Layout, PosixDisk
from receiver.streams.file import AHEAD
from sender.__main__ import app
from sonoduct import wire
from sonoduct.runtime.command import run
from tests.support.clients import connected
from tests.support.commands import COMMANDS, outcomes, sent, started, watching
from tests.support.rawclient import running, sound, speaking
from tests.support.recorder import Recorder
from tests.support.relay import free_port
from tests.support.sounds import noise, same, samples, write
from tests.support.waits import recorded, until

ROOM = {"reserve_bytes": 0}
SOUNDS = Path(__file__).parents[1] / "containers" / "sounds"
FILE = {"kind": wire.Kind.FILE, "format_": None}
DISK = PosixDisk()


def keeping(tmp_path, *processors, limits=None, **settings):
    """Run a receiver with its store in *tmp_path*."""
    store = str(tmp_path / "store")
    return running(*processors, store=store, limits=ROOM | (limits or {}), **settings)


def sending(url, **settings):
    """Return a client that sends files as they are."""
    return connected(url, encoding="file", **settings)


@asynccontextmanager
async def sent_whole(receiver, data, **hello):
    """Open a connection and send the bytes of a file, without eos."""
    async with speaking(receiver.url, **FILE, **hello) as client:
        await client.greet()
        await client.send(data)
        yield client


def made(path, **how):
    """Write a second of noise to *path*, in the format of its suffix."""
    soundfile.write(path, 0.3 * noise(16_000, 2), 16_000, **how)
    return path


KINDS = {
    "a.wav": {"subtype": "PCM_16"},
    "b.wav": {"subtype": "PCM_24"},
    "c.wav": {"subtype": "FLOAT"},
    "d.flac": {"subtype": "PCM_24"},
    "e.ogg": {},
    "f.mp3": {},
    "g.aiff": {"subtype": "PCM_S8"},
}


async def test_arrays_receipts_and_recordings_agree_with_soundfile(tmp_path):
    """Arrays, receipt and recording are right, for lossless and lossy formats."""
    recorder, paths = Recorder(), [made(tmp_path / name, **how) for name, how in KINDS.items()]
    async with keeping(tmp_path, recorder) as receiver, sending(receiver.url) as client:
        receipts = [await client.send(path) for path in paths]
        again = [await client.send(path) for path in paths]
        recordings = await recorded(tmp_path / "store", len(paths))
        frames = receiver.value("receiver_frames_total")
        size = receiver.value("receiver_received_bytes_total", dialect="sonoduct")

    for path, receipt, take, recording in zip(
        paths, receipts, recorder.takes, recordings, strict=True
    ):
        data = path.read_bytes()
        assert same(samples(path), take.samples)
        assert take.gapless
        assert (16_000, 2) == (take.stream.samplerate, take.stream.channels)
        assert (len(data), hashlib.sha256(data).hexdigest()) == (receipt.units, receipt.sha256)
        assert (len(take.samples), 16_000, 2) == (
            receipt.frames,
            receipt.samplerate,
            receipt.channels,
        )
        assert "soundfile" == receipt.decoder
        assert same(samples(path), samples(recording))
    assert receipts == again
    assert sum(receipt.frames for receipt in receipts) == frames
    assert 0 < size - sum(path.stat().st_size for path in paths) < 32 * 200
    assert 0 == verify_store(Layout(DISK, tmp_path / "store"))
    assert [] == list((tmp_path / "store" / "audio").glob(".*"))


@pytest.mark.parametrize("name", ["m4a_aac.m4a", "mp4_trailing_moov.mp4", "wma_v2.wma"])
async def test_both_sides_decode_alike(tmp_path, name):
    """The receiver's ffmpeg gives the same samples as the sender's."""
    recorder = Recorder()
    async with (
        keeping(tmp_path, recorder) as receiver,
        sending(receiver.url) as whole,
        connected(receiver.url) as decoding,
    ):
        receipt = await whole.send(SOUNDS / name)
        other = await decoding.send(SOUNDS / name)

    assert "ffmpeg" == receipt.decoder
    assert (other.frames, other.samplerate) == (receipt.frames, receipt.samplerate)
    assert same(recorder.takes[1].samples, recorder.takes[0].samples)


SLOW = """
import time

class Slow:
    def open(self, stream): self.frames = 0
    def process(self, samples, offset):
        time.sleep(0.02)
        self.frames += len(samples)
        return {"frames": self.frames}
    def close(self): return {"frames": self.frames}
"""


async def test_a_receiver_killed_while_it_decodes(tmp_path):
    """The next receiver decodes again from the start; the sender repeats no byte."""
    (tmp_path / "slow.py").write_text(SLOW)
    path = write(tmp_path / "a.wav", 400_000, 2)
    port = free_port()
    serve = (
        *(COMMANDS / "receiver", "serve", "--host", "127.0.0.1", "--port", str(port)),
        *("--metrics-port", "0", "--store", tmp_path / "store", "--reserve-bytes", "0"),
        *("--processors", "slow:Slow"),
    )
    env, begun = {"PYTHONPATH": str(tmp_path)}, asyncio.Event()
    async with sending(f"ws://127.0.0.1:{port}") as client:
        async with started(*serve, env=env) as first:
            await first.said("receiver_ready")
            work = asyncio.create_task(client.send(path, lambda _event: begun.set()))
            await begun.wait()
            first.process.kill()
            await first.ended()
        async with started(*serve, env=env) as second:
            receipt = await work
            opened = await second.said("stream_opened")
            (recording,) = await recorded(tmp_path / "store")

    assert path.stat().st_size == opened["offset"]
    assert {"slow": {"frames": 400_000}} == receipt.processors
    assert same(samples(path), samples(recording))


@pytest.mark.parametrize("resumed", [False, True])
async def test_acks_come_while_a_file_is_decoded(tmp_path, monkeypatch, resumed):
    """Acks come during decoding, also on a connection that carried no byte of the file."""
    monkeypatch.setattr("receiver.connections.outbox.KEEPALIVE_S", 0.02)
    monkeypatch.setattr("receiver.connections.server.CHECK_S", 0.02)
    recorder, data = Recorder(), write(tmp_path / "a.wav").read_bytes()
    recorder.gate.clear()
    async with keeping(tmp_path, recorder) as receiver:
        async with sent_whole(receiver, data) as client:
            half = client.outbound
            if resumed:
                await client.acknowledged()
                half.lose()
                await client.connection.close()
            else:
                await client.say(half.eos())
                for _ in range(5):
                    await client.until(wire.Ack, lambda ack: ack.durable == len(data))
                recorder.gate.set()
                receipt = (await client.until(wire.Committed)).receipt
        if resumed:
            async with speaking(receiver.url, half) as client:
                await client.greet()
                await client.say(half.eos())
                for _ in range(5):
                    await client.until(wire.Ack, lambda ack: ack.durable == len(data))
                recorder.gate.set()
                receipt = (await client.until(wire.Committed)).receipt

    assert 16_000 == receipt.frames


async def test_a_decoder_waits_for_the_processors(tmp_path, monkeypatch):
    """A decoder is at most a few blocks ahead of the slowest processor, however long the file."""
    monkeypatch.setattr("receiver.streams.file.BLOCK_BYTES", 4000)
    feed, ends = Pipeline.feed, []
    monkeypatch.setattr(
        Pipeline, "feed", lambda self, *args: (ends.append(args[1]), feed(self, *args))
    )
    recorder, data = Recorder(), write(tmp_path / "a.wav", 100_000).read_bytes()
    recorder.gate.clear()
    async with keeping(tmp_path, recorder) as receiver:
        async with sent_whole(receiver, data) as client:
            await client.say(client.outbound.eos())
            await until(lambda: ends and ends[-1] > AHEAD * 2000)
            await asyncio.sleep(0.2)  # for the blocks that must not come
            ahead = ends[-1]
            recorder.gate.set()
            receipt = (await client.until(wire.Committed)).receipt

    assert AHEAD * 2000 < ahead <= (AHEAD + 1) * 2000
    assert 100_000 == receipt.frames == ends[-1]


async def test_the_same_sender_takes_over_while_it_is_decoded(tmp_path):
    """If the same sender connects again, decoding starts again for the new connection at once."""
    recorder, data = Recorder(), write(tmp_path / "a.wav", 100_000).read_bytes()
    recorder.gate.clear()
    async with keeping(tmp_path, recorder) as receiver:
        async with sent_whole(receiver, data) as first:
            stream = first.outbound.hello.stream
            await first.say(first.outbound.eos())
            await recorder.until(lambda: recorder.takes)
            async with speaking(receiver.url, **FILE, stream=stream) as second:
                opened = await second.greet()
                closed, _ = await first.closed()
                recorder.gate.set()
                await second.send(data)
                receipt = await second.commit()

    assert (4409, len(data), 2) == (closed, opened.offset, opened.epoch)
    assert {"recorder": {"seen": 100_000}} == receipt.processors
    assert recorder.takes[-1].gapless
    assert 100_000 == recorder.takes[-1].frames


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_another_sender_waits_while_it_is_decoded(tmp_path, monkeypatch, elsewhere):
    """Decoding is progress of the holder, at this receiver and at others that share the store."""
    monkeypatch.setattr("receiver.streams.file.TOUCH_S", 0.02)
    recorder, data = Recorder(), write(tmp_path / "a.wav").read_bytes()
    recorder.gate.clear()
    limits = {"takeover_timeout": 0.3}
    async with (
        keeping(tmp_path, recorder, limits=limits) as receiver,
        keeping(tmp_path, limits=limits) as other,
        sent_whole(receiver, data) as first,
    ):
        stream = first.outbound.hello.stream
        await first.say(first.outbound.eos())
        await recorder.until(lambda: recorder.takes)
        await asyncio.sleep(0.5)  # longer than a holder may idle
        url = (other if elsewhere else receiver).url
        async with speaking(url, **FILE, stream=stream, instance="two") as second:
            await second.say(second.outbound.greet())
            refused, _ = await second.closed()
        recorder.gate.set()
        receipt = (await first.until(wire.Committed)).receipt

    assert 4423 == refused
    assert 16_000 == receipt.frames


async def test_a_receiver_that_stops_does_not_wait_for_a_decoder(tmp_path):
    """The receiver sends its sender elsewhere, and decoding starts again there."""
    recorder, data = Recorder(), write(tmp_path / "a.wav").read_bytes()
    recorder.gate.clear()
    async with keeping(tmp_path, recorder) as receiver:
        async with sent_whole(receiver, data) as client:
            stream = client.outbound.hello.stream
            await client.say(client.outbound.eos())
            await recorder.until(lambda: recorder.takes)
            draining = asyncio.create_task(receiver.inside.drain())
            closed, _ = await client.closed()
        recorder.gate.set()
        await draining
    async with keeping(tmp_path) as receiver:
        async with speaking(receiver.url, **FILE, stream=stream) as client:
            opened = await client.greet()
            await client.send(data)
            receipt = await client.commit()

    assert (1012, len(data)) == (closed, opened.offset)
    assert 16_000 == receipt.frames


def header_only(path):
    """Return a WAV without a frame."""
    soundfile.write(path, np.zeros((0, 1), np.int16), 8000)
    return path.read_bytes()


BAD = {
    "a text": (lambda _path: b"no audio at all " * 100, "none", "no audio"),
    "only a header": (header_only, "none", "0 frames"),
    "one byte": (lambda _path: b"x", "none", "no audio"),
}


@pytest.mark.parametrize("case", BAD)
async def test_a_bad_file_is_kept_and_refused(tmp_path, case, capsys):
    """The error has the reason, the store keeps every byte, and other streams are not disturbed."""
    make, decoder, sentence = BAD[case]
    data, output = make(tmp_path / "bad.wav"), tmp_path / "out"
    layout, payload = Layout(PosixDisk(), tmp_path / "store"), sound(4000)
    async with keeping(tmp_path) as receiver, speaking(receiver.url) as other:
        await other.greet()
        await other.send(payload[:8000])
        async with sent_whole(receiver, data) as client:
            stream = client.outbound.hello.stream
            await client.say(client.outbound.eos())
            closed, _ = await client.closed()
            error = client.all(wire.Error)[-1]
        async with (
            keeping(tmp_path) as elsewhere,
            speaking(elsewhere.url, **FILE, stream=stream, instance="two") as client,
        ):
            opened = await client.greet()
            client.outbound.skip(len(data), data)
            await client.say(client.outbound.eos())
            again, _ = await client.closed()
        faults = receiver.value("receiver_decode_errors_total", decoder=decoder)
        failed = receiver.value("receiver_streams_total", result="failed")
        await other.send(payload)
        await other.commit()
        code = export_stream(layout, stream, output)

    assert (4500, 4500, 4500) == (closed, again, error.code)
    assert sentence in error.message
    assert len(data) == opened.offset
    assert (1, 1) == (faults, failed)
    assert (0, data) == (code, output.read_bytes())
    assert f"{len(data)} bytes" in capsys.readouterr().out


async def test_a_damaged_file_is_decoded_up_to_its_damage(tmp_path):
    """The sender gets a warning, and a receipt for the decoded frames."""
    path, recorder, events = write(tmp_path / "a.flac", 10_000), Recorder(), []
    expected, data = samples(path), bytearray(path.read_bytes())
    data[22:26] = (20_000).to_bytes(4)  # the frames that it claims
    path.write_bytes(data)
    async with keeping(tmp_path, recorder) as receiver, sending(receiver.url) as client:
        receipt = await client.send(path, events.append)

    assert 10_000 == receipt.frames
    assert same(expected, recorder.takes[0].samples)
    (event,) = [event for event in events if event.processor == "decoder"]
    assert 10_000 == event.offset
    assert {"warning": "10000 frames, the file claims 20000"} == event.values


async def test_a_decoder_is_limited(tmp_path):
    """If a file decodes to more than the limit, the error says so, and the metrics count it."""
    path = tmp_path / "silence.flac"
    soundfile.write(path, np.zeros((33_600_000, 4), np.int16), 8000)  # 269 MB
    limits = {"decode_expansion": 1}
    async with keeping(tmp_path, limits=limits) as receiver, sending(receiver.url) as client:
        with pytest.raises(wire.ProcessingFailed, match="bytes of samples, expected at most"):
            await client.send(path)
        faults = receiver.value("receiver_decode_errors_total", decoder="soundfile")

    assert 1 == faults


async def test_a_journal_that_was_spoilt_makes_no_receipt(tmp_path):
    """The receiver gives no receipt for a part of a file; verify reports the damage."""
    data = write(tmp_path / "a.wav").read_bytes()
    async with keeping(tmp_path) as receiver, sent_whole(receiver, data) as client:
        await client.until(wire.Ack, lambda ack: ack.durable == len(data))
        (segment,) = (tmp_path / "store").glob("streams/*/*/*.seg")
        spoilt = bytearray(segment.read_bytes())
        spoilt[len(data) // 2] ^= 1
        segment.write_bytes(spoilt)
        await client.say(client.outbound.eos())
        closed, _ = await client.closed()

    assert 4507 == closed
    assert 1 == verify_store(Layout(DISK, tmp_path / "store"))


async def test_files_take_turns(tmp_path):
    """If there are more files than decoders, all files are decoded one after another."""
    paths = [write(tmp_path / f"{number}.wav", 20_000 + number) for number in range(5)]
    async with keeping(tmp_path, decoders=1) as receiver:

        async def send(path):
            async with sending(receiver.url) as client:
                return await client.send(path)

        receipts = await asyncio.gather(*map(send, paths))

    assert [20_000, 20_001, 20_002, 20_003, 20_004] == [receipt.frames for receipt in receipts]


async def test_without_a_store_files_are_refused():
    """A receiver without a store has no place to keep a file, and refuses it."""
    async with running() as receiver, speaking(receiver.url, **FILE) as client:
        error = await client.greet()
        closed, _ = await client.closed()

    assert (4400, 4400) == (closed, error.code)
    assert ("file", True) == (error.seen, error.expected.startswith("pcm: without a store"))


async def test_the_original_is_kept_on_request(tmp_path, capsys):
    """The manifest names the original, verify checks it, and export returns it."""
    path, layout, output = (
        made(tmp_path / "my tape.ogg"),
        Layout(PosixDisk(), tmp_path / "store"),
        tmp_path / "x",
    )
    async with keeping(tmp_path, keep_original=True) as receiver, sending(receiver.url) as client:
        receipt = await client.send(path)
        await recorded(tmp_path / "store")
    (original,) = layout.audio.glob("*.original.ogg")
    exported = export_stream(layout, receipt.stream, output)
    sound_before = verify_store(layout)
    data = bytearray(original.read_bytes())
    data[-1] ^= 1
    original.write_bytes(data)
    sound_after = verify_store(layout)

    assert path.read_bytes() == output.read_bytes()
    assert (0, 0, 1) == (exported, sound_before, sound_after)
    assert "original" in capsys.readouterr().err


async def test_a_recording_is_exported_where_the_original_was_not_kept(tmp_path):
    """Export writes the recording of a complete file, and the bytes of an open file."""
    data, layout = write(tmp_path / "a.wav").read_bytes(), Layout(PosixDisk(), tmp_path / "store")
    async with keeping(tmp_path) as receiver, sent_whole(receiver, data) as client:
        stream = client.outbound.hello.stream
        await client.until(wire.Ack, lambda ack: ack.durable == len(data))
        before = export_stream(layout, stream, tmp_path / "open"), verify_store(layout)
        await client.commit()
        await recorded(tmp_path / "store")
        after = export_stream(layout, stream, tmp_path / "done.wav")

    assert ((0, 0), 0) == (before, after)
    assert data == (tmp_path / "open").read_bytes()
    assert same(samples(tmp_path / "a.wav"), samples(tmp_path / "done.wav"))


async def test_the_commands_send_files(tmp_path):
    """`send` and `watch` send files, and `watch` does not repeat a file that `send` has sent."""
    folder = tmp_path / "in"
    folder.mkdir()
    path, report = made(folder / "a.ogg"), tmp_path / "report.jsonl"
    options = ("--encoding", "file", "--progress", "never", "--report", report)
    async with keeping(tmp_path) as receiver:
        _, code = await sent(path, "--to", receiver.url, *options)
        first = outcomes(report)["a.ogg"]
        async with watching(folder, receiver.url, "--encoding", "file") as program:
            await program.said("stream_ended", result="known")
            made(folder / "b.mp3")
            await program.said("stream_ended", result="sent")
            program.interrupt()
            await program.ended()

    assert (0, "sent") == (code, first["result"])
    assert hashlib.sha256(path.read_bytes()).hexdigest() == first["receipt"]["sha256"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--samplerate", "8000", "--mono"), "encoding file with samplerate, mono, expected"),
        (("--realtime",), "encoding file with realtime, expected the file as it is"),
        (("--protocol", "plain"), "encoding file with protocol plain, expected"),
        (("--raw", "s16le:8000:1"), "encoding file with raw, expected"),
        (("--url", "http://127.0.0.1:1/"), "encoding file with url, expected"),
    ],
)
def test_options_that_change_a_file_are_wrong_usage(capsys, options, said):
    """Options that change samples are an error with `--encoding file`."""
    assert 2 == run(app, ["send", "a.wav", "--encoding", "file", *options])
    assert said in capsys.readouterr().err


async def test_standard_input_cannot_be_sent_as_a_file(tmp_path):
    """The error says that a file is expected."""
    program, code = await sent("-", "--encoding", "file", "--progress", "never")

    assert 1 == code
    assert "standard input with --encoding file, expected a file" in program.out
