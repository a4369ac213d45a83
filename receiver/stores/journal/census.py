"""Whose recordings take how much of the disk: their manifests name the tokens."""

from __future__ import annotations

from contextlib import suppress

from .layout import Layout
from .recordings import read_manifest


class Census:
    """Counts the bytes of each token's recordings; it blocks, so use it in a thread."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._known: dict[str, tuple[str, tuple[str, ...]]] = {}
        """By a manifest's name, the token and the names of its files: manifests do not change."""

    def take(self) -> dict[str, int]:
        """
        Return the bytes on the disk by token; only manifests that are new are read.

        Raises:
            OSError: if the disk refuses.
        """
        sizes = dict(self._layout.disk.sizes(self._layout.audio))
        manifests = {each for each in sizes if each.endswith(".json") and not each.startswith(".")}
        for gone in self._known.keys() - manifests:
            del self._known[gone]
        for name in manifests - self._known.keys():
            with suppress(FileNotFoundError):
                self._read(name)
        stored: dict[str, int] = {}
        for name, (token, files) in self._known.items():
            if token:
                size = sum(sizes.get(each, 0) for each in (name, *files))
                stored[token] = stored.get(token, 0) + size
        return stored

    def _read(self, name: str) -> None:
        manifest = read_manifest(self._layout.disk, self._layout.audio / name)
        if manifest is not None:
            token = next((each.token for each in manifest.connections if each.token), "")
            self._known[name] = token, (manifest.recording, manifest.original)
