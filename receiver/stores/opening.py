"""Which store a receiver gets: `--store` names it by its scheme, or is a folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from receiver.metrics import Metrics
from receiver.settings import Settings
from sonoduct.wire import StorageFailed

from . import Store
from .journal import (
    JournalStore,
    Layout,
    PosixDisk,
    RecordingOptions,
    Retention,
    StoreLimits,
)
from .memory import MemoryStore


def open_store(settings: Settings, metrics: Metrics) -> Store:
    """
    Return the store that `settings.store` names.

    Raises:
        StorageFailed: if no store has its scheme, or if its folder cannot be used.
    """
    place = settings.store
    scheme = place.partition("://")[0] if "://" in place else place if place == "none" else "folder"
    if scheme not in STORES:
        expected = f"a folder, or one of {', '.join(sorted(STORES))}"
        raise StorageFailed("scheme of the store", seen=scheme, expected=expected)
    return STORES[scheme](settings, metrics)


def _none(settings: Settings, _metrics: Metrics) -> Store:
    return MemoryStore(settings.limits.remembered_receipts)


def _folder(settings: Settings, metrics: Metrics) -> Store:
    limits = settings.limits
    folder = Path(settings.store.removeprefix("folder://")).absolute()
    return JournalStore(
        Layout(PosixDisk(), folder),
        RecordingOptions(settings.recording, settings.means, settings.keep_original),
        Retention(limits.expiry_timeout, limits.receipt_timeout),
        StoreLimits(limits.reserve_bytes, limits.stream_bytes, limits.takeover_timeout),
        metrics.commit.observe,
    )


STORES: Final[Mapping[str, Callable[[Settings, Metrics], Store]]] = {
    "folder": _folder,
    "none": _none,
}
"""By scheme; docs/how-to/add-a-store.md adds one."""
