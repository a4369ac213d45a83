"""The ``.json`` beside a recording."""

from __future__ import annotations

from pathlib import Path

import msgspec

from sonoduct.wire import Format, Receipt

from .disk import Disk


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
