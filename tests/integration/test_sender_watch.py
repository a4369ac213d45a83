"""The service `sender watch`: each file of a folder once, whenever it comes."""

import asyncio
import signal
import urllib.request
from contextlib import AsyncExitStack

from prometheus_client.parser import text_string_to_metric_families

from tests.integration.commands import watching
from tests.integration.proxy import Proxy, free_port
from tests.integration.recorder import Recorder, listening
from tests.integration.sounds import same, samples, write


async def scraped(port):
    """The samples that /metrics shows, by their name and labels."""

    def get():
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            return answer.read().decode()

    text = await asyncio.to_thread(get)
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def takes_of(recorder, path):
    """The streams that were named like *path*."""
    return [take for take in recorder.takes if take.stream.name == str(path)]


async def test_what_is_there_and_what_appears(tmp_path):
    """Old files, new ones and replaced ones are sent once each; what is no audio is said once."""
    folder = tmp_path / "folder"
    (folder / "deep").mkdir(parents=True)
    old = write(folder / "old.wav", 3000)
    (folder / "broken.wav").write_text("no audio")
    (folder / "notes.txt").write_text("no audio either")
    recorder = Recorder()
    async with listening(recorder) as running, watching(folder, running.url) as program:
        port = (await program.said("sender_watching"))["metrics_port"]
        at_first = await scraped(port)
        await program.said("stream_ended", name=str(old), result="sent")
        await program.said("stream_ended", name=str(folder / "broken.wav"), result="failed")

        moved = write(tmp_path / "moved.flac", 4000).rename(folder / "deep" / "moved.flac")
        await program.said("stream_ended", name=str(moved), result="sent")
        before = samples(old)
        write(tmp_path / "next.wav", 5000, 2, "PCM_24").rename(old)
        await program.said("stream_ended", count=2, name=str(old), result="sent")
        (folder / "broken.wav").unlink()
        mended = write(folder / "broken.wav", 6000)
        await program.said("stream_ended", name=str(mended), result="sent")
        at_last = await scraped(port)
        program.interrupt(signal.SIGTERM)
        code = await program.ended()

    assert 0 == code
    assert "sender_stopped" == program.log[-1]["event"]
    assert 4 == len(recorder.finished)
    first, second = takes_of(recorder, old)
    assert same(before, first.samples)
    assert same(samples(old), second.samples)
    assert same(samples(moved), takes_of(recorder, moved)[0].samples)
    (failure,) = (line for line in program.log if line.get("result") == "failed")
    assert failure["error"].startswith(f"{mended}: no audio: ")
    assert 0 == at_first["sender_streams_total", "sent"]
    assert 4 == at_last["sender_streams_total", "sent"]
    assert 0 == at_last["sender_active_streams",]


async def test_a_file_that_grows(tmp_path):
    """A file that is being recorded is left alone until it has stopped growing."""
    whole = write(tmp_path / "whole.wav", 48_000).read_bytes()
    folder = tmp_path / "folder"
    folder.mkdir()
    recorder = Recorder()
    async with (
        listening(recorder) as running,
        watching(folder, running.url, settle="0.7") as program,
    ):
        await program.said("sender_watching")
        with (folder / "growing.wav").open("wb", buffering=0) as file:
            for start in range(0, len(whole), len(whole) // 14):
                file.write(whole[start : start + len(whole) // 14])
                await asyncio.sleep(0.06)  # the recording's time, not a wait for anything
        await program.said("stream_ended", name=str(folder / "growing.wav"))
        write(folder / "later.wav", 100)
        await program.said("stream_ended", name=str(folder / "later.wav"))
        program.interrupt()
        code = await program.ended()

    assert 0 == code
    assert [48_000, 100] == [take.frames for take in recorder.finished]
    assert same(samples(folder / "growing.wav"), recorder.finished[0].samples)


async def test_receivers_that_come_and_go(tmp_path):
    """Files wait for a receiver, and go to the next one when it restarts."""
    first, second, port = Recorder(), Recorder(), free_port()
    early = write(tmp_path / "early.wav", 2000)
    async with (
        AsyncExitStack() as life,
        watching(tmp_path, f"ws://127.0.0.1:{port}", "--connect-timeout", "0.3") as program,
    ):
        await program.said("stream_ended", result="failed")  # for now
        await life.enter_async_context(listening(first, port))
        await program.said("stream_ended", name=str(early), result="sent")
        await life.aclose()
        await life.enter_async_context(listening(second, port))
        late = write(tmp_path / "late.wav", 3000)
        await program.said("stream_ended", name=str(late), result="sent")
        program.interrupt()
        code = await program.ended()

    assert 0 == code
    assert [2000] == [take.frames for take in first.finished]
    assert [3000] == [take.frames for take in second.finished]


async def test_stopped_in_the_middle(tmp_path):
    """SIGTERM ends it at once, with a stream under way; the next one goes on with that."""
    path = write(tmp_path / "a.wav", 48_000)
    recorder = Recorder()
    async with listening(recorder) as running:
        async with watching(tmp_path, running.url, "--realtime") as program:
            await recorder.until(lambda: recorder.takes and recorder.takes[0].frames)
            program.interrupt(signal.SIGTERM)
            code = await program.ended()
        async with watching(tmp_path, running.url) as again:
            await again.said("stream_ended", result="sent")

    assert 0 == code
    assert 1 == len(recorder.takes)
    assert recorder.takes[0].gapless
    assert same(samples(path), recorder.takes[0].samples)


async def test_wrong_usage(tmp_path):
    """What is no folder, no address and no free port is said in one line."""
    path = write(tmp_path / "a.wav")
    async with watching(path, "ftp://x") as program:
        assert 2 == await program.ended()
    async with Proxy(1).listen() as proxy:
        taken = int(proxy.url.rpartition(":")[2])
        async with watching(
            tmp_path, proxy.url, port=taken, env={"SENDER_METRICS_HOST": "127.0.0.1"}
        ) as second:
            assert 1 == await second.ended()

    (usage,) = program.errors
    assert f"{path} is no folder, expected one" in usage
    assert "address 'ftp://x', expected ws://HOST:PORT" in usage
    (failure,) = second.log
    assert "sender_failed" == failure["event"]
    assert f"metrics on 127.0.0.1:{taken}: Address already in use" in failure["reason"]
