"""Is sound arriving now, how much, how fast; is anything lost or late; who is down?"""

from typing import Final

from deploy.grafana.board import Board
from deploy.grafana.panels import (
    ZERO_IS_GOOD,
    AnyPanel,
    Column,
    bars,
    compare,
    leading,
    lines,
    stat,
    states,
)
from deploy.grafana.queries import (
    MISSING,
    RECEIVER_PROCESS,
    SENDER_PROCESS,
    STATE,
    STATES,
    WORST_STATE,
    builds,
    query,
    reconnects,
    refusals,
    unacknowledged,
)

NOW: Final[list[AnyPanel]] = [
    stat(
        "Audio arriving",
        "Seconds of audio that arrive per second: 50 is as much as 50 live streams. 0 beside"
        " connected streams: they stall; look at Oldest unacknowledged.",
        "suffix: s/s",
        query("sum(rate(receiver_audio_seconds_total[30s])) or vector(0)"),
    ),
    stat(
        "Streams and senders now",
        "Streams that have a connection, and the programs that send them. A sender with streams"
        " at several receivers counts once at each.",
        "short",
        query("sum(receiver_active_streams) or vector(0)", "streams"),
        query("sum(receiver_active_senders) or vector(0)", "senders"),
        decimals=0,
    ),
    leading(
        stat(
            "Seconds behind, at worst",
            "Audio of the worst stream that arrived and is not yet stored and processed. Below 2"
            " s is normal. Above: the dashboards Receiver (commits) and Processors say which of"
            " them waits.",
            "s",
            query("max(receiver_behind_seconds)"),
            colours={0: "green", 2: "yellow", 10: "red"},
        ),
        "Processors",
        "sonoduct-processors",
    ),
    leading(
        stat(
            "Oldest unacknowledged",
            "How long the oldest audio has waited for its acknowledgement, at either end. Below 2"
            " s is normal. It grows while nothing is acknowledged: a full disk, a hung processor,"
            " no network.",
            "s",
            query("max(receiver_unacknowledged_age_seconds)", "receivers"),
            query("max(sender_unacknowledged_age_seconds)", "senders"),
            colours={0: "green", 5: "yellow", 30: "red"},
        ),
        "Delivery",
        "sonoduct-delivery",
    ),
    leading(
        stat(
            "Failed in this range",
            "Sources that senders gave up, and streams that receivers gave up. Both may count the"
            " same fault, so they are not added up. Above 0: the dashboard Delivery.",
            "short",
            query(
                'sum(counted(sender_streams_total{result="failed"}[$__range])) or vector(0)',
                "senders",
            ),
            query(
                'sum(counted(receiver_streams_total{result="failed"}[$__range])) or vector(0)',
                "receivers",
            ),
            colours=ZERO_IS_GOOD,
            decimals=0,
        ),
        "Delivery",
        "sonoduct-delivery",
    ),
    stat(
        "Alerts firing",
        "Alerts that fire now; the table below names them, and docs/runbook.md says what to do.",
        "short",
        query('count(ALERTS{alertstate="firing"}) or vector(0)'),
        colours=ZERO_IS_GOOD,
        decimals=0,
    ),
]

REPLICAS: Final[list[AnyPanel]] = [
    leading(
        stat(
            "Replicas",
            "Each receiver. Missing: it was there within the last hour, and left without a drain."
            " Its streams continue at other receivers: see Resumes and reconnects. Full: its store"
            " has no room, so that it takes no audio.",
            "none",
            query(STATE, "{{replica}}"),
            values=STATES,
            width=10,
            names=True,
        ),
        "Receiver",
        "sonoduct-receiver",
    ),
    stat(
        "Missing replicas",
        "Receivers that were there within the last hour and left without a drain: killed, crashed"
        " or cut off. Above 0: docker compose ps, then the log of the one that is missing.",
        "short",
        query(MISSING),
        colours=ZERO_IS_GOOD,
        decimals=0,
    ),
    leading(
        stat(
            "Store is full in",
            "At the pace of the last hour; 0 s: it is full. Below a day: make room, or move"
            " recordings away; nothing is removed by itself. What fills it is on the dashboard"
            " Receiver.",
            "s",
            query('min(job:receiver_store_full:eta_seconds{job=~"$job"})'),
            colours={0: "red", 3600: "orange", 86400: "green"},
            empty="not filling",
        ),
        "Receiver",
        "sonoduct-receiver",
    ),
    stat(
        "Versions running",
        "How many processes run each version and revision. Two of receivers are normal during a"
        " roll only; afterwards the table of the dashboard Receiver says which replica is old.",
        "short",
        query(builds("receiver"), "receiver {{version}} {{revision}}"),
        query(builds("sender"), "sender {{version}} {{revision}}"),
        names=True,
        decimals=0,
        width=6,
    ),
]

FLOW: Final[list[AnyPanel]] = [
    lines(
        "Audio arriving, by replica",
        "Seconds of audio per second. Lines close together: the gateway balances well. A line"
        " that ends while others rise: that replica left, and its streams continue elsewhere.",
        "suffix: s/s",
        query(
            "sum by (replica) (rate(receiver_audio_seconds_total[$__rate_interval]))", "{{replica}}"
        ),
    ),
    lines(
        "Sent and not yet acknowledged",
        "Bytes of audio that senders keep until they are acknowledged, and that receivers hold in"
        " memory until they are stored and processed. Up to a second of audio for each stream is"
        " normal, more for files that are sent as fast as possible, and 0 at rest. Growth means"
        " that audio is not safe yet: if need be, senders send it again.",
        "bytes",
        *unacknowledged(),
    ),
    lines(
        "Seconds behind, by replica",
        "Audio of the worst stream that arrived and is not yet stored and processed. One replica"
        " high: that machine is slow. All high: the store or a processor is.",
        "s",
        query("max by (replica) (receiver_behind_seconds)", "{{replica}}"),
        colours={0: "green", 2: "red"},
    ),
]

EVENTS: Final[list[AnyPanel]] = [
    states(
        "Replicas over time",
        "A band for each receiver: green runs, yellow drains, orange has a full store, red is"
        " missing. A roll is yellow for a moment, one replica after the other; a kill is red at"
        " once. In a long range each step shows the worst of its time.",
        query(WORST_STATE, "{{replica}}"),
        values=STATES,
    ),
    bars(
        "Resumes and reconnects",
        "Streams continued on a new connection, and the reasons why senders came back. As many"
        " resumes as the replica that left had streams: nothing is lost. Without end: a storm; the"
        " dashboard Delivery says which senders.",
        query("sum(counted(receiver_resumes_total[$__interval]))", "resumes"),
        reconnects(),
    ),
]

TROUBLE: Final[list[AnyPanel]] = [
    lines(
        "How late audio is, 99 % below",
        "From the arrival of a chunk until every processor has it as an array, and until it is"
        " durable. Promised: durable within 2 s.",
        "s",
        query(
            "histogram_quantile(0.99, "
            "sum by (le) (rate(receiver_array_latency_seconds_bucket[$__rate_interval])))",
            "taken by processors",
        ),
        query(
            "histogram_quantile(0.99, "
            "sum by (le) (rate(receiver_durable_latency_seconds_bucket[$__rate_interval])))",
            "durable",
        ),
        colours={0: "green", 2: "red"},
    ),
    leading(
        bars(
            "Refused, by reason",
            "Connections that a receiver or the gateway turned away. Normal: none,"
            " apart from draining during a roll. docs/operations.md has the limits; the receiver's"
            " log has the address of each.",
            *refusals(),
        ),
        "Gateway",
        "sonoduct-gateway",
    ),
    compare(
        "Alerts now",
        "What fires or is about to. docs/runbook.md has a section for each.",
        "alertname",
        Column(
            "replicas or instances",
            "count by (alertname, severity, alertstate) (ALERTS)",
            labels={"alertname": "alert", "severity": "severity", "alertstate": "state"},
        ),
        sort="state",
        rising=True,
        width=8,
        height=7,
    ),
]

PROCESSES: Final[list[AnyPanel]] = [
    lines(
        "Processes that answer",
        "How many processes of each job answered Prometheus, and how many did not although their"
        " addresses are known. No answer for longer than a roll takes: docker compose ps says which"
        " one hangs.",
        "short",
        query('sum by (job) (up{job=~"$job"})', "{{job}}"),
        query('count(up{job=~"$job"}) - sum(up{job=~"$job"})', "no answer"),
        width=6,
        whole=True,
        paint={"no answer": "red"},
    ),
    lines(
        "Time since the start",
        "How long each process has run. A line that falls to 0 again and again: this process ends"
        " and is started again; docker compose ps shows its exit code.",
        "s",
        query(
            f"time() - max by (replica) (process_start_time_seconds{RECEIVER_PROCESS})",
            "{{replica}}",
        ),
        query(
            f"time() - max by (job, instance) (process_start_time_seconds{SENDER_PROCESS})",
            "{{job}} {{instance}}",
        ),
        query(
            "time() - max by (job, instance) (haproxy_process_start_time_seconds)",
            "{{job}} {{instance}}",
        ),
        width=6,
    ),
    lines(
        "File descriptors, of all processes",
        "As a share of the limit of each process. Above 80 %: raise the limit in"
        " docker-compose.yml, or more replicas. A share that grows while connections do not is a"
        " fault of the program.",
        "percentunit",
        query(
            f"max by (replica) (process_open_fds{RECEIVER_PROCESS}"
            f" / process_max_fds{RECEIVER_PROCESS})",
            "{{replica}}",
        ),
        query(
            f"topk(5, max by (job, instance) (process_open_fds{SENDER_PROCESS}"
            f" / process_max_fds{SENDER_PROCESS}))",
            "{{job}} {{instance}}",
        ),
        colours={0: "green", 0.8: "red"},
        width=6,
    ),
    bars(
        "Log lines, of all processes",
        "Errors and lost lines. Lost: the process could not write them, since the"
        " disk of the engine is full or nothing reads the pipe.",
        query(
            'sum(counted(receiver_log_lines_total{level="error"}[$__interval]))',
            "receivers: error",
        ),
        query(
            'sum(counted(sender_log_lines_total{level="error"}[$__interval]))',
            "senders: error",
        ),
        query(
            "sum(counted(receiver_log_lines_lost_total[$__interval]))",
            "receivers: lost",
        ),
        query("sum(counted(sender_log_lines_lost_total[$__interval]))", "senders: lost"),
        width=6,
        paint={"receivers: error": "red", "senders: error": "orange"},
    ),
]

OVERVIEW: Final = Board(
    file="overview.json",
    uid="sonoduct",
    title="Sonoduct: overview",
    description="Is sound arriving, how much, how fast; is anything lost or late; who is down?",
    rows={
        "Now": NOW,
        "Who is there": REPLICAS,
        "Is sound arriving, and is it safe?": FLOW,
        "What happened": EVENTS,
        "What is wrong": TROUBLE,
        "Processes": PROCESSES,
    },
)
