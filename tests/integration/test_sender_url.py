"""Audio behind an address: an ffmpeg takes it as it comes, from a real server on loopback."""

import io
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import soundfile
from structlog.testing import capture_logs

from sender.__main__ import app
from sonoduct.runtime.command import run
from tests.integration.test_sender_containers import ffmpeg
from tests.support.commands import sending, sent
from tests.support.delivering import delivered
from tests.support.recorder import Recorder, listening
from tests.support.relay import free_port
from tests.support.rtsp import Rtsp
from tests.support.sounds import noise, same, samples, write

SEGMENT_S = 1
FREE = 5
"""The number of pieces that the server sends at once."""


class Server(ThreadingHTTPServer):
    """Serves `pages`; a list of pieces waits after the first few."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.pages = {}
        self.asked = []
        self.go_on = threading.Semaphore(0)
        """Released once for each piece that may be sent."""
        self.url = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request, client_address):
        """Ignore clients that leave early."""


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    def do_GET(self):
        self.server.asked.append(self.path)
        page = self.server.pages.get(self.path)
        self.send_response(200 if page is not None else 404)
        if isinstance(page, bytes):
            self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        if isinstance(page, bytes):
            self.wfile.write(page)
        for number, piece in enumerate(page if isinstance(page, list) else ()):
            if number >= FREE:
                self.server.go_on.acquire()
            self.wfile.write(piece)
            self.wfile.flush()

    def log_message(self, *_):
        """Log nothing."""


@pytest.fixture(name="server")
def _server():
    """Listen on loopback."""
    with running() as server:
        yield server


@contextmanager
def running():
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.go_on.release(100)
        server.shutdown()
        thread.join()


async def fetched(*addresses, **how):
    """Send the audio behind *addresses*; return the takes, the log and the outcome."""
    recorder = Recorder()
    with capture_logs() as log:
        async with listening(recorder) as receiver:
            (outcome,) = await delivered(to=receiver.url, url=addresses, **how)
    return recorder, log, outcome


async def test_a_file_on_a_web_server(server, tmp_path):
    """It arrives bit for bit; the secrets of its address are in no name."""
    path = write(tmp_path / "a.wav", 100_000, 2, "PCM_24")
    server.pages["/a.wav?token=secret"] = path.read_bytes()
    address = server.url.replace("//", "//user:secret@") + "/a.wav?token=secret"
    recorder, log, outcome = await fetched(address)

    assert outcome.good
    assert log
    assert same(samples(path), recorder.takes[0].samples)
    assert f"{server.url}/a.wav" == recorder.takes[0].stream.name
    assert "secret" not in str(log)


async def test_a_playlist(server, tmp_path):
    """The pieces of an HLS playlist make one stream."""
    path = write(tmp_path / "a.wav", 100_000, 2)
    segments = ("-f", "hls", "-hls_time", SEGMENT_S, "-hls_list_size", "0")
    playlist = ("-c:a", "aac", *segments, tmp_path / "x.m3u8", "-f", "null")
    ffmpeg(*map(str, playlist), data=path.read_bytes())
    for each in tmp_path.glob("x*"):
        server.pages[f"/{each.name}"] = each.read_bytes()
    joined = b"".join(
        server.pages[f"/{line}"]
        for line in (tmp_path / "x.m3u8").read_text().splitlines()
        if line.endswith(".ts")
    )
    decoded = np.frombuffer(ffmpeg("-f", "f32le", "-c:a", "pcm_f32le", data=joined), "<f4")
    recorder, _, outcome = await fetched(f"{server.url}/x.m3u8")

    assert outcome.good
    assert same(decoded.reshape(-1, 2), recorder.takes[0].samples)


async def test_an_rtsp_server():
    """The stream of an RTSP server arrives over TCP, to the last sample."""
    expected = (0.5 * noise(60_000, 2) * 2**15).astype(np.int16)
    async with Rtsp(expected).listen() as rtsp:
        recorder, _, outcome = await fetched(rtsp.url, url_timeout=2)

    (take,) = recorder.takes
    assert ["OPTIONS", "DESCRIBE", "SETUP", "PLAY"] == rtsp.asked[:4]
    assert outcome.good, outcome.error
    assert same(expected.astype(np.float32) / 2**15, take.samples)


async def test_an_endless_station_arrives_as_it_comes(server):
    """An interrupt ends the stream; its frames so far are complete later."""
    server.pages["/live.flac"] = flac_pieces()
    recorder = Recorder()
    async with listening(recorder) as receiver:
        async with sending("--url", f"{server.url}/live.flac", "--to", receiver.url) as program:
            await recorder.until(lambda: recorder.takes and recorder.takes[0].frames > 100_000)
            program.interrupt()
            code = await program.ended()

    assert 130 == code


async def test_an_answer_without_a_length_ends_with_its_connection(server):
    """Old servers send no length: the sender cannot see a cut."""
    server.pages["/live.flac"] = flac_pieces()
    server.go_on.release(10)
    recorder, _, outcome = await fetched(f"{server.url}/live.flac")

    assert outcome.good
    assert 500_000 < recorder.takes[0].frames <= 600_000


async def test_an_address_that_falls_silent(server):
    """If a server falls silent, its frames so far have arrived, and the error says so."""
    server.pages["/live.flac"] = flac_pieces()
    recorder, _, outcome = await fetched(f"{server.url}/live.flac", url_timeout=0.5)

    assert "failed" == outcome.result
    assert "Connection timed out" in outcome.error
    assert recorder.takes[0].frames > 100_000


def flac_pieces():
    """Return the ten pieces of a FLAC file of a second."""
    file = io.BytesIO()
    soundfile.write(file, 0.5 * noise(600_000), 60_000, "PCM_16", format="FLAC")
    data, size = file.getvalue(), len(file.getvalue()) // 10
    return [data[at : at + size] for at in range(0, 10 * size, size)]


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        (b"no audio", "Invalid data found when processing input"),
        (None, "Server returned 404 Not Found"),
        (
            b"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nfile:///etc/passwd.ts\n#EXT-X-ENDLIST\n",
            "Protocol 'file' not on",
        ),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "Format not on whitelist"),
    ],
    ids=["text", "missing", "playlist of files", "concat"],
)
async def test_an_address_without_audio_is_an_error(server, page, reason):
    """The error has the address and ffmpeg's reason."""
    if page is not None:
        server.pages["/x.m3u8"] = page
    recorder, _, outcome = await fetched(f"{server.url}/x.m3u8")

    assert "failed" == outcome.result
    assert f"{server.url}/x.m3u8: {reason}" in outcome.error
    assert "\n" not in outcome.error
    assert [] == recorder.takes


async def test_an_address_without_a_server_is_one_failure(tmp_path):
    """The audio of the other addresses arrives."""
    path, address = write(tmp_path / "a.wav"), f"http://127.0.0.1:{free_port()}/x"
    recorder = Recorder()
    async with listening(recorder) as receiver:
        program, code = await sent(path, "--url", address, "--to", receiver.url)

    assert 1 == code
    assert 1 == len(recorder.finished)
    assert f"{address}: Connection refused" in str(program.log)


async def test_an_ffmpeg_without_network(tmp_path):
    """The images have an ffmpeg without network: the error says what to do."""
    program = tmp_path / "ffmpeg"
    program.write_text(
        "#!/bin/sh\necho '[in#0 @ 0x1] [error] Error opening input: Protocol not found' >&2\nexit 1"
    )
    program.chmod(0o755)
    _, _, without = await fetched("http://127.0.0.1:1/x", ffmpeg=str(program))
    _, _, missing = await fetched("http://127.0.0.1:1/x", ffmpeg=str(tmp_path / "none"))

    assert ("failed", "failed") == (without.result, missing.result)
    assert "built without it: name another one with --ffmpeg" in without.error
    assert "needs ffmpeg" in missing.error


@pytest.mark.parametrize(
    "address", ["file:///etc/passwd", "/a.wav", "concat:a|b", "http://", "ftp://h/x", "http://h/ x"]
)
def test_other_addresses_are_refused(address, capsys):
    """The sender refuses other schemes before it opens an address."""
    assert 2 == run(app, ["send", "--url", address])
    assert "expected http|https|rtsp|rtsps://HOST/" in capsys.readouterr().err


async def test_more_addresses_than_jobs_or_threads(server):
    """All addresses are sent at once; one that ends is complete while the others wait."""
    recorder, addresses = Recorder(), [f"/{number}.flac" for number in range(12)]
    for address in addresses:
        server.pages[address] = flac_pieces()
    server.pages[addresses[-1]] = b"".join(flac_pieces() * 4)
    urls = [option for address in addresses for option in ("--url", server.url + address)]
    async with listening(recorder) as receiver:
        async with sending(*urls, "--jobs", "1", "--to", receiver.url) as program:
            await recorder.until(lambda: len(recorder.takes) == 12 and recorder.finished)
            program.interrupt()
            await program.ended()
