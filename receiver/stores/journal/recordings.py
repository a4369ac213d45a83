"""
From a complete journal to a recording: a playable file, and a manifest beside it.

A crash may come between any two steps. Then the same call does them again, here or on another
receiver, with the same result.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import structlog

from sonoduct.audio.decoding import DecodeOptions
from sonoduct.audio.recording import Container, container_for, digest_recording, write_recording
from sonoduct.wire import Format, Receipt, StorageFailed

from . import done
from .disk import Disk
from .journal import Complete, Done, Journal, State
from .layout import SHORT_DIGITS, Layout, suffix_of
from .original import AudioToRecord, audio_of

log = structlog.get_logger()


@dataclass(frozen=True)
class RecordingOptions:
    """How recordings are made."""

    container: Container
    decode_options: DecodeOptions = field(default_factory=DecodeOptions)
    """Decoders and their limits, for files that were sent as they are."""
    keep_original: bool = False
    """Whether such a file is kept beside its recording."""


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
    samples: str = ""
    """Digest of the samples, if a file was decoded here; the receipt has the digest of the file."""
    original: str = ""
    """Name of that file, if it is kept."""


def read_manifest(disk: Disk, path: Path) -> Manifest | None:
    """Return the manifest at *path*; None if it is missing or damaged."""
    try:
        with disk.read(path) as file:
            return msgspec.json.decode(file.read(), type=Manifest)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


class Recorder:
    """Makes the recordings of a store. It blocks; use it in a thread."""

    def __init__(
        self,
        layout: Layout,
        options: RecordingOptions,
        require_running: Callable[[], None] = lambda: None,
    ) -> None:
        """*require_running* is called between blocks; it may raise StorageFailed to stop."""
        self._layout = layout
        self._disk = layout.disk
        self._options = options
        self._require_running = require_running

    def record(self, journal: Journal) -> Path | None:
        """
        Make the recording of a complete journal, then remove its segments.

        Returns the recording; None if the journal is not complete, or another receiver has locked
        it.

        Raises:
            StorageFailed: if the disk refuses, or the journal differs from the receipt.
        """
        try:
            with journal.lock() as mine:
                return self._record(journal) if mine else None
        except FileNotFoundError:  # another receiver that shares the store removed it meanwhile
            return None
        except StorageFailed:
            if journal.done() is not None:  # the same, while this one was reading
                return None
            raise
        except OSError as exc:
            raise StorageFailed(f"{journal.stream}: {exc.strerror}") from exc

    def _record(self, journal: Journal) -> Path | None:
        if journal.done() is not None:
            done.clear_left(journal)
            return None
        complete = journal.complete()
        if complete is None:
            return None
        options = self._options
        with audio_of(
            self._layout, journal, complete, options.decode_options, self._require_running
        ) as audio:
            recording = self._write(complete, audio)
        name = str(recording.relative_to(self._layout.root))
        receipt = complete.receipt
        how = Done(state=State.COMMITTED, epoch=complete.epoch, receipt=receipt, recording=name)
        done.end_stream(journal, how)
        return recording

    def _write(self, complete: Complete, audio: AudioToRecord) -> Path:
        """Write a draft, check it, give it its name, and write the manifest beside it."""
        disk, hello, receipt = self._disk, complete.hello, complete.receipt
        audio_format, frames = audio.format, receipt.frames
        container = container_for(audio_format, self._options.container, frames)
        log.debug("recording_started", stream=hello.stream, frames=frames, container=container)
        draft = self._layout.draft(hello.stream)
        disk.make_folder(self._layout.audio)
        self._layout.require_room(hello.stream, frames * audio_format.frame_bytes)
        try:
            write_recording(draft, audio_format, container, frames, audio.payloads)
            _require_whole(complete, audio)
            disk.sync_file(draft)
            # If the disk fills up at the very end of a FLAC file, libsndfile does not report it.
            seen, expected = (
                digest_recording(draft, audio_format).hexdigest(),
                audio.digest.hexdigest(),
            )
            if seen != expected:
                what = f"{hello.stream}: digest of the recording"
                raise StorageFailed(what, seen=seen, expected=expected)
            path = self._take_name(complete, f".{container}")
            manifest = Manifest(
                recording=path.name,
                name=hello.name,
                format=audio_format,
                metadata=hello.metadata,
                receipt=receipt,
                samples=expected if audio.original else "",
                original=self._keep_original(path, hello.name, audio.original),
            )
            disk.rename(draft, path)
            disk.replace(path.with_suffix(".json"), msgspec.json.encode(manifest))
            disk.remove(_taken(path))
        finally:
            with suppress(OSError):
                disk.remove(draft)
        return path

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
