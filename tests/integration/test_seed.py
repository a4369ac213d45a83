"""The tutorial's own programs, unchanged, with our sender and our receiver."""

import asyncio
import json
import sys
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from sender import NotAReceiverError, Settings, UnreachableError
from sender.dialects.plain import send_plain
from sender.metrics import Metrics
from sender.sources.file import AudioFile
from tests.support.commands import sent, started
from tests.support.recorder import Recorder, listening
from tests.support.relay import free_port
from tests.support.sounds import RATE, same, samples, write
from tests.support.strangers import plain_server

SEED = Path(__file__).parents[1] / "seed"


def seed(program, *arguments):
    """Run one of the tutorial's programs."""
    return started(sys.executable, SEED / f"{program}.py", *map(str, arguments))


async def lines_of(program, count):
    """Wait until *program* has printed *count* lines; return them."""
    await program.until(lambda: len(program.lines) >= count)
    return program.out.splitlines()


async def test_our_sender_and_the_seeds_server(tmp_path):
    """The tutorial's server prints the same array lengths for our sender and its own client."""
    paths = [
        write(tmp_path / "mono.wav", 10_000),
        write(tmp_path / "stereo.flac", 9_001, 2, "PCM_24"),
        write(tmp_path / "float.wav", 4096, 2, "FLOAT"),
    ]
    lengths = [[4096, 4096, 1808], [8192, 8192, 1618], [8192]]
    flat = [str(length) for each in lengths for length in each]
    async with seed("server", 0) as server:
        (greeting,) = await lines_of(server, 1)
        url = f"ws://127.0.0.1:{greeting.rpartition(' ')[2]}"
        for path in paths:
            async with seed("client", path, url) as client:
                assert 0 == await client.ended()
        theirs = await lines_of(server, 1 + len(flat))
        program, code = await sent(*paths, "--to", url, "--protocol", "plain", "--jobs", "1")
        both = await lines_of(server, 1 + 2 * len(flat))

    assert flat == theirs[1:]
    assert flat == both[1 + len(flat) :]
    assert 0 == code
    assert 3 == program.out.count(" sent ")


@pytest.mark.parametrize("listen", [True, False])
async def test_the_seeds_client_and_our_receiver(tmp_path, listen):
    """The client's samples arrive bit for bit; our answer has more facts than it needs."""
    path = write(tmp_path / "a.wav", 20_001, 2, "FLOAT", samplerate=44_100)
    recorder, registry = Recorder(), CollectorRegistry()
    async with listening(recorder, registry=registry) as running:
        url = f"{running.url}/?samplerate=44100&channels=2"
        async with seed("client", path, url, *["--listen"] * listen) as client:
            code = await client.ended()
        await recorder.until(lambda: recorder.finished)

    (take,) = recorder.takes
    assert same(samples(path), take.samples)
    assert (44_100, 2) == (take.stream.samplerate, take.stream.channels)
    assert (0, []) == (code, client.errors)
    lines = client.out.splitlines()
    assert "sent 5 blocks" == lines[0]
    if listen:
        facts = json.loads(lines[1])
        assert (20_001, 5, 20_001 / 44_100) == (facts["frames"], facts["chunks"], facts["seconds"])
        assert ["Done!"] == lines[2:]
    assert 1 == registry.get_sample_value(
        "receiver_connections_total", {"dialect": "plain", "result": "ok"}
    )


async def test_our_plain_sender_and_our_receiver(tmp_path):
    """The sender compares the receiver's digest with its own digest of the float samples."""
    path = write(tmp_path / "a.wav", 10_001, 2)
    recorder = Recorder()
    async with listening(recorder) as running:
        source = AudioFile(path)
        registry = CollectorRegistry()
        metrics = Metrics(registry, "0")
        receipt = await send_plain(source, Settings(to=running.url), metrics)
        source.close()

    counted = {
        kind: registry.get_sample_value(f"sender_units_{kind}_total", {"kind": "pcm"})
        for kind in ("sent", "acknowledged")
    }
    assert {"sent": 10_001, "acknowledged": 10_001} == counted
    assert 3 == registry.get_sample_value("sender_chunks_sent_total")
    assert same(samples(path), recorder.takes[0].samples)
    assert (10_001, RATE, 2) == (receipt.frames, receipt.samplerate, receipt.channels)
    assert not receipt.durable


def uncounted():
    """Return metrics that no test looks at."""
    return Metrics(CollectorRegistry(), "0")


@pytest.fixture(name="source")
def _source(tmp_path):
    source = AudioFile(write(tmp_path / "a.wav"))
    yield source
    source.close()


@pytest.mark.parametrize(
    ("answers", "error", "expected"),
    [
        (['{"frames": 5}', "Done!"], NotAReceiverError, "frames 5, expected 16000"),
        (['{"digest": "x"}', "Done!"], NotAReceiverError, "digest x, expected [0-9a-f]{32}"),
        ([4400], NotAReceiverError, "connection closed with 4400 because, expected Done!"),
        ([None], UnreachableError, "no answer to Done for 0.2 s, expected Done! or a close"),
    ],
)
async def test_an_answer_that_is_wrong(source, answers, error, expected):
    """If a server counts otherwise, objects or is silent, the sender reports a failure."""
    async with plain_server(*answers) as url:
        with pytest.raises(error, match=f"^{url}: {expected}$"):
            await send_plain(source, Settings(to=url, silence_timeout=0.2), uncounted())


@pytest.mark.parametrize("answers", [[], ["hello", "[1]", "Done!"], [1001]])
async def test_an_unusual_answer_of_a_server_is_accepted(source, answers):
    """Other servers of this kind answer otherwise, or just close."""
    async with plain_server(*answers) as url:
        receipt = await send_plain(source, Settings(to=url), uncounted())

    assert 16_000 == receipt.frames


async def test_without_a_server_there_is_no_second_attempt(source):
    """The error names the address."""
    url = f"ws://127.0.0.1:{free_port()}"
    with pytest.raises(UnreachableError, match=f"^{url}.*: .*(refused|failed)"):
        await send_plain(source, Settings(to=url), uncounted())


async def test_an_interrupted_plain_stream(source):
    """A sender cannot resume a plain stream: the receiver ends it. Its pace is as requested."""
    recorder, registry = Recorder(), CollectorRegistry()
    async with listening(recorder, registry=registry) as running:
        settings = Settings(to=running.url, realtime=True, chunk_frames=1000)
        sending = asyncio.create_task(send_plain(source, settings, uncounted()))
        await recorder.until(lambda: recorder.takes and recorder.takes[0].frames)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending

    assert 1000 <= recorder.takes[0].frames < 16_000
    assert 1 == registry.get_sample_value("receiver_streams_total", {"result": "abandoned"})
