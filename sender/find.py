"""Which files a path on the command line stands for."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from .errors import SourceError

SUFFIXES: Final = (
    *(".aac", ".ac3", ".aif", ".aifc", ".aiff", ".ape", ".au", ".caf", ".dff", ".dsf", ".eac3"),
    *(".flac", ".m4a", ".m4b", ".mka", ".mp2", ".mp3", ".mp4", ".oga", ".ogg", ".opus", ".rf64"),
    *(".snd", ".tta", ".w64", ".wav", ".wave", ".webm", ".wma", ".wv"),
)
"""What is taken out of a folder; a file that is named itself may be called anything."""


def find_files(path: str) -> list[Path]:
    """
    Return the files that *path* stands for: itself, a folder's audio files, or a pattern's matches.

    Sorted, so that the same command sends in the same order.

    Raises:
        SourceError: if there are none.
    """
    try:
        return _find(path)
    except OSError as exc:
        raise SourceError(f"{path}: {exc.strerror}") from exc


def _find(path: str) -> list[Path]:
    if Path(path).is_dir():
        files = _below(Path(path))
        if not files:
            raise SourceError(f"{path}: no audio in this folder, expected {_suffixes()}")
        return files
    if glob.has_magic(path) and not Path(path).exists():
        matches = sorted(Path(match) for match in glob.glob(path, recursive=True))  # noqa: PTH207  # takes absolute patterns
        files = [file for match in matches for file in _below(match)]
        if not files:
            raise SourceError(f"{path}: no file matches this pattern")
        return files
    return [Path(path)]


def _below(path: Path) -> list[Path]:
    return sorted(audio_files(path)) if path.is_dir() else [path]


def audio_files(folder: Path) -> Iterator[Path]:
    """Yield the audio files below *folder*, by their suffix; hidden ones are left out."""
    for path in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix.lower() in SUFFIXES and not hidden and path.is_file():
            yield path


def _suffixes() -> str:
    return ", ".join(SUFFIXES)
