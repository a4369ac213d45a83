"""The examples of the documents, with real receivers."""

import importlib.util
import json
import re
import sys
from pathlib import Path

import soundfile
from websockets.asyncio.client import connect

import receiver.connections.server
import receiver.dialects
import receiver.service
from sonoduct import wire
from tests.support.commands import started
from tests.support.rawclient import SMALL, running
from tests.support.recorder import Recorder
from tests.support.relay import Relay
from tests.support.waits import recorded

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"
VOICE = ROOT / "audio" / "voice-mono-16bit.wav"


def loaded(name):
    """Return the example module *name*."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def code_in(page, language):
    """Return the first block of code in *language* on a page of the documents."""
    text = (ROOT / "docs" / "how-to" / page).read_text()
    return re.search(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)[1]


async def test_the_minimal_client_resumes(tmp_path):
    """After two cuts, a client without our code still delivers every sample."""
    recorder = Recorder()
    store, limits = str(tmp_path / "store"), {"reserve_bytes": 0, "chunk_bytes": 4000}
    async with (
        running(recorder, store=store, limits=limits) as inside,
        Relay(inside.port, cuts=[20_000, 50_000]).listen() as relay,
        started(sys.executable, EXAMPLES / "minimal_client.py", relay.url, VOICE) as program,
    ):
        code = await program.ended()

    receipt = json.loads(program.out)
    take = recorder.takes[-1]
    assert (0, 3) == (code, relay.accepted)
    assert (64_800, 16_000) == (receipt["frames"], receipt["samplerate"])
    assert "a50d2d8c0ad5c19762031967e2076185" == receipt["digest"]
    assert take.gapless
    assert (soundfile.read(VOICE, dtype="float32")[0] == take.samples[:, 0]).all()


async def test_a_dialect_is_one_file_and_one_line(monkeypatch):
    """The receiver serves, counts and drains the dialect of the how-to page like its own."""
    lines = loaded("dialect").Lines
    dialects = (lines, *receiver.dialects.DIALECTS)
    for module in (receiver.dialects, receiver.connections.server, receiver.service):
        monkeypatch.setattr(module, "DIALECTS", dialects)
    samples, _ = soundfile.read(VOICE, dtype="int16")
    recorder = Recorder()
    async with running(recorder) as inside, connect(f"{inside.url}/lines") as client:
        await client.send(json.dumps({"samplerate": 16_000}))
        for start in range(0, len(samples), 1000):
            await client.send(samples[start : start + 1000].tobytes())
        await client.send(json.dumps({"eof": True}))
        answer = json.loads(await client.recv())
        await client.wait_closed()
        await inside.until("receiver_connections_total", bool, dialect="lines", result="ok")
        chunks = inside.value("receiver_chunks_received_total", dialect="lines")

    assert {"seconds": 4.05, "recorder": {"seen": 64_800}} == answer
    assert 65 == chunks
    assert (samples / 32768 == recorder.takes[0].samples[:, 0]).all()


async def test_a_message_that_never_fits_the_window_is_refused(monkeypatch):
    """A dialect that does not cut its messages gets an error, and not silence."""

    class Whole(loaded("dialect").Lines):
        name, path = "whole", "/whole"

        def decode(self, data):
            if isinstance(data, str):
                yield from super().decode(data)
                return
            message = wire.encode_chunk(1, 0, len(data) // 2, data)
            yield wire.Chunk(1, 0, len(data) // 2, message)

    for module in (receiver.dialects, receiver.connections.server, receiver.service):
        monkeypatch.setattr(module, "DIALECTS", (Whole,))
    async with running(limits=SMALL) as inside, connect(f"{inside.url}/whole") as client:
        await client.send(json.dumps({"samplerate": 16_000}))
        await client.send(bytes(SMALL["window_bytes"] + 2))
        answer = json.loads(await client.recv())
        await client.wait_closed()

    assert answer["error"].startswith("payload bytes")
    assert 4413 == client.close_code


async def test_the_processor_of_the_how_to_page():
    """The processor of the page needs only its import; the receipt has its report."""
    page = {}
    exec("import numpy as np\n" + code_in("write-a-processor.md", "python"), page)  # noqa: S102  # our own page
    async with (
        running(page["Voice"]) as inside,
        started(sys.executable, EXAMPLES / "minimal_client.py", inside.url, VOICE) as program,
    ):
        assert 0 == await program.ended()

    samples, _ = soundfile.read(VOICE, dtype="float32")
    loud = int((samples**2 > 1e-4).sum())
    assert {"voice": {"loud_frames": loud}} == json.loads(program.out)["processors"]


async def test_the_recordings_of_the_how_to_page(tmp_path):
    """The program of the page prints each recording with shape, samplerate and digest."""
    store = tmp_path / "recordings"
    async with (
        running(store=str(store), limits={"reserve_bytes": 0}) as inside,
        started(sys.executable, EXAMPLES / "minimal_client.py", inside.url, VOICE) as program,
    ):
        assert 0 == await program.ended()
        await recorded(store)
    code = code_in("get-the-recordings.md", "python")
    async with started(sys.executable, "-c", code, cwd=tmp_path) as shown:
        assert 0 == await shown.ended()

    assert "(64800,) 16000 a50d2d8c0ad5c19762031967e2076185" in shown.out


async def test_links_lead_somewhere():
    """Every relative link of the documents names a file, and a heading of that file."""
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    broken = []
    for page in pages:
        text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
        for link in re.findall(r"\]\(([^)\s]+)\)", text):
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            if "://" in link:
                continue
            if not target.exists() or (anchor and anchor not in headings(target)):
                broken.append(f"{page.relative_to(ROOT)}: {link}")

    assert [] == broken


def headings(page):
    """Return the anchors of a page, as a browser knows them."""
    found = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in found}
