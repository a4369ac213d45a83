"""The blocks that processors get, and the streams of processors that misbehave."""

import asyncio
import hashlib
import itertools

import numpy as np
import pytest
from structlog.testing import capture_logs

from receiver import Finding
from sonoduct import wire
from tests.support.faulty import Faulty, Hang
from tests.support.rawclient import FORMAT, SMALL, digest, running, sound, speaking
from tests.support.recorder import Recorder

ENCODINGS = list(wire.Encoding)


def decoded(payload, encoding, channels):
    """Return the samples of *payload*, by plain arithmetic."""
    match encoding:
        case "f32le":
            flat = np.frombuffer(payload, "<f4")
        case "s16le":
            flat = np.frombuffer(payload, "<i2") / 32768
        case "s24le":
            raw = np.frombuffer(payload, np.uint8).reshape(-1, 3).astype(np.int64)
            wide = raw[:, 0] | raw[:, 1] << 8 | raw[:, 2] << 16
            flat = np.where(wide < 1 << 23, wide, wide - (1 << 24)) / (1 << 23)
    return flat.astype(np.float32).reshape(-1, channels)


def take_of(recorder, stream):
    """Return the only take that *recorder* has of *stream*."""
    (take,) = (each for each in recorder.takes if each.stream.id == stream)
    return take


async def transmit(url, payload, chunk_bytes=8192, **hello):
    """Send one whole stream; return the client and the receipt."""
    async with speaking(url, **hello) as client:
        await client.greet()
        await client.send(payload, chunk_bytes)
        return client, await client.commit()


@pytest.mark.parametrize("channels", [1, 2, 7])
@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_arrays_hold_the_samples_that_were_sent(encoding, channels):
    """Processors get float32 (frames, channels), read-only, consecutive and bit for bit."""
    format_ = wire.Format(samplerate=8000, channels=channels, encoding=encoding)
    payload = sound(4001, format_)
    recorder = Recorder()
    async with running(recorder) as receiver:
        _, receipt = await transmit(receiver.url, payload, 1000, format_=format_)

    (take,) = recorder.takes
    assert {np.dtype(np.float32)} == {block.dtype for block in take.blocks}
    assert {False} == {block.flags.writeable for block in take.blocks}
    assert {True} == {block.flags.c_contiguous for block in take.blocks}
    assert take.gapless
    assert decoded(payload, encoding, channels).tobytes() == take.samples.tobytes()
    assert (4001, channels) == take.samples.shape
    assert (4001, digest(payload, format_)) == (receipt.frames, receipt.digest)


async def test_processors_learn_about_their_stream():
    """open() gets the fields of the hello, and the receipt has the answer of close()."""
    recorder = Recorder()
    async with running(recorder) as receiver:
        client, receipt = await transmit(
            receiver.url, sound(10), name="a name", metadata={"room": "B"}
        )

    stream = recorder.takes[0].stream
    assert (client.outbound.hello.stream, "a name") == (stream.id, stream.name)
    assert (8000, 2, {"room": "B"}) == (stream.samplerate, stream.channels, stream.metadata)
    assert {"recorder": {"seen": 10}} == receipt.processors
    assert {} == receipt.failures


class Segments:
    """Finds frames 10 to 20 and 30 to 40 in each call, and one more segment at the end."""

    def open(self, stream):
        self.seen = 0

    def process(self, samples, offset):
        self.seen += len(samples)
        for start in (10, 30):
            yield Finding(offset + start, offset + start + 10, {"speech": True})

    def end(self):
        return [Finding(self.seen - 5, self.seen, {"speech": False})]

    def close(self):
        return None


class AtOnce(Segments):
    """Segments in the event loop."""

    inline = True


@pytest.mark.parametrize("processor", [Segments, AtOnce])
async def test_a_call_may_return_several_events(processor):
    """Each event arrives with its own frames, also an event from close()."""
    async with running(processor) as receiver:
        client, receipt = await transmit(receiver.url, sound(300), name="any", chunk_bytes=400)

    expected = [(100 * n + at, 100 * n + at + 10) for n in range(3) for at in (10, 30)]
    assert [*expected, (295, 300)] == [
        (event.offset, event.end) for event in client.all(wire.Event)
    ]
    assert {} == receipt.failures


class Windows:
    """Asks for 64 frames in each call, and reports the calls."""

    window = 64

    def open(self, stream):
        self.calls = []
        self.whole = []

    def process(self, samples, offset):
        assert not samples.flags.writeable
        self.calls.append((offset, len(samples)))
        self.whole.append(samples)

    def close(self):
        offsets = [offset for offset, _ in self.calls]
        ends = list(itertools.accumulate(length for _, length in self.calls))
        heard = np.concatenate(self.whole) if self.whole else np.zeros((0, 2), np.float32)
        return {
            "multiples": all(not length % 64 for _, length in self.calls[:-1]),
            "gapless": offsets == [0, *ends[:-1]] if ends else True,
            "last": self.calls[-1][1] % 64,
            "digest": hashlib.sha256(heard.tobytes()).hexdigest(),
        }


class OwnWindows(Windows):
    """Chooses its window for each stream."""

    window = None

    def open(self, stream):
        super().open(stream)
        self.window = stream.samplerate // 125


class PromptWindows(Windows):
    """Windows in the event loop."""

    inline = True


@pytest.mark.parametrize("processor", [Windows, OwnWindows, PromptWindows])
@pytest.mark.parametrize("frames", [7, 64, 100, 999, 1000])
async def test_windows_do_not_depend_on_chunks(processor, frames):
    """Each call gets a multiple of the window, without gaps; the last one gets the rest."""
    payload = sound(1000)
    async with running(processor) as receiver:
        _, receipt = await transmit(receiver.url, payload, chunk_bytes=4 * frames)
    truth = decoded(payload, "s16le", 2).tobytes()

    assert {
        processor.__name__.lower(): {
            "multiples": True,
            "gapless": True,
            "last": 1000 % 64,
            "digest": hashlib.sha256(truth).hexdigest(),
        }
    } == receipt.processors


@pytest.mark.parametrize("window", [0, -1, 10**9])
async def test_an_impossible_window_fails_the_processor(window):
    """The receipt reports the window and its bounds as the processor's fault."""
    wanting = type("Wanting", (Windows,), {"window": window})
    async with running(wanting) as receiver:
        _, receipt = await transmit(receiver.url, sound(10))

    expected = f"ValueError: window {window}, expected 1 to 131072 frames of 2 channels"
    assert {"wanting": expected} == receipt.failures


@pytest.mark.parametrize("window", [None, "hann", 0.02, True])
async def test_a_window_that_means_something_else(window):
    """A processor may have an attribute `window` for itself, such as an array of weights."""
    weighing = type("Weighing", (Windows,), {"window": window})
    async with running(weighing) as receiver:
        _, receipt = await transmit(receiver.url, sound(100), chunk_bytes=400)

    assert {} == receipt.failures


async def test_events_without_a_connection_are_counted():
    """While no connection holds the stream, its events are dropped, and the metrics count them."""
    with Hang() as hang:

        class Late(Segments):
            def process(self, samples, offset):
                hang()
                return [
                    Finding(offset, offset + 1, {"n": 1}),
                    Finding(offset, offset + 1, {"n": 2}),
                ]

        async with running(Late) as receiver:
            async with speaking(receiver.url) as client:
                await client.greet()
                await client.send(sound(100))
                await asyncio.to_thread(hang.entered.acquire)
                client.abort()
            await receiver.until("receiver_active_streams", lambda active: not active)
            hang.released.set()
            dropped = await receiver.until("receiver_events_dropped_total", bool)
            with capture_logs() as logs:
                async with speaking(receiver.url, client.outbound) as again:
                    await again.greet()

    assert 2 == dropped
    stream = client.outbound.hello.stream
    lines = [line for line in logs if line["event"] == "events_dropped"]
    assert [(stream, 2)] == [(line["stream"], line["events"]) for line in lines]


async def test_events_arrive_during_the_stream():
    """The client gets each answer of process() with its offset, in order."""

    class Counting:
        def open(self, stream):
            self.calls = 0

        def process(self, samples, offset):
            self.calls += 1
            return {"call": self.calls, "mean": np.float32(0.5), "first": offset == 0}

        def close(self):
            return {"calls": self.calls}

    async with running(Counting) as receiver, speaking(receiver.url) as client:
        await client.greet()
        await client.send(sound(300), chunk_bytes=400)
        await client.until(wire.Event, lambda event: event.values["call"] == 3)
        receipt = await client.commit()

    events = [(event.processor, event.offset, event.values) for event in client.all(wire.Event)]
    expected = [
        ("counting", 100 * n, {"call": n + 1, "mean": 0.5, "first": n == 0}) for n in range(3)
    ]
    assert expected == events
    assert {"counting": {"calls": 3}} == receipt.processors


def raising(error):
    """Return a fault that raises *error*."""

    def fault():
        raise error

    return fault


class NamelessError(Exception):
    """An error whose text raises an error itself."""

    def __str__(self):
        raise RuntimeError


LONG = "x" * 1100
FAULTS = [
    ("init", raising(RuntimeError("no model")), "RuntimeError: no model"),
    ("open", raising(OSError(2, "no file")), "FileNotFoundError: [Errno 2] no file"),
    ("process", raising(ZeroDivisionError("by 0")), "ZeroDivisionError: by 0"),
    ("process", raising(SystemExit(3)), "SystemExit: 3"),
    ("process", raising(NamelessError()), "NamelessError"),
    ("process", raising(ValueError("half \ud800")), "ValueError: half"),
    ("process", raising(ValueError(LONG)), "ValueError: xxx"),
    ("process", raising(ValueError("\x00" * 1000)), "ValueError: "),
    ("process", lambda: [1, 2], "reported int among findings, expected Finding"),
    ("process", lambda: 5, "reported int, expected values or findings"),
    ("process", lambda: "text", "reported str, expected values or findings"),
    ("process", lambda: [Finding(5, 4, {})], "a finding from frame 5 to 4, expected 0 <= start"),
    ("process", lambda: itertools.repeat(Finding(0, 1, {})), "more than 10000 findings"),
    ("process", lambda: {"a": {"b": 1}}, "got `object`"),
    ("process", lambda: {"a": object()}, "object"),
    ("process", lambda: {1: 2}, "str"),
    ("process", lambda: {"a": 10**5000}, "ValueError"),
    ("process", lambda: {"half \ud800": 1}, "surrogates"),
    ("process", lambda: {"long": LONG}, "reported 1111 bytes, expected at most 1024"),
    ("close", raising(KeyError("k")), "KeyError: 'k'"),
    ("close", lambda: {"long": LONG}, "reported 1111 bytes, expected at most 1024"),
    ("close", lambda: "text", "str"),
]


@pytest.mark.parametrize(("method", "fault", "reason"), FAULTS)
async def test_a_processor_that_fails_is_cut_off(method, fault, reason):
    """Its stream continues without it, the receipt has the reason, and other streams keep it."""
    faulty, recorder = Faulty(method, fault), Recorder()
    payload = sound(2000)
    async with running(faulty, recorder) as receiver:
        client, receipt = await transmit(receiver.url, payload, name="victim")
        failures = receiver.value(
            "receiver_processor_failures_total", processor="faulty", reason="raised"
        )
        other, unharmed = await transmit(receiver.url, payload, name="other")

    assert ["faulty"] == list(receipt.failures)
    assert reason in receipt.failures["faulty"]
    assert ["recorder"] == list(receipt.processors)
    assert 1 == failures
    values = [event.values for event in client.all(wire.Event)]
    assert [{"error": receipt.failures["faulty"]}] == values
    take = take_of(recorder, client.outbound.hello.stream)
    assert decoded(payload, "s16le", 2).tobytes() == take.samples.tobytes()
    assert {} == unharmed.failures
    assert {"faulty", "recorder"} == set(unharmed.processors)
    assert take_of(recorder, other.outbound.hello.stream).frames == 2000


async def test_reports_of_many_processors_fit_into_a_receipt():
    """However long the reports of all processors are together, the stream commits."""
    processors = [Faulty("close", lambda: {"text": "y" * 1000}) for _ in range(6)]
    for number, each in enumerate(processors):
        each.__name__ = f"talkative{number}"
    async with running(*processors) as receiver:
        _, receipt = await transmit(receiver.url, sound(10), name="victim")

    assert 6 == len(receipt.processors) + len(receipt.failures)


HANGING = {**SMALL, "processor_timeout": 0.3}


@pytest.mark.parametrize("method", ["init", "open", "process", "close"])
async def test_a_processor_that_hangs_is_cut_off(method):
    """Its stream commits without it, and the receiver replaces its only thread."""
    recorder, payload = Recorder(), sound(30_000)
    with Hang() as hang:
        faulty = Faulty(method, hang)
        async with running(faulty, recorder, workers=1, limits=HANGING) as receiver:
            client, receipt = await transmit(receiver.url, payload, name="victim")
            hung = receiver.value(
                "receiver_processor_failures_total", processor="faulty", reason="hung"
            )
            _, unharmed = await transmit(receiver.url, payload, name="other")

    assert {"faulty": "a call took too long"} == receipt.failures
    assert {} == unharmed.failures
    assert 1 == hung
    take = take_of(recorder, client.outbound.hello.stream)
    assert decoded(payload, "s16le", 2).tobytes() == take.samples.tobytes()


async def test_a_call_that_returns_late_changes_nothing():
    """After a processor is cut off, its answers reach neither the client nor a processor."""
    recorder = Recorder()
    with Hang() as hang:
        faulty = Faulty("process", hang)
        async with running(faulty, recorder, workers=1, limits=HANGING) as receiver:
            async with speaking(receiver.url, name="victim") as client:
                await client.greet()
                await client.send(sound(4000), chunk_bytes=400)
                await client.until(wire.Event)
                hang.released.set()
                receipt = await client.commit()

    assert {"faulty": "a call took too long"} == receipt.failures
    assert hang.entered.acquire(blocking=False)
    assert not hang.entered.acquire(blocking=False)
    assert 1 == len(client.all(wire.Event))


async def test_a_processor_that_hangs_again_and_again_is_switched_off():
    """After max_stuck_calls, no stream gets the processor, not even an open one."""
    limits = {**HANGING, "max_stuck_calls": 2}
    with Hang() as hang:
        faulty = Faulty("process", hang, victims=("victim",))
        async with running(faulty, limits=limits) as receiver, speaking(receiver.url) as other:
            await other.greet()
            await other.send(sound(100))
            for _ in range(2):
                await transmit(receiver.url, sound(100), name="victim")
            event = await other.until(wire.Event)
            under_way = await other.commit()
            _, later = await transmit(receiver.url, sound(100), name="victim")

    reason = "switched off after 2 hanging calls"
    assert {"error": reason} == event.values
    assert {"faulty": reason} == under_way.failures
    assert {"faulty": reason} == later.failures
    assert {} == later.processors


async def test_a_slow_processor_slows_its_own_sender_only():
    """A slow processor fills its own window and no byte more, while another stream passes."""
    with Hang() as hang:
        faulty = Faulty("process", hang)
        async with (
            running(faulty, limits=SMALL) as receiver,
            speaking(receiver.url, name="victim") as slow,
        ):
            await slow.greet()
            sending = asyncio.create_task(slow.send(sound(60_000)))
            await receiver.until("receiver_buffered_bytes", lambda held: held > 50_000)
            _, receipt = await transmit(receiver.url, sound(60_000), name="other")
            buffered = receiver.value("receiver_buffered_bytes")
            blocked = not sending.done()
            hang.released.set()
            await sending
            slowly = await slow.commit()

    assert blocked
    assert 50_000 < buffered <= SMALL["window_bytes"]
    assert 60_000 == receipt.frames
    assert 60_000 == slowly.frames
    assert ({}, {}) == (receipt.failures, slowly.failures)
    assert digest(sound(60_000), FORMAT) == slowly.digest
