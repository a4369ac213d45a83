"""Finding replicas by DNS or address, and asking each for its metrics and its connections."""

from __future__ import annotations

import json
import socket
import time
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any, Final
from urllib.parse import urlsplit

from prometheus_client.parser import text_string_to_metric_families

from sonoduct.runtime.address import place

PORT: Final = 8767
TIMEOUT_S: Final = 2.0
MOST: Final = 64
"""Replicas that are asked at once."""
MOST_BYTES: Final = 8 * 1024 * 1024
"""Bytes of an answer."""

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Answer:
    """What one replica answered, or why it did not."""

    address: str
    at: float
    """The steady clock's time."""
    totals: Mapping[str, float] = field(default_factory=dict)
    """The sum of the samples of each metric."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """The labels of `receiver_build_info`, and so the replica's name."""
    fault: str = ""

    @property
    def replica(self) -> str:
        """The replica's name; its address if it has not answered."""
        return self.labels.get("replica") or self.address


def split_address(text: str) -> Address:
    """
    Return host and port of *text*, ``HOST``, ``HOST:PORT`` or ``[IPV6]:PORT``.

    Raises:
        ValueError: if it is none of them.
    """
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or text != parts.netloc:
        raise ValueError(f"address {text!r}, expected HOST or HOST:PORT")
    return host, port or PORT


def find(addresses: Iterable[Address]) -> list[Address]:
    """
    Return the address of every replica behind *addresses*: a name may stand for several.

    Raises:
        OSError: if DNS does not know a name; its text has the name.
    """
    found: dict[Address, None] = {}
    for host, port in addresses:
        try:
            answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as exc:
            raise OSError(f"{host}: {exc.strerror}") from exc
        first = answers[0][0]  # one family: a host with both is one replica
        for family, _, _, _, address in answers:
            if family == first:
                found[str(address[0]), port] = None
    return list(found)[:MOST]


def ask(addresses: Sequence[Address]) -> list[Answer]:
    """Ask every replica for its metrics, all at once; one that does not answer has a fault."""
    with ThreadPoolExecutor(max(1, len(addresses))) as pool:
        return list(pool.map(_ask, addresses))


def ask_connections(
    addresses: Sequence[Address],
) -> tuple[list[dict[str, Any]], list[str]]:
    """
    Return the connections of every replica that answers, and a sentence about each other one.

    Each connection has the key ``replica`` as well.
    """
    with ThreadPoolExecutor(max(1, len(addresses))) as pool:
        answers = list(pool.map(_ask_connections, addresses))
    connections = [each for answer in answers if not isinstance(answer, str) for each in answer]
    return connections, [answer for answer in answers if isinstance(answer, str)]


def _ask_connections(address: Address) -> list[dict[str, Any]] | str:
    try:
        answer = json.loads(_read(address, "/streams"))
        return [{"replica": answer["replica"], **each} for each in answer["connections"]]
    except (OSError, HTTPException, ValueError, KeyError, TypeError) as exc:
        return f"{place(*address)}: {_words(exc)}"


def _ask(address: Address) -> Answer:
    shown = place(*address)
    try:
        text = _read(address, "/metrics")
        now = time.monotonic()
        totals: dict[str, float] = {}
        labels: dict[str, str] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                totals[sample.name] = totals.get(sample.name, 0.0) + sample.value
                if sample.name == "receiver_build_info":
                    labels = sample.labels
        if not labels:
            return Answer(shown, now, fault="no receiver answers here")
        return Answer(shown, now, totals, labels)
    except (OSError, HTTPException, ValueError) as exc:
        return Answer(shown, time.monotonic(), fault=_words(exc))


def _read(address: Address, path: str) -> str:
    # Replicas are near: never through a proxy.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://{place(*address)}{path}", timeout=TIMEOUT_S) as answer:
        body: bytes = answer.read(MOST_BYTES)
    return body.decode(errors="replace")


def _words(error: Exception) -> str:
    reason = getattr(error, "reason", None)
    cause = reason if isinstance(reason, Exception) else error
    if isinstance(cause, TimeoutError):
        return f"no answer within {TIMEOUT_S:g} s"
    return getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
