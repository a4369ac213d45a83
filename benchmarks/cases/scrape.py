"""The cost of a scrape: scrape."""

import time
import urllib.request

from benchmarks.load import Load, generate
from benchmarks.processes import child, receiver
from benchmarks.results import Case
from benchmarks.usage import cpu_seconds
from benchmarks.watching import MANY, WAIT_S

SCRAPED, IDLE = "scraped", "not scraped"
CPU, LINES = "CPU ms per scrape", "lines"


PAUSE_S = 0.05
"""Between two scrapes: so many that their cost stands out from that of the streams."""


def scrape(scale):
    """CPU of a receiver for each scrape, over the same time without scrapes."""
    streams, scrapes, rounds = scale.pick(1000, 100), scale.pick(40, 10), scale.few(2)
    seconds = 2 * scrapes * PAUSE_S * rounds * 1.5  # longer than the rounds take
    work = f"{scrapes} scrapes, {streams} live streams with 500 ms chunks, store none"
    case = Case("scrape", work)
    with (
        receiver("--store", "none", limits=MANY) as server,
        child(generate, server.url, Load(streams, 0.5, seconds)) as client,
    ):
        client.hear()
        client.tell()
        client.hear(WAIT_S)
        for _ in range(rounds):
            for name in (SCRAPED, IDLE):
                case.add(name, **_round(server, scrapes, scraped=name == SCRAPED))
        client.hear(WAIT_S + seconds)
    over = case.median(SCRAPED, CPU) - case.median(IDLE, CPU)
    case.goal("CPU ms per scrape, over the same time without", over, most=10)
    return case


def _round(server, scrapes, *, scraped):
    before, lines = cpu_seconds(server.pid), {}
    for _ in range(scrapes):
        if scraped:
            lines = {LINES: _lines(server.metrics)}
        time.sleep(PAUSE_S)
    return {CPU: (cpu_seconds(server.pid) - before) / scrapes * 1000} | lines


def _lines(url):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=WAIT_S) as answer:
        return answer.read().count(b"\n")
