"""Which processor is slow, waiting, failing or switched off?"""

from typing import Final

from deploy.grafana.board import Board
from deploy.grafana.panels import ZERO_IS_GOOD, AnyPanel, Column, bars, compare, lines, stat
from deploy.grafana.queries import quantiles, query

NOW: Final[list[AnyPanel]] = [
    stat(
        "Switched off",
        "Processors that a receiver has switched off, because too many of their calls hung. Above"
        " 0: the log says processor_switched_off; mend the processor, then roll.",
        "short",
        query("sum(receiver_processor_switched_off)"),
        colours=ZERO_IS_GOOD,
        decimals=0,
        width=6,
    ),
    stat(
        "Calls that hang",
        "Calls that have not returned within their time. Each holds a thread of its receiver.",
        "short",
        query("sum(receiver_processor_stuck_calls)"),
        colours=ZERO_IS_GOOD,
        decimals=0,
        width=6,
    ),
    stat(
        "Failures in this range",
        "Processors that raised or hung and were cut off from a stream. The stream itself is"
        " stored.",
        "short",
        query("sum(counted(receiver_processor_failures_total[$__range])) or vector(0)"),
        colours=ZERO_IS_GOOD,
        decimals=0,
        width=6,
    ),
    stat(
        "Seconds behind, at worst",
        "Audio of the worst stream that waits for a processor. Below 1 s is normal.",
        "s",
        query("max(receiver_processor_behind_seconds)"),
        colours={0: "green", 2: "yellow", 10: "red"},
        width=6,
    ),
]

COMPARED: Final[list[AnyPanel]] = [
    compare(
        "Processors compared",
        "One row for each processor, over all replicas. Slow: calls take long. Waiting: seconds"
        " behind. Share of real time above 100 % for one stream: it can never keep up.",
        "processor",
        Column(
            "switched off",
            "sum by (processor) (receiver_processor_switched_off)",
            colours={0: "text", 1: "red"},
            decimals=0,
        ),
        Column(
            "hanging",
            "sum by (processor) (receiver_processor_stuck_calls)",
            colours={0: "text", 1: "red"},
            decimals=0,
        ),
        Column(
            "failed",
            "sum by (processor) (counted(receiver_processor_failures_total[$__range]))",
            colours={0: "text", 1: "red"},
            decimals=0,
        ),
        Column(
            "behind",
            "max by (processor) (receiver_processor_behind_seconds)",
            unit="s",
            colours={0: "text", 2: "orange", 10: "red"},
        ),
        Column(
            "99 % of calls below",
            "histogram_quantile(0.99, sum by (le, processor) "
            "(rate(receiver_processing_duration_seconds_bucket[5m])))",
            unit="s",
        ),
        Column(
            "calls",
            "sum by (processor) (rate(receiver_processing_duration_seconds_count[1m]))",
            unit="suffix: /s",
        ),
        Column(
            "share of real time",
            "sum by (processor) (rate(receiver_processing_duration_seconds_sum[1m]))"
            " / scalar(sum(rate(receiver_audio_seconds_total[1m])) > 0)",
            unit="percentunit",
        ),
        sort="behind",
        height=5,
    ),
]

OVER_TIME: Final[list[AnyPanel]] = [
    lines(
        "Time of a call",
        "One call of a processor. One that is slow delays only its own results, until its buffer"
        " is full; then senders wait.",
        "s",
        *quantiles("receiver_processing_duration_seconds", "processor"),
    ),
    lines(
        "Audio that waits for a processor",
        "Of the worst stream. A line that climbs: this processor does not keep up; give receivers"
        " more cores or workers, or more replicas.",
        "s",
        query("max by (processor) (receiver_processor_behind_seconds)", "{{processor}}"),
        colours={0: "green", 10: "red"},
    ),
    lines(
        "From a chunk to arrays",
        "From the arrival of a chunk until every processor has taken it. Below 1 s is normal.",
        "s",
        *quantiles("receiver_array_latency_seconds"),
    ),
    lines(
        "Computing per second of audio",
        "Time of computing for each second of audio. 100 ms: one core serves ten live streams.",
        "s",
        query(
            "sum by (processor) "
            "(rate(receiver_processing_duration_seconds_sum[$__rate_interval]))"
            " / scalar(sum(rate(receiver_audio_seconds_total[$__rate_interval])) > 0)",
            "{{processor}}",
        ),
    ),
    lines(
        "Threads busy, by replica",
        "How many calls run at once, on average. Flat at the number of workers: processors are"
        " the limit of this replica.",
        "short",
        query(
            "sum by (replica) (rate(receiver_processing_duration_seconds_sum[$__rate_interval]))",
            "{{replica}}",
        ),
    ),
    bars(
        "Failures",
        "Processors that raised or hung and were cut off from a stream. The"
        " receiver's log has the stream and the reason.",
        query(
            "sum by (processor, reason) (counted(receiver_processor_failures_total[$__interval]))",
            "{{processor}} {{reason}}",
        ),
    ),
]

PROCESSORS: Final = Board(
    file="processors.json",
    uid="sonoduct-processors",
    title="Sonoduct: processors",
    description="Which processor is slow, waiting, failing or switched off?",
    rows={"Now": NOW, "Which processor?": COMPARED, "Over time": OVER_TIME},
)
