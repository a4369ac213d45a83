"""What receivers do, how fast, with what memory and store; which of them is bad?"""

from typing import Final

from deploy.grafana.board import Board
from deploy.grafana.panels import AnyPanel, Column, bars, compare, lines, stat
from deploy.grafana.queries import (
    RECEIVER_PROCESS,
    STATE,
    STATES,
    builds,
    quantiles,
    query,
    refusals,
    replicas,
)

COMPARED: Final[list[AnyPanel]] = [
    compare(
        "Replicas compared",
        "One row for each receiver. The bad one differs from the others: behind, lagging, failing,"
        " full or missing. Another version than its neighbours, and no roll in progress: it was not"
        " rolled.",
        "replica",
        Column(
            "version",
            builds("receiver", "replica"),
            labels={"version": "version", "revision": "revision"},
        ),
        Column("state", STATE, values=STATES),
        Column("streams", "sum by (replica) (receiver_active_streams)", decimals=0),
        Column(
            "stalled",
            "sum by (replica) (receiver_stalled_streams)",
            colours={0: "text", 1: "red"},
            decimals=0,
        ),
        Column(
            "audio arriving",
            "sum by (replica) (rate(receiver_audio_seconds_total[1m]))",
            unit="suffix: s/s",
        ),
        Column(
            "behind",
            "max by (replica) (receiver_behind_seconds)",
            unit="s",
            colours={0: "text", 2: "orange", 10: "red"},
        ),
        Column(
            "no ack for",
            "max by (replica) (receiver_unacknowledged_age_seconds)",
            unit="s",
            colours={0: "text", 5: "orange", 30: "red"},
        ),
        Column(
            "loop lag",
            "max by (replica) (receiver_event_loop_lag_seconds)",
            unit="s",
            colours={0: "text", 0.1: "orange", 1: "red"},
        ),
        Column(
            "CPU cores",
            f"sum by (replica) (rate(process_cpu_seconds_total{RECEIVER_PROCESS}[1m]))",
            decimals=2,
        ),
        Column(
            "errors",
            'sum by (replica) (counted(receiver_log_lines_total{level="error"}[$__range]))',
            colours={0: "text", 1: "red"},
            decimals=0,
        ),
        Column(
            "up for",
            f"time() - max by (replica) (process_start_time_seconds{RECEIVER_PROCESS})",
            unit="s",
        ),
        sort="state",
        height=6,
    ),
]

STREAMS: Final[list[AnyPanel]] = [
    lines(
        "Streams by replica",
        "Streams that have a connection. Lines close together: the gateway balances well. One"
        " falls while others rise: it drains, or it left.",
        "short",
        query("sum by (replica) (receiver_active_streams)", "{{replica}}"),
        width=6,
        whole=True,
    ),
    lines(
        "Streams that do not move",
        "Stalled: connected, and no chunk for 10 s; normal for a quiet live source. Waiting:"
        " without a connection; their senders may come back, and the receiver gives them up later.",
        "short",
        query("sum(receiver_stalled_streams)", "stalled"),
        query("sum(receiver_waiting_streams)", "waiting for their sender"),
        width=6,
        whole=True,
    ),
    lines(
        "Connections by dialect",
        "Connections now. Plain clients speak the tutorial's dialect: no resume, no receipt.",
        "short",
        query("sum by (dialect) (receiver_active_connections)", "{{dialect}}"),
        width=6,
        whole=True,
    ),
    lines(
        "Connections, as a share of the limit",
        "Of RECEIVER_MAX_CONNECTIONS. Above 80 %: more replicas. At 100 % one more connection is"
        " refused.",
        "percentunit",
        query(
            "sum by (replica) (receiver_active_connections)"
            " / max by (replica) (receiver_connection_limit)",
            "{{replica}}",
        ),
        colours={0: "green", 0.8: "red"},
        width=6,
    ),
    lines(
        "Replicas present and expected",
        "Expected are those that are present or were within the last hour and did not drain. A"
        " gap is a replica that was killed: docker compose ps, then its log.",
        "short",
        *replicas(),
        width=6,
        whole=True,
        paint={"present": "green", "expected": "red"},
    ),
    bars(
        "Resumes and fences",
        "Streams continued on a new connection, and connections cut because a newer one claimed"
        " their stream. Both follow a cut network or a replica that left; without end, look for"
        " two senders of one stream.",
        query("sum(counted(receiver_resumes_total[$__interval]))", "resumes"),
        query("sum(counted(receiver_fenced_total[$__interval]))", "fenced"),
        width=6,
    ),
    bars(
        "Streams that ended",
        "By result. Committed is the good one: the sender has its receipt."
        " Abandoned: the sender did not come back. Failed: the log says why.",
        query(
            "sum by (result) (counted(receiver_streams_total[$__interval]))",
            "{{result}}",
        ),
        width=6,
        paint={"committed": "green", "abandoned": "yellow", "failed": "red"},
    ),
    bars(
        "Connections that ended",
        "By result. Lost: the network or the sender broke off. Error: the peer did"
        " not keep to the protocol. Drained: the receiver stopped.",
        query(
            "sum by (result) (counted(receiver_connections_total[$__interval]))",
            "{{result}}",
        ),
        width=6,
        paint={"ok": "green", "drained": "yellow", "error": "red"},
    ),
]

TRAFFIC: Final[list[AnyPanel]] = [
    lines(
        "Audio arriving",
        "Seconds of audio per second. Well above the number of streams: files, which are sent"
        " faster than they play.",
        "suffix: s/s",
        query(
            "sum by (replica) (rate(receiver_audio_seconds_total[$__rate_interval]))", "{{replica}}"
        ),
        width=6,
    ),
    lines(
        "Bytes arriving",
        "What arrives on WebSocket, headers included, by dialect. Flat at one height for long:"
        " the network, the store or a processor is the limit.",
        "Bps",
        query(
            "sum by (dialect) (rate(receiver_received_bytes_total[$__rate_interval]))",
            "{{dialect}}",
        ),
        width=6,
    ),
    lines(
        "Chunks arriving each second",
        "Messages with audio. Each costs CPU whatever its size: many chunks and few bytes are"
        " better sent in larger chunks.",
        "short",
        query(
            "sum by (dialect) (rate(receiver_chunks_received_total[$__rate_interval]))",
            "{{dialect}}",
        ),
        width=6,
    ),
    lines(
        "Time since the last chunk",
        "For each replica. It grows without bound while nothing is sent, which is normal; beside"
        " connected streams it means that all of them stall.",
        "s",
        query(
            "time() - max by (replica) (receiver_last_chunk_timestamp_seconds > 0)", "{{replica}}"
        ),
        width=6,
    ),
]

LATENCY: Final[list[AnyPanel]] = [
    lines(
        "Ack latency against the intended time",
        "From the first chunk without an acknowledgement to its acknowledgement. Acks wait for"
        " others to join them, for 1 s at most, so that up to 1.25 s is intended: the dashed line."
        " Above it, commits or processors are slow.",
        "s",
        *quantiles("receiver_ack_latency_seconds"),
        colours={0: "green", 1.25: "red"},
        width=6,
    ),
    lines(
        "Oldest unacknowledged, by replica",
        "How long the oldest audio of each receiver has waited for its acknowledgement. Below 2 s"
        " is normal. A line that climbs: the disk is full or hangs, or a processor does.",
        "s",
        query("max by (replica) (receiver_unacknowledged_age_seconds)", "{{replica}}"),
        colours={0: "green", 10: "red"},
        width=6,
    ),
    lines(
        "Seconds behind, by replica",
        "Audio of the worst stream that arrived and is not yet stored and processed. Minutes of it"
        " are normal for a moment while files are sent as fast as possible.",
        "s",
        query("max by (replica) (receiver_behind_seconds)", "{{replica}}"),
        width=6,
    ),
    lines(
        "Time of a commit",
        "Making a group of chunks durable. Below 0.1 s is normal for a local disk. Above: the"
        " disk is slow or busy; many streams share one commit, so that all of them wait.",
        "s",
        *quantiles("receiver_commit_duration_seconds"),
        colours={0: "green", 0.25: "orange"},
        width=6,
    ),
    lines(
        "From a chunk to durable",
        "From the arrival of a chunk until it is on disk. Promised: within 2 s, the dashed line."
        " Empty with the store none.",
        "s",
        *quantiles("receiver_durable_latency_seconds"),
        colours={0: "green", 2: "red"},
        width=6,
    ),
    lines(
        "From a chunk to arrays",
        "From the arrival of a chunk until every processor has taken it. Above 1 s, the dashboard"
        " Processors says which one is slow.",
        "s",
        *quantiles("receiver_array_latency_seconds"),
        width=6,
    ),
    lines(
        "From the end of a stream to its receipt",
        "Promised for samples (pcm): within 5 s, the dashed line. Above: many streams end at once,"
        " the disk is slow or a processor is behind. The receipt of a file waits until the file is"
        " decoded, which takes longer for a longer one.",
        "s",
        *quantiles("receiver_receipt_duration_seconds", "kind"),
        colours={0: "green", 5: "red"},
        width=6,
    ),
    lines(
        "Promises that were not kept",
        "The share of measured chunks that were durable later than 2 s, and of receipts of"
        " samples that came later than 5 s, over an hour. Normal: 0. Alerts say when the budget"
        " burns too fast.",
        "percentunit",
        query('max(job:receiver_durable_late:ratio_rate1h{job=~"$job"})', "durable late"),
        query('max(job:receiver_receipt_late:ratio_rate1h{job=~"$job"})', "receipt late"),
        width=6,
    ),
]

STORE: Final[list[AnyPanel]] = [
    stat(
        "Store is full in",
        "At the pace of the last hour. Below a day: make room. At 0 s nothing new is taken, and"
        " senders wait.",
        "s",
        query('min(job:receiver_store_full:eta_seconds{job=~"$job"})'),
        colours={0: "red", 3600: "orange", 86400: "green"},
        empty="not filling",
        width=6,
        height=7,
    ),
    lines(
        "What fills the store",
        "Recordings stay until someone removes them; journals are streams in progress. Free space"
        " does not count the reserve. Used by something else: free falls, and neither of the two"
        " rises.",
        "bytes",
        query("max(receiver_store_recordings_bytes)", "recordings"),
        query("max(receiver_store_journals_bytes)", "journals"),
        query("max(receiver_store_free_bytes) < Inf", "free"),
        query("max(receiver_store_total_bytes) < Inf", "total"),
        width=9,
    ),
    lines(
        "How full the store is",
        "Space and inodes in use, as a share. Above 90 %: make room. Many small recordings need"
        " inodes before bytes.",
        "percentunit",
        query(
            "1 - min(receiver_store_free_bytes < Inf) / min(receiver_store_total_bytes < Inf)",
            "bytes",
        ),
        query(
            "1 - min(receiver_store_free_inodes) / min(receiver_store_total_inodes > 0)", "inodes"
        ),
        colours={0: "green", 0.9: "red"},
        width=9,
        top=1,
    ),
    lines(
        "Recordings behind the journals",
        "Complete streams that have a receipt and no recording yet. They are safe in their"
        " journals. A few are normal; a number that grows: the disk or a core is the limit.",
        "short",
        query("sum(receiver_recordings_waiting)", "waiting"),
        query("max(receiver_store_journals)", "journals in the store"),
        width=8,
        whole=True,
    ),
    lines(
        "Oldest recording that waits",
        "How long ago the oldest of these streams ended. Below a minute is normal.",
        "s",
        query("max by (replica) (receiver_recordings_waiting_age_seconds)", "{{replica}}"),
        colours={0: "green", 300: "red"},
        width=8,
    ),
    bars(
        "Recordings made",
        "Failed: the journal stays, and the receiver's log says why.",
        query(
            "sum by (result) (counted(receiver_recordings_total[$__interval]))",
            "{{result}}",
        ),
        width=8,
        paint={"written": "green", "failed": "red"},
    ),
    lines(
        "Recordings in the store",
        "All that are there, whoever wrote them; measured about once a minute.",
        "short",
        query("max(receiver_store_recordings)", "recordings"),
        width=12,
        whole=True,
    ),
    lines(
        "Bytes of recordings made",
        "What is written to finished recordings, each second.",
        "Bps",
        query(
            "sum by (replica) (rate(receiver_recorded_bytes_total[$__rate_interval]))",
            "{{replica}}",
        ),
        width=12,
    ),
]

ERRORS: Final[list[AnyPanel]] = [
    bars(
        "Refused, by reason",
        "Connections that a receiver or the gateway turned away. Normal: none, apart"
        " from draining during a roll. The receiver's log has the address of each.",
        *refusals(),
        width=12,
    ),
    bars(
        "Protocol errors by code",
        "Connections closed for a fault of the peer, by close code. docs/protocol.md"
        " lists the codes; the log has the address and the reason.",
        query(
            "sum by (code) (counted(receiver_protocol_errors_total[$__interval]))",
            "{{code}}",
        ),
        width=12,
    ),
    bars(
        "Files that no decoder reads",
        "Compressed files that the receiver could not decode, by the decoder that"
        " tried last. The file is kept as it was sent.",
        query(
            "sum by (decoder) (counted(receiver_decode_errors_total[$__interval]))",
            "{{decoder}}",
        ),
        width=6,
    ),
    bars(
        "Log lines",
        "Warnings and errors; docker compose logs receiver shows them. Lost: lines"
        " that nothing took in time.",
        query(
            "sum by (level) (counted("
            'receiver_log_lines_total{level=~"warning|error"}[$__interval]))',
            "{{level}}",
        ),
        query("sum(counted(receiver_log_lines_lost_total[$__interval]))", "lost"),
        width=9,
        paint={"warning": "yellow", "error": "red"},
    ),
    bars(
        "Events that senders missed",
        "Results of processors that a sender read too slowly, or was not there for."
        " The audio is not affected.",
        query("sum(counted(receiver_events_dropped_total[$__interval]))", "dropped"),
        width=9,
    ),
]

PROCESS: Final[list[AnyPanel]] = [
    lines(
        "CPU cores",
        "Cores that each receiver uses. The event loop has one; processors and the store use"
        " others. Flat near the container's limit: raise RECEIVER_CPUS, or more replicas.",
        "none",
        query(
            "sum by (replica) "
            f"(rate(process_cpu_seconds_total{RECEIVER_PROCESS}[$__rate_interval]))",
            "{{replica}}",
        ),
        width=8,
    ),
    lines(
        "Memory",
        "Resident memory. It follows the buffers; growth without end ends at the container's"
        " limit with a kill.",
        "bytes",
        query(f"max by (replica) (process_resident_memory_bytes{RECEIVER_PROCESS})", "{{replica}}"),
        width=8,
    ),
    lines(
        "File descriptors in use",
        "As a share of the process's limit. Each connection and each open journal needs one."
        " Above 80 %: raise the limit in docker-compose.yml, or more replicas.",
        "percentunit",
        query(
            f"max by (replica) (process_open_fds{RECEIVER_PROCESS}"
            f" / process_max_fds{RECEIVER_PROCESS})",
            "{{replica}}",
        ),
        colours={0: "green", 0.8: "red"},
        width=8,
    ),
    lines(
        "Event loop lag",
        "How late the event loop wakes up. Above 0.1 s: fewer streams for this process, or a core"
        " of its own.",
        "s",
        query("max by (replica) (receiver_event_loop_lag_seconds)", "{{replica}}"),
        colours={0: "green", 0.1: "orange"},
        width=12,
    ),
    lines(
        "Buffer fill",
        "Audio held in memory, as a share of the limit. Near 100 % is normal while files are sent"
        " as fast as possible: senders wait for credit. If audio waits as well (Oldest"
        " unacknowledged, above 10 s), processors or the store are too slow.",
        "percentunit",
        query(
            "max by (replica) (receiver_buffered_bytes / receiver_buffer_limit_bytes)",
            "{{replica}}",
        ),
        colours={0: "green", 0.9: "red"},
        width=12,
        top=1,
    ),
]

RECEIVER: Final = Board(
    file="receiver.json",
    uid="sonoduct-receiver",
    title="Sonoduct: receiver",
    description="What receivers do, how fast, with what memory and store; which of them is bad?",
    rows={
        "Which replica is bad?": COMPARED,
        "Streams and connections": STREAMS,
        "Traffic": TRAFFIC,
        "How late": LATENCY,
        "Store and recordings": STORE,
        "Refusals and errors": ERRORS,
        "CPU, memory and descriptors": PROCESS,
    },
)
