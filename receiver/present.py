"""
The receiver's present state, looked at for each scrape: gauges, and a line for each connection.

Nothing is counted for it meanwhile. With 1000 streams a scrape takes 8 ms of its thread, half of
that for the number of open descriptors.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from sonoduct.runtime.loop import LoopLag

from .connections.server import Server
from .connections.session import Connection
from .metrics import Present
from .processing.pipeline import Processing
from .processing.workers import Workers
from .settings import Settings
from .stores import Store
from .streams.registry import Slot, StreamRegistry
from .streams.stream import Stream

STALLED_S: Final = 10.0
"""Seconds without a chunk after which a stream with a connection counts as stalled."""


class PresentState:
    """Looks at the parts of a receiver; any thread may ask."""

    def __init__(
        self,
        settings: Settings,
        streams: StreamRegistry,
        server: Server,
        store: Store,
        workers: Mapping[str, Workers],
        processing: Processing,
        lag: LoopLag,
    ) -> None:
        self._settings = settings
        self._streams = streams
        self._server = server
        self._store = store
        self._workers = workers
        self._processing = processing
        self._lag = lag
        self._now = asyncio.get_running_loop().time

    @property
    def connections(self) -> list[Connection]:
        """What every connection does now."""
        return self._server.connections

    def gauges(self) -> dict[str, Present]:
        """Return every gauge by its name."""
        slots = self._streams.slots
        # Most streams have nothing waiting: only the others are looked at more closely.
        late = [
            (stream, pending)
            for slot in slots
            if (stream := slot.stream) is not None and stream.waits and (pending := stream.pending)
        ]
        return {
            **self._of_connections(),
            **self._of_streams(slots, late),
            **self._of_processors(stream for stream, _ in late),
            **self._of_process(),
        }

    def _of_connections(self) -> dict[str, Present]:
        now, oldest = self._server.load()
        return {
            "receiver_active_connections": Present("Connections now.", now, "dialect"),
            "receiver_connection_limit": Present(
                "Connections that the receiver takes.", self._settings.limits.max_connections
            ),
            "receiver_unacknowledged_age_seconds": Present(
                "Age of the oldest unit without an ack, on the worst connection.", oldest
            ),
        }

    def _of_streams(
        self, slots: Sequence[Slot], late: Sequence[tuple[Stream, int]]
    ) -> dict[str, Present]:
        now = self._now()
        connected = [slot for slot in slots if slot.holder is not None]
        stalled = sum(
            now - slot.progress > STALLED_S
            for slot in connected
            if not slot.turn.locked()  # otherwise the receiver is at work on its end
        )
        return {
            "receiver_active_streams": Present("Streams that have a connection.", len(connected)),
            "receiver_active_senders": Present(
                "Sending processes of these streams.", len({slot.instance for slot in connected})
            ),
            "receiver_stalled_streams": Present(
                f"Streams with a connection and no chunk for {STALLED_S:g} s.", stalled
            ),
            "receiver_waiting_streams": Present(
                "Streams without a connection, whose senders may come back.",
                len(slots) - len(connected),
            ),
            "receiver_behind_seconds": Present(
                "Audio received and not stored and processed yet, of the worst stream.",
                max((stream.behind_s for stream, _ in late), default=0.0),
            ),
            "receiver_buffered_bytes": Present(
                "Audio held in memory.",
                sum(pending * stream.unit_bytes for stream, pending in late),
            ),
            "receiver_buffer_limit_bytes": Present(
                "Audio that may be held in memory.", self._settings.limits.memory_bytes
            ),
        }

    def _of_processors(self, late: Iterable[Stream]) -> dict[str, Present]:
        names, off = list(self._workers), self._processing.switched_off
        waiting = dict.fromkeys(names, 0.0)
        for stream in late:
            for name, seconds in stream.waiting_s.items():
                waiting[name] = max(waiting[name], seconds)
        return {
            "receiver_processor_behind_seconds": Present(
                "Audio that waits for a processor, of the worst stream.", waiting, "processor"
            ),
            "receiver_processor_stuck_calls": Present(
                "Calls that were cut off and have not returned.",
                {name: each.stuck for name, each in self._workers.items()},
                "processor",
            ),
            "receiver_processor_switched_off": Present(
                "1 if new streams do not get the processor any more.",
                {name: name in off for name in names},
                "processor",
            ),
        }

    def of_store(self) -> tuple[dict[str, Present], dict[str, Present]]:
        """Return the store's gauges, and what it has counted by its counters' names."""
        usage = self._store.usage()
        recordings = {"written": usage.written, "failed": usage.failed}
        counts = {
            "receiver_recordings": Present("Attempts at a recording.", recordings, "result"),
            "receiver_recorded_bytes": Present("Bytes of recordings written.", usage.written_bytes),
        }
        gauges = {
            "receiver_store_total_bytes": Present(
                "Room of the store without its reserve; `+Inf` with the store `none`.",
                usage.total_bytes,
            ),
            "receiver_store_free_bytes": Present(
                "Space left for audio; `+Inf` with the store `none`.", usage.free_bytes
            ),
            "receiver_store_total_inodes": Present("Inodes of the disk.", usage.total_inodes),
            "receiver_store_free_inodes": Present("Inodes left on the disk.", usage.free_inodes),
            "receiver_store_recordings": Present("Recordings in the store.", usage.recordings),
            "receiver_store_recordings_bytes": Present(
                "Disk space of the recordings, measured each minute.", usage.recordings_bytes
            ),
            "receiver_store_journals": Present(
                "Journals of streams that are open, or wait for their recording.", usage.journals
            ),
            "receiver_store_journals_bytes": Present(
                "Disk space of these journals, measured each minute.", usage.journals_bytes
            ),
            "receiver_recordings_waiting": Present(
                "Complete streams of this process without a recording yet.", usage.waiting
            ),
            "receiver_recordings_waiting_age_seconds": Present(
                "Seconds for which the oldest of them has waited.", usage.oldest_s
            ),
        }
        return gauges, counts

    def _of_process(self) -> dict[str, Present]:
        traffic = self._processing.metrics.traffic.values()
        gauges = {
            "receiver_event_loop_lag_seconds": Present(
                "How late the event loop is.", self._lag.seconds
            ),
            "receiver_draining": Present(
                "1 from the moment that the receiver is stopped.", not self._server.ready
            ),
            "receiver_last_chunk_timestamp_seconds": Present(
                "Unix time of the last chunk.", max((each.last for each in traffic), default=0.0)
            ),
        }
        if (check := self._server.gateway) is not None:
            gauges["receiver_gateway_check_timestamp_seconds"] = Present(
                "Unix time of the gateway's last health check, with its name for this receiver.",
                {check[0]: check[1]},
                "server",
            )
        return gauges
