"""Receivers that make the recordings of several streams at once, on a disk that loses its power."""

from __future__ import annotations

import random
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from unittest.mock import patch

import msgspec
import xxhash

from receiver.stores.journal import Layout, RecordingOptions, committer, recordings
from receiver.stores.journal.committer import Together
from receiver.stores.journal.recordings import Manifest, Recorder
from receiver.stores.journal.writer import Writer, ending
from sonoduct import wire

from .actor import Actor
from .disk import ModelDisk
from .plan import FORMAT, UNIT_BYTES, Broken, audio
from .storage import File, Folder, Storage

STREAMS = ("ab" * 16, "cd" * 16, "ab" * 15 + "cd", "ef" * 16)
"""Two of them begin alike, and all have the same name."""

MOST_STEPS = 3000
TROUBLED = 150
CALM_BURST = 20
LOOKS = 0.2
"""The chance of a look at what a power cut would leave, after each step."""
MANY = 2


class Plan:
    """The troubles of a run, drawn from its seed."""

    def __init__(self, seed):
        rng = random.Random(f"recordings {seed}")
        self.trouble = rng.choice([0.01, 0.03, 0.1])
        self.cuts = rng.choice([0.1, 0.5])
        self.speeds = rng.choice([[1], [1, 0.1]])
        self.refusals = rng.choice([0.0, 0.01, 0.05])
        self.glances = rng.choice([0.0, 0.05])
        self.burst = rng.choice([1, 3, 10])
        self.whole = rng.random() < 0.5
        """Whether a call syncs the whole disk."""
        self.group = rng.choice([1, 2, 4])
        self.waking = rng.choice([0.001, 0.01])
        """The chance that a sleeper wakes, in each step."""


_HERE = threading.local()


class Receiver(Actor):
    """Makes the recordings that are missing."""

    def work(self):
        """Make them in one call."""
        _HERE.disk, plan = self.disk, self.world.plan
        self.disk.free = lambda _: 10**9
        whole = self.disk.sync_all if plan.whole else None
        layout = Layout(self.disk, Path("/"))
        recorder = Recorder(layout, RecordingOptions("wav"), sync_all=whole)
        for journal, made in recorder.record_all([layout.journal(each) for each in STREAMS]):
            self.world.note(self.label, "made", (journal.stream, str(made)))


def chunk(epoch, start, stop, source):
    """Return a chunk of the units of *source* from *start* to *stop*."""
    payload = source[start * UNIT_BYTES : stop * UNIT_BYTES]
    return wire.decode_chunk(wire.encode_chunk(epoch, start, stop - start, payload))


def write(path, _format, _container, _frames, payloads):
    """Do the work of `write_recording`: the file consists of the samples."""
    disk = _HERE.disk
    try:
        handle = disk.create(path)
        try:
            for each in payloads:
                disk.write(handle, [bytes(each)])
        finally:
            disk.close(handle)
    except OSError as exc:
        raise wire.StorageFailed(str(exc)) from exc


def digest(path, _format):
    """Do the work of `digest_recording`."""
    found = wire.Digest()
    with _HERE.disk.read(path) as file:
        data = file.read()
    found.update(0, len(data) // UNIT_BYTES, data)
    return found


@contextmanager
def modelled(group=4):
    """Let recordings be made on model disks."""
    changes = {"write_recording": write, "digest_recording": digest, "GROUP_FILES": group}
    with patch.object(committer, "MANY", MANY), patch.multiple(recordings, **changes):
        yield


class RecordingWorld:
    """One run; its seed decides everything."""

    def __init__(self, seed):
        self.plan = Plan(seed)
        self.rng = random.Random(seed + 1)
        self.calm = False
        self.storage = Storage()
        self.trace = []
        self._receivers = []
        self._made = 0
        self._sleepers = {}
        """The writers of a receiver that sleeps; another one has completed their streams."""
        self._sources = {each: audio(at, at + 9 + at) for at, each in enumerate(STREAMS)}
        self._receipts = {}
        disk = ModelDisk(self.storage)
        for name in ("audio", "streams"):
            self.storage.root.entries[name] = Folder()
        for stream, source in self._sources.items():
            self._store(disk, stream, source)
        disk.sync_all()

    def note(self, who, what, detail=None):
        """Add a line to the trace."""
        self.trace.append((who, what, detail))

    def run(self):
        """Run with trouble, then without; return whether all recordings were made."""
        try:
            with modelled(self.plan.group):
                for step in range(MOST_STEPS):
                    self.calm = step >= TROUBLED
                    self._step()
                    if (
                        self.calm
                        and not self._receivers
                        and self._check(self.storage) == len(STREAMS)
                    ):
                        break
        finally:
            self._kill()
        return self._check(self.storage) == len(STREAMS)

    def _store(self, disk, stream, source):
        journal = Layout(disk, Path("/")).journal(stream)
        disk.make_folder(journal.folder)
        hello = wire.Hello(stream=stream, instance="a", format=FORMAT, name="a.wav")
        units, half = len(source) // UNIT_BYTES, len(source) // UNIT_BYTES // 2
        sleeper = self._sleepers[stream] = Writer(journal, hello, 1, roll_bytes=1)
        sleeper.open(0)
        writer = Writer(journal, hello, 2)
        writer.open(0)
        for start, stop in ((0, half), (half, units)):
            writer.commit([chunk(2, start, stop, source)])
        self._receipts[stream] = wire.Receipt(
            stream=stream,
            units=units,
            digest=xxhash.xxh3_128(source).hexdigest(),
            frames=units,
            samplerate=FORMAT.samplerate,
            channels=FORMAT.channels,
            seconds=units / FORMAT.samplerate,
            durable=True,
        )
        writer.commit([ending(2, self._receipts[stream])])
        writer.close()

    def _wake(self):
        """Let a sleeper append to its stream, which starts another segment: that must fail."""
        stream = self.rng.choice(sorted(self._sleepers))
        try:
            self._sleepers.pop(stream).commit([chunk(1, 0, 1, self._sources[stream])])
        except (wire.StorageFailed, wire.Fenced):
            self.note("world", "fenced", stream)
        else:
            raise Broken(f"{stream}: audio was acknowledged after another claim")

    def _step(self):
        rng, plan = self.rng, self.plan
        if not self.calm and rng.random() < plan.trouble:
            self._trouble()
        elif self._sleepers and rng.random() < plan.waking:
            self._wake()
        elif len(self._receivers) < (1 if self.calm else 2) and rng.random() < 0.2:
            self._made += 1
            self._receivers.append(Receiver(self, f"receiver {self._made}"))
        elif self._receivers:
            self._resume(rng.choices(self._receivers, [each.speed for each in self._receivers])[0])
        if rng.random() < LOOKS:
            storage = self.storage.copy()
            storage.cut(rng)
            self._check(storage)

    def _resume(self, actor):
        burst = self.plan.burst if not self.calm else CALM_BURST
        actor.task.resume(int(self.rng.expovariate(1 / burst)) + 1)
        if actor.task.over:
            self._receivers.remove(actor)
        if actor.task.fault is not None:
            raise actor.task.fault

    def _trouble(self):
        if self.rng.random() < self.plan.cuts:
            self.note("world", "cut_power")
            self._kill()
            self._sleepers.clear()
            self.storage.cut(self.rng)
        elif self._receivers:
            self.note("world", "crash")
            self._receivers.pop(self.rng.randrange(len(self._receivers))).task.kill()

    def _kill(self):
        for each in self._receivers:
            each.task.kill()
        self._receivers.clear()

    def _check(self, storage):
        """Check every stream as a receiver that starts now would; return how many are recorded."""
        disk = ModelDisk(storage)
        layout = Layout(disk, Path("/"))
        manifests = dict(self._manifests(layout))
        self._require_owners(layout, set(manifests.values()))
        over = 0
        for stream, source in self._sources.items():
            journal = layout.journal(stream)
            try:
                if found := journal.done():
                    name = found.recording.partition("/")[2]
                    if found.receipt != self._receipts[stream] or manifests.get(stream) != name:
                        raise Broken(f"{stream}: its end or manifest is wrong")
                    over += 1
                    continue
                complete = journal.complete()
                whole = b"".join(
                    each.payload
                    for each in journal.records()
                    if each.header.kind == wire.RecordKind.AUDIO
                )
            except (OSError, wire.StorageFailed) as exc:
                raise Broken(f"{stream}: {exc}") from exc
            if complete is None or whole != source:
                raise Broken(f"{stream}: neither recorded nor complete")
        return over

    def _require_owners(self, layout, known):
        """Require that a recording without a manifest has a mark: else its name is lost."""
        names = layout.disk.names(layout.audio)
        for name in names:
            if name.endswith(".wav") and name not in known and f".{name[:-4]}.taken" not in names:
                raise Broken(f"{name}: nothing says whose it is")

    def _manifests(self, layout):
        for name in layout.disk.names(layout.audio):
            if name.endswith(".json") and not name.startswith("."):
                try:
                    with layout.disk.read(layout.audio / name) as file:
                        found = msgspec.json.decode(file.read(), type=Manifest)
                    with layout.disk.read(layout.audio / found.recording) as file:
                        data = file.read()
                except (OSError, msgspec.DecodeError) as exc:
                    raise Broken(f"{name}: {exc}") from exc
                if data != self._sources[found.receipt.stream]:
                    raise Broken(f"{name}: another recording than the stream")
                yield found.receipt.stream, found.recording


def unsynced(wanted):
    """Leave out the syncs for which *wanted* is true; each is a (name of the call, path)."""
    real = Recorder._sync

    def sync(self, group):
        self._together = Together(None)
        for each in group:
            each.needs = tuple(
                (call, what)
                for call, what in each.needs
                if not wanted(call.__name__, what, len(each.needs))
            )
        real(self, group)

    return patch.object(Recorder, "_sync", sync)


def deaf():
    """Continue although a sync has failed."""
    return patch.object(recordings, "_fault_of", hear)


def hear(call, *args):
    """Call, and hear nothing of errors."""
    with suppress(OSError):
        call(*args)


def hasty():
    """Start another segment without a look at the fence, unless a commit goes across it."""
    real = Writer._roll

    def roll(self):
        look = self.require_latest if self._unsettled else lambda: None
        with patch.object(self, "require_latest", look):
            real(self)

    return patch.object(Writer, "_roll", roll)


IN_AUDIO = Path("/audio")
MARKED, NOTED = 2, 3
"""Syncs after the first step and after the second."""

RECORDING_MUTANTS = {
    "a segment begins although the stream is over": hasty,
    "recordings get names before they are durable": lambda: unsynced(
        lambda call, *_: call == "sync_file"
    ),
    "recordings get names before their marks are durable": lambda: unsynced(
        lambda call, what, needs: call == "sync_folder" and what == IN_AUDIO and needs == MARKED
    ),
    "manifests come before the names of their recordings": lambda: unsynced(
        lambda call, what, needs: call == "sync_folder" and what == IN_AUDIO and needs == NOTED
    ),
    "ends come before the names of manifests": lambda: unsynced(
        lambda call, what, needs: call == "sync_folder" and what == IN_AUDIO and needs == 1
    ),
    "manifests and ends get names before they are durable": lambda: unsynced(
        lambda call, *_: call == "sync"
    ),
    "segments go before their ends are durable": lambda: unsynced(
        lambda call, what, _: call == "sync_folder" and what != IN_AUDIO
    ),
    "the disk is not synced for the group": lambda: patch.object(
        Together, "sync", lambda self, _: self._sync_all is not None
    ),
    "a group does not hear of a failed sync": deaf,
    "recordings are read from memory": lambda: patch.object(File, "evict", lambda _: None),
}
