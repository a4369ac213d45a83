"""Which files a path on the command line stands for, and what it leaves out."""

from __future__ import annotations

import errno
import fnmatch
import glob
import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

SUFFIXES: Final = (
    *(".aac", ".ac3", ".adts", ".aif", ".aifc", ".aiff", ".amr", ".ape", ".asf", ".au", ".avi"),
    *(".awb", ".bw64", ".bwf", ".caf", ".dff", ".dsf", ".dts", ".dtshd", ".eac3", ".ec3", ".f4a"),
    *(".f4b", ".f4v", ".fla", ".flac", ".flv", ".gsm", ".iff", ".latm", ".loas", ".m1a", ".m2a"),
    *(".m2t", ".m2ts", ".m4a", ".m4b", ".m4p", ".m4r", ".m4v", ".mk3d", ".mka", ".mkv", ".mov"),
    *(".mp1", ".mp2", ".mp3", ".mp4", ".mpa", ".mpc", ".mpeg", ".mpg", ".mpga", ".mts", ".nist"),
    *(".nut", ".oga", ".ogg", ".ogv", ".ogx", ".opus", ".pvf", ".qt", ".ra", ".rf64", ".rm"),
    *(".snd", ".sph", ".spx", ".svx", ".tak", ".thd", ".tta", ".vob", ".voc", ".w64"),
    *(".wav", ".wave", ".weba", ".webm", ".wma", ".wmv", ".wsd", ".wv", ".xwm", ".xwma", ".3g2"),
    *(".3gp", ".8svx"),
)
"""
What is taken out of a folder; a file that is named itself may be called anything.

docs/audio.md has the same list, and says what is in such files; a test compares them.
"""

HIDDEN: Final = "hidden"
LINKED: Final = "linked folder"
SPECIAL: Final = "no regular file"
BARE: Final = "no suffix"
MOST_KINDS: Final = 10
"""Of what was left out, that are named; strangers choose the names of files."""

_NOWHERE: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
"""What nothing is found with, or a link that leads to nothing."""


class Fault(NamedTuple):
    """What cannot be looked into, and why; or what stands for nothing."""

    path: Path
    reason: str

    def __str__(self) -> str:
        """One line."""
        return f"{self.path}: {self.reason}"


@dataclass
class Found:
    """What a path stands for."""

    files: list[Path] = field(default_factory=list)
    """Sorted, so that the same command sends in the same order."""

    faults: list[Fault] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    """How many of each suffix, or of HIDDEN, LINKED, SPECIAL and BARE, lie in the folders."""


def find_files(path: str) -> Found:
    """
    Return what *path* stands for: itself, a folder's audio files, or a pattern's matches.

    Without files there is at least one fault.
    """
    if os.path.isdir(path):  # noqa: PTH112  # Path's raises where a folder above cannot be entered
        found = walk(Path(path))
        nothing = f"no audio in this folder, expected {', '.join(SUFFIXES)}"
        if found.left_out:
            nothing += f"; left out: {summary(found.left_out)}"
    elif glob.has_magic(path) and not os.path.lexists(path):
        found = _matches(Path(path))
        nothing = "no file matches this pattern"
    else:
        return Found(files=[Path(path)])
    if not (found.files or found.faults):
        found.faults.append(Fault(Path(path), nothing))
    return found


def walk(folder: Path) -> Found:
    """
    Return the audio files below *folder*, by their suffix.

    Hidden files and folders are left out, and so are links to folders, which may lead anywhere.
    """
    found = Found()
    for _, entries in _tree(folder, found.faults):
        for entry in entries:
            if kind := _left_out(entry):
                found.left_out[kind] += 1
            else:
                found.files.append(Path(entry.path))
    found.files.sort()
    return found


def summary(left_out: Counter[str]) -> str:
    """Return *left_out* in words, such as ``3 .jpg, 1 hidden``: the most frequent ones first."""
    named = sorted(left_out.items(), key=lambda each: (-each[1], each[0]))[:MOST_KINDS]
    words = [f"{count} {kind}" for kind, count in named]
    if rest := left_out.total() - sum(count for _, count in named):
        words.append(f"{rest} others")
    return ", ".join(words)


def _left_out(entry: os.DirEntry[str]) -> str:
    """What *entry*, no folder unless it is hidden or linked, is left out as; "" if it is not."""
    if entry.name.startswith("."):
        return HIDDEN
    suffix = Path(entry.name).suffix.lower()
    try:
        if entry.is_dir():
            return LINKED
        if suffix not in SUFFIXES:
            return suffix or BARE
        # A link to nothing is taken: opening it says so.
        return SPECIAL if not entry.is_file() and os.path.exists(entry.path) else ""  # noqa: PTH110
    except OSError:  # where a link leads cannot be looked at; opening it says why
        return "" if suffix in SUFFIXES else suffix or BARE


def _tree(top: Path, faults: list[Fault]) -> Iterator[tuple[Path, list[os.DirEntry[str]]]]:
    """Yield *top* and each folder below it that is not hidden, with what else lies in it."""
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        others = []
        for entry in _entries(folder, faults):
            try:
                below = not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
            except OSError as exc:
                faults.append(_fault(Path(entry.path), exc))
                continue
            if below:
                waiting.append(Path(entry.path))
            else:
                others.append(entry)
        yield folder, others


def _entries(folder: Path, faults: list[Fault]) -> list[os.DirEntry[str]]:
    """What lies in *folder*; it is a fault if that cannot be listed to its end, or entered."""
    entries: list[os.DirEntry[str]] = []
    try:
        os.stat(f"{folder}/.")  # noqa: PTH116  # a Path has no dot, which takes the right to enter
        with os.scandir(folder) as listed:
            entries.extend(listed)
    except OSError as exc:
        faults.append(_fault(folder, exc))
    return entries


def _matches(pattern: Path) -> Found:
    """What *pattern* matches, as glob does; but it goes through no link for a ``**``."""
    found = Found()
    parts = pattern.relative_to(pattern.anchor).parts
    while parts[-1:] == ("**",):  # a folder is walked anyway
        parts = parts[:-1]
    paths = [Path(pattern.anchor)]
    for part in parts:
        paths = [match for path in paths for match in _step(path, part, found.faults)]
    walked: set[Path] = set()
    for path in sorted(set(paths)):
        if os.path.isdir(path):  # noqa: PTH112
            if not walked.isdisjoint(path.parents):
                continue
            walked.add(path)
            below = walk(path)
            found.files += below.files
            found.faults += below.faults
            found.left_out += below.left_out
        else:
            found.files.append(path)
    found.files = sorted(set(found.files))
    found.faults = list(dict.fromkeys(found.faults))
    return found


def _step(path: Path, part: str, faults: list[Fault]) -> list[Path]:
    """What *part*, one piece of a pattern, matches in *path*; nothing if that is no folder."""
    try:
        if not stat.S_ISDIR(path.stat().st_mode):
            return []
        if not glob.has_magic(part):
            (path / part).lstat()
            return [path / part]
    except OSError as exc:
        if exc.errno not in _NOWHERE:
            # With a right that is missing, it is *path* that lacks it.
            faults.append(_fault(path if exc.errno == errno.EACCES else path / part, exc))
        return []
    if part == "**":
        return [folder for folder, _ in _tree(path, faults)]
    names = fnmatch.filter((entry.name for entry in _entries(path, faults)), part)
    return [path / name for name in names if part.startswith(".") or not name.startswith(".")]


def _fault(path: Path, error: OSError) -> Fault:
    return Fault(path, error.strerror or str(error))
