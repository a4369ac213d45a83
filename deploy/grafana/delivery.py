"""Do senders deliver: files, retries, loss; is one of them stuck?"""

from typing import Final

from deploy.grafana.board import Board
from deploy.grafana.panels import (
    ZERO_IS_GOOD,
    AnyPanel,
    Column,
    bars,
    compare,
    lines,
    stat,
)
from deploy.grafana.queries import (
    OF_SENDERS,
    SENDER_PROCESS,
    builds,
    query,
    reconnects,
    unacknowledged,
)

NOW: Final[list[AnyPanel]] = [
    stat(
        "Files that wait",
        "Files that a watching sender has seen and not delivered. Settling: still written to."
        " Queued: waits for its turn. Retrying: failed before, tried again later; the sender's log"
        " has its name and the error.",
        "short",
        query("sum by (state) (sender_waiting_files)", "{{state}}"),
        colours={0: "blue"},
        width=8,
        names=True,
        decimals=0,
    ),
    stat(
        "Delivered in this range",
        "Sources with a receipt: sent now, or known from before.",
        "short",
        query('sum(counted(sender_streams_total{result="sent"}[$__range])) or vector(0)', "sent"),
        query('sum(counted(sender_streams_total{result="known"}[$__range])) or vector(0)', "known"),
        decimals=0,
    ),
    stat(
        "Not delivered in this range",
        "Sources that a sender gave up, and those that were interrupted. Names and errors are in"
        " the sender's log: lines stream_ended with result failed.",
        "short",
        query(
            'sum(counted(sender_streams_total{result="failed"}[$__range])) or vector(0)', "failed"
        ),
        query(
            'sum(counted(sender_streams_total{result="interrupted"}[$__range])) or vector(0)',
            "interrupted",
        ),
        colours=ZERO_IS_GOOD,
        decimals=0,
    ),
    stat(
        "Oldest unacknowledged",
        "Of the worst stream of all senders. Below 2 s is normal. The table below says which"
        " sender it is.",
        "s",
        query("max(sender_unacknowledged_age_seconds)"),
        colours={0: "green", 5: "yellow", 30: "red"},
    ),
    stat(
        "Sent again",
        "Bytes sent again in this range, as a share of all that were sent. It is the price of"
        " reconnects, and loses nothing. Above 1 %: look at the reasons of reconnects.",
        "percentunit",
        query(
            "sum(counted(sender_resent_bytes_total[$__range]))"
            " / (sum(counted(sender_sent_bytes_total[$__range])) > 0) or vector(0)"
        ),
        colours={0: "green", 0.01: "yellow", 0.1: "red"},
    ),
]

LOSS: Final[list[AnyPanel]] = [
    lines(
        "Frames a second: sent, received, acknowledged",
        "Frames per second, at both ends. Four lines that lie on each other: nothing is lost. A"
        " line that stays below the one before: that step does not keep up. Senders that"
        " Prometheus does not scrape are missing on their side.",
        "short",
        query('sum(rate(sender_units_sent_total{kind="pcm"}[$__rate_interval]))', "1 sent"),
        query(
            'sum(rate(receiver_units_received_total{kind="pcm"}[$__rate_interval]))', "2 received"
        ),
        query(
            'sum(rate(receiver_units_acknowledged_total{kind="pcm"}[$__rate_interval]))',
            "3 acknowledged by receivers",
        ),
        query(
            'sum(rate(sender_units_acknowledged_total{kind="pcm"}[$__rate_interval]))',
            "4 acknowledged at senders",
        ),
    ),
    lines(
        "Bytes of files: sent, received, acknowledged",
        "The same for compressed files, whose bytes are sent as they are.",
        "Bps",
        query('sum(rate(sender_units_sent_total{kind="file"}[$__rate_interval]))', "1 sent"),
        query(
            'sum(rate(receiver_units_received_total{kind="file"}[$__rate_interval]))', "2 received"
        ),
        query(
            'sum(rate(receiver_units_acknowledged_total{kind="file"}[$__rate_interval]))',
            "3 acknowledged by receivers",
        ),
        query(
            'sum(rate(sender_units_acknowledged_total{kind="file"}[$__rate_interval]))',
            "4 acknowledged at senders",
        ),
    ),
    lines(
        "Sent and not yet acknowledged",
        "Bytes of audio that senders keep until they are acknowledged, and that receivers hold in"
        " memory until they are stored and processed. Up to a second of audio for each stream is"
        " normal, more for files that are sent as fast as possible, and 0 at rest. Growth means"
        " that audio is not safe yet: look at Oldest unacknowledged.",
        "bytes",
        *unacknowledged(),
    ),
]

SENDERS: Final[list[AnyPanel]] = [
    compare(
        "Senders compared",
        "One row for each sender, the most stuck first. Stuck: streams, and acknowledgements that"
        " grow old. Blocked: streams that wait for the receiver, not for the source.",
        "instance",
        Column(
            "version",
            builds("sender", "instance"),
            labels={"instance": "sender", "version": "version", "revision": "revision"},
        ),
        Column(
            "no ack for",
            "max by (instance) (sender_unacknowledged_age_seconds)",
            unit="s",
            colours={0: "text", 5: "orange", 30: "red"},
        ),
        Column("streams", "sum by (instance) (sender_active_streams)", decimals=0),
        Column(
            "audio sent",
            "sum by (instance) (rate(sender_audio_seconds_total[1m]))",
            unit="suffix: s/s",
        ),
        Column(
            "blocked",
            "sum by (instance) (rate(sender_blocked_seconds_total[1m]))",
            decimals=1,
        ),
        Column(
            "reconnects",
            "sum by (instance) (counted(sender_reconnects_total[$__range]))",
            decimals=0,
        ),
        Column(
            "failed",
            'sum by (instance) (counted(sender_streams_total{result="failed"}[$__range]))',
            colours={0: "text", 1: "red"},
            decimals=0,
        ),
        Column("waiting", "sum by (instance) (sender_waiting_files)", decimals=0),
        sort="no ack for",
        width=16,
        height=7,
    ),
    lines(
        "The ten most stuck senders",
        "How long their oldest audio has waited for its acknowledgement. A line that climbs alone"
        " is one stuck sender among many; all climb: the receivers or the gateway are the cause.",
        "s",
        query("topk(10, max by (instance) (sender_unacknowledged_age_seconds))", "{{instance}}"),
        colours={0: "green", 30: "red"},
        height=7,
    ),
]

WHY: Final[list[AnyPanel]] = [
    bars(
        "Reconnects by reason",
        "Attempts after the first. Drained is a replica that stops; lost is a cut"
        " network or a kill; refused and overloaded: nothing takes the stream. Without end: a"
        " storm.",
        reconnects(),
    ),
    bars(
        "Sources that ended",
        "By result. Known: delivered before, and proved again.",
        query(
            "sum by (result) (counted(sender_streams_total[$__interval]))",
            "{{result}}",
        ),
        paint={"sent": "green", "interrupted": "yellow", "failed": "red"},
    ),
    bars(
        "Log lines",
        "Warnings and errors of senders. Lost: lines that nothing took in time.",
        query(
            'sum by (level) (counted(sender_log_lines_total{level=~"warning|error"}[$__interval]))',
            "{{level}}",
        ),
        query("sum(counted(sender_log_lines_lost_total[$__interval]))", "lost"),
        paint={"warning": "yellow", "error": "red"},
    ),
]

PACE: Final[list[AnyPanel]] = [
    lines(
        "Audio sent",
        "Seconds of audio per second, counted while it is sent.",
        "suffix: s/s",
        query("sum(rate(sender_audio_seconds_total[$__rate_interval]))", "audio"),
        width=6,
    ),
    lines(
        "Bytes sent",
        "What senders put on WebSocket, headers included, and the part that they had sent before.",
        "Bps",
        query("sum(rate(sender_sent_bytes_total[$__rate_interval]))", "sent"),
        query("sum(rate(sender_resent_bytes_total[$__rate_interval]))", "of it again"),
        width=6,
    ),
    lines(
        "Chunks sent each second",
        "Messages with audio. Many chunks and few bytes are better sent in larger chunks.",
        "short",
        query("sum(rate(sender_chunks_sent_total[$__rate_interval]))", "chunks"),
        width=6,
    ),
    lines(
        "Streams, and those that are blocked",
        "Blocked streams wait for credit: the receivers are the limit. Much fewer blocked than"
        " active: the sources or the senders are.",
        "short",
        query("sum(sender_active_streams)", "active"),
        query("sum(rate(sender_blocked_seconds_total[$__rate_interval]))", "blocked"),
        width=6,
    ),
    lines(
        "Memory for unacknowledged audio",
        "Audio that senders keep until a receiver has acknowledged it, of the five with the most.",
        "bytes",
        query("topk(5, sum by (instance) (sender_unacknowledged_bytes))", "{{instance}}"),
        width=12,
    ),
    lines(
        "Reading one block of a source, 99 % below",
        "By decoder. Slow for one decoder: the CPU. Slow for all: the disk that the files are on.",
        "s",
        query(
            "histogram_quantile(0.99, sum by (le, decoder) "
            "(rate(sender_decode_duration_seconds_bucket[$__rate_interval])))",
            "{{decoder}}",
        ),
        width=12,
    ),
    lines(
        "CPU cores of senders",
        "Cores of the five busiest senders. A sender that decodes or compresses needs CPU; one"
        " that sends live needs little.",
        "none",
        query(
            f"topk(5, rate(process_cpu_seconds_total{SENDER_PROCESS}[$__rate_interval])"
            f" {OF_SENDERS})",
            "{{instance}}",
        ),
    ),
    lines(
        "Memory of senders",
        "Resident memory of the five largest senders. It follows the unacknowledged audio.",
        "bytes",
        query(
            f"topk(5, process_resident_memory_bytes{SENDER_PROCESS} {OF_SENDERS})", "{{instance}}"
        ),
    ),
    lines(
        "File descriptors of senders",
        "As a share of the process's limit, of the five highest. Above 80 %: fewer jobs for this"
        " sender.",
        "percentunit",
        query(
            f"topk(5, process_open_fds{SENDER_PROCESS} / process_max_fds{SENDER_PROCESS}"
            f" {OF_SENDERS})",
            "{{instance}}",
        ),
        colours={0: "green", 0.8: "red"},
    ),
]

DELIVERY: Final = Board(
    file="delivery.json",
    uid="sonoduct-delivery",
    title="Sonoduct: delivery",
    description="Do senders deliver: files, retries, loss; is one of them stuck?",
    rows={
        "What arrived, and what did not": NOW,
        "Is anything lost?": LOSS,
        "Is one sender stuck?": SENDERS,
        "Retries and failures": WHY,
        "Pace": PACE,
    },
)
