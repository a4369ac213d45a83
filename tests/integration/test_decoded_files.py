"""Files that ffmpeg decodes, from the command line to arrays, and faults of such files."""

import asyncio
import random

import pytest
import soundfile
from prometheus_client import CollectorRegistry

from sender import SourceError
from sender.sources.file import AudioFile
from sonoduct.audio.decoding import DecodeOptions, open_decoder
from sonoduct.audio.samples import to_float32
from tests.support.bombs import write_bomb
from tests.support.clients import connected
from tests.support.commands import outcomes, sending, sent
from tests.support.corpus import FFMPEG, LOSSLESS, encode, ffmpeg, read_all, truth
from tests.support.programs import HANG, script
from tests.support.rawclient import running
from tests.support.recorder import Recorder, listening
from tests.support.relay import Relay
from tests.support.sounds import noise, same, samples, write

KINDS = ("aac.m4a", "front.m4a", "video.mp4", "opus.webm", "alac24.m4a", "wavpack-float.wv")


def make(path, frames=20_000):
    """Write the corpus file with the name of *path*; return the samples that must arrive."""
    subtype, *how = LOSSLESS.get(path.name) or ("PCM_16", *FFMPEG[path.name])
    source = encode(path, *how, subtype=subtype, channels=2, frames=frames)
    if path.name in LOSSLESS:
        return truth(source)
    decoder = open_decoder(path, DecodeOptions(), isolated=True)
    data = read_all(decoder)
    decoder.close()
    return to_float32(data, decoder.format.encoding, 2)


async def test_a_folder_of_everything(tmp_path):
    """One command sends every kind: lossless files exactly, others as ffmpeg decodes them."""
    (tmp_path / "files").mkdir()
    expected = {name: make(tmp_path / "files" / name) for name in KINDS}
    for source in (tmp_path / "files").glob("*.source.wav"):
        source.unlink()
    report, recorder = tmp_path / "report.jsonl", Recorder()
    async with listening(recorder) as running:
        _, code = await sent(tmp_path / "files", "--to", running.url, "--report", report)

    lines = outcomes(report)
    assert 0 == code
    assert set(KINDS) == set(lines)
    takes = {take.stream.id: take for take in recorder.takes}
    for name, arrays in expected.items():
        take = takes[lines[name]["receipt"]["stream"]]
        assert take.gapless
        assert same(arrays, take.samples), name


@pytest.mark.parametrize(("name", "times"), [("alac24.m4a", 20), ("aac.m4a", 5)])
async def test_resumed_at_random_offsets(tmp_path, name, times):
    """After each cut the decoder starts again, and the same samples arrive."""
    path, chance = tmp_path / name, random.Random(name)
    expected = make(path, 60_000)
    size = expected.size * (3 if name in LOSSLESS else 4)
    recorder, registry = Recorder(), CollectorRegistry()
    cuts = [chance.randrange(1000, size // 12) for _ in range(times)]
    async with (
        listening(recorder) as running,
        Relay(running.port, cuts=cuts).listen() as proxy,
        connected(proxy.url, registry=registry, chunk_frames=500) as client,
    ):
        receipt = await client.send(path)

    (take,) = recorder.takes
    assert take.gapless
    assert same(expected, take.samples)
    assert len(expected) == receipt.frames
    assert times + 1 == proxy.accepted
    decoded = registry.get_sample_value(
        "sender_decode_duration_seconds_count", {"decoder": "ffmpeg"}
    )
    assert decoded > times


async def test_a_bomb_and_its_neighbours(tmp_path):
    """A bomb ends at its limit with one line that has the reason; the other files arrive."""
    write_bomb(tmp_path / "bomb.mov", 10**9)
    paths = [write(tmp_path / f"{number}.wav", 5000) for number in range(3)]
    report, recorder = tmp_path / "report.jsonl", Recorder()
    async with listening(recorder) as running:
        program, code = await sent(
            *(tmp_path / "bomb.mov", *paths, "--to", running.url, "--report", report),
            *("--decode-expansion", "215", "--jobs", "2"),
        )

    lines = outcomes(report)
    assert 1 == code
    assert "failed" == lines.pop("bomb.mov")["result"]
    assert ["sent"] * 3 == [line["result"] for line in lines.values()]
    assert any(same(samples(paths[0]), take.samples) for take in recorder.takes if take.closed)
    (failure,) = [line for line in program.log if line["level"] == "error"]
    assert "bytes of samples, expected at most 268435456" in failure["error"]


async def test_without_ffmpeg_the_rest_is_sent(tmp_path):
    """A file that needs ffmpeg is an error that says what to install; the others arrive."""
    make(tmp_path / "aac.m4a")
    report = tmp_path / "report.jsonl"
    async with listening(Recorder()) as running:
        _, code = await sent(
            *(tmp_path / "aac.m4a", write(tmp_path / "a.wav", 1000), "--to", running.url),
            *("--report", report),
            env={"PATH": str(tmp_path)},
        )

    lines = outcomes(report)
    assert (1, "sent") == (code, lines["a.wav"]["result"])
    assert (
        "install the package ffmpeg, or name the program with --ffmpeg" in lines["aac.m4a"]["error"]
    )


async def test_a_decoder_that_hangs(tmp_path):
    """The sender kills a decoder at its time limit, also while the decoder only looks at a file."""
    hanging = script(tmp_path / "ffmpeg", HANG)
    (tmp_path / "a.m4a").write_bytes(b"anything")
    async with listening(Recorder()) as running:
        async with sending(
            *(tmp_path / "a.m4a", "--to", running.url, "--ffmpeg", hanging),
            *("--decode-wall-seconds", "0.5"),
        ) as program:
            code = await program.ended()

    assert 1 == code
    assert "ffmpeg looked at it for 0.5 s" in program.log[-1]["error"]


async def test_a_source_that_is_closed_while_it_is_read(tmp_path):
    """Closing does not wait for a decoder that hangs; the read ends with an error."""
    (tmp_path / "a.m4a").write_bytes(b"anything")
    program = script(
        tmp_path / "ffmpeg",
        "case $* in *-c:a*) "
        r"printf 'RIFF\377\377\377\377WAVEfmt \20\0\0\0\3\0\1\0\100\37\0\0\0\175\0\0\4\0\40\0"
        r"data\377\377\377\377'; printf '1234'; " + HANG + " ;; esac"
        "\necho \"Input #0, mp3, from 'x':\n  Stream #0:0: Audio: mp3, 8000 Hz, mono, fltp\" >&2",
    )
    source = AudioFile(tmp_path / "a.m4a", options=DecodeOptions(ffmpeg=str(program)))

    assert b"1234" == source.read(0, 1)

    reading = asyncio.create_task(asyncio.to_thread(source.read, 1, 1))
    await asyncio.sleep(0)
    source.close()
    with pytest.raises(SourceError, match="a.m4a: ffmpeg at frame 1: killed by SIGKILL|closed"):
        async with asyncio.timeout(5):
            await reading


def vbr(path):
    """Write an MP3 without its length, whose first frame suggests too few frames."""
    sound = "aevalsrc=0.2*sin(1000*t)+gte(t\\,1)*0.7*(random(0)-0.5):s=44100:d=2"
    ffmpeg("-f", "lavfi", "-i", sound, "-q:a", "2", "-write_xing", "0", "-id3v2_version", "0", path)


def unfinished(path):
    """Write a file whose recorder was killed."""
    other = path.with_suffix(".made")
    with soundfile.SoundFile(other, "w", 16_000, 2, "PCM_24", format="RF64") as file:
        file.write(noise(20_000, 2))
        path.write_bytes(other.read_bytes())  # it writes through


def tagged(path):
    """Write a FLAC file with an MP3 tag at its end."""
    soundfile.write(path, noise(20_000), 16_000)
    path.write_bytes(path.read_bytes() + b"TAG" + bytes(125))


@pytest.mark.parametrize("encoding", ["auto", "file"])
async def test_every_frame_arrives_whatever_the_header_claims(tmp_path, encoding):
    """The receipt has the frames of the file if sender or receiver decodes it without ffmpeg."""
    makers = {"vbr.mp3": vbr, "unfinished.rf64": unfinished, "tagged.flac": tagged}
    frames = {}
    for name, maker in makers.items():
        maker(tmp_path / name)
    recorder, store, without = Recorder(), str(tmp_path / "store"), str(tmp_path / "no-ffmpeg")
    async with (
        running(recorder, store=store, limits={"reserve_bytes": 0}, ffmpeg=without) as receiver,
        connected(receiver.url, encoding=encoding, ffmpeg=without) as client,
    ):
        for name in makers:
            receipt = await client.send(tmp_path / name)
            frames[name] = receipt.frames, recorder.takes[-1].frames

    whole = len(ffmpeg("-i", tmp_path / "vbr.mp3", "-f", "s16le", "-")) // 2
    expected = {"vbr.mp3": whole, "unfinished.rf64": 20_000, "tagged.flac": 20_000}
    assert {name: (count, count) for name, count in expected.items()} == frames
