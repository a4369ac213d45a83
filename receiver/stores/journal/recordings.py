"""
From complete journals to recordings: a playable file each, and a manifest beside it.

A recording is made in steps, and what one step writes is durable before the next step relies on it.
Several are made side by side, step by step, so that they share the syncs.

A crash may come between any two steps. Then the same call does them again, here or on another
receiver, with the same result.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec
import structlog

from sonoduct.audio.decoding import DecodeOptions
from sonoduct.audio.recording import Container, container_for, digest_recording, write_recording
from sonoduct.text import clean, escaped
from sonoduct.wire import Format, Kind, Receipt, StorageFailed

from . import done
from .committer import Together
from .disk import PosixDisk
from .journal import DONE, Complete, Connection, Done, Journal, State
from .layout import SHORT_DIGITS, Layout, suffix_of
from .original import AudioToRecord, audio_of

GROUP_BYTES: Final = 8 * 1024 * 1024
GROUP_FILES: Final = 32
"""Largest group of recordings that are made side by side. A longer one is made alone."""

FAR_LARGER: Final = 100
"""A recording that is so many times its file is made as FLAC, whatever was asked for."""

log = structlog.get_logger()


@dataclass(frozen=True)
class RecordingOptions:
    """How recordings are made."""

    container: Container
    decode_options: DecodeOptions = field(default_factory=DecodeOptions)
    """Decoders and their limits, for files that were sent as they are."""
    keep_original: bool = False
    """Whether such a file is kept beside its recording."""
    reserve_bytes: int = 0
    """Bytes of the disk that recordings of such files leave free."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The content of the ``.json`` file beside a recording; written once the recording is there."""

    recording: str
    """Name of the audio file."""
    name: str
    """The sender's name for the stream."""
    format: Format
    """Format of the recording's samples."""
    metadata: dict[str, str]
    receipt: Receipt
    connections: list[Connection] = []
    """The connections that the stream came over, with their senders and receivers."""
    samples: str = ""
    """Digest of the samples, if a file was decoded here; the receipt has the digest of the file."""
    original: str = ""
    """Name of that file, if it is kept."""


def _for_people(manifest: Manifest) -> bytes:
    """Return the JSON of *manifest*, without a raw character that a terminal would obey."""
    return escaped(msgspec.json.encode(manifest).decode()).encode()


def read_manifest(disk: PosixDisk, path: Path) -> Manifest | None:
    """Return the manifest at *path*; None if it is missing or damaged."""
    try:
        with disk.read(path) as file:
            return msgspec.json.decode(file.read(), type=Manifest)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


Need: TypeAlias = tuple[Callable[[Any], object], Path | int]
"""A call of the disk that makes a file or a folder durable, and its argument."""

Steps: TypeAlias = Generator[tuple[Need, ...], None, Path | None]
"""The steps of a recording; each yields what has to be durable before the next one."""

Outcome: TypeAlias = Path | StorageFailed | None


class Recorder:
    """Makes the recordings of a store. It blocks; use it in a thread."""

    def __init__(
        self,
        layout: Layout,
        options: RecordingOptions,
        require_running: Callable[[], None] = lambda: None,
        sync_all: Callable[[], None] | None = None,
    ) -> None:
        """
        *require_running* is called between blocks; it may raise StorageFailed to stop.

        *sync_all* makes everything written to the disk durable, or raises OSError.
        """
        self._layout = layout
        self._disk = layout.disk
        self._options = options
        self._require_running = require_running
        self._together = Together(sync_all)

    def record_all(self, journals: Iterable[Journal]) -> Iterator[tuple[Journal, Outcome]]:
        """
        Make the recordings of complete journals in groups, then remove their segments.

        Yields with each journal its recording; None if the journal is not complete, or another
        receiver has locked it; StorageFailed if the disk refuses, or the journal differs from the
        receipt.
        """
        group: list[_Making] = []
        with ExitStack() as begun:
            for journal in journals:
                group.append(_Making(journal, self._steps))
                begun.callback(group[-1].steps.close)
                group[-1].proceed()
                if len(group) > GROUP_FILES or sum(each.size for each in group) > GROUP_BYTES:
                    yield from self._finish(group[:-1])
                    del group[:-1]
            yield from self._finish(group)

    def _finish(self, group: list[_Making]) -> Iterator[tuple[Journal, Outcome]]:
        while any(each.going for each in group):
            for each in group:
                each.proceed()
            self._sync([each for each in group if each.going])
        yield from ((each.journal, each.outcome) for each in group)

    def _sync(self, group: list[_Making]) -> None:
        """Make durable what the steps of *group* have written; end those for which that fails."""
        if self._together.sync(len(group)):
            return
        faults: dict[Need, OSError | None] = {}  # a second sync would prove nothing
        for each in group:
            for need in each.needs:
                if need not in faults:
                    faults[need] = _fault_of(*need)
                if fault := faults[need]:
                    each.proceed(fault)
                    break

    def _steps(self, making: _Making) -> Steps:
        journal = making.journal
        with journal.lock() as mine:
            if not mine:
                return None
            if journal.done() is not None:
                done.clear_left(journal)
                return None
            complete = journal.complete()
            if complete is None:
                return None
            alone = complete.hello.kind is Kind.FILE
            making.size = (
                GROUP_BYTES if alone else complete.receipt.units * complete.hello.unit_bytes
            )
            yield ()
            options = self._options
            with audio_of(
                self._layout, journal, complete, options.decode_options, self._require_running
            ) as audio:
                return (yield from self._write(journal, complete, audio))

    def _write(self, journal: Journal, complete: Complete, audio: AudioToRecord) -> Steps:
        """Write a draft, check it, give it its name, and write the manifest beside it."""
        disk, hello, receipt = self._disk, complete.hello, complete.receipt
        audio_format, frames = audio.format, receipt.frames
        requested = self._options.container
        alone = hello.kind is Kind.FILE
        if alone and frames * audio_format.frame_bytes > FAR_LARGER * receipt.units:
            requested = "flac"  # silence, mostly: as WAV it takes a thousand times its file
        container = container_for(audio_format, requested, frames)
        log.debug("recording_started", stream=hello.stream, frames=frames, container=container)
        disk.make_folder(self._layout.audio)
        # What was sent gives its own bytes back; what a file is decoded to leaves the reserve.
        reserve = self._options.reserve_bytes if alone else 0
        self._layout.require_room(hello.stream, frames * audio_format.frame_bytes, reserve)
        in_audio = (disk.sync_folder, self._layout.audio)
        with ExitStack() as left:
            draft = self._layout.draft(hello.stream)
            left.callback(self._remove, draft)
            path = self._take_name(complete, f".{container}")
            left.callback(self._release, path)
            write_recording(draft, audio_format, container, frames, audio.payloads)
            _require_whole(complete, audio)
            yield ((disk.sync_file, draft), in_audio)  # the mark is durable before the name
            disk.evict(draft)
            # If the disk fills up at the very end of a FLAC file, libsndfile does not report it.
            seen = digest_recording(draft, audio_format).hexdigest()
            expected = audio.digest.hexdigest()
            if seen != expected:
                what = f"{hello.stream}: digest of the recording"
                raise StorageFailed(what, seen=seen, expected=expected)
            manifest = Manifest(
                recording=path.name,
                name=clean(hello.name),
                format=audio_format,
                metadata=hello.metadata,
                receipt=receipt,
                connections=journal.connections(),
                samples=expected if audio.original else "",
                original=self._keep_original(path, hello.name, audio.original),
            )
            name = str(path.relative_to(self._layout.root))
            how = Done(state=State.COMMITTED, epoch=complete.epoch, receipt=receipt, recording=name)
            disk.move(draft, path)
            end = journal.folder / DONE
            notes = [
                left.enter_context(disk.draft(each, what))
                for each, what in (
                    (path.with_suffix(".json"), _for_people(manifest)),
                    (end, msgspec.json.encode(how)),
                )
            ]
            yield (*((disk.sync, each.handle) for each in notes), in_audio)
            disk.move(notes[0].path, path.with_suffix(".json"))
            yield (in_audio,)
            disk.remove(_taken(path))
            disk.move(notes[1].path, end)
            yield ((disk.sync_folder, journal.folder),)
            journal.remove_segments()
        return path

    def _remove(self, draft: Path) -> None:
        with suppress(OSError):
            self._disk.remove(draft)

    def _release(self, path: Path) -> None:
        """Give the name up, unless the recording has it: then the mark still says whose it is."""
        with suppress(OSError):
            if not self._disk.exists(path):
                self._disk.remove(_taken(path))

    def _keep_original(self, path: Path, name: str, original: Path | None) -> str:
        """Move the file that was decoded beside its recording, if wanted; return its name there."""
        if original is None or not self._options.keep_original:
            return ""
        kept = path.with_name(f"{path.stem}.original{suffix_of(name)}")
        self._disk.sync_file(original)
        self._disk.rename(original, kept)
        return kept.name

    def _take_name(self, complete: Complete, suffix: str) -> Path:
        """
        Take a name for the recording that no other stream has.

        If several receivers try to take a name, one succeeds. A mark beside the recording says who
        has it, until the manifest says so. If two streams have the same name and ids that begin
        alike, the later one gets its whole id in the name.
        """
        name, stream = complete.hello.name, complete.hello.stream
        for digits in (SHORT_DIGITS, len(stream)):
            path = self._layout.recording(name, stream, suffix, digits)
            manifest = path.with_suffix(".json")
            owner, crashed = self._owner_of(manifest), self._disk.taken(_taken(path)) == stream
            # A recording without a manifest belongs to a stream that lost or removed its manifest.
            if owner not in (None, stream) or (self._disk.exists(path) and not (owner or crashed)):
                continue
            if self._disk.take(_taken(path), stream) != stream:
                continue
            if self._owner_of(manifest) in (None, stream):  # now that no other stream can take it
                return path
            self._disk.remove(_taken(path))
        what = f"{stream}: name of the recording"
        raise StorageFailed(what, seen=manifest.name, expected="a free one")

    def _owner_of(self, manifest: Path) -> str | None:
        """Return the stream that *manifest* names; None without a manifest, "" if it is damaged."""
        try:
            with self._disk.read(manifest) as file:
                return msgspec.json.decode(file.read(), type=Manifest).receipt.stream
        except FileNotFoundError:
            return None
        except msgspec.DecodeError:
            return ""


class _Making:
    """A recording that is being made."""

    def __init__(self, journal: Journal, steps: Callable[[_Making], Steps]) -> None:
        self.journal = journal
        self.size = 0
        """Bytes of the recording; set by its first step."""
        self.needs: tuple[Need, ...] = ()
        self.going = True
        self.outcome: Outcome = None
        self.steps = steps(self)

    def proceed(self, fault: OSError | None = None) -> None:
        """Do the next step, if there is one; or end with *fault*, the error of a sync."""
        if not self.going:
            return
        try:
            self.needs = self.steps.throw(fault) if fault else next(self.steps)
        except StopIteration as end:
            self.going, self.outcome = False, end.value
        except (OSError, StorageFailed) as exc:
            self.going, self.outcome = False, self._explained(exc)

    def _explained(self, exc: OSError | StorageFailed) -> StorageFailed | None:
        if isinstance(exc, FileNotFoundError):
            return None  # another receiver that shares the store removed it meanwhile
        if isinstance(exc, OSError):
            return StorageFailed(f"{self.journal.stream}: {exc.strerror}")
        with suppress(OSError, StorageFailed):
            if self.journal.done() is not None:  # the same, while this one was reading
                return None
        return exc


def _fault_of(call: Callable[..., object], *args: object) -> OSError | None:
    try:
        call(*args)
    except OSError as exc:
        return exc
    return None


def _require_whole(complete: Complete, audio: AudioToRecord) -> None:
    """Check the samples against the receipt: by digest, or by number if a file was decoded."""
    stream, receipt = complete.hello.stream, complete.receipt
    what = f"{stream}: digest of the journal"
    seen, expected = audio.digest.hexdigest(), receipt.digest
    if audio.original is not None:
        what = f"{stream}: frames that came out of the file"
        seen, expected = str(audio.digest.units), str(receipt.frames)
    if seen != expected:
        raise StorageFailed(what, seen=seen, expected=expected)


def _taken(path: Path) -> Path:
    """Return the path of the mark that says which stream is making the recording *path*."""
    return path.with_name(f".{path.stem}.taken")
