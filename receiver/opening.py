"""Which store a receiver gets: `--store` is a folder, ``none``, or an address with a scheme."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from sonoduct.wire import StorageFailed

from .metrics import Metrics
from .settings import Settings
from .stores import Store
from .stores.journal import (
    JournalStore,
    Layout,
    PosixDisk,
    RecordingOptions,
    Retention,
    StoreLimits,
)
from .stores.memory import MemoryStore


def open_store(settings: Settings, metrics: Metrics) -> Store:
    """
    Return the store that `settings.store` names.

    Raises:
        StorageFailed: if no store has its scheme, or if its folder cannot be used.
    """
    place = settings.store
    scheme = f"{place.partition('://')[0]}://" if "://" in place else place
    if scheme in STORES:
        return STORES[scheme](settings, metrics)
    if "://" in place:
        expected = f"a folder or {' or '.join(STORES)}"
        raise StorageFailed("store", seen=place, expected=expected)
    return _folder(settings, metrics)


def _folder(settings: Settings, metrics: Metrics) -> Store:
    limits = settings.limits
    folder = Path(settings.store).absolute()
    return JournalStore(
        Layout(PosixDisk(), folder),
        RecordingOptions(
            settings.recording,
            settings.decode_options,
            settings.keep_original,
            limits.reserve_bytes,
        ),
        Retention(limits.expiry_timeout, limits.receipt_timeout, limits.waiting_share),
        StoreLimits(
            limits.reserve_bytes,
            limits.stream_bytes,
            limits.takeover_timeout,
            by_token=settings.tokens is not None,
        ),
        metrics.commit.observe,
    )


STORES: Final[Mapping[str, Callable[[Settings, Metrics], Store]]] = {
    "none": lambda settings, _metrics: MemoryStore(settings.limits.remembered_receipts)
}
"""By the word, or by the scheme with ``://``; docs/how-to/add-a-store.md adds one."""
