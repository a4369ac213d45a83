"""Write the tables of metrics in docs/operations.md from the metrics themselves."""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Metric

import receiver
import sender.metrics
from sonoduct.runtime.logs import LogLines
from sonoduct.runtime.metrics import export_process

OPERATIONS: Final = Path(__file__).parent / "operations.md"
HEAD: Final = "| metric | type | labels | meaning |\n| --- | --- | --- | --- |\n"
OPEN: Final = frozenset({"processor", "server", "version", "protocol", "revision"})
"""Labels whose values depend on what runs."""


def families() -> dict[str, list[Metric]]:
    """Return every metric that each service exports, with samples of the first moment."""
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    sender.metrics.Metrics(theirs, "0")
    export_process(theirs, "sender", LogLines())
    export_process(ours, "receiver", LogLines())
    return {"receiver": asyncio.run(_of_receiver(ours)), "sender": list(theirs.collect())}


async def _of_receiver(registry: CollectorRegistry) -> list[Metric]:
    settings = receiver.Settings(host="127.0.0.1", port=0, store="none", trust_forwarded=True)
    async with receiver.serve(settings, registry=registry) as running:
        check = urllib.request.Request(  # it is our own address
            f"http://127.0.0.1:{running.port}/readyz",
            headers={"X-Haproxy-Server-State": "UP; name=receivers/receiver1"},
        )
        (await asyncio.to_thread(urllib.request.urlopen, check)).close()
        return list(registry.collect())


def table(metrics: Iterable[Metric]) -> str:
    """Return the table of *metrics*."""
    return HEAD + "".join(map(_row, sorted(metrics, key=lambda each: each.name)))


def _row(metric: Metric) -> str:
    labels: dict[str, list[str]] = {}
    for sample in metric.samples:
        for label, value in sample.labels.items():
            if label != "le" and value not in (values := labels.setdefault(label, [])):
                values.append(value)
    shown = "; ".join(
        label if label in OPEN else f"{label}: {', '.join(f'`{value}`' for value in values)}"
        for label, values in labels.items()
    )
    name = metric.name + ("_total" if metric.type == "counter" else "")
    help_ = metric.documentation.rstrip(".")
    return f"| `{name}` | {metric.type} | {shown} | {help_} |\n"


def written(text: str) -> str:
    """Return *text*, the page, with fresh tables."""
    for service, metrics in families().items():
        begin = f"<!-- metrics of the {service}, written by `make docs` -->\n"
        head, _, rest = text.partition(begin)
        _, _, tail = rest.partition("\n\n")
        text = f"{head}{begin}{table(metrics)}\n{tail}"
    return text


if __name__ == "__main__":
    OPERATIONS.write_text(written(OPERATIONS.read_text()))
