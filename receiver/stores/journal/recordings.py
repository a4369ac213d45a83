"""From a complete journal to a recording. Every step may be done again."""

from __future__ import annotations

import uuid
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from sonoduct.audio.recording import Container, container_for, digest_recording, write_recording
from sonoduct.wire import Digest, Format, Hello, Receipt, StorageFailed

from .disk import Disk
from .done import Done, State, clear_left, read_done, write_done
from .layout import SHORT_DIGITS, Layout, suffix_of
from .original import Sound, Work, payloads, require_room, sound_of
from .reader import complete, last_segment


class Manifest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What lies beside a recording, as ``.json``, once the recording is there."""

    recording: str
    """Name of the audio file."""
    name: str
    """What the sender calls the stream."""
    format: Format
    """Of the recording's samples."""
    metadata: dict[str, str]
    receipt: Receipt
    samples: str = ""
    """Digest of the samples of a file that was decoded here; the receipt has that of its bytes."""
    original: str = ""
    """Name of that file, if it is kept."""


def read_manifest(disk: Disk, path: Path) -> Manifest | None:
    """Return what lies at *path*; None if nothing does, or something damaged."""
    try:
        with disk.read(path) as file:
            return msgspec.json.decode(file.read(), type=Manifest)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def owner_of(disk: Disk, manifest: Path) -> str | None:
    """Return the stream that *manifest* is about; None if there is none, "" if it is damaged."""
    try:
        with disk.read(manifest) as file:
            return msgspec.json.decode(file.read(), type=Manifest).receipt.stream
    except FileNotFoundError:
        return None
    except msgspec.DecodeError:
        return ""


WORK: Final = Work()


def finish(
    disk: Disk,
    layout: Layout,
    folder: Path,
    wanted: Container,
    work: Work = WORK,
) -> Path | None:
    """
    Make the recording of a complete journal, then remove its segments.

    Returns the recording; None if the journal is not complete, or another receiver is at it.

    Raises:
        StorageFailed: if the disk refuses, or the journal is not what the receipt says.
    """
    try:
        with disk.lock(folder) as mine:
            return _finish(disk, layout, folder, wanted, work) if mine else None
    except FileNotFoundError:  # removed meanwhile, by another receiver that shares the store
        return None
    except StorageFailed:
        if read_done(disk, folder) is not None:  # the same, in the middle of reading
            return None
        raise
    except OSError as exc:
        raise StorageFailed(f"{folder.name}: {exc.strerror}") from exc


def digest_of(disk: Disk, folder: Path) -> Digest:
    """
    Return the digest of what a journal holds.

    Raises:
        StorageFailed: if the disk refuses, or audio is missing.
    """
    digest = Digest()
    try:
        if last := last_segment(disk, folder, below=2**63):
            for _ in payloads(disk, folder, last.hello, digest):
                pass
    except OSError as exc:
        raise StorageFailed(f"{folder.name}: {exc.strerror}") from exc
    return digest


def _finish(disk: Disk, layout: Layout, folder: Path, wanted: Container, work: Work) -> Path | None:
    if read_done(disk, folder) is not None:
        clear_left(disk, folder)
        return None
    found = complete(disk, folder)
    if found is None:
        return None
    hello, epoch, receipt = found
    with sound_of(disk, layout, (hello, receipt), work) as sound:
        recording = _record(disk, layout, (hello, receipt, sound), wanted, work)
    name = str(recording.relative_to(layout.root))
    done = Done(state=State.COMMITTED, epoch=epoch, receipt=receipt, recording=name)
    write_done(disk, folder, done)
    return recording


def _record(
    disk: Disk,
    layout: Layout,
    made_of: tuple[Hello, Receipt, Sound],
    wanted: Container,
    work: Work,
) -> Path:
    hello, receipt, sound = made_of
    form, frames = sound.format, receipt.frames
    container = container_for(form, wanted, frames)
    draft = layout.audio / f".{hello.stream}.{uuid.uuid4().hex[:8]}"
    disk.make_folder(layout.audio)
    require_room(disk, layout, hello.stream, frames * form.frame_bytes)
    try:
        write_recording(draft, form, container, frames, sound.payloads)
        _require_whole(hello, receipt, sound)
        disk.sync_file(draft)
        # libsndfile does not report that the end of a FLAC file found the disk full.
        seen, expected = digest_recording(draft, form).hexdigest(), sound.digest.hexdigest()
        if seen != expected:
            what = f"{hello.stream}: digest of the recording"
            raise StorageFailed(what, seen=seen, expected=expected)
        path = _take_name(disk, layout, hello, f".{container}")
        original = _keep(disk, path, hello, sound) if work.keep_original else ""
        manifest = Manifest(
            recording=path.name,
            name=hello.name,
            format=form,
            metadata=hello.metadata,
            receipt=receipt,
            samples=expected if sound.original else "",
            original=original,
        )
        disk.rename(draft, path)
        disk.replace(path.with_suffix(".json"), msgspec.json.encode(manifest))
        disk.remove(_taken(path))
    finally:
        with suppress(OSError):
            disk.remove(draft)
    return path


def _require_whole(hello: Hello, receipt: Receipt, sound: Sound) -> None:
    """What was taken is what the receipt is about: samples by digest, those of a file by number."""
    what = f"{hello.stream}: digest of the journal"
    seen, expected = sound.digest.hexdigest(), receipt.digest
    if sound.original is not None:
        what = f"{hello.stream}: frames that came out of the file"
        seen, expected = str(sound.digest.units), str(receipt.frames)
    if seen != expected:
        raise StorageFailed(what, seen=seen, expected=expected)


def _keep(disk: Disk, path: Path, hello: Hello, sound: Sound) -> str:
    """Give the file that was decoded its place beside the recording; return its name there."""
    if sound.original is None:
        return ""
    kept = path.with_name(f"{path.stem}.original{suffix_of(hello.name)}")
    disk.sync_file(sound.original)
    disk.rename(sound.original, kept)
    return kept.name


def _take_name(disk: Disk, layout: Layout, hello: Hello, suffix: str) -> Path:
    """
    Take a name for the recording that no other stream has.

    Of several receivers that take a name, one succeeds; what says so is removed when there is a
    manifest, which says it as well. Streams of one name may have ids that begin alike: then the
    later one gets all of its id.
    """
    stream = hello.stream
    for digits in (SHORT_DIGITS, len(stream)):
        path = layout.recording(hello.name, stream, suffix, digits)
        manifest = path.with_suffix(".json")
        owner, crashed = owner_of(disk, manifest), disk.taken(_taken(path)) == stream
        # A recording without a manifest has an owner, too, who has removed it or lost it.
        if owner not in (None, stream) or (disk.exists(path) and not (owner or crashed)):
            continue
        if disk.take(_taken(path), stream) != stream:
            continue
        if owner_of(disk, manifest) in (None, stream):  # also now that nobody else can take it
            return path
        disk.remove(_taken(path))
    what = f"{stream}: name of the recording"
    raise StorageFailed(what, seen=manifest.name, expected="a free one")


def _taken(path: Path) -> Path:
    """What says whose the name of a recording is, while it is being made."""
    return path.with_name(f".{path.stem}.taken")
