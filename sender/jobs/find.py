"""The files that a path on the command line names, and the files that it leaves out."""

from __future__ import annotations

import errno
import fnmatch
import glob
import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Final, NamedTuple

from sender.sources.within import leads_out

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
Suffixes of the files that are taken from a folder. A file that is named itself may have any name.

docs/audio.md has the same list, and describes such files; a test compares them.
"""

HIDDEN: Final = "hidden"
LINKED: Final = "linked folder"
OUTSIDE: Final = "link out of the folder"
SPECIAL: Final = "no regular file"
BARE: Final = "no suffix"
MOST_KINDS: Final = 10
"""The most kinds of left out files that are named; strangers choose the names of files."""

_NOWHERE: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
"""Errors of a path that does not exist, or of a link that leads nowhere."""


class Fault(NamedTuple):
    """A path that cannot be read or that matches nothing, and the reason."""

    path: Path
    reason: str

    def __str__(self) -> str:
        """One line."""
        return f"{self.path}: {self.reason}"


@dataclass
class Found:
    """The files that a path names."""

    files: list[Path] = field(default_factory=list)
    """Sorted, so that the same command sends in the same order."""

    faults: list[Fault] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    """The number of left out files by suffix, or by HIDDEN, LINKED, OUTSIDE, SPECIAL and BARE."""

    folder: Path | None = None
    """The folder in which the files were found, and which no link may leave; None if it may."""


def find_files(path: str, *, follow_links: bool = False) -> Found:
    """
    Return the files that *path* names: itself, a folder's audio files, or a pattern's matches.

    *path* itself may be a link; the files that are found in a folder may be links out of it only
    with *follow_links*. If there are no files, there is at least one fault.
    """
    if os.path.isdir(path):  # noqa: PTH112  # Path's raises where a folder above cannot be entered
        found = walk(Path(path), follow_links=follow_links)
        nothing = f"no audio in this folder, expected {', '.join(SUFFIXES)}"
        if found.left_out:
            nothing += f"; left out: {summary(found.left_out)}"
    elif glob.has_magic(path) and not os.path.lexists(path):
        found = _matches(Path(path), follow_links=follow_links)
        nothing = "no file matches this pattern"
    else:
        return Found(files=[Path(path)])
    if not (found.files or found.faults):
        found.faults.append(Fault(Path(path), nothing))
    return found


def walk(folder: Path, *, follow_links: bool = False) -> Found:
    """
    Return the audio files below *folder*, by their suffix.

    Hidden files and folders are left out. Without *follow_links*, so are links to folders, and
    links to files elsewhere.
    """
    found = Found(folder=None if follow_links else folder)
    for _, entries in _tree(folder, found.faults, follow_links=follow_links):
        for entry in entries:
            if kind := _left_out(entry, found.folder):
                found.left_out[kind] += 1
            else:
                found.files.append(Path(entry.path))
    found.files.sort()
    return found


def summary(left_out: Counter[str]) -> str:
    """Return *left_out* in words, such as ``3 .jpg, 1 hidden``, the most frequent kinds first."""
    named = sorted(left_out.items(), key=lambda each: (-each[1], each[0]))[:MOST_KINDS]
    words = [f"{count} {kind}" for kind, count in named]
    if rest := left_out.total() - sum(count for _, count in named):
        words.append(f"{rest} others")
    return ", ".join(words)


def _left_out(entry: os.DirEntry[str], folder: Path | None) -> str:
    """
    Return the kind as which *entry* is left out; "" if it is taken. It is not a plain folder.

    If there is a *folder*, it may not be a link out of it.
    """
    if entry.name.startswith("."):
        return HIDDEN
    suffix = Path(entry.name).suffix.lower()
    try:
        if entry.is_dir():
            return LINKED
        if suffix not in SUFFIXES:
            return suffix or BARE
        if folder is not None and entry.is_symlink() and leads_out(entry.path, folder):
            return OUTSIDE
        # A link to nothing is taken: opening it gives the error.
        return SPECIAL if not entry.is_file() and os.path.exists(entry.path) else ""  # noqa: PTH110
    except OSError:  # the target of a link cannot be read; opening it gives the error
        return "" if suffix in SUFFIXES else suffix or BARE


def _tree(
    top: Path, faults: list[Fault], *, follow_links: bool = False
) -> Iterator[tuple[Path, list[os.DirEntry[str]]]]:
    """
    Yield *top* and each folder below it that is not hidden, with its other entries.

    With *follow_links* this includes linked folders; each folder comes once, so loops end.
    """
    waiting = [top]
    seen = {os.path.realpath(top)}
    while waiting:
        folder = waiting.pop()
        others = []
        for entry in _entries(folder, faults):
            try:
                shown = not entry.name.startswith(".")
                below = shown and entry.is_dir(follow_symlinks=follow_links)
            except OSError as exc:
                below = False
                if not entry.is_symlink():  # opening a link gives the error
                    faults.append(_fault(Path(entry.path), exc))
                    continue
            if below and follow_links:
                if (real := os.path.realpath(entry.path)) not in seen:
                    seen.add(real)
                    waiting.append(Path(entry.path))
            elif below:
                waiting.append(Path(entry.path))
            else:
                others.append(entry)
        yield folder, others


def _entries(folder: Path, faults: list[Fault]) -> list[os.DirEntry[str]]:
    """Return the entries of *folder*; add a fault if it cannot be listed to its end, or entered."""
    entries: list[os.DirEntry[str]] = []
    try:
        os.stat(f"{folder}/.")  # noqa: PTH116  # with the dot it needs the right to enter; a Path drops the dot
        with os.scandir(folder) as listed:
            entries.extend(listed)
    except OSError as exc:
        faults.append(_fault(folder, exc))
    return entries


def _matches(pattern: Path, *, follow_links: bool) -> Found:
    """Return the matches of *pattern*, as glob does, except that ``**`` follows no links."""
    parts = pattern.relative_to(pattern.anchor).parts
    named = list(takewhile(lambda part: not glob.has_magic(part), parts))
    found = Found(folder=None if follow_links else Path(pattern.anchor, *named))
    while parts[-1:] == ("**",):  # the folder before it is walked anyway
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
            below = walk(path, follow_links=follow_links)
            found.files += below.files
            found.faults += below.faults
            found.left_out += below.left_out
        else:
            found.files.append(path)
    found.files = sorted(set(found.files))
    found.faults = list(dict.fromkeys(found.faults))
    return found


def _step(path: Path, part: str, faults: list[Fault]) -> list[Path]:
    """Return the matches of *part*, one piece of a pattern, in *path*; none if it is no folder."""
    try:
        if not stat.S_ISDIR(path.stat().st_mode):
            return []
        if not glob.has_magic(part):
            (path / part).lstat()
            return [path / part]
    except OSError as exc:
        if exc.errno not in _NOWHERE:
            # If a right is missing, it is missing for *path*.
            faults.append(_fault(path if exc.errno == errno.EACCES else path / part, exc))
        return []
    if part == "**":
        return [folder for folder, _ in _tree(path, faults)]
    names = fnmatch.filter((entry.name for entry in _entries(path, faults)), part)
    return [path / name for name in names if part.startswith(".") or not name.startswith(".")]


def _fault(path: Path, error: OSError) -> Fault:
    return Fault(path, error.strerror or str(error))
