"""What each command of ``receiver`` does."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number
from prometheus_client import CollectorRegistry, disable_created_metrics
from structlog import get_logger

from sonoduct.runtime.logs import LogLines, configure
from sonoduct.runtime.loop import run_loop
from sonoduct.runtime.metrics import export_process, metrics_endpoint
from sonoduct.runtime.signals import on_hangup, stop_event
from sonoduct.wire import StorageFailed

from .service import Receiver, serve
from .settings import Settings
from .status.replicas import split_address
from .stores.journal import Layout, PosixDisk


def serve_command(settings: Settings | None = None) -> int:
    """Receive streams until SIGTERM or Ctrl-C, then send the senders to other receivers."""
    settings = settings or Settings()
    lines = configure(settings.log_level, replica=settings.name)
    return run_loop(_serve(settings, lines))


def _stored(_type: object, value: Path) -> None:
    if not (value / "streams").is_dir():
        raise ValueError(f"{value} is no store: it has no folder 'streams'")


Store = Annotated[Path, Parameter(validator=_stored)]


def export_command(
    stream: str, *, store: Store = Path("recordings"), output: Path | None = None
) -> int:
    """
    Write a playable file of any stream, finished or not; 1 if it is damaged, and ends there.

    Args:
        stream: The stream's id, or its first digits.
        store: The folder of a receiver's store. The receiver may be running.
        output: The file to write, .wav or .flac; by default a WAV in the working folder.
    """
    from .inspect import export_stream

    return _inspect(lambda layout: export_stream(layout, stream, output), store)


def verify_command(*, store: Store = Path("recordings")) -> int:
    """
    Check every journal and recording of a store; 1 if anything is damaged.

    Args:
        store: The folder of a receiver's store. The receiver may be running.
    """
    from .inspect import verify_store

    return _inspect(verify_store, store)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Looking:
    """How `receiver status` and `receiver streams` look."""

    interval: Annotated[float, Parameter(validator=Number(gt=0))] = 1.0
    """Seconds between two looks: rates are the difference between them."""

    json: Annotated[bool, Parameter(negative=())] = False
    """Print a line of JSON for each replica or connection."""


def _addresses(_type: object, value: tuple[str, ...]) -> None:
    for each in value:
        split_address(each)


Addresses = Annotated[tuple[str, ...], Parameter(validator=_addresses, negative=())]


def status_command(
    addresses: Addresses = ("127.0.0.1",),
    *,
    once: Annotated[bool, Parameter(negative=())] = False,
    looking: Looking | None = None,
) -> int:
    """
    Show what replicas do, until Ctrl-C; with --once 1 if one of them does not answer.

    Args:
        addresses: HOST or HOST:PORT of their metrics; a name stands for all of its addresses.
        once: Look twice, print, and exit. Without a terminal, and for JSON, that is the default.
        looking: Everything else.
    """
    from .status.show import show_status

    looking = looking or Looking()
    return show_status(addresses, once=once, interval=looking.interval, as_json=looking.json)


def streams_command(
    addresses: Addresses = ("127.0.0.1",), *, looking: Looking | None = None
) -> int:
    """
    List the connections of replicas, the one furthest behind first; 1 if a replica is silent.

    Args:
        addresses: HOST or HOST:PORT of their metrics; a name stands for all of its addresses.
        looking: Everything else.
    """
    from .status.show import show_streams

    looking = looking or Looking()
    return show_streams(addresses, interval=looking.interval, as_json=looking.json)


def _reload(receiver: Receiver) -> None:
    """Read the files again that SIGHUP renews; a file that is not valid changes nothing."""
    log = get_logger()
    try:
        receiver.reload()
    except ValueError as exc:
        log.error("reload_failed", reason=str(exc))
    else:
        log.info("receiver_reloaded")


def _inspect(command: Callable[[Layout], int], store: Path) -> int:
    try:
        layout = Layout(PosixDisk(), store.absolute())
        layout.require_version()
        return command(layout)
    except StorageFailed as exc:
        print(f"receiver: {exc}", file=sys.stderr)  # noqa: T201  # the command's answer
        return 1


async def _serve(settings: Settings, lines: LogLines) -> int:
    registry = CollectorRegistry(auto_describe=True)  # for /metrics?name[]=
    disable_created_metrics()  # type: ignore[no-untyped-call]  # the library leaves it untyped
    export_process(registry, "receiver", lines)
    log = get_logger()
    pages: dict[str, Callable[[], object]] = {}
    try:
        with metrics_endpoint(
            registry,
            settings.metrics_host,
            settings.metrics_port,
            labels={"replica": settings.name},
            pages=pages,
        ) as metrics_port:
            async with serve(settings, registry=registry) as receiver:
                pages["/streams"] = lambda: {
                    "replica": settings.name,
                    "connections": [asdict(each) for each in receiver.connections],
                }
                if settings.open:
                    needed = "by every client" if settings.tokens else "by none"
                    log.warning("receiver_open", host=settings.host, tokens_needed=needed)
                with stop_event() as stop, on_hangup(partial(_reload, receiver)):
                    log.info("receiver_ready", url=receiver.url, metrics_port=metrics_port)
                    await stop.wait()
                    log.info("receiver_draining")
                    await receiver.drain()
    except (OSError, ValueError, StorageFailed) as exc:
        log.error("receiver_failed", reason=str(exc))
        return 1
    log.info("receiver_stopped")
    return 0
