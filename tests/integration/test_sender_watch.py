"""The service `sender watch` sends each file of a folder once."""

import asyncio
import os
import signal
import urllib.request
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from sender.client import Client
from sender.errors import SourceError
from sender.jobs.delivery import Deliveries
from sender.jobs.find import Fault, Found
from sender.jobs.watch import Watch
from sender.metrics import Metrics
from sender.settings import WatchSettings
from sender.terminal import Outcome, Progress
from sonoduct.runtime.console import faults_console
from tests.support.commands import PATIENCE_S, watching
from tests.support.recorder import Recorder, listening
from tests.support.relay import Relay, free_port
from tests.support.rights import enterable_folder, with_rights, without_rights
from tests.support.sounds import same, samples, write


async def scraped(port):
    """Return the samples that /metrics shows, by name and labels."""

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
    """Return the streams with the name *path*."""
    return [take for take in recorder.takes if take.stream.name == str(path)]


async def test_old_new_and_replaced_files_are_sent_once(tmp_path):
    """The log names each file without audio once."""
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
    for state in ("settling", "queued", "retrying"):
        assert ("sender_waiting_files", state) in at_first
        assert 0 == at_last["sender_waiting_files", state]
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
    """The service leaves a file alone while it grows."""
    whole = write(tmp_path / "whole.wav", 48_000).read_bytes()
    folder = tmp_path / "folder"
    folder.mkdir()
    recorder = Recorder()
    async with (
        listening(recorder) as running,
        watching(folder, running.url, settle="0.5") as program,
    ):
        await program.said("sender_watching")
        with (folder / "growing.wav").open("wb", buffering=0) as file:
            for start in range(0, len(whole), len(whole) // 10):
                file.write(whole[start : start + len(whole) // 10])
                await asyncio.sleep(0.06)  # the recording's duration
        await program.said("stream_ended", name=str(folder / "growing.wav"))
        write(folder / "later.wav", 100)
        await program.said("stream_ended", name=str(folder / "later.wav"))
        program.interrupt()
        code = await program.ended()

    assert 0 == code
    assert [48_000, 100] == [take.frames for take in recorder.finished]
    assert same(samples(folder / "growing.wav"), recorder.finished[0].samples)


async def test_receivers_that_come_and_go(tmp_path):
    """Files wait for a receiver, and the next receiver gets them after a restart."""
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
    """SIGTERM ends the service at once, during a stream; the next one continues the stream."""
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
    """A wrong folder, address or port is an error of one line."""
    path = write(tmp_path / "a.wav")
    async with (
        watching(path, "ftp://x") as program,
        watching(tmp_path / "typo", "ws://x:1") as typo,
    ):
        assert 2 == await program.ended()
        assert 2 == await typo.ended()
    async with Relay(1).listen() as proxy:
        taken = int(proxy.url.rpartition(":")[2])
        async with watching(
            tmp_path, proxy.url, port=taken, env={"SENDER_METRICS_HOST": "127.0.0.1"}
        ) as second:
            assert 1 == await second.ended()

    (usage,) = program.errors
    assert f"{path} is no folder, expected one" in usage
    assert "address 'ftp://x', expected ws://HOST:PORT" in usage
    (missing,) = typo.errors
    assert f"{tmp_path / 'typo'}: No such file or directory, expected a folder" in missing
    (failure,) = second.log
    assert "sender_failed" == failure["event"]
    assert f"metrics on 127.0.0.1:{taken}: Address already in use" in failure["reason"]


class Service:
    """`sender watch` in the test's own event loop."""

    def __init__(self, folder, url, **how):
        self.outcomes = []
        self.news = asyncio.Event()
        self.stop = asyncio.Event()
        settings = WatchSettings(to=url, settle=0.1, rescan=0.1, retry=0.2, **how)
        metrics = Metrics(CollectorRegistry(), "0")
        progress = Progress(faults_console(), shown=False)
        deliveries = Deliveries(settings, metrics, progress, self.add)
        self.metrics = metrics
        self.watch = Watch(folder, settings, metrics, deliveries, None)

    def add(self, outcome):
        self.outcomes.append(outcome)
        self.news.set()

    async def ended(self, path, result):
        """Wait until an attempt at *path* ends with *result*."""
        async with asyncio.timeout(PATIENCE_S):
            while (str(path), result) not in [(each.name, each.result) for each in self.outcomes]:
                self.news.clear()
                await self.news.wait()


@asynccontextmanager
async def watched(folder, url, **how):
    """Watch *folder* while the context is open; yield the service and its log."""
    service = Service(folder, url, **how)
    with capture_logs() as log:
        running = asyncio.create_task(service.watch.run("1" * 32, service.stop))
        yield service, log
        service.stop.set()
        async with asyncio.timeout(PATIENCE_S):
            await running


async def test_unreadable_folders_are_logged_once():
    """The service reads them as soon as it may."""
    names = ("unentered/c.wav", "unlisted/b.wav")
    with enterable_folder() as folder:
        for name in names:
            (folder / name).parent.mkdir()
            write(folder / name, 100)
        (folder / "unlisted").chmod(0o000)
        (folder / "unentered").chmod(0o744)
        good = write(folder / "a.wav", 100)
        async with listening(Recorder()) as running:
            with without_rights():
                async with watched(folder, running.url) as (service, log):
                    await service.ended(good, "sent")
                    faults = [line for line in log if line["event"] == "folder_unreadable"]
                    with with_rights():
                        for name in names:
                            (folder / name).parent.chmod(0o755)
                    for name in names:
                        await service.ended(folder / name, "sent")

    assert {str((folder / name).parent) for name in names} == {line["folder"] for line in faults}
    assert {"Permission denied"} == {line["reason"] for line in faults}
    events = [line["event"] for line in log if line["event"].startswith("folder_")]
    assert ["folder_unreadable"] * 2 + ["folder_readable"] * 2 == events
    assert ["sent"] * 3 == [each.result for each in service.outcomes]


async def test_unreadable_files_are_logged_once():
    """The service sends them as soon as it can read them, for each kind of reason."""
    with enterable_folder() as base:
        folder, away = base / "folder", base / "away"
        folder.mkdir()
        away.mkdir()
        closed, linked, broken = (folder / f"{each}.wav" for each in ("closed", "link", "broken"))
        write(closed, 100).chmod(0o000)
        linked.symlink_to(write(away / "a.wav", 200))
        away.chmod(0o700)
        broken.symlink_to(base / "later.wav")
        async with listening(Recorder()) as running:
            with without_rights():
                async with watched(folder, running.url, follow_links=True) as (service, _):
                    for path in (closed, linked, broken):
                        await service.ended(path, "failed")
                    for number in range(3):  # each settles, so more attempts are made meanwhile
                        with with_rights():
                            mark = write(folder / f"mark{number}.wav", 10 + number)
                        await service.ended(mark, "sent")
                    with with_rights():
                        closed.chmod(0o644)
                        away.chmod(0o755)
                        write(base / "later.wav", 300)
                    for path in (closed, linked, broken):
                        await service.ended(path, "sent")

    ends = [(each.name, each.result) for each in service.outcomes]
    assert len(ends) == len(set(ends)) == 9
    errors = {each.name: each.error for each in service.outcomes if each.error}
    assert {
        str(closed): f"{closed}: Permission denied",
        str(linked): f"{linked}: Permission denied",
        str(broken): f"{broken}: No such file or directory",
    } == errors


async def test_a_folder_that_goes_and_comes_back(tmp_path):
    """The log has one line for each change; only new and changed files are sent."""
    folder, aside = tmp_path / "folder", tmp_path / "aside"
    folder.mkdir()
    old = write(folder / "old.wav", 100)
    recorder = Recorder()
    async with listening(recorder) as running, watching(folder, running.url) as program:
        await program.said("stream_ended", name=str(old), result="sent")
        folder.rename(aside)
        gone = await program.said("folder_unreadable", folder=str(folder))
        folder.write_text("no folder")
        other = await program.said("folder_unreadable", count=2, folder=str(folder))
        folder.unlink()
        write(aside / "new.wav", 200)
        aside.rename(folder)
        await program.said("folder_readable", folder=str(folder))
        await program.said("stream_ended", name=str(folder / "new.wav"), result="sent")
        program.interrupt()
        code = await program.ended()

    assert 0 == code
    assert "No such file or directory" == gone["reason"]
    assert "Not a directory" == other["reason"]
    assert [100, 200] == [take.frames for take in recorder.finished]
    assert 2 == sum(line["event"] == "stream_ended" for line in program.log)


async def test_names_that_are_not_utf_8(tmp_path):
    """Files, folders and skipped entries may have any name."""
    folder = tmp_path / os.fsdecode(b"in\xfe")
    (folder / os.fsdecode(b"deep\xff")).mkdir(parents=True)
    write(tmp_path / "a.wav", 100).rename(folder / os.fsdecode(b"deep\xff/odd\xff.wav"))
    (folder / os.fsdecode(b"x.\xff")).touch()
    (folder / os.fsdecode(b"broken\xff.wav")).symlink_to("gone")
    recorder = Recorder()
    async with listening(recorder) as running, watching(folder, running.url) as program:
        await program.said("files_left_out", path=f"{tmp_path}/in?", kinds="1 .?")
        await program.said("stream_ended", name=f"{tmp_path}/in?/deep?/odd?.wav", result="sent")
        await program.said("stream_ended", name=f"{tmp_path}/in?/broken?.wav", result="failed")
        program.interrupt()
        code = await program.ended()

    assert 0 == code
    assert [f"{tmp_path}/in?/deep?/odd?.wav"] == [take.stream.name for take in recorder.takes]


async def test_skipped_kinds_of_files_are_logged_once(tmp_path):
    """The log names a kind at the first look, or when it first appears."""
    (tmp_path / "notes.txt").touch()
    async with listening(Recorder()) as running, watching(tmp_path, running.url) as program:
        await program.said("files_left_out", kinds="1 .txt")
        (tmp_path / "more.txt").touch()
        (tmp_path / "a.jpg").touch()
        await program.said("files_left_out", kinds="1 .jpg")
        write(tmp_path / "a.wav", 100)
        await program.said("stream_ended")
        program.interrupt()
        await program.ended()

    assert 2 == sum(line["event"] == "files_left_out" for line in program.log)


async def test_a_disk_that_fails(tmp_path):
    """A file with read errors is logged once, and sent when it can be read to its end."""
    path = tmp_path / "a.wav"
    path.symlink_to("/proc/self/mem")  # opens, and gives EIO
    async with (
        listening(Recorder()) as running,
        watched(tmp_path, running.url, follow_links=True) as (service, _),
    ):
        await service.ended(path, "failed")
        for number in range(3):  # each settles, so more attempts are made meanwhile
            mark = write(tmp_path / f"mark{number}.wav", 10 + number)
            await service.ended(mark, "sent")
        path.unlink()
        write(path, 100)
        await service.ended(path, "sent")

    (failed,) = (each for each in service.outcomes if not each.good)
    assert f"{path}: Input/output error" == failed.error


@pytest.mark.parametrize(
    ("outcome", "content", "expected"),
    [
        ({"result": "failed", "unreadable": True}, b"no audio", True),
        ({"result": "failed"}, b"no audio", False),
        ({"result": "failed"}, None, True),  # it gave an error in its middle, say
        ({"result": "sent"}, None, False),
    ],
)
async def test_a_read_error_is_told_from_a_decoding_error(tmp_path, outcome, content, expected):
    """If a decoder stops, the service reads the file to see whether the disk is at fault."""
    path = tmp_path / "a.wav"
    if content is None:
        path.symlink_to("/proc/self/mem")
    else:
        path.write_bytes(content)
    watch = Service(tmp_path, "ws://127.0.0.1:1", follow_links=True).watch

    assert expected == watch._unreadable(path, Outcome(name="a", elapsed=0.0, **outcome))


@pytest.mark.parametrize(
    ("cause", "expected"), [(OSError(11, "busy"), True), (ValueError("no audio"), False)]
)
async def test_a_refusal_of_the_operating_system_is_tried_again(cause, expected):
    """A refused process, for example, may be granted later."""
    settings = WatchSettings()
    progress = Progress(faults_console(), shown=False)
    metrics = Metrics(CollectorRegistry(), "0")
    deliveries = Deliveries(settings, metrics, progress, lambda _: None)
    client = Client(settings, metrics, "1" * 32)

    def opening():
        raise SourceError("a.wav: no") from cause

    assert expected == (await deliveries.deliver(client, "a.wav", opening)).unreadable


async def test_a_folder_that_vanishes_during_the_listing_is_no_fault(tmp_path, monkeypatch):
    """Only the watched folder itself must exist."""
    gone = Fault(tmp_path / "gone", "No such file or directory")
    found = Found(files=[tmp_path / "gone" / "a.wav"], faults=[gone])
    monkeypatch.setattr("sender.jobs.watch.walk", lambda _folder, **_how: found)
    watch = Service(tmp_path, "ws://127.0.0.1:1").watch

    with capture_logs() as log:
        assert ({}, []) == watch._scan()
    assert [] == log


async def test_one_file_under_several_names(tmp_path):
    """The service sends it once; a link to itself is logged once."""
    path = write(tmp_path / "b.wav", 100)
    (tmp_path / "a.wav").symlink_to(path)
    (tmp_path / "c.wav").symlink_to("b.wav")
    loop = tmp_path / "loop.wav"
    loop.symlink_to("loop.wav")
    async with listening(Recorder()) as running, watched(tmp_path, running.url) as (service, _):
        await service.ended(loop, "failed")
        await service.ended(write(tmp_path / "mark.wav", 10), "sent")

    names = ["a.wav", "loop.wav", "mark.wav"]
    assert [str(tmp_path / name) for name in names] == sorted(
        each.name for each in service.outcomes
    )
