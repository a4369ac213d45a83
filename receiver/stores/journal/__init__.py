"""
The store that keeps every stream on disk: acknowledged audio survives a power cut.

Each stream has a folder, its journal, with one segment or more per claim.
"""

from .disk import PosixDisk as PosixDisk
from .janitor import Retention as Retention
from .layout import Layout as Layout
from .recordings import RecordingOptions as RecordingOptions
from .store import JournalStore as JournalStore
from .store import StoreLimits as StoreLimits
