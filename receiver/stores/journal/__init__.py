"""
The store that keeps every stream on disk: acknowledged means that it survives a power cut.

A folder for each stream holds its segments. Whoever claims the stream creates the next one: first
the fence, then the scan. docs/decisions/0005 says why each step is needed.
"""

from .disk import Disk
from .janitor import Keeping
from .layout import Layout, require_version
from .posix import PosixDisk
from .store import Bounds, JournalStore

__all__ = ["Bounds", "Disk", "JournalStore", "Keeping", "Layout", "PosixDisk", "require_version"]
